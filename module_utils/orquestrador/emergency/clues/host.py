"""What only the host itself can tell of an emergency, beside the probe's snapshot: seen as the application's user.

Cheap enough for every triage: files of ``/proc``, whether a file is there, and the end of one log.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Sequence
from typing import Any, Optional

from ...core import redact
from ...system.resources import process_state
from . import database, load

TAIL_BYTES, TAIL_LINES = 32 * 1024, 20
# An error that is older than this is of another trouble.
FRESH_S = 900.0
# What was logged so long before the application was last started ended another life of it: PM2 waits 15 s at most
# before it starts a process again.
BEFORE_START_S = 20.0
_ERROR = re.compile(r"\b[A-Z]\w*Error\b|\bERR_[A-Z_]+|\bE[A-Z]{4,}\b|Cannot find (?:module|package)|\bFATAL\b")


def collect(params: dict[str, Any], snapshot: dict[str, Any]) -> dict[str, Any]:
    """``{boot_age_s, halted, env_missing, error_tail, last_error}``; what can't be told is left out."""
    clues: dict[str, Any] = {}
    age = boot_age_s()
    if age is not None:
        clues["boot_age_s"] = age
    app = (snapshot.get("pm2") or {}).get("app") or {}
    clues["halted"] = [pid for pid in app.get("pids") or [] if process_state(pid) == "T"]
    env = params.get("app_env_file") or f"{str(params['app_dir']).rstrip('/')}/.env"
    if not os.path.exists(env):
        clues["env_missing"] = env
    processes = (snapshot.get("pm2") or {}).get("processes") or []
    logs = [p.get("err_log") for p in processes if p.get("name") == params["app_name"]]
    if not any(logs):
        logs = [os.path.join(str(params["app_dir"]), "logs", "error.log")]
    secrets = redact.load_secrets(env)
    tail = [redact.scrub_text(line, secrets) for line in fresh_tail(logs)]
    clues["error_tail"] = tail
    began = load.last_start(snapshot) - BEFORE_START_S
    clues["last_error"] = last_error(tail) if written_since(logs, began) else ""
    known = database.collect(params, snapshot, logs)
    if known:
        clues["database"] = known
    return clues


def boot_age_s(proc: str = "/proc") -> Optional[float]:
    """Seconds since the host started: since its first process did, which is the truth in a container as well."""
    try:
        with open(f"{proc}/uptime", encoding="ascii") as file:
            uptime = float(file.read().split()[0])
        with open(f"{proc}/1/stat", encoding="ascii", errors="replace") as file:
            started = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    return max(uptime - started, 0.0)


def fresh_tail(paths: Sequence[Optional[str]], now: Optional[float] = None) -> list[str]:
    """The last lines of the newest of some logs, none when nothing was written to them lately."""
    newest: Optional[tuple[float, str]] = None
    for path in {path for path in paths if path}:
        try:
            changed = os.stat(path).st_mtime
        except OSError:
            continue
        if (now or time.time()) - changed <= FRESH_S and (newest is None or changed > newest[0]):
            newest = (changed, path)
    if newest is None:
        return []
    try:
        with open(newest[1], "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - TAIL_BYTES, 0))
            text = file.read(TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    return [line[:500] for line in text.splitlines()[-TAIL_LINES:]]


def written_since(paths: Sequence[Optional[str]], when: float) -> bool:
    """Whether anything was written to one of some logs after an instant, in seconds since the epoch."""
    for path in paths:
        with contextlib.suppress(OSError):
            if path and os.stat(path).st_mtime >= when:
                return True
    return False


def last_error(lines: Sequence[str]) -> str:
    """The last line that names an error."""
    return next((line.strip() for line in reversed(lines) if _ERROR.search(line)), "")
