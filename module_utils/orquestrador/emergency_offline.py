"""The application does not run, or does not answer: reload → restart → start from its file → PM2's saved list.

Which of these make sense depends on what is behind it (:mod:`.diagnosis`): a process that hangs can't be reloaded, one
that PM2 does not know can't be restarted, one that a syntax error ends is not started a fifth time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any, Optional

from . import app_dist, emergency_clues, port
from .emergency_scene import EmergencyError, Rung, Scene
from .messages import msg
from .runner import run
from .types import Message

# By scenario, the rungs in order.
LADDERS: dict[str, tuple[str, ...]] = {
    "stopped": ("restart", "start_anew", "resurrect"),
    "errored": ("restart",),
    "deleted": ("start_anew", "resurrect"),
    "halted": ("go_on", "end_hung", "restart", "start_anew"),
    "hung": ("end_hung", "restart", "start_anew"),
    "daemon_dead": ("daemon", "resurrect", "start_anew"),
    "rebooted": ("daemon", "resurrect", "start_anew"),
    "port_taken": ("free_port", "restart", "start_anew"),
    "crash_loop": ("roll_back",),
    "not_listening": ("restart", "start_anew", "resurrect"),
    "failing": ("reload", "restart", "start_anew"),
    "unclear": ("reload", "restart", "start_anew", "resurrect"),
    "env_missing": (),
}
# Rungs that are climbed only when the operator said so.
APPROVALS = {"free_port": "kill_port_holder", "roll_back": "rollback"}
END_WAIT_S = 3.0


def ladder(scene: Scene) -> list[Rung]:
    """The rungs for the scene's diagnosis."""
    names = LADDERS.get(scene.diagnosis["scenario"], LADDERS["unclear"])
    made = _Rungs(scene)
    if names and names[0] in APPROVALS and not scene.params.get(APPROVALS[names[0]]):
        return []  # what stands first is what all the others need
    return [getattr(made, name)() for name in names]


class _Rungs:
    """Each rung of the ladder, made for a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._app = scene.app

    def reload(self) -> Rung:
        return Rung("reload", 30, self._plain(self._app.reload), msg("PM2 would reload the application"))

    def restart(self) -> Rung:
        return Rung("restart", 30, self._plain(self._app.restart), msg("PM2 would restart the application"))

    def start_anew(self) -> Rung:
        would = msg("The application would be stopped and started from {path}",
                    path=str(self._scene.params["app_ecosystem_file"]))  # fmt: skip
        return Rung("start_anew", 30, self._plain(self._app.start_anew), would)

    def resurrect(self) -> Rung:
        return Rung("resurrect", 30, self._plain(self._app.resurrect), msg("PM2 would start what its saved list has"))

    def daemon(self) -> Rung:
        return Rung("daemon", 30, self._start_daemon, msg("PM2 would be started by its unit"), self._no_daemon)

    def go_on(self) -> Rung:
        return Rung("go_on", 4, self._continue, msg("The halted processes would be told to go on (SIGCONT)"))

    def end_hung(self) -> Rung:
        would = msg("The processes that hang would be ended (SIGKILL), so that PM2 starts them again")
        return Rung("end_hung", 20, self._end_hung, would)

    def free_port(self) -> Rung:
        would = msg("The process that holds the application's port would be ended")
        return Rung("free_port", 20, self._free_port, would, decisive=True)

    def roll_back(self) -> Rung:
        would = msg("The build before would be put back and the application restarted")
        return Rung("roll_back", 40, self._roll_back, would, decisive=True)

    @staticmethod
    def _plain(action: Any) -> Any:
        def act(seconds: float) -> Optional[dict[str, Any]]:
            action(seconds)
            return None

        return act

    def _pids(self) -> list[int]:
        app = self._app.state()["app"]
        return [pid for pid in app["pids"] if pid > 1] if app else []

    def _continue(self, _seconds: float) -> dict[str, Any]:
        pids = [pid for pid in self._pids() if emergency_clues.state_of(pid) == "T"]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return {"pids": pids}

    def _end_hung(self, _seconds: float) -> dict[str, Any]:
        pids = self._pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return {"pids": pids}

    def _no_daemon(self) -> Optional[Message]:
        state = self._app.state()
        if state["daemon"] != "online":
            return msg("the PM2 of {user} can't be asked: start it through its systemd unit",
                       user=self._scene.owner.name)  # fmt: skip
        return None if state["app"] else msg("PM2 knows no process of this name")

    def _start_daemon(self, seconds: float) -> dict[str, Any]:
        """By its unit, so that systemd knows it; orphans of a daemon that was killed would hold the port."""
        unit = str(self._scene.params["pm2_unit"])
        orphans = self._end_orphans()
        known = run(["systemctl", "is-enabled", unit], timeout_s=5).code == 0
        if not known:
            self._app.resurrect(seconds)
            return {"unit": None, "orphans": orphans}
        run(["systemctl", "reset-failed", unit], timeout_s=5)
        done = run(["systemctl", "restart", unit], timeout_s=max(seconds - 1, 1))
        if done.code != 0:
            reason = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise EmergencyError(
                msg("{unit} does not start: look at journalctl -u {unit} ({reason})", unit=unit,
                    reason=reason[-1][:200] if reason else "timeout")
            )  # fmt: skip
        return {"unit": unit, "orphans": orphans}

    def _end_orphans(self) -> list[int]:
        """End processes of the application's user on its port whose PM2 is gone; anybody else's are left alone."""
        seen, _ = port.collect(int(self._scene.params["app_port"]), timeout_s=2)
        if self._app.state()["daemon"] == "online":
            return []
        found = []
        for listener in seen["listeners"]:
            pid = listener["pid"]
            if pid and listener["user"] == self._scene.owner.name and _parent(pid) == 1:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                found.append(pid)
        end = time.monotonic() + END_WAIT_S
        while any(os.path.exists(f"/proc/{pid}") for pid in found) and time.monotonic() < end:
            time.sleep(0.05)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    def _free_port(self, _seconds: float) -> dict[str, Any]:
        """End the foreign process that the diagnosis named, if it still is the one."""
        number = int(self._scene.params["app_port"])
        seen, _ = port.collect(number, timeout_s=2)
        seen_by_app = port.attribute(seen, self._app.state()) or seen
        holders = [x for x in seen_by_app["listeners"] if x["of_app"] is False and (x["pid"] or 0) > 1]
        for holder in holders:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(holder["pid"] or 0), signal.SIGTERM)
        end = time.monotonic() + END_WAIT_S
        while any(os.path.exists(f"/proc/{h['pid']}") for h in holders) and time.monotonic() < end:
            time.sleep(0.05)
        for holder in holders:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(holder["pid"] or 0), signal.SIGKILL)
        if not holders:
            raise EmergencyError(msg("Nobody foreign holds port {port} any more", port=str(number)))
        return {"ended": [{"pid": h["pid"], "command": h["command"]} for h in holders]}

    def _roll_back(self, seconds: float) -> dict[str, Any]:
        params = self._scene.params
        dist = app_dist.Dist(params["dist"], params["build_state_dir"])
        try:
            with self._scene.owner.at_work(), dist.locked():
                if not dist.roll_back():
                    raise EmergencyError(
                        msg("There is no build before this one to go back to: the developers have to mend it")
                    )
        except app_dist.DeployError as error:
            raise EmergencyError(error.message) from None
        self._app.restart(seconds)
        return {"rolled_back": True}


def _parent(pid: int) -> Optional[int]:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None
