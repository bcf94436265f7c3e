"""Processes of the application that outlived their PM2: they hold its port, and no PM2 knows them any more.

A process is one when the application's user runs it, the environment that PM2 gave it says which application it is, and
no PM2 daemon is above it. What that user started by hand has no such environment, and is a stranger.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from ..system.procfs import DAEMON_TITLE
from ..system.resources import process_parent

MAX_ENVIRONMENT = 256 * 1024


def find(listeners: Iterable[Mapping[str, Any]], *, app: str, uid: int, home: str, proc: str = "/proc") -> list[int]:
    """The orphans among the listeners of a port; reading whose environment it is takes root or that user."""
    pids = {int(item["pid"]) for item in listeners if (item.get("pid") or 0) > 1}
    return sorted(pid for pid in pids if _is_orphan(pid, app, uid, home.rstrip("/"), proc))


def _is_orphan(pid: int, app: str, uid: int, home: str, proc: str) -> bool:
    try:
        if os.stat(f"{proc}/{pid}").st_uid != uid:
            return False
        with open(f"{proc}/{pid}/environ", "rb") as stream:
            variables = stream.read(MAX_ENVIRONMENT).split(b"\0")
    except OSError:
        return False
    given = dict(item.split(b"=", 1) for item in variables if b"=" in item)
    of_app = given.get(b"name") == os.fsencode(app) and b"pm_id" in given
    of_home = given.get(b"PM2_HOME", b"").rstrip(b"/") == os.fsencode(home)
    return of_app and of_home and not _below_pm2(pid, proc)


def _below_pm2(pid: int, proc: str) -> bool:
    """Whether a PM2 daemon is among the ancestors."""
    for _ in range(64):
        above = process_parent(pid, proc)
        if above is None or above <= 1:
            return False
        try:
            with open(f"{proc}/{above}/cmdline", "rb") as stream:
                title = stream.read(8192).replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except OSError:
            return False
        if DAEMON_TITLE.match(title):
            return True
        pid = above
    return False


def unit_of(pid: int, proc: str = "/proc") -> Optional[str]:
    """The systemd unit that a process belongs to: ended by hand, it may come back by that."""
    try:
        with open(f"{proc}/{pid}/cgroup", encoding="utf-8", errors="replace") as stream:
            paths = [line.strip().rpartition(":")[2] for line in stream]
    except OSError:
        return None
    units = [part for path in paths for part in path.split("/") if part.endswith(".service")]
    return units[-1] if units else None
