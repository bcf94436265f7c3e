"""Children connected by pipes, each of them watched: none may fail unnoticed, hang, or outlive us."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Optional

from ..core.errors import OperatorError, os_reason
from ..core.messages import msg
from ..core.redact import scrub_text
from ..core.types import Message
from .command import start

CHUNK = 1 << 18
PIPE_BYTES = 1 << 20  # the most that an ordinary user may ask for
KEPT_ERRORS = 8192
GRACE_S = 10.0
NICE = 10
_F_SETPIPE_SZ = 1031
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.tee.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)
_LIBC.tee.restype = ctypes.c_ssize_t


def _die_with_parent() -> None:
    """In the child, once it is wholly one user: be killed when the process that started us is, however that happens.

    A change of the user, or a program that is started with two, would forget that (prctl(2), execve(2)).
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def stand_back() -> None:
    """Let the database and its clients, whom all others of a pipe wait for, run before the calling thread."""
    with contextlib.suppress(OSError):  # a matter of speed only
        os.setpriority(os.PRIO_PROCESS, 0, min(os.getpriority(os.PRIO_PROCESS, 0) + NICE, 19))


def _die_with_parent_behind() -> None:
    _die_with_parent()
    stand_back()


def widen(descriptor: int) -> None:
    """Let a pipe hold a megabyte: fewer switches between its two ends."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, _F_SETPIPE_SZ, PIPE_BYTES)


class Child:
    """One process and the end of what it complained about."""

    def __init__(self, name: str, process: subprocess.Popen[bytes]) -> None:
        self.name = name
        self.process = process
        self.complaint = b""
        self.ended_by_us = False
        self._reader = threading.Thread(target=self._read, daemon=True)

    def listen(self) -> None:
        """Begin to read its standard error."""
        self._reader.start()

    def _read(self) -> None:
        stream = self.process.stderr
        while stream is not None:
            piece = os.read(stream.fileno(), 4096)
            if not piece:
                return
            self.complaint = (self.complaint + piece)[-KEPT_ERRORS:]

    def last_words(self) -> str:
        """The line of its standard error that says most, without secrets."""
        self._reader.join(1)
        lines = [line.strip() for line in self.complaint.decode("utf-8", "replace").splitlines() if line.strip()]
        # Some end with a line that asks for reports of their errors; the one that names the error says more.
        telling = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
        return scrub_text(telling)[:300]

    def kill(self) -> None:
        """End it and all it started; nothing when it has ended."""
        if self.process.poll() is None:
            self.ended_by_us = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def failure(self) -> Optional[Message]:
        """Why it counts as failed, ``None`` when it ended well."""
        code = self.process.returncode
        if code == 0:
            return None
        if code is not None and code < 0:
            return msg("{program} was ended by signal {number}", program=self.name, number=-code)
        reason = self.last_words() or "no reason given"
        return msg("{program} failed with status {code}: {reason}", program=self.name, code=code, reason=reason)


class Pipeline:
    """Start the children inside ``with``; on the way out none of them is left.

    :param deadline: monotonic seconds after which everything is ended.
    :param stall_s: seconds without progress (:meth:`alive`) after which everything is ended.
    """

    def __init__(self, deadline: float, stall_s: float) -> None:
        self.children: list[Child] = []
        self.ended_for: Optional[Message] = None
        self._deadline = deadline
        self._stall_s = stall_s
        self._progress = time.monotonic()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watching, daemon=True)

    def start(self, name: str, argv: Sequence[str], *, behind: bool = False, **streams: Any) -> subprocess.Popen[bytes]:
        """Start a child; all are started before any thread is, and from the thread that stays: see prctl(2).

        :param behind: it works with what a database gives or takes, and stands back for it (:func:`stand_back`).
        """
        try:
            process = start(
                argv,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},
                # Before any thread of ours runs.
                preexec_fn=_die_with_parent_behind if behind else _die_with_parent,
                **streams,
            )
        except OSError as error:
            raise OperatorError(
                msg("{program} can't be started: {reason}", program=name, reason=os_reason(error))
            ) from error
        self.children.append(Child(name, process))
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                widen(stream.fileno())
        return process

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._over.set()
        for child in self.children:
            child.kill()
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(GRACE_S)
            for stream in (child.process.stdin, child.process.stdout, child.process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()

    def watch(self) -> None:
        """Begin to watch time and progress, and to listen to complaints."""
        self._progress = time.monotonic()
        for child in self.children:
            child.listen()
        self._watch.start()

    def alive(self) -> None:
        """Say that something moved."""
        self._progress = time.monotonic()

    def end(self, reason: Message) -> None:
        """End every child; the first reason counts."""
        self.ended_for = self.ended_for or reason
        for child in self.children:
            child.kill()

    def _watching(self) -> None:
        while not self._over.wait(0.5):
            now = time.monotonic()
            if now > self._deadline:
                self.end(msg("the time allowed is over: allow more, or look at the load of the host"))
            elif any(child.process.poll() not in (None, 0) for child in self.children):
                # While nothing flows, as behind a lock in the database, no broken pipe tells of it.
                for child in self.children:
                    child.kill()
            elif now - self._progress > self._stall_s:
                self.end(
                    msg(
                        "nothing moved for {stall_s}: look at locks in the database and at the disk",
                        stall_s=self._stall_s,
                    )
                )

    def finish(self) -> None:
        """Wait for every child; :class:`OperatorError` naming the one whose failure came first."""
        for child in self.children:
            try:
                child.process.wait(max(self._deadline - time.monotonic(), 0) + GRACE_S)
            except subprocess.TimeoutExpired:
                self.end(msg("the time allowed is over: allow more, or look at the load of the host"))
        self._over.set()
        self.verdict()

    def verdict(self) -> None:
        """Raise for what went wrong, if anything did; of several failures the cause, not the consequence."""
        if self.ended_for is not None:
            raise OperatorError(self.ended_for)
        failed = [child for child in self.children if child.process.returncode != 0 and not child.ended_by_us]
        # Who writes into the pipe of one that ended is told so by SIGPIPE: a consequence.
        failed.sort(key=lambda child: child.process.returncode == -signal.SIGPIPE)
        for child in failed:
            message = child.failure()
            if message is not None:
                raise OperatorError(message)

    def broken(self) -> None:
        """A pipe of ours broke: say who ended, give them a moment to have done so."""
        until = time.monotonic() + 2
        while time.monotonic() < until and all(child.process.poll() is None for child in self.children):
            time.sleep(0.02)
        time.sleep(0.05)
        for child in self.children:
            child.process.poll()
            child.kill()
        for child in self.children:
            child.process.wait(GRACE_S)
        self.verdict()
        raise OperatorError(msg("a process of the pipe ended too early without saying why: try again"))


class Worker(threading.Thread):
    """A thread that stands back for the database and whose exception is not lost."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self.error: Optional[BaseException] = None

    def run(self) -> None:
        """Work."""
        stand_back()
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self.error = error

    def result(self) -> None:
        """Wait until the work is done, as long as it takes: what it works on is bounded. Raises what it raised."""
        self.join()
        if self.error is not None:
            raise self.error


def pieces(descriptor: int) -> Iterator[bytes]:
    """What a pipe carries, until its end."""
    while True:
        piece = os.read(descriptor, CHUNK)
        if not piece:
            return
        yield piece


def teed(source: int, sink: int) -> Iterator[bytes]:
    """What a pipe carries, until its end; each piece is in the pipe ``sink`` before it is handed out.

    The kernel lets both pipes share the pages, so that what passes by is copied once, to be looked at. Raises
    ``BrokenPipeError`` when nobody reads ``sink`` any more.
    """
    while True:
        count = _LIBC.tee(source, sink, CHUNK, 0)
        if count == 0:
            return
        if count > 0:
            # What was duplicated is there, but a read need not bring all of it.
            while count:
                piece = os.read(source, count)
                count -= len(piece)
                yield piece
            continue
        number = ctypes.get_errno()
        if number == errno.EPIPE:
            raise BrokenPipeError(number, os.strerror(number))
        if number != errno.EINTR:
            break
    for piece in pieces(source):  # where the kernel can't
        write_all(sink, piece)
        yield piece


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def end_on_signals() -> None:
    """Unwind on TERM and HUP as on an interrupt, and when nobody is left to read what the module prints.

    A connection that breaks or a controller that is killed must not leave work or children behind; without a terminal
    no signal tells of it, only the pipe that standard output is.
    """

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    def look() -> None:
        poll = select.poll()
        poll.register(1, 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll()):
            os.kill(os.getpid(), signal.SIGHUP)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    threading.Thread(target=look, daemon=True).start()
