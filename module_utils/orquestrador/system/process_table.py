"""Which processes of the host are heavy, and whose they are."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from typing import Any, Optional

from .ports import read_command
from .procfs import read_rss, user_name
from .resources import cpu_times, host_percent, process_cpu_s, process_parent

TOP = 8
APP, DATABASE, OTHER = "application", "database", "other"
_DATABASES = ("mysqld", "mariadbd")


def look(window_s: float, app_pids: Collection[int], proc: str = "/proc") -> dict[str, Any]:
    """Those that use most processor and most memory: ``{host_percent, window_s, processes}``, the busiest first.

    Each is ``{pid, command, user, kind, cpu_percent, rss_bytes}``: ``cpu_percent`` is of one processor, over
    ``window_s``; ``kind`` is application, database or other. This process itself is left out.
    """
    pids = [int(name) for name in os.listdir(proc) if name.isdigit() and int(name) != os.getpid()]
    host_before, before = cpu_times(proc), {pid: process_cpu_s(pid, proc) for pid in pids}
    began = time.monotonic()
    time.sleep(window_s)
    lasted = max(time.monotonic() - began, 0.001)
    found = []
    for pid in pids:
        then, now, rss = before[pid], process_cpu_s(pid, proc), read_rss(pid, proc)
        if then is not None and now is not None and rss is not None:
            found.append((max(now - then, 0.0) / lasted * 100, rss, pid))
    host = host_percent(host_before, cpu_times(proc), 0.0)
    chosen = {pid for _, _, pid in sorted(found, reverse=True)[:TOP]}
    chosen |= {pid for _, _, pid in sorted(found, key=lambda item: -item[1])[:TOP]}
    rows = []
    for cpu, rss, pid in sorted(found, reverse=True):
        if pid in chosen:
            command = read_command(pid, proc) or "?"
            rows.append(
                {
                    "pid": pid,
                    "command": command,
                    "user": _user(pid, proc),
                    "kind": kind_of(pid, command, app_pids, proc),
                    "cpu_percent": round(cpu, 1),
                    "rss_bytes": rss,
                }
            )
    return {"host_percent": host, "window_s": round(lasted, 2), "processes": rows}


def kind_of(pid: int, command: str, app_pids: Collection[int], proc: str = "/proc") -> str:
    """Whose a process is: the application's (one of its own, or started by one), the database's, or another's."""
    ancestor: Optional[int] = pid
    for _ in range(16):
        if ancestor in app_pids:
            return APP
        ancestor = process_parent(ancestor, proc) if ancestor and ancestor > 1 else None
        if ancestor is None:
            break
    program = os.path.basename(command.split(" ", 1)[0])
    return DATABASE if program in _DATABASES else OTHER


def _user(pid: int, proc: str) -> Optional[str]:
    try:
        return user_name(os.stat(f"{proc}/{pid}").st_uid)
    except OSError:
        return None
