"""A file written in one go: a reader sees the old one or the new one, never a part, and never with a wider mode."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile


def write_whole(path: str, data: bytes, mode: int) -> None:
    """Put a file in the place of whatever was there, a link included. Raises :class:`OSError`."""
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)[:40]}.", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


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
