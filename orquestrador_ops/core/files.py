"""File names that cannot leave their directory, writes that are whole or not there at all, and locks."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

MAX_NAME = 100
LOCK_POLL_S = 0.02
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def safe_name(name: str) -> str:
    """Make one path component of ``name``.

    Names of the usual form (``web-01.example.org``, ``daily``) come back unchanged. Everything else gets ``_`` for
    what is not allowed and a digest of the original, so that two different names never share a file.
    """
    text = str(name)
    cut = _UNSAFE.sub("_", text)[:MAX_NAME].lstrip(".")
    if cut == text and cut:
        return cut
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{cut or 'unnamed'}-{digest}"


def private_dir(path: Path) -> Path:
    """Create ``path`` with mode 0700 (parents too); an existing directory keeps its mode. Raises ``OSError``."""
    missing = []
    step = path
    while not step.exists():
        missing.append(step)
        step = step.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another worker was quicker
            directory.mkdir(mode=0o700)
    return path


def write_atomic(path: Path, data: bytes, *, sync: bool = True, mode: int = 0o600) -> None:
    """Write ``data`` to ``path`` as :func:`replacing` does: a reader sees the old file or the new one, never a part."""
    with replacing(path, sync=sync, mode=mode) as stream:
        stream.write(data)


@contextlib.contextmanager
def replacing(path: Path, *, sync: bool = True, mode: int = 0o600) -> Iterator[BinaryIO]:
    """What is written takes the place of ``path`` when it is whole; until then, and if it fails, the old file stands.

    ``mode`` is the new file's, whatever the umask and the old one's. ``sync=False`` leaves out the fsync, for caches
    that can be made again. Raises ``OSError``; no temporary file is left.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)  # mkstemp gives 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            if mode != 0o600:
                os.fchmod(handle, mode)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def link_latest(link: Path, target: Path) -> None:
    """Point the symlink ``link`` at its sibling ``target``, atomically. Raises ``OSError``."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(target.name)
    temporary.replace(link)


@contextlib.contextmanager
def locked(path: Path, *, wait_s: float | None, create: bool = True) -> Iterator[int]:
    """Hold ``path`` for this process alone, and give its descriptor, open for reading and writing.

    ``wait_s`` is how long another may keep it, ``None`` for as long as it likes. Raises ``BlockingIOError`` when it was
    kept longer, and ``OSError`` when the file cannot be opened. The kernel gives it back if the process dies.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    handle = os.open(path, flags, 0o600)
    try:
        until = None if wait_s is None else time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if until is None else fcntl.LOCK_NB))
                break
            except BlockingIOError:
                if until is not None and time.monotonic() >= until:
                    raise
                time.sleep(LOCK_POLL_S)
        yield handle
    finally:
        os.close(handle)  # releases the lock
