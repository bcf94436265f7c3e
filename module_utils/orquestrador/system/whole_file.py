"""A file written in one go: a reader sees the old one or the new one, never a part, and never with a wider mode."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import Optional


def write_whole(path: str, data: bytes, mode: int, *, temporary: Optional[str] = None) -> None:
    """Put a file in the place of whatever was there, a link included, so that it lasts. Raises :class:`OSError`.

    ``temporary`` is where it is written first; given by who is the only writer, so that what a killed one left there
    is used again.
    """
    if temporary is None:
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, f".{name[:40]}.{os.getpid()}-{time.monotonic_ns()}")
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(handle, mode)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make renames in a directory last."""
    handle = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_whole(path: str, data: bytes, mode: int) -> bool:
    """Whether a regular file of ours is there already with this content and mode; a link to one is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        kept = stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == mode and found.st_uid == os.geteuid()
        return kept and found.st_size == len(data) and file.read(len(data) + 1) == data
