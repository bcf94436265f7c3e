"""Rotated logs by their names, and who still writes to them.

``.<log>.<id>.spool`` beside a log is what was renamed away and is not archived yet; ``.<log>.<id>.kept`` is archived
and stays for a day, so that the probe, which knows a log by its inode, can read the rest of it. ``<id>`` is the time
of the renaming with six random digits, so that names sort by time and never meet.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import stat
from calendar import timegm
from collections.abc import Iterable, Iterator
from time import strptime
from typing import NamedTuple, Optional

SPOOL, KEPT = "spool", "kept"
FREE, HELD, UNKNOWN = "free", "held", "unknown"
_NAME = re.compile(r"\.(?P<log>.+)\.(?P<id>(?P<at>\d{8}T\d{6}Z)-[0-9a-f]{6})\.(?P<state>spool|kept)", re.S)

Inode = tuple[int, int]


class Rotated(NamedTuple):
    """A log that was renamed: its place now, its place then, when (epoch seconds), and whether it is archived."""

    path: str
    log: str
    id: str
    at: float
    state: str


class Holder(NamedTuple):
    """A process that has a file open for writing."""

    pid: int
    command: str


def rotated_name(log: str, rotation: str, state: str = SPOOL) -> str:
    """Where ``log`` (a path) lies in a state of a rotation."""
    folder, name = os.path.split(log)
    return os.path.join(folder, f".{name}.{rotation}.{state}")


def parse(path: str) -> Optional[Rotated]:
    """What a path says by its name, ``None`` when it is no rotated log of ours."""
    folder, name = os.path.split(path)
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        at = timegm(strptime(match["at"], "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return None
    return Rotated(path, os.path.join(folder, match["log"]), match["id"], float(at), match["state"])


def rotated(folders: Iterable[str]) -> list[Rotated]:
    """Every rotated log in some directories, oldest first."""
    found: list[Rotated] = []
    for folder in sorted(set(folders)):
        with contextlib.suppress(OSError), os.scandir(folder) as items:
            for item in items:
                known = parse(item.path)
                if known is not None and item.is_file(follow_symlinks=False):
                    found.append(known)
    return sorted(found, key=lambda item: (item.id, item.path))


def inode(path: str) -> Optional[Inode]:
    """Device and inode of what stands at ``path``, ``None`` when nothing does."""
    try:
        info = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _writable_fds(pid: int, proc: str) -> Iterator[Inode]:
    """Regular files that a process has open for writing, as often as it has; nothing when it is not ours to look at."""
    try:
        numbers = os.listdir(f"{proc}/{pid}/fd")
    except OSError:
        return
    for number in numbers:
        try:
            info = os.stat(f"{proc}/{pid}/fd/{number}")
            if not stat.S_ISREG(info.st_mode):
                continue
            with open(f"{proc}/{pid}/fdinfo/{number}", encoding="ascii") as file:
                flags = next((int(line.split()[1], 8) for line in file if line.startswith("flags:")), 0)
        except (OSError, ValueError, IndexError):
            continue  # closed meanwhile
        if flags & os.O_ACCMODE != os.O_RDONLY:
            yield info.st_dev, info.st_ino


def times_open(pid: int, file: Optional[Inode], proc: str = "/proc") -> int:
    """How often a process has a file open for writing."""
    return sum(1 for found in _writable_fds(pid, proc) if found == file) if file is not None else 0


def writers(files: Iterable[Inode], proc: str = "/proc") -> dict[Inode, Holder]:
    """For each of ``files`` one process that has it open for writing, as far as this user may see."""
    wanted = set(files)
    found: dict[Inode, Holder] = {}
    pids = [int(name) for name in os.listdir(proc) if name.isdigit()] if wanted else []
    for pid in pids:
        if pid == os.getpid():
            continue
        for file in _writable_fds(pid, proc):
            if file in wanted:
                found.setdefault(file, Holder(pid, _command(pid, proc)))
    return found


def _command(pid: int, proc: str) -> str:
    """What a process calls itself; not its arguments, which may hold secrets."""
    try:
        with open(f"{proc}/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return "?"


def held(path: str) -> str:
    """Whether anybody has a file open for writing, whoever it is and whether we may see the process or not.

    The kernel grants a read lease only on a file that nobody has open for writing, and only to the file's owner:
    ``unknown`` for others' files and for file systems without leases. Call it on names that nobody opens any more:
    who opens a leased file for writing is kept waiting until the lease is given back, here within microseconds.
    """
    # The kernel tells the holder of a lease that somebody waits by this signal, which would end the process.
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        signal.signal(signal.SIGIO, before)
        return UNKNOWN
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return HELD if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK) else UNKNOWN
    finally:
        os.close(descriptor)
        signal.signal(signal.SIGIO, before)
    return FREE
