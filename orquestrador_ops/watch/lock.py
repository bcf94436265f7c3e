"""Lock of a watch on this controller: one cycle at a time, in a file that names its process.

The cycle is Ansible's, which forks a worker for every task: no task lives long enough to hold a lock itself. So the
file names the controlling process, by its number and the moment at which it started, and counts for as long as that
process lives: a killed cycle blocks no other. ``flock`` is held only while the file is read and written.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..core.files import locked, private_dir, safe_name

MAX_BYTES = 4096


def take(state_dir: Path, key: str, pid: int) -> dict[str, Any] | None:
    """Take the lock of ``key`` for the process ``pid``; return ``None``, or its holder, ``{pid, …}``.

    Raises ``OSError`` when the file cannot be read or written.
    """
    directory = private_dir(state_dir / "watch")
    # Waits only while another process reads and writes one line.
    with locked(directory / f"{safe_name(key)}.lock", wait_s=None) as handle:
        holder = _read(handle)
        if holder is not None and holder.get("pid") != pid and alive(holder):
            return holder
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(identity(pid)).encode(), 0)
    return None


def identity(pid: int) -> dict[str, Any]:
    """Return what identifies a process uniquely: pid, boot and start time."""
    return {"pid": pid, "boot_id": _boot_id(), "started": _started(pid)}


def alive(holder: dict[str, Any]) -> bool:
    """Return whether the process that a lock names still runs."""
    pid = holder.get("pid")
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 0:
        return False
    if Path("/proc/self/stat").exists():
        return identity(pid) == holder and holder["started"] is not None
    try:  # no /proc: the number has to do
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(handle: int) -> dict[str, Any] | None:
    try:
        held = json.loads(os.pread(handle, MAX_BYTES, 0))
    except (ValueError, RecursionError):
        return None
    return held if isinstance(held, dict) else None


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _started(pid: int) -> int | None:
    """Return when a process started, in ticks since boot; ``None`` when it does not run, also for a zombie."""
    try:
        # The command, in brackets, may hold anything: fields count from the last bracket.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
