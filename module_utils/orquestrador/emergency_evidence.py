"""What is kept before anything is changed: how it was, for whoever has to understand it later.

Bounded in time and size, scrubbed of secrets. The snapshot itself is kept beside it, so only what it does not have is
collected here: the heaviest processes, the end of the error log, the files that changed last.
"""

from __future__ import annotations

import time
from typing import Any

from . import processes, redact
from .emergency_scene import Scene

WINDOW_S = 0.2


def collect(scene: Scene, seconds: float) -> dict[str, Any]:
    """``{processes, error_tail, listeners, slow, ...}``: small enough for a report."""
    deadline = time.monotonic() + seconds
    params = scene.params
    secrets = redact.load_secrets(params.get("app_env_file") or f"{params['app_dir']}/.env")
    snapshot = scene.snapshot
    pids = ((snapshot.get("pm2") or {}).get("app") or {}).get("pids") or []
    evidence: dict[str, Any] = {
        "pm2": {name: (snapshot.get("pm2") or {}).get(name) for name in ("daemon", "daemon_pid")},
        "statuses": ((snapshot.get("pm2") or {}).get("app") or {}).get("statuses"),
        "listeners": (snapshot.get("port") or {}).get("listeners"),
        "queries": (snapshot.get("database") or {}).get("slow"),
        "threads": (snapshot.get("database") or {}).get("threads"),
        "memory": (snapshot.get("resources") or {}).get("memory"),
        "disk": (snapshot.get("resources") or {}).get("disk"),
        "processes": processes.look(min(WINDOW_S, max(deadline - time.monotonic(), 0.0)), pids)["processes"],
        "error_tail": scene.clues.get("error_tail") or [],
    }
    scrubbed: dict[str, Any] = redact.scrub(evidence, secrets)
    return scrubbed
