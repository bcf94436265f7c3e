"""What every emergency procedure is made of: the scene it acts in, the steps of its record, the rungs of its ladder."""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional, Union, cast

# All that an observation needs is loaded here: who looks is the application's user, whom the directory that Ansible put
# this program into does not let in.
import http.client  # noqa: F401 isort: skip

from ..app import health_endpoint
from ..app.control import Application, Settings
from ..core import redact
from ..core.errors import OperatorError
from ..core.jsonable import clean
from ..core.types import UNKNOWN, Message, Pm2State
from ..health import arguments, evaluate, probe
from ..logs import errors
from ..mysql import state
from ..pm2 import orphans
from ..procedures import MEASURED
from ..system import dated_copies, ports, signals
from ..system.command import run
from ..system.identity import Owner
from ..system.isolate import apart
from ..system.resources import process_state
from .clues import database, host, load
from .diagnosis.diagnose import diagnose

LOADED = (dated_copies, errors, health_endpoint, redact, state)
# What an observation may take of the budget.
OBSERVE_S = 15.0
# What a look may take beside the observation itself: the clues, a host that is slow.
CLUES_S, SPARE_S = 8.0, 3.0
HALTED, HALTED_TIMEOUT_S, HALTED_DAEMON_S = "T", 0.5, 2.0
# States of PM2's that pass by themselves, and how long they are given.
PASSING = frozenset({"launching", "stopping"})
SETTLE_S, SETTLE_POLL_S = 8.0, 0.1
MAX_DUMP = 8 * 1024 * 1024


class EmergencyError(OperatorError):
    """Something that could not be done: ``message`` says what, where, and what to do next; ``evidence`` shows it."""

    def __init__(self, message: Message, evidence: Optional[dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.evidence = evidence or {}


class Rung(NamedTuple):
    """One action of a ladder.

    ``act`` gets the seconds it has and returns what it did as evidence; it raises :class:`OperatorError` when it could
    not. ``proof`` tells what is still wrong, ``None`` for nothing; by default that the application is well.
    ``would`` is what check mode says of it. ``decisive``: without it the rungs after it make no sense. ``prepares``: it
    only makes way for the rungs after it, and has done its part when its own proof is given; they are climbed unless
    the application is well then. ``partial``: the same, and they are climbed in any case. ``passive``: nothing is done,
    it only waits.
    """

    id: str
    planned_s: float
    act: Callable[[float], Optional[dict[str, Any]]]
    would: Message
    proof: Optional[Callable[[], Optional[Message]]] = None
    decisive: bool = False
    prepares: bool = False
    partial: bool = False
    passive: bool = False


class Scene:
    """What a procedure knows and may use: arguments, deadline, what was seen, whose host it is."""

    def __init__(self, params: dict[str, Any], *, check_mode: bool) -> None:
        self.params, self.check_mode = params, check_mode
        self.changed_step: Callable[[], None] = lambda: None
        self.owner = Owner(params["app_user"])
        self._end = time.monotonic() + float(params["budget_s"])
        self.steps: dict[str, dict[str, Any]] = {}
        self.snapshot: dict[str, Any] = {}
        self.verdict: dict[str, Any] = {}
        self.clues: dict[str, Any] = {}
        self.diagnosis: dict[str, Any] = {}
        self.app = Application(
            self.owner,
            Settings(
                name=params["app_name"],
                port=params["app_port"],
                ecosystem=params["app_ecosystem_file"],
                health_url=params["app_health_url"],
                pm2_home=params["pm2_home"],
                pm2_command=params["pm2_command"],
                status_expected=str(params["expectations"].get("status_expected") or "ok"),
                database_expected=str(params["expectations"].get("database_expected") or "connected"),
            ),
            hasty=True,
        )

    def left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(self._end - time.monotonic(), 0.0)

    def observe(self, **changed: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Snapshot and verdict of now, by the probe's own collectors; ``changed`` are arguments of the probe."""
        snapshot, verdict, _ = self._observed(lambda _: {}, 0.0, changed)
        return snapshot, verdict

    def _observed(
        self, more: Callable[[dict[str, Any]], dict[str, Any]], more_s: float, changed: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Snapshot, verdict, and what ``more`` makes of the snapshot in ``more_s``.

        What is looked at belongs to the application's user: whoever looks is that user and ends with it, however long
        one of the collectors is held up. PM2 is asked over its socket only: a command would start one of its own where
        none answers. Who holds the port, only root sees.
        """
        seconds = min(OBSERVE_S, max(self.left(), 1.0))
        owners = ports.owners(int(self.params["app_port"]))
        params = {**self.params, "timeout": seconds, "port_owners": owners, **changed, "pm2_command": ""}

        def look() -> dict[str, Any]:
            observed = probe.observe(params, arguments.cpu_percent(params))
            return {**observed, "more": clean(more(observed["snapshot"]))}

        seen = apart(self.owner, look, seconds + more_s + SPARE_S)
        judged = evaluate.judge(params, seen)
        return cast("dict[str, Any]", judged["snapshot"]), cast("dict[str, Any]", judged["verdict"]), seen["more"]

    def look(self) -> None:
        """Observe and diagnose, once what PM2 or systemd is about to heal by itself has come to an end."""
        state = self._settled()
        changed: dict[str, Any] = {}
        app = state["app"]
        if self.params["procedure"] not in MEASURED:
            # Every worker is asked: in cluster mode they take turns.
            changed["http_requests"] = 2 * app["instances"] if app and app["instances"] > 1 else 1
        if app and app["pids"] and any(process_state(pid) == HALTED for pid in app["pids"]):
            changed["http_timeout"] = HALTED_TIMEOUT_S  # a halted process answers nobody: no need to wait for it
        if state["daemon_pid"] and process_state(state["daemon_pid"]) == HALTED:
            changed["collector_timeout"] = HALTED_DAEMON_S
        self.snapshot, self.verdict, self.clues = self._observed(
            lambda snapshot: host.collect(self.params, snapshot), CLUES_S, changed
        )
        self._look_closer(state)
        database.complete(self.params, self.snapshot, self.clues)
        self.clues.update(load.clues(self.params, self.snapshot, self.verdict))
        self.diagnosis = diagnose(self.snapshot, self.verdict, self.clues)

    def _look_closer(self, state: Pm2State) -> None:
        """Clues that only root may see, or that PM2's own files hold."""
        self.clues["orphans"] = self.orphans((self.snapshot.get("port") or {}).get("listeners") or [])
        daemon = state["daemon_pid"]
        if daemon and process_state(daemon) == HALTED:
            self.clues["daemon_halted"] = daemon
        if not self.saved():
            self.clues["nothing_saved"] = os.path.join(self.params["pm2_home"], "dump.pm2")

    def orphans(self, listeners: Sequence[Mapping[str, Any]]) -> list[int]:
        """Processes of the application on its port whose PM2 is gone."""
        params = self.params
        return orphans.find(
            listeners, app=params["app_name"], uid=self.owner.uid, home=os.path.expanduser(params["pm2_home"])
        )

    def saved(self) -> bool:
        """Whether PM2's saved list names the application. The list holds environments: nothing of it is kept."""
        name = self.params["app_name"]
        for file in ("dump.pm2", "dump.pm2.bak"):  # the second is what PM2 takes when it can't read the first
            try:
                with self.owner.at_work(), open(os.path.join(self.params["pm2_home"], file), "rb") as stream:
                    listed = json.loads(stream.read(MAX_DUMP))
            except (OSError, ValueError):
                continue
            return isinstance(listed, list) and any(isinstance(one, dict) and one.get("name") == name for one in listed)
        return False

    def _settled(self) -> Pm2State:
        """PM2's state when nothing is just starting or ending: an end that PM2 or its unit heals is none of ours."""
        end = time.monotonic() + min(SETTLE_S, self.left() / 4)
        while True:
            state = self.app.state()
            statuses = set(state["app"]["statuses"]) if state["app"] else set()
            passing = bool(statuses & PASSING) and statuses <= PASSING | {"online"}
            if not passing and state["daemon"] != "online":
                passing = unit_state(str(self.params["pm2_unit"])) in ("activating", "deactivating", "reloading")
            if not passing or time.monotonic() > end:
                return state
            time.sleep(SETTLE_POLL_S)

    def step(self, name: str, planned_s: float) -> Step:
        """Begin a step of the record."""
        self.steps[name] = {"planned_s": round(planned_s, 1), "started_at": _now(), "status": UNKNOWN}
        self.changed_step()
        return Step(self.steps[name], self.changed_step)


class Step:
    """One step of the record while it runs: what was planned, what was used, and how it ended."""

    def __init__(self, entry: dict[str, Any], changed: Callable[[], None]) -> None:
        self._entry, self._changed, self._began = entry, changed, time.monotonic()

    def end(
        self, status: str, note: Union[Message, list[Message], None] = None, evidence: Optional[dict[str, Any]] = None
    ) -> None:
        """``status`` is one of a routine's step statuses; ``note`` one message or several."""
        self._entry.update(
            status=status,
            note=note,
            evidence=evidence if evidence is not None else {},
            ended_at=_now(),
            used_s=round(time.monotonic() - self._began, 2),
        )
        self._changed()


def signalled(sent: signals.Sent) -> dict[str, Any]:
    """The evidence of a rung that signals: :class:`EmergencyError` when all who were meant were left alone."""
    if sent.left_alone and not sent.pids:
        raise EmergencyError(sent.left_alone[0])
    return {"pids": sent.pids, "left_alone": sent.left_alone}


def unit_state(unit: str) -> str:
    """systemd's ``ActiveState`` of a unit; empty when it can't be asked."""
    done = run(["systemctl", "show", "-p", "ActiveState", "--value", unit], timeout_s=3)
    return done.stdout.decode("utf-8", "replace").strip() if done.code == 0 else ""


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat()
