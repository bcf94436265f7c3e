"""Signals that reach the process that was meant and no other.

What says which process it is, PM2's answer or a pid file, belongs to the application's user, who may write any number
there; and a number is another process's once its own has ended. So a process is held by a descriptor (pidfd_open(2)),
looked at, and signalled through it. Where a process can't be held it is left alone.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Callable, NamedTuple, Optional

from ..core.messages import msg
from ..core.types import Message
from .procfs import user_name

END_WAIT_S, KILL_WAIT_S = 3.0, 1.0


class Sent(NamedTuple):
    """Who got a signal, and of the others that live why they did not."""

    pids: list[int]
    left_alone: list[Message]


class Target(NamedTuple):
    """Whom a signal is meant for.

    ``uid``: all four of its user ids have to be this one; ``None`` is anybody's, for what an operator approved.
    ``started``: when it started, by pid, where that was seen before (:func:`started`). ``still``: asked last, with the
    process held, whether it still is the one.
    """

    uid: Optional[int]
    started: Mapping[int, Optional[int]] = {}
    still: Callable[[int], bool] = lambda _: True


def send(pids: Iterable[int], number: int, target: Target) -> Sent:
    """Signal those processes that are whom they should be; one that is gone is nobody's trouble."""
    with _held(pids) as held:
        return _send(held, number, target)


def end(
    pids: Iterable[int],
    target: Target,
    *,
    first: Optional[int] = signal.SIGTERM,
    patience_s: float = END_WAIT_S,
    gone_s: float = KILL_WAIT_S,
) -> Sent:
    """End processes, by ``first`` if they do so in time, and wait until they are gone, ``gone_s`` at most."""
    with _held(pids) as held:
        if first is None:
            sent = _send(held, signal.SIGKILL, target)
        else:
            sent = _send(held, first, target)
            _wait([held[pid] for pid in sent.pids], patience_s)
            # Once more looked at: it may have become a program of another user's meanwhile.
            left = {pid: held[pid] for pid in sent.pids if not _gone(held[pid])}
            late = _send(left, signal.SIGKILL, target._replace(still=lambda _: True))
            sent = Sent(sent.pids, [*sent.left_alone, *late.left_alone])
        _wait([held[pid] for pid in sent.pids], gone_s)
    return sent


def started(pid: int, proc: str = "/proc") -> Optional[int]:
    """When a process started, in ticks since the boot: with its number, nobody else will ever be that."""
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


@contextlib.contextmanager
def _held(pids: Iterable[int]) -> Iterator[dict[int, Optional[int]]]:
    """Descriptors of those processes that live, ``None`` for one that can't be held."""
    held: dict[int, Optional[int]] = {}
    try:
        for pid in pids:
            if pid in held or pid <= 1:
                continue
            try:
                held[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            except (AttributeError, OSError):  # a Python or a kernel that has no such thing
                held[pid] = None
        yield held
    finally:
        for descriptor in held.values():
            if descriptor is not None:
                os.close(descriptor)


def _send(held: Mapping[int, Optional[int]], number: int, target: Target) -> Sent:
    sent = Sent([], [])
    for pid, descriptor in held.items():
        if descriptor is None:
            sent.left_alone.append(
                msg(
                    "process {pid} can't be held while it is signalled (pidfd): left alone, end it by hand",
                    pid=str(pid),
                )
            )
            continue
        refused = _refused(pid, target)
        if refused is None:
            try:
                signal.pidfd_send_signal(descriptor, number)
                sent.pids.append(pid)
            except ProcessLookupError:
                continue
            except OSError as error:
                refused = msg("process {pid} can't be signalled: {reason}", pid=str(pid), reason=str(error.strerror))
        if refused is not None and not _gone(descriptor):
            sent.left_alone.append(refused)
    return sent


def _refused(pid: int, target: Target) -> Optional[Message]:
    """Why a process that is held is not signalled; what is read of it is its own as long as it lives."""
    if target.uid is not None:
        uids = _uids(pid)
        other = next((uid for uid in uids if uid != target.uid), None)
        if other is not None or len(uids) != 4:
            whose, owner = "?" if other is None else user_name(other), user_name(target.uid)
            return msg(
                "process {pid} belongs to {user}, not to {owner}: left alone", pid=str(pid), user=whose, owner=owner
            )
    if (target.started.get(pid) is not None and started(pid) != target.started[pid]) or not target.still(pid):
        return msg("process {pid} is not what it was a moment ago: left alone", pid=str(pid))
    return None


def _uids(pid: int) -> list[int]:
    """Real, effective, saved and file system user id; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next(([int(word) for word in line.split()[1:]] for line in file if line.startswith("Uid:")), [])
    except (OSError, ValueError):
        return []


def _gone(descriptor: Optional[int], seconds: float = 0.0) -> bool:
    """Whether a process that is held has ended, or does within some seconds."""
    if descriptor is None:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(seconds, 0) * 1000))


def _wait(descriptors: Iterable[Optional[int]], seconds: float) -> None:
    """Until all of some processes have ended."""
    until = time.monotonic() + seconds
    for descriptor in descriptors:
        _gone(descriptor, until - time.monotonic())
