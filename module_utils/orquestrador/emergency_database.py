"""The application has no database: its service first, then the application, which usually reconnects by itself."""

from __future__ import annotations

from typing import Any, Optional

from . import database
from .emergency_scene import EmergencyError, Rung, Scene
from .messages import msg
from .runner import run
from .types import Message


def ladder(scene: Scene) -> list[Rung]:
    """The rungs for the scene's diagnosis."""
    made = _Rungs(scene)
    return [made.service(), made.restart()]


class _Rungs:
    """Each rung of the ladder, made for a scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def service(self) -> Rung:
        would = msg("{unit} would be started", unit=str(self._scene.params["mysql_service"]))
        return Rung("service", 90, self._start, would, self._unreachable)

    def restart(self) -> Rung:
        would = msg("PM2 would restart the application")
        return Rung("restart", 30, self._restart, would)

    def _start(self, seconds: float) -> Optional[dict[str, Any]]:
        unit = str(self._scene.params["mysql_service"])
        run(["systemctl", "reset-failed", unit], timeout_s=5)
        done = run(["systemctl", "start", unit], timeout_s=max(seconds - 1, 1))
        if done.code != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise EmergencyError(
                msg(
                    "{unit} does not start: look at journalctl -u {unit} ({reason})",
                    unit=unit,
                    reason=said[-1][:200] if said else "timeout",
                )
            )
        return {"unit": unit}

    def _restart(self, seconds: float) -> None:
        self._scene.app.restart(seconds)

    def _unreachable(self) -> Optional[Message]:
        params = self._scene.params
        with self._scene.owner.at_work():
            state, findings = database.collect(
                params["mysql_defaults_file"], params["mysql_database"], timeout_s=3, slow_s=params["slow_query_s"]
            )
        if state and state["reachable"]:
            return None
        return findings[0]["message"] if findings else msg("the database does not answer")
