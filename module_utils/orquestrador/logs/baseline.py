"""What a reader of logs leaves for its next run, and whether a file is still the one that was read then.

A file is known by its inode, which is reused as soon as it is free, and by hashes of its head and of what stands before
the offset up to which it was read.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import Any, Optional

VERSION = 1
HEAD = 256
MAX_FILES = 64


def load(memory: Any) -> Optional[dict[str, Any]]:
    """A checked copy of what an earlier call returned; ``None`` when it is nothing of the kind.

    It has been on another machine in between, so nothing is assumed about it.
    """
    if not isinstance(memory, dict) or memory.get("v") != VERSION or not _is_number(memory.get("at")):
        return None
    files: dict[str, dict[str, Any]] = {}
    for path, entry in list(_items(memory.get("files")))[: 2 * MAX_FILES]:
        checked = _load_entry(entry)
        if checked is not None:
            files[str(path)] = checked
    days: dict[int, int] = {}
    for bucket, count in _items(memory.get("day")):
        if isinstance(bucket, str) and re.fullmatch(r"[0-9]{1,10}", bucket) and _is_count(count):
            days[int(bucket)] = count
    known: dict[str, list[float]] = {}
    for fingerprint, item in _items(memory.get("known")):
        if isinstance(item, list) and len(item) == 2 and _is_number(item[0]) and _is_count(item[1]):
            known[str(fingerprint)] = [item[0], item[1]]
    return {"at": float(memory["at"]), "files": files, "day": days, "known": known}


def _load_entry(entry: Any) -> Optional[dict[str, Any]]:
    if not isinstance(entry, dict):
        return None
    if not all(_is_count(entry.get(name)) for name in ("dev", "ino", "off", "hn")):
        return None
    if not isinstance(entry.get("hh"), str) or not isinstance(entry.get("th"), str):
        return None
    if entry["hn"] > HEAD or not _is_number(entry.get("at")):
        return None
    part = entry.get("part")
    if not (isinstance(part, list) and len(part) == 2 and all(_is_count(n) for n in part)):
        part = None
    return {
        **{name: entry[name] for name in ("dev", "ino", "off", "hn", "hh", "th", "at")},
        **{name: entry.get(name) is True for name in ("skip", "gone")},
        **{name: entry[name] if _is_number(entry.get(name)) else None for name in ("ts", "cut")},
        "st": entry["st"] if isinstance(entry.get("st"), dict) else None,
        "part": part,
    }


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e12 < value < 1e12


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def identity(fd: int, info: os.stat_result, offset: int) -> dict[str, Any]:
    """The part of a file's entry by which it is known again, when it was read up to ``offset``."""
    head = min(HEAD, info.st_size)
    return {
        "dev": info.st_dev,
        "ino": info.st_ino,
        "off": offset,
        "hn": head,
        "hh": _digest(fd, 0, head),
        "th": _digest(fd, max(0, offset - HEAD), min(HEAD, offset)),
    }


def continues(fd: int, size: int, entry: dict[str, Any]) -> bool:
    """Whether the file is the remembered one, or a copy of it, with at most something appended.

    Its head and what stands before the remembered offset must be unchanged: one alone can be the same in two files
    whose writers started with the same error.
    """
    offset: int = entry["off"]
    if size < offset or _digest(fd, 0, entry["hn"]) != entry["hh"]:
        return False
    before: str = entry["th"]
    return _digest(fd, max(0, offset - HEAD), min(HEAD, offset)) == before


def is_still(path: str, entry: dict[str, Any]) -> bool:
    """Whether the remembered file is at ``path``: an inode alone is reused as soon as it is free."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        info = os.fstat(fd)
        same = stat.S_ISREG(info.st_mode) and (info.st_dev, info.st_ino) == (entry["dev"], entry["ino"])
        return same and continues(fd, info.st_size, entry)
    except OSError:
        return False
    finally:
        os.close(fd)


def _digest(fd: int, start: int, length: int) -> str:
    return hashlib.sha1(os.pread(fd, length, start), usedforsecurity=False).hexdigest()
