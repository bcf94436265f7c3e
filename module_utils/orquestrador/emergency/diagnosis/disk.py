"""A disk that is full: when it is the trouble itself, and when it is what is behind another one."""

from __future__ import annotations

import re
from typing import Any, Optional

from ...core.messages import msg
from .scenario import Scenario, Scene, dicts

# From here on a program that has to write can't.
FULL_PERCENT = 99.5
_NO_SPACE = re.compile(r"\bENOSPC\b|[Nn]o space left on device|\bEDQUOT\b|is full")


def fullest(scene: Scene) -> Optional[dict[str, Any]]:
    """``{path, percent, kind}`` of the disk that is most used, by space or by inodes; ``None`` when none was seen."""
    seen = [
        (float(disk[name]), kind, str(disk.get("path") or "?"))
        for disk in dicts(scene.resources.get("disk"))
        for name, kind in (("used_percent", "space"), ("inodes_used_percent", "inodes"))
        if isinstance(disk.get(name), (int, float))
    ]
    if not seen:
        return None
    percent, kind, path = max(seen)
    return {"path": path, "percent": percent, "kind": kind}


def explains(scene: Scene, procedure: str) -> bool:
    """Whether the disk is the case, for a verdict that calls for ``procedure``.

    It is when nothing else is; and when it is full to the last block while something is down, or its log says so.
    """
    if not scene.bad("host.disk"):
        return False
    most = fullest(scene)
    full = most is not None and most["percent"] >= FULL_PERCENT
    return procedure in ("none", "disk") or full or bool(_NO_SPACE.search(scene.last_error()))


def _full(scene: Scene) -> Optional[Scenario]:
    most = fullest(scene)
    if most is None:
        return None
    args: dict[str, Any] = {"path": str(most["path"]), "used_percent": float(most["percent"])}
    reason = (
        msg("The disk of {path} is full: {used_percent} of its space is used", **args)
        if most["kind"] == "space"
        else msg("The disk of {path} is full: {used_percent} of its inodes are used", **args)
    )
    return Scenario(
        "disk_full",
        [reason],
        [msg("Give the disk of {path} more room, or move what the evidence lists", path=args["path"])],
        "L4",
    )


RULES = (_full,)
