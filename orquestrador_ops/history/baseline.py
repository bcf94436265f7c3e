"""What the last run left for the next one, without waiting for the database library.

The probe of a routine starts with this, and importing SQLAlchemy takes a quarter of a second. With the default store
a small file beside it holds a copy: ``<state_dir>/memory/<host>/<procedure>.json``. The history removes the copy
before it commits and writes it after, so that a copy never says something else than the history; a missing or
damaged one costs only time.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from ..core.files import private_dir, safe_name, write_atomic

STORE = "history.sqlite3"
MAX_CACHE_BYTES = 16 * 1024 * 1024
_SCHEMA = 1


def cache_path(state_dir: Path, host: str, procedure: str) -> Path:
    """Where the copy of a memory lies; neither name can lead out of ``state_dir``."""
    return state_dir / "memory" / safe_name(host) / f"{safe_name(procedure)}.json"


def read_cache(state_dir: Path, host: str, procedure: str) -> dict[str, Any] | None:
    """The copy, or ``None`` when it is missing, damaged, too large or somebody else's."""
    path = cache_path(state_dir, host, procedure)
    try:
        if path.stat().st_size > MAX_CACHE_BYTES:
            return None
        held = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(held, dict) or held.get("schema") != _SCHEMA:
        return None
    if held.get("host") != host or held.get("procedure") != procedure or not isinstance(held.get("memory"), dict):
        return None
    memory: dict[str, Any] = held["memory"]
    return memory


def cache(state_dir: Path, url: str | None, host: str, procedure: str, memory: dict[str, Any]) -> None:
    """Write the copy, if this history has copies at all. Failing to is not an error, because the history has it."""
    if url is not None:
        return
    path = cache_path(state_dir, host, procedure)
    held = {"schema": _SCHEMA, "host": host, "procedure": procedure, "memory": memory}
    with contextlib.suppress(OSError, ValueError):
        private_dir(path.parent)
        # Without fsync: after a power cut the file may be empty, which reads as damaged, which is harmless.
        write_atomic(path, json.dumps(held).encode(), sync=False)


def drop_cache(state_dir: Path, host: str, procedure: str) -> None:
    """Remove the copy, before what it copies changes. Raises ``OSError`` when a stale one cannot be removed."""
    cache_path(state_dir, host, procedure).unlink(missing_ok=True)
