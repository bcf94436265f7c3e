"""The application is slow: what is heavy is named first; it is restarted only while the verdict still asks for it."""

from __future__ import annotations

from .emergency_scene import Rung, Scene
from .messages import msg


def ladder(scene: Scene) -> list[Rung]:
    """The rungs for the scene's diagnosis."""

    def act(seconds: float) -> None:
        scene.app.restart(seconds)

    return [Rung("restart", 30, act, msg("PM2 would restart the application"))]
