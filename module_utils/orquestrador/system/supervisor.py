"""Bound what recovers a host from outside of it: a second process watches the first, whatever the first is stuck in.

The *worker* does the work and tells how far it is; the *guard*, which Ansible started, only waits. A worker that has
not ended at its limit is told to (SIGTERM), then made to (SIGKILL), and whatever it has started is ended with it, but
PM2's daemons: they are what was recovered. A controller that is gone ends neither: a recovery that has begun goes on.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, Optional

from ..core.jsonable import clean
from . import signals
from .procfs import DAEMON_TITLE
from .resources import process_parent

GRACE_S = 2.0
MAX_BYTES = 16 * 1024 * 1024
_PR_SET_CHILD_SUBREAPER = 36

Tell = Callable[[dict[str, Any]], None]


class Watched(NamedTuple):
    """What became of the worker: its last word, whether that was its result, and whether the guard had to end it."""

    said: Optional[dict[str, Any]]
    complete: bool
    overdue: bool


def watch(work: Callable[[Tell], dict[str, Any]], *, limit_s: float, grace_s: float = GRACE_S) -> Watched:
    """Do ``work`` in a process of its own for at most ``limit_s``; it is given a function to tell how far it is.

    Leaves nothing of it behind but PM2's daemons.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    reader, writer = os.pipe()
    # Neither a connection that breaks nor its terminal ends a recovery.
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    worker = os.fork()
    if worker == 0:
        _work(work, reader, writer)
    os.close(writer)
    told_to_end: list[int] = []
    terminate = signal.signal(signal.SIGTERM, lambda *_: told_to_end.append(1))
    try:
        lines, ended, overdue = _listen(reader, worker, limit_s, told_to_end)
        if not ended:
            lines += _end(worker, reader, grace_s)
    finally:
        os.close(reader)
        _end_all(os.getpid())
        _reap(worker)
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGHUP, before)
    said, complete = _last(lines)
    return Watched(said, complete, overdue)


# --- the worker ----------------------------------------------------------------------------------------------------


def _work(work: Callable[[Tell], dict[str, Any]], reader: int, writer: int) -> None:
    """The body of the worker; never returns."""
    status = 1
    try:
        os.setsid()
        os.close(reader)
        # Ansible's connection waits for whoever has these open.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nowhere, number)

        signal.signal(signal.SIGTERM, _leave)

        def tell(word: dict[str, Any], *, complete: bool = False) -> None:
            with contextlib.suppress(OSError):  # the guard was killed: what has begun goes on
                _write(writer, json.dumps({"complete": complete, "word": clean(word)}).encode() + b"\n")

        tell(work(tell), complete=True)
        status = 0
    except BaseException:  # noqa: BLE001, S110 - a fork of the module must not run on into the module's own end
        pass
    finally:
        os._exit(status)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


# --- the guard -----------------------------------------------------------------------------------------------------


def _listen(reader: int, worker: int, limit_s: float, told_to_end: list[int]) -> tuple[bytes, bool, bool]:
    """What the worker says, whether it has ended by itself, and whether it was overdue."""
    end, lines = time.monotonic() + limit_s, b""
    while not told_to_end:
        left = end - time.monotonic()
        if left <= 0:
            return lines, False, True
        if select.select([reader], [], [], min(left, 0.5))[0]:
            piece = os.read(reader, 1 << 16)
            if not piece:
                return lines, True, False
            lines = _kept(lines + piece)
        elif _gone(worker):  # something it left behind holds the pipe, or it ended this very moment
            return _kept(lines + _rest(reader)), True, False
    return lines, False, False


def _kept(lines: bytes) -> bytes:
    """The last two words are enough: one may be incomplete."""
    if len(lines) > MAX_BYTES:
        return b""
    at = lines.rfind(b"\n", 0, max(lines.rfind(b"\n"), 0))
    return lines[at + 1 :]


def _gone(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _end(worker: int, reader: int, grace_s: float) -> bytes:
    """Tell the worker to end, then make it; what it still said."""
    said = b""
    for number, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 1.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, number)
        end = time.monotonic() + patience
        while not _gone(worker) and time.monotonic() < end:
            # Signals interrupt neither call for longer than this.
            if select.select([reader], [], [], 0.05)[0]:
                said += os.read(reader, 1 << 16)
        if _gone(worker):
            break
    return said + _rest(reader)


def _rest(reader: int) -> bytes:
    """What was said and not yet read."""
    said = b""
    while len(said) < MAX_BYTES and select.select([reader], [], [], 0)[0]:
        piece = os.read(reader, 1 << 16)
        if not piece:
            break
        said += piece
    return said


def _reap(worker: int) -> None:
    """Nothing of ours is left as a zombie; one that can't be killed now is left to the host's own init."""
    with contextlib.suppress(ChildProcessError):
        for _ in range(100):
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break


def _last(lines: bytes) -> tuple[Optional[dict[str, Any]], bool]:
    for line in reversed(lines.split(b"\n")):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            return said.get("word"), bool(said.get("complete"))
    return None, False


def _processes(proc: str) -> Iterator[tuple[int, int]]:
    """``(pid, parent)`` of every process."""
    for name in os.listdir(proc):
        if name.isdigit():
            above = process_parent(int(name), proc)
            if above is not None:
                yield int(name), above


def _descendants(root: int, proc: str = "/proc") -> list[int]:
    """Processes below ``root``, without PM2's daemons and what these run."""
    children: dict[int, list[int]] = {}
    for pid, above in _processes(proc):
        children.setdefault(above, []).append(pid)
    found: list[int] = []
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        if not _is_daemon(pid, proc):
            found.append(pid)
            waiting += children.get(pid, ())
    return found


def _is_daemon(pid: int, proc: str) -> bool:
    try:
        with open(f"{proc}/{pid}/cmdline", "rb") as stream:
            title = stream.read(8192).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return False
    return DAEMON_TITLE.match(title) is not None


def _end_all(root: int) -> None:
    """Whoever they belong to: what root's commands started is root's."""
    signals.send(_descendants(root), signal.SIGKILL, signals.Target(None, still=lambda pid: pid in _descendants(root)))
