"""What every emergency procedure is made of: the scene it acts in, the steps of its record, the rungs of its ladder."""

from __future__ import annotations

import datetime
import time
from typing import Any, Callable, NamedTuple, Optional, cast

# All that an observation needs is loaded here: later, this process is the application's user, whom the directory that
# Ansible put this program into does not let in.
import http.client  # noqa: F401 isort: skip

from . import arguments, critical_files, database, diagnosis, emergency_clues, http_health, judge, logs, observe, redact
from .app_control import Application, Settings
from .backup_clients import BackupError
from .owner import Owner
from .types import Message

LOADED = (critical_files, database, http_health, logs, redact)
# What an observation may take of the budget.
OBSERVE_S = 15.0
HALTED_TIMEOUT_S = 0.5


class EmergencyError(BackupError):
    """Something that could not be done: ``message`` says what, where, and what to do next."""


class Rung(NamedTuple):
    """One action of a ladder.

    ``act`` gets the seconds it has and returns what it did as evidence; it raises :class:`BackupError` when it could
    not. ``proof`` tells what is still wrong, ``None`` for nothing; by default that the application is well.
    ``would`` is what check mode says of it. ``decisive``: without it the rungs after it make no sense.
    """

    id: str
    planned_s: float
    act: Callable[[float], Optional[dict[str, Any]]]
    would: Message
    proof: Optional[Callable[[], Optional[Message]]] = None
    decisive: bool = False


class Scene:
    """What a procedure knows and may use: arguments, deadline, what was seen, whose host it is."""

    def __init__(self, params: dict[str, Any], *, check_mode: bool) -> None:
        self.params, self.check_mode = params, check_mode
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
        )

    def left(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(self._end - time.monotonic(), 0.0)

    def observe(self, **changed: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Snapshot and verdict of now, by the probe's own collectors; ``changed`` are arguments of the probe."""
        params = {**self.params, "timeout": min(OBSERVE_S, max(self.left(), 1.0)), **changed}
        with self.owner.at_work():
            seen = judge.judge(params, observe.observe(params, arguments.cpu_percent(params)))
        return cast("dict[str, Any]", seen["snapshot"]), cast("dict[str, Any]", seen["verdict"])

    def look(self) -> None:
        """Observe and diagnose."""
        changed: dict[str, Any] = {} if self.params["procedure"] == "performance" else {"http_requests": 1}
        app = self.app.state()["app"]
        if app and app["pids"] and all(emergency_clues.state_of(pid) == "T" for pid in app["pids"]):
            changed["http_timeout"] = HALTED_TIMEOUT_S  # a halted process answers nobody: no need to wait for it
        self.snapshot, self.verdict = self.observe(**changed)
        with self.owner.at_work():
            self.clues = emergency_clues.collect(self.params, self.snapshot)
        self.diagnosis = diagnosis.diagnose(self.snapshot, self.verdict, self.clues)

    def step(self, name: str, planned_s: float) -> Step:
        """Begin a step of the record."""
        return Step(self.steps, name, planned_s)


class Step:
    """One step of the record while it runs: what was planned, what was used, and how it ended."""

    def __init__(self, steps: dict[str, dict[str, Any]], name: str, planned_s: float) -> None:
        self._steps, self._name, self._began = steps, name, time.monotonic()
        self._entry: dict[str, Any] = {"planned_s": round(planned_s, 1), "started_at": _now(), "status": "unknown"}
        steps[name] = self._entry

    def end(self, status: str, note: Optional[Message] = None, evidence: Optional[dict[str, Any]] = None) -> None:
        """``status`` is one of a routine's step statuses."""
        self._entry.update(
            status=status,
            note=note,
            evidence=evidence or {},
            ended_at=_now(),
            used_s=round(time.monotonic() - self._began, 2),
        )


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat()
