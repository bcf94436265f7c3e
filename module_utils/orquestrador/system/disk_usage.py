"""What fills a file system: places that are known, the largest files in them, and files that are deleted but open.

Bounded in time and in entries; nothing is followed out of the file system that is looked at, nor through a link.
"""

from __future__ import annotations

import heapq
import os
import stat
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

from .ports import read_command

MAX_ENTRIES = 300_000
TOP_FILES, TOP_PLACES = 10, 12
# An open file that is deleted counts from this size on.
LEAST_OPEN_BYTES = 1024 * 1024


class Place(NamedTuple):
    """A known place, as far as it could be measured."""

    name: str
    path: str
    bytes: int
    files: int
    whole: bool


def survey(places: Mapping[str, str], device: int, seconds: float, proc: str = "/proc") -> dict[str, Any]:
    """``{places, files, deleted, whole}`` on the file system ``device``: the largest first.

    A place within another is counted for itself only.
    """
    end = time.monotonic() + seconds
    known = {os.path.realpath(path) for path in places.values()}
    measured: list[Place] = []
    largest: list[tuple[int, str]] = []
    for name, path in places.items():
        try:
            if os.stat(path).st_dev != device:
                continue
        except OSError:
            continue
        found = measure(name, os.path.realpath(path), known, end, largest)
        if found.bytes:
            measured.append(found)
    deleted = deleted_open(device, proc)
    return {
        "places": [
            {"name": one.name, "path": one.path, "size_bytes": one.bytes, "files": one.files, "whole": one.whole}
            for one in sorted(measured, key=lambda one: -one.bytes)[:TOP_PLACES]
        ],
        "files": [{"path": path, "size_bytes": size} for size, path in sorted(largest, reverse=True)],
        "deleted": deleted,
        "whole": all(one.whole for one in measured),
    }


def measure(name: str, top: str, known: set[str], end: float, largest: list[tuple[int, str]]) -> Place:
    """What a place holds on its own file system; ``largest`` is kept up to date as a heap."""
    device, total, count, seen = os.stat(top).st_dev, 0, 0, 0
    waiting, whole = [top], True
    counted: set[int] = set()
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    seen += 1
                    if seen > MAX_ENTRIES or (seen % 512 == 0 and time.monotonic() > end):
                        return Place(name, top, total, count, whole=False)
                    info = _info(entry)
                    if info is None:
                        continue
                    if stat.S_ISDIR(info.st_mode):
                        if info.st_dev == device and entry.path not in known:
                            waiting.append(entry.path)
                        continue
                    if info.st_nlink > 1:
                        if info.st_ino in counted:
                            continue
                        counted.add(info.st_ino)
                    size = info.st_blocks * 512
                    total, count = total + size, count + 1
                    heapq.heappush(largest, (size, entry.path))
                    if len(largest) > TOP_FILES:
                        heapq.heappop(largest)
        except OSError:
            whole = False
    return Place(name, top, total, count, whole)


def _info(entry: os.DirEntry[str]) -> Optional[os.stat_result]:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None


def deleted_open(device: int, proc: str = "/proc") -> list[dict[str, Any]]:
    """Files that have no name any more and are kept by who has them open: ``{path, size_bytes, pid, command}``."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for pid in (name for name in os.listdir(proc) if name.isdigit()):
        try:
            descriptors = os.listdir(f"{proc}/{pid}/fd")
        except OSError:
            continue
        for number in descriptors:
            link = f"{proc}/{pid}/fd/{number}"
            try:
                path = os.readlink(link)
                if not path.startswith("/") or not path.endswith(" (deleted)"):
                    continue
                info = os.stat(link)
            except OSError:
                continue
            size = info.st_blocks * 512
            key = (info.st_dev, info.st_ino)
            if key in found or not stat.S_ISREG(info.st_mode) or info.st_nlink or size < LEAST_OPEN_BYTES:
                continue
            path = path[: -len(" (deleted)")]
            if device in (info.st_dev, _device_of(os.path.dirname(path))):
                command = read_command(int(pid), proc) or "?"
                found[key] = {"path": path, "size_bytes": size, "pid": int(pid), "command": command}
    return sorted(found.values(), key=lambda one: -int(one["size_bytes"]))[:TOP_FILES]


def _device_of(path: str) -> Optional[int]:
    """The file system of a directory: a layered one gives its files other numbers than its directories."""
    try:
        return os.stat(path).st_dev
    except OSError:
        return None
