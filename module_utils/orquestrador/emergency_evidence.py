"""What is kept before anything is changed: how it was, for whoever has to understand it later.

Bounded in time and size, scrubbed of secrets. The snapshot itself is kept beside it, so only what it does not have is
collected here: the heaviest processes, the end of the error log, the files that changed last.
"""

from __future__ import annotations

import os
import time
from typing import Any

from . import redact
from .emergency_scene import Scene
from .port import read_command
from .resources import process_cpu_s

TOP = 8
WINDOW_S = 0.2


def collect(scene: Scene, seconds: float) -> dict[str, Any]:
    """``{processes, error_tail, listeners, slow, ...}``: small enough for a report."""
    deadline = time.monotonic() + seconds
    params = scene.params
    secrets = redact.load_secrets(params.get("app_env_file") or f"{params['app_dir']}/.env")
    snapshot = scene.snapshot
    evidence: dict[str, Any] = {
        "pm2": {name: (snapshot.get("pm2") or {}).get(name) for name in ("daemon", "daemon_pid")},
        "statuses": ((snapshot.get("pm2") or {}).get("app") or {}).get("statuses"),
        "listeners": (snapshot.get("port") or {}).get("listeners"),
        "queries": (snapshot.get("database") or {}).get("slow"),
        "threads": (snapshot.get("database") or {}).get("threads"),
        "memory": (snapshot.get("resources") or {}).get("memory"),
        "disk": (snapshot.get("resources") or {}).get("disk"),
        "processes": heaviest(min(WINDOW_S, max(deadline - time.monotonic(), 0.0))),
        "error_tail": scene.clues.get("error_tail") or [],
    }
    scrubbed: dict[str, Any] = redact.scrub(evidence, secrets)
    return scrubbed


def heaviest(window_s: float, proc: str = "/proc") -> list[dict[str, Any]]:
    """The processes that use most processor and most memory: ``{pid, command, user, cpu_percent, rss_bytes}``."""
    pids = [int(name) for name in os.listdir(proc) if name.isdigit()]
    before = {pid: process_cpu_s(pid, proc) for pid in pids}
    began = time.monotonic()
    time.sleep(window_s)
    lasted = max(time.monotonic() - began, 0.001)
    found = []
    for pid in pids:
        then, now = before[pid], process_cpu_s(pid, proc)
        rss = _rss(pid, proc)
        if then is None or now is None or rss is None:
            continue
        found.append((max(now - then, 0.0) / lasted * 100, rss, pid))
    chosen = {pid for _, _, pid in sorted(found, reverse=True)[:TOP]}
    chosen |= {pid for _, _, pid in sorted(found, key=lambda item: -item[1])[:TOP]}
    rows = [
        {"pid": pid, "command": read_command(pid, proc) or "?", "cpu_percent": round(cpu, 1), "rss_bytes": rss}
        for cpu, rss, pid in sorted(found, reverse=True)
        if pid in chosen
    ]
    return rows[: 2 * TOP]


def _rss(pid: int, proc: str) -> Any:
    try:
        with open(f"{proc}/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
