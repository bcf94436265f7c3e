"""The application has no database: its service first, then the application, which usually reconnects by itself.

Which rungs make sense depends on what is behind it (:mod:`..diagnosis.database`). Where nothing on this host can
mend it, a password that no longer fits, a server that was set read-only, somebody's lock, there are none: the evidence
goes to whoever can.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable
from typing import Any, Optional

from ...core.errors import OperatorError
from ...core.messages import msg
from ...core.types import Message
from ...mysql import driver, service, sessions, state, tables
from ...mysql.service import StartFailure
from ...system import signals
from ...system.command import run
from ...system.isolate import apart
from ..clues import database
from ..context import CLUES_S, EmergencyError, Rung, Scene, signalled
from ..diagnosis.diagnose import diagnose
from . import offline

# By scenario, what is done to the server, in order; a rung is climbed only while the server still needs it.
SERVER: dict[str, tuple[str, ...]] = {
    "service_stopped": ("service",),
    "service_failed": ("service",),
    "service_starting": ("wait",),
    "server_halted": ("server_go_on", "service_restart"),
    "server_hung": ("wait_hung", "service_restart"),
    "full_by_idle": ("idle_connections",),
    "full_by_work": ("idle_connections",),
    "full_by_app": ("idle_connections",),
    "crashed_tables": ("tables",),
    "unclear": ("service",),
}
# By scenario, whether the application itself is then touched when it does not come back by itself.
APPLICATION = frozenset(
    (
        "service_stopped",
        "service_failed",
        "service_starting",
        "server_halted",
        "server_hung",
        "full_by_app",
        "not_reconnected",
        "unclear",
    )
)
# Climbed only when the operator said so.
APPROVALS = {"idle_connections": "kill_idle_connections"}
STATE_S = 3.0
# After which a start that has not ended is looked at.
FIRST_LOOK_S = 4.0
RECONNECT_S, GO_ON_S, HUNG_S = 8.0, 8.0, 6.0
END_HUNG_S = 20.0
# How much of a rung is kept back to look at what came of it.
LOOK_S = 2.0
_WORDS = {
    "disk_full": msg("no room is left on its disk"),
    "out_of_memory": msg("the host has not enough memory"),
    "bad_config": msg("its configuration is wrong"),
    "not_writable": msg("it may not write its files"),
    "port_taken": msg("another server has its port or its files"),
    "corrupted": msg("its files are damaged"),
    "unknown": msg("it ends by itself"),
}
_REMEDIES = {
    "disk_full": msg("Make room where the database's files lie, or give it more: df -h; nothing is deleted there"),
    "out_of_memory": msg("Give the host more memory, or the server less: innodb_buffer_pool_size"),
    "bad_config": msg("Correct the option that the error names, below /etc/mysql"),
    "not_writable": msg("Give the directory that the error names back to the server's own user"),
    "port_taken": msg("End the other server, or give one of them another port and directory"),
    "corrupted": msg(
        "Have the server's log looked at before anything else is tried; the data comes back with"
        " playbooks/operation/restore.yml -e what=database"
    ),
}


def ladder(scene: Scene) -> Iterable[Rung]:
    """The rungs for the scene's diagnosis, each given when its turn comes: what it is depends on those before it."""
    made = _Rungs(scene)
    scenario = scene.diagnosis["scenario"]
    wanted = [name for name in SERVER.get(scenario, ()) if scene.params.get(APPROVALS.get(name, ""), True)]
    for number, name in enumerate(wanted):
        if scene.check_mode or number == 0 or made.unreachable() is not None:
            yield getattr(made, name)()
    if scenario == "crashed_tables" or (scenario not in APPLICATION and not wanted):
        return
    if not scene.check_mode and made.unreachable() is not None and scenario != "full_by_app":
        return
    yield from made.application()


class _Rungs:
    """Each rung of the ladder, made for a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._unit = str(scene.params["mysql_service"])

    def service(self) -> Rung:
        would = msg("{unit} would be started", unit=self._unit)
        return Rung("service", 90, self._start, would, self.unreachable, partial=True)

    def wait(self) -> Rung:
        would = msg("{unit} would be waited for", unit=self._unit)
        return Rung("wait", 60, self._await, would, self.unreachable, partial=True, passive=True)

    def wait_hung(self) -> Rung:
        would = msg("{unit} would be waited for", unit=self._unit)
        return Rung("wait", HUNG_S, self._nothing, would, self.unreachable, partial=True, passive=True)

    def server_go_on(self) -> Rung:
        would = msg("The halted server would be told to go on (SIGCONT)")
        return Rung("server_go_on", GO_ON_S, self._go_on, would, self.unreachable, partial=True)

    def service_restart(self) -> Rung:
        would = msg("{unit} would be restarted", unit=self._unit)
        return Rung("service_restart", 60, self._restart_service, would, self.unreachable, partial=True)

    def idle_connections(self) -> Rung:
        would = msg("Idle connections would be ended")
        return Rung("idle_connections", 10, self._end_idle, would, self.unreachable, partial=True)

    def tables(self) -> Rung:
        would = msg("The tables would be checked, and repaired where their engine can")
        return Rung("tables", 60, self._mend_tables, would)

    def reconnect(self) -> Rung:
        would = msg("The application would be given a moment to reconnect by itself")
        return Rung("reconnect", RECONNECT_S, self._nothing, would, passive=True)

    def application(self) -> Iterable[Rung]:
        """The application: given a moment to come back by itself, then restarted; started where it does not run."""
        state = self._scene.app.state()
        app = state["app"]
        if state["daemon"] in ("dead", "missing", "unresponsive"):
            yield from offline.chosen(self._scene, "daemon", "resurrect", "start_anew")
            return
        if app is None:
            yield from offline.chosen(self._scene, "start_anew", "resurrect")
            return
        if self._scene.diagnosis["scenario"] not in ("full_by_app", "not_reconnected") and (
            app["statuses"].get("online") or app["statuses"].get("waiting restart")
        ):
            yield self.reconnect()
        if not self._scene.check_mode and self._refused():
            return
        yield from offline.chosen(self._scene, "restart", "start_anew")

    def unreachable(self) -> Optional[Message]:
        """What is still wrong with the server: it has to let the operations account in."""
        params = self._scene.params
        with self._scene.owner.at_work():
            seen, findings = state.collect(
                params["mysql_defaults_file"],
                params["mysql_database"],
                timeout_s=STATE_S,
                slow_s=params["slow_query_s"],
            )
        if seen["reachable"] or seen["error"] in database.UNSEEN:
            return None
        return findings[0]["message"] if findings else msg("the database does not answer")

    def _refused(self) -> bool:
        """Whether the server is up and turns the application away: restarting it would change nothing."""
        scene = self._scene
        login: Optional[dict[str, Any]] = None
        with contextlib.suppress(OperatorError):
            asked = apart(scene.owner, lambda: {"login": database.login(scene.params, scene.snapshot)}, CLUES_S)
            login = asked["login"]
        if not login or login["result"] in ("ok", "unknown"):
            return False
        known = {**scene.clues.get("database", {}), "login": login}
        up = {
            **scene.snapshot,
            "database": {**(scene.snapshot.get("database") or {}), "reachable": True, "error": None},
        }
        found = diagnose(up, scene.verdict, {**scene.clues, "database": known})
        scene.diagnosis.update(found)
        return found["scenario"] not in APPLICATION

    def _await(self, seconds: float) -> None:
        end = time.monotonic() + seconds - LOOK_S
        while self.unreachable() is not None and time.monotonic() < end:
            self._stuck()
            time.sleep(0.3)

    def _stuck(self) -> None:
        """A server on its way that waits for room would wait for ever: :class:`EmergencyError` says so at once.

        It is left as it is: it goes on by itself when there is room.
        """
        now = service.state(self._unit)
        cause = service.find_cause(service.last_start_lines(now)) if now["active"] != "active" else None
        if cause is not None and cause.name == "disk_full":
            raise self._does_not_start(cause, {"unit": self._unit, "now": f"{now['active']} ({now['sub']})"})

    @staticmethod
    def _nothing(_seconds: float) -> None:
        return None

    def _start(self, seconds: float) -> dict[str, Any]:
        return self._systemctl("start", seconds)

    def _restart_service(self, seconds: float) -> dict[str, Any]:
        """Its own way out first. A server that does not end even so is not killed here: that is a person's decision."""
        return self._systemctl("restart", min(seconds, END_HUNG_S + LOOK_S))

    def _systemctl(self, verb: str, seconds: float) -> dict[str, Any]:
        then = service.mark_logs()
        before = service.state(self._unit)
        if before["active"] == "failed":
            run(["systemctl", "reset-failed", self._unit], timeout_s=STATE_S)
        end = time.monotonic() + max(seconds - LOOK_S, 1)
        done = run(["systemctl", verb, self._unit], timeout_s=min(max(seconds - LOOK_S, 1), FIRST_LOOK_S))
        while done.timed_out and time.monotonic() < end:
            self._stuck()
            # The job goes on; this joins it.
            left = max(end - time.monotonic(), 0.1)
            done = run(["systemctl", "start", self._unit], timeout_s=min(left, FIRST_LOOK_S))
        if done.code == 0:
            return {"unit": self._unit, "was": f"{before['active']} ({before['sub']})"}
        after = service.state(self._unit)
        said = service.lines_since(after["id"] or self._unit, then)
        evidence = {"unit": self._unit, "now": f"{after['active']} ({after['sub']})", "last_lines": said[-30:]}
        if done.timed_out and after["active"] in ("activating", "deactivating"):
            raise EmergencyError(
                msg(
                    "{unit} is still at it ({state}): its recovery may take its time, look at its log",
                    unit=self._unit,
                    state=after["sub"],
                ),
                evidence,
            )
        if after["active"] == "activating":
            # What fails the same way each time is not tried again and again, neither by us nor by systemd.
            run(["systemctl", "stop", self._unit], timeout_s=max(LOOK_S, STATE_S))
        raise self._does_not_start(service.find_cause(said), evidence)

    def _does_not_start(self, found: Optional[StartFailure], evidence: dict[str, Any]) -> EmergencyError:
        cause = found or StartFailure("unknown", "?", "L3")
        why = msg(
            "{unit} does not start: {why}: {line}", unit=self._unit, why=_WORDS[cause.name], line=cause.line[:240]
        )
        look = msg("Have the server's log looked at: journalctl -u {unit}", unit=self._unit)
        remedy = _REMEDIES.get(cause.name, look)
        self._scene.diagnosis.update(
            scenario="disk_full" if cause.name == "disk_full" else "start_failed",
            reasons=[why, *self._scene.diagnosis["reasons"]],
            proposals=[remedy, *self._scene.diagnosis["proposals"]],
            level=cause.level,
        )
        return EmergencyError(why, {**evidence, "cause": cause.name})

    def _go_on(self, _seconds: float) -> dict[str, Any]:
        pid = service.state(self._unit)["pid"]
        # The server's user is not known here; systemd says whether it is its process.
        its = signals.Target(None, still=lambda one: service.state(self._unit)["pid"] == one)
        return signalled(signals.send([pid] if pid else [], signal.SIGCONT, its))

    def _end_idle(self, _seconds: float) -> dict[str, Any]:
        """End idle sessions of others, as the operator approved; ours, root's and the application's are left alone."""
        params = self._scene.params
        app = (self._scene.clues.get("database", {}).get("login") or {}).get("user")
        spared = [name for name in (app, params.get("mysql_ops_user")) if name]
        try:
            with sessions.connect_as_root(params.get("mysql_socket"), STATE_S) as root:
                idle_s, current = float(params["idle_s"]), sessions.list_sessions(root)
                chosen = sessions.select_idle(current, idle_s=idle_s, spared=spared)
                ended = sessions.kill_sessions(root, chosen)
        except Exception as error:  # noqa: BLE001 - PyMySQL raises anything
            raise EmergencyError(
                msg("The database's root is not let in over its socket: {reason}", reason=driver.reason_of(error))
            ) from None
        if not ended:
            raise EmergencyError(
                msg(
                    "No connection was idle for {idle_s} without open changes: none was ended",
                    idle_s=float(params["idle_s"]),
                )
            )
        return {"ended": sessions.group_by_holder(ended), "count": len(ended)}

    def _mend_tables(self, seconds: float) -> dict[str, Any]:
        params = self._scene.params
        names = [str(name) for name in self._scene.clues.get("database", {}).get("tables") or []]
        entries = tables.check_and_repair(
            names, schema=params["mysql_database"], socket=params.get("mysql_socket"), seconds=seconds - LOOK_S
        )
        evidence = {"tables": entries}
        left = [entry["table"] for entry in entries if entry["state"] not in tables.FINE]
        if left:
            raise EmergencyError(
                msg(
                    "These tables are still damaged, and their engine can't be repaired here: {tables}: bring them back"
                    " with playbooks/operation/restore.yml -e what=database",
                    tables=", ".join(left),
                ),
                evidence,
            )
        return evidence
