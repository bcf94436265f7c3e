"""Files that are locked, synced and named so that nothing half-done looks whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import time
from calendar import timegm
from collections.abc import Iterator
from typing import Any

from ..core.errors import OperatorError, os_reason
from ..core.jsonable import iso
from ..core.messages import msg
from ..core.types import Message

DIR_MODE, FILE_MODE = 0o700, 0o600
SCRATCH = ".verify-"
LOCK = ".lock"
LOCK_POLL_S = 0.01


def new_id(now: float) -> str:
    """``<UTC>-<short>``: sorts by time."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(3)}"


def seconds_of(moment: str) -> float:
    """Seconds since 1970 of a moment as :func:`..core.jsonable.iso` writes it; of anything else the present ones."""
    try:
        return float(timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return time.time()


def lock_file(path: str, wait_s: float = 0.0) -> int:
    """A descriptor that holds the lock of a file, which is made; the kernel frees it with the process that has it.

    Raises:
        BlockingIOError: another process still holds it after ``wait_s`` seconds. OSError: it can't be opened.
    """
    deadline = time.monotonic() + wait_s
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have removed the file meanwhile, and another process locked the new one.
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if time.monotonic() >= deadline:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), path)
        time.sleep(LOCK_POLL_S)


class Lock:
    """One run at a time in a directory. What it writes into the lock's file tells others who it is and how far."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._told = 0.0

    def tell(self, every_s: float = 0.0, **facts: Any) -> None:
        """Write who holds it, at most every ``every_s`` seconds; readers tell the progress from it."""
        now = time.monotonic()
        if now - self._told < every_s:
            return
        self._told = now
        data = json.dumps({"pid": os.getpid(), **facts}).encode()
        with contextlib.suppress(OSError):  # a full disk must not stop who is about to free it
            os.pwrite(self._descriptor, data, 0)
            os.ftruncate(self._descriptor, len(data))


@contextlib.contextmanager
def locked(directory: str, action: str, now: float) -> Iterator[Lock]:
    """Hold the directory; :class:`OperatorError` naming the holder when another run does."""
    path = os.path.join(directory, LOCK)
    try:
        descriptor = lock_file(path)
    except BlockingIOError:
        raise OperatorError(_busy(directory, path)) from None
    except OSError as error:
        raise OperatorError(msg("{path} can't be locked: {reason}", path=directory, reason=os_reason(error))) from error
    try:
        lock = Lock(descriptor)
        lock.tell(action=action, since_at=iso(now))
        yield lock
    finally:
        os.close(descriptor)


def _busy(directory: str, path: str) -> Message:
    holder: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
        read = json.loads(file.read(4096))
        holder = read if isinstance(read, dict) else {}
    done = holder.get("bytes", 0)
    return msg(
        "another run ({action}, process {pid}, since {since_at}, {done_bytes} so far) is at work in {path}: wait",
        action=str(holder.get("action", "unknown")),
        pid=str(holder.get("pid", "unknown")),
        since_at=str(holder.get("since_at", "")),
        done_bytes=done if isinstance(done, int) else 0,
        path=directory,
    )


def sha256_of(path: str) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while True:
            block = file.read(1 << 20)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def free_bytes(path: str) -> int:
    """What an ordinary user may still write there."""
    figures = os.statvfs(path)
    return figures.f_bavail * figures.f_frsize
