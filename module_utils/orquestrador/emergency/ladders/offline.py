"""The application does not run, or does not answer: reload → restart → start from its file → PM2's saved list.

Which of these make sense depends on what is behind it (:mod:`..diagnosis.diagnose`): a process that hangs can't be
reloaded, one that PM2 does not know can't be restarted, one that a syntax error ends is not started a fifth time.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import Any, Callable, Optional

from ...app.dist import DeployError, Dist
from ...core.messages import msg
from ...core.types import Listener, Message
from ...pm2.orphans import unit_of
from ...system import ports, signals
from ...system.command import run
from ...system.resources import process_cpu_s, process_state
from ..context import HALTED, EmergencyError, Rung, Scene, signalled

# By scenario, the rungs in order.
LADDERS: dict[str, tuple[str, ...]] = {
    "stopped": ("restart", "start_anew", "resurrect"),
    "errored": ("restart",),
    "deleted": ("start_anew", "resurrect"),
    "halted": ("go_on", "end_hung", "restart", "start_anew"),
    "hung": ("end_hung", "restart", "start_anew"),
    "daemon_halted": ("go_on", "daemon", "resurrect", "start_anew"),
    "daemon_dead": ("daemon", "resurrect", "start_anew"),
    "rebooted": ("daemon", "resurrect", "start_anew"),
    "port_taken": ("free_port", "restart", "start_anew"),
    "orphaned": ("free_port", "restart", "start_anew"),
    "crash_loop": ("roll_back",),
    "not_listening": ("restart", "start_anew", "resurrect"),
    "failing": ("reload", "restart", "start_anew"),
    "unclear": ("reload", "restart", "start_anew", "resurrect"),
    "env_missing": (),
}
# Scenarios that are treated only when the operator said so.
APPROVALS = {"port_taken": "kill_port_holder", "crash_loop": "rollback"}
# A process that hangs in a loop takes a processor; measured over this long, more than this share of it.
BUSY_WINDOW_S, BUSY_SHARE = 0.3, 0.8
ANSWER_S = 1.0


def rungs(diagnosis: dict[str, Any], clues: dict[str, Any], daemon: str, approved: Callable[[str], bool]) -> list[str]:
    """The names of the rungs, in order; pure. None when what comes first needs an approval that was not given.

    Where PM2 does not run, its unit comes before any command of it, which would start a second one beside the unit; a
    saved list that does not name the application is not started.
    """
    scenario = str(diagnosis.get("scenario"))
    if scenario in APPROVALS and not approved(APPROVALS[scenario]):
        return []
    names = list(LADDERS.get(scenario, LADDERS["unclear"]))
    if daemon not in ("online", "") and names and not {"daemon", "roll_back"} & set(names):
        names.insert(1 if names[0] == "free_port" else 0, "daemon")
    if clues.get("nothing_saved"):
        names = [name for name in names if name != "resurrect"]
    return names


def ladder(scene: Scene) -> list[Rung]:
    """The rungs for the scene's diagnosis."""
    daemon = str((scene.snapshot.get("pm2") or {}).get("daemon") or "")
    return chosen(scene, *rungs(scene.diagnosis, scene.clues, daemon, lambda name: bool(scene.params.get(name))))


def chosen(scene: Scene, *names: str) -> list[Rung]:
    """Rungs by their ids, for a procedure that has mended something else first."""
    made = _Rungs(scene)
    return [getattr(made, name)() for name in names]


class _Rungs:
    """Each rung of the ladder, made for a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._app = scene.app
        self._mine = signals.Target(scene.owner.uid)

    def reload(self) -> Rung:
        return Rung("reload", 30, self._reload, msg("PM2 would reload the application"))

    def restart(self) -> Rung:
        return Rung("restart", 30, self._restart, msg("PM2 would restart the application"))

    def start_anew(self) -> Rung:
        would = msg(
            "The application would be stopped and started from {path}",
            path=str(self._scene.params["app_ecosystem_file"]),
        )
        return Rung("start_anew", 30, self._start_anew, would)

    def resurrect(self) -> Rung:
        return Rung("resurrect", 30, self._resurrect, msg("PM2 would start what its saved list has"))

    def daemon(self) -> Rung:
        return Rung("daemon", 30, self._start_daemon, msg("PM2 would be started by its unit"), self._no_daemon)

    def go_on(self) -> Rung:
        would = msg("The halted processes would be told to go on (SIGCONT)")
        return Rung("go_on", 6, self._continue, would, self._still_halted)

    def end_hung(self) -> Rung:
        would = msg("The processes that hang would be ended (SIGKILL), so that PM2 starts them again")
        return Rung("end_hung", 20, self._end_hung, would)

    def free_port(self) -> Rung:
        would = msg("The process that holds the application's port would be ended")
        return Rung("free_port", 20, self._free_port, would, self._still_held, decisive=True, prepares=True)

    def roll_back(self) -> Rung:
        would = msg("The build before would be put back and the application restarted")
        return Rung("roll_back", 40, self._roll_back, would, decisive=True)

    # ---- PM2's own commands

    def _require_known(self) -> None:
        """Any command of PM2 would start a daemon of its own where none answers."""
        if not self._app.known():
            raise EmergencyError(msg("PM2 knows no process of this name"))

    def _reload(self, seconds: float) -> None:
        self._require_known()
        self._app.reload(seconds)

    def _restart(self, seconds: float) -> Optional[dict[str, Any]]:
        """Of several workers of which some are well, only the others."""
        self._require_known()
        name = self._scene.params["app_name"]
        mine = [process for process in self._app.state()["processes"] if process["name"] == name]
        down = [process["pm_id"] for process in mine if process["status"] != "online"]
        some = down if 0 < len(down) < len(mine) else []
        self._app.restart(seconds, some)
        return {"workers_restarted": some} if some else None

    def _start_anew(self, seconds: float) -> None:
        self._app.start_anew(seconds)

    def _resurrect(self, seconds: float) -> None:
        self._app.resurrect(seconds)

    # ---- signals

    def _pids(self) -> list[int]:
        app = self._app.state()["app"]
        return [pid for pid in app["pids"] if pid > 1] if app else []

    def _continue(self, _seconds: float) -> dict[str, Any]:
        daemon = self._app.state()["daemon_pid"]
        pids = [pid for pid in ([daemon] if daemon else self._pids()) if process_state(pid) == HALTED]
        sent = signals.send(pids, signal.SIGCONT, self._mine)
        end = time.monotonic() + 1
        while not self._pids() and time.monotonic() < end:
            time.sleep(0.05)
        # A daemon that answers again tells of workers that somebody halted with it.
        more = [pid for pid in self._pids() if process_state(pid) == HALTED]
        again = signals.send(more, signal.SIGCONT, self._mine)
        pids = sorted({*sent.pids, *again.pids})
        return signalled(signals.Sent(pids, [*sent.left_alone, *again.left_alone]))

    def _still_halted(self) -> Optional[Message]:
        """Among several, one that is halted is not missed by those who ask."""
        halted = [pid for pid in self._pids() if process_state(pid) == HALTED]
        return msg("process {pid} is halted again: see who does that", pid=str(halted[0])) if halted else None

    def _end_hung(self, _seconds: float) -> dict[str, Any]:
        """Once more asked, and of several workers only those that hang."""
        if self._app.well(ANSWER_S, stable_s=0) is None and not self._scene.clues.get("halted"):
            return {"pids": []}
        pids = self._pids()
        hanging = [pid for pid in pids if process_state(pid) == HALTED] or _busy(pids) or pids
        return signalled(signals.end(hanging, self._mine, first=None))

    # ---- PM2's daemon

    def _no_daemon(self) -> Optional[Message]:
        state = self._app.state()
        if state["daemon"] != "online":
            return msg(
                "the PM2 of {user} can't be asked: start it through its systemd unit", user=self._scene.owner.name
            )
        if state["app"] is None:  # it has started what its list has: waiting longer brings no more
            raise EmergencyError(msg("PM2 runs again, and its saved list does not name the application"))
        return None

    def _start_daemon(self, seconds: float) -> dict[str, Any]:
        """By its unit, so that systemd knows it; orphans of a daemon that was killed would hold the port."""
        until = time.monotonic() + seconds - 1
        unit = str(self._scene.params["pm2_unit"])
        daemon, orphans = self._end_silent_daemon(), self._end_orphans()
        done_before = {
            "daemon_ended": next(iter(daemon.pids), None),
            "orphans": orphans.pids,
            "left_alone": [*daemon.left_alone, *orphans.left_alone],
        }
        if not _loaded(unit):
            self._app.resurrect(max(until - time.monotonic(), 1))
            return {"unit": None, **done_before}
        run(["systemctl", "reset-failed", unit], timeout_s=5)
        done = run(["systemctl", "restart", unit], timeout_s=max(until - time.monotonic(), 1))
        if done.code != 0:
            reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise EmergencyError(
                msg(
                    "{unit} does not start: look at journalctl -u {unit} ({reason})",
                    unit=unit,
                    reason=reason[-1][:200] if reason else "timeout",
                )
            )
        return {"unit": unit, **done_before}

    def _end_silent_daemon(self) -> signals.Sent:
        """One that lives and answers nobody: its unit would wait for it to end by itself, longer than there is time."""
        state = self._app.state()
        pid = state["daemon_pid"]
        return signals.end([pid] if pid and state["daemon"] != "online" else [], self._mine, first=None)

    def _end_orphans(self) -> signals.Sent:
        """End processes of the application whose PM2 is gone; anybody else's are left alone."""
        seen, _ = ports.collect(int(self._scene.params["app_port"]), timeout_s=2)
        return signals.end(self._scene.orphans(seen["listeners"]), self._mine)

    # ---- the port

    def _holders(self) -> list[Listener]:
        """Who listens on the port without being the application: strangers only where that was approved."""
        scene = self._scene
        seen, _ = ports.collect(int(scene.params["app_port"]), timeout_s=2)
        listeners = (ports.attribute(seen, self._app.state()) or seen)["listeners"]
        orphans = scene.orphans(listeners)
        return [
            item
            for item in listeners
            if item["of_app"] is False
            and (item["pid"] or 0) > 1
            and (item["pid"] in orphans or scene.params.get("kill_port_holder"))
        ]

    def _still_held(self) -> Optional[Message]:
        """The same or another: one that a service starts again is not ended a second time."""
        holders = self._holders()
        if not holders:
            return None
        args = {
            "command": str(holders[0]["command"] or "?"),
            "pid": str(holders[0]["pid"]),
            "unit": unit_of(int(holders[0]["pid"] or 0)) or "?",
        }
        return msg("The port is held by {command}, process {pid}, again: stop the service {unit}", **args)

    def _free_port(self, _seconds: float) -> dict[str, Any]:
        """End who holds the port now; somebody who is gone by himself is no trouble any more.

        A stranger is anybody's, as the operator approved: what is certain is that he holds the port.
        """
        named = {
            int(h["pid"] or 0): {
                "pid": h["pid"],
                "command": h["command"],
                "user": h["user"],
                "unit": unit_of(int(h["pid"] or 0)),
            }
            for h in self._holders()
        }
        its = signals.Target(
            uid=None if self._scene.params.get("kill_port_holder") else self._scene.owner.uid,
            started={pid: signals.started(pid) for pid in named},
            still=lambda pid: any(h["pid"] == pid for h in self._holders()),
        )
        told = signalled(signals.end(named, its))
        return {"ended": [named[pid] for pid in told.pop("pids")], **told}

    # ---- the build

    def _roll_back(self, seconds: float) -> dict[str, Any]:
        params = self._scene.params
        until = time.monotonic() + seconds
        dist = Dist(params["dist"], params["build_state_dir"])
        try:
            with self._scene.owner.at_work(), dist.locked():
                back = dist.go_back()
        except DeployError as error:
            raise EmergencyError(error.message) from None
        if back is None:
            raise EmergencyError(msg("There is no build before this one to go back to: the developers have to mend it"))
        self._require_known()
        self._app.restart(max(until - time.monotonic(), 1))
        return {"rolled_back": True, **back}


def _busy(pids: Sequence[int]) -> list[int]:
    """Of several processes, those that take a processor of their own; none when that tells nothing apart."""
    if len(pids) < 2:
        return list(pids)
    before = {pid: process_cpu_s(pid) for pid in pids}
    began = time.monotonic()
    time.sleep(BUSY_WINDOW_S)
    lasted = time.monotonic() - began
    shares = {pid: ((process_cpu_s(pid) or 0.0) - (then or 0.0)) / lasted for pid, then in before.items()}
    return [pid for pid, share in shares.items() if share > BUSY_SHARE]


def _loaded(unit: str) -> bool:
    """Whether systemd could start the unit, enabled or not."""
    done = run(["systemctl", "show", "-p", "LoadState", "--value", unit], timeout_s=5)
    return done.code == 0 and done.stdout.strip() == b"loaded"
