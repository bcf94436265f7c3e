"""Run a long command of the application's own, a build or a test suite, so that nothing of it is left behind.

It runs in a process group of its own with standard output and error in one stream, of which the beginning and the end
are kept. On every way out the group is killed, and whatever carries this run's mark in its environment as well:
grandchildren that left the group do. The mark also finds what a run that was killed itself has left.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple, Optional

from ..core import redact
from ..core.errors import os_reason
from . import signals
from .command import start
from .procfs import DAEMON_TITLE

MARK = "ORQUESTRADOR_OPS_RUN"
HEAD_BYTES = 64 * 1024
TAIL_BYTES = 448 * 1024
# How long the output is waited for after the command has ended: a child left behind may hold the stream open.
LINGER_S = 0.5
# How long the killed may take to be gone: a busy machine gets to it late.
GONE_S = 2.0

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)|[PX^_][^\x1b]{0,2000}\x1b\\|[ -/]*[0-~])"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Ended(NamedTuple):
    """What became of a command. ``code`` is ``None`` when it was killed at its limit or could not be started."""

    code: Optional[int]
    output: str  # without escape codes; the middle is left out of more than the bounds
    timed_out: bool
    error: Optional[str]  # why it could not be started
    seconds: float


def readable(text: str) -> str:
    """Text of a terminal as text: without escape codes and control characters; of a line redrawn, its last state."""
    text = _ESCAPE.sub("", text.replace("\r\n", "\n"))
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "\n".join(_CONTROL.sub("", line).rstrip() for line in lines)


def last_lines(text: str, secrets: Sequence[str] = (), *, lines: int = 20, characters: int = 4000) -> str:
    """The last lines that say something, without secrets."""
    kept = [line[:400] for line in text.splitlines() if line.strip()][-lines:]
    return redact.scrub_text("\n".join(kept), secrets)[-characters:]


def telling(text: str, secrets: Sequence[str] = ()) -> str:
    """The line that says most of why something failed: the first that names an error, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
    return redact.scrub_text(line[:400], secrets)[:300]


class _Output:
    """Beginning and end of a stream."""

    def __init__(self) -> None:
        self.head, self.tail, self.dropped = bytearray(), bytearray(), False

    def add(self, piece: bytes) -> None:
        room = HEAD_BYTES - len(self.head)
        self.head += piece[:room]
        self.tail += piece[max(room, 0) :]
        if len(self.tail) > 2 * TAIL_BYTES:
            self._cut()

    def _cut(self) -> None:
        if len(self.tail) > TAIL_BYTES:
            self.dropped = True
            del self.tail[:-TAIL_BYTES]

    def text(self) -> str:
        self._cut()
        between = b"\n[...]\n" if self.dropped else b""
        return readable((bytes(self.head) + between + bytes(self.tail)).decode("utf-8", "replace"))


def run(argv: Sequence[str], *, cwd: str, timeout_s: float, mark: str) -> Ended:
    """Run ``argv`` in ``cwd`` for at most ``timeout_s``; ``mark`` is a token of this run alone.

    Never raises for the command's sake; whatever is raised meanwhile, a signal's exit included, ends it first.
    """
    began = time.monotonic()
    deadline = began + timeout_s
    try:
        process = start(
            list(argv),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: mark},
        )
    except (OSError, ValueError) as error:
        return Ended(None, "", False, os_reason(error), 0.0)
    output = _Output()
    try:
        timed_out = not _follow(process, output, deadline)
    finally:
        _kill(process, mark)
    code = None if timed_out else process.returncode
    return Ended(code, output.text(), timed_out, None, round(time.monotonic() - began, 3))


def _follow(process: subprocess.Popen[bytes], output: _Output, deadline: float) -> bool:
    """Read until the command has ended, and its output with it or soon after; False at the deadline."""
    stream = process.stdout
    ended_at: Optional[float] = None
    if stream is None:
        return False
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while (now := time.monotonic()) < deadline:
            if ended_at is None and process.poll() is not None:
                ended_at = now
            if ended_at is not None and now - ended_at > LINGER_S:
                return True
            if not selector.get_map():
                if ended_at is not None:
                    return True
                time.sleep(0.02)
            elif selector.select(0.1):
                piece = os.read(stream.fileno(), 65536)
                if not piece:
                    selector.unregister(stream)
                output.add(piece)
    return process.poll() is not None


def _kill(process: subprocess.Popen[bytes], mark: str) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    end_marked(mark)
    # One in uninterruptible sleep is left rather than hung with.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)
    if process.stdout is not None:
        process.stdout.close()


def end_marked(mark: str, proc: str = "/proc") -> int:
    """Kill every process of ours that carries the mark of a run; how many were. PM2 and what it runs are spared.

    They are gone when it returns, but for one in uninterruptible sleep: whoever puts right what they had begun must
    not have them write into it.
    """
    killed: set[int] = set()
    ours = signals.Target(os.geteuid(), still=lambda pid: _marked(str(pid), mark, proc))
    until = time.monotonic() + GONE_S
    while (found := marked(mark, proc)) and time.monotonic() < until:
        signals.send(set(found) - killed, signal.SIGKILL, ours)
        killed.update(found)
        time.sleep(0.01)
    return len(killed)


def marked(mark: str, proc: str = "/proc") -> list[int]:
    """Every process of ours that carries the mark of a run, but PM2 and what it runs."""
    own = str(os.getpid())
    return [int(name) for name in os.listdir(proc) if name.isdigit() and name != own and _marked(name, mark, proc)]


def _marked(pid: str, mark: str, proc: str) -> bool:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return f"{MARK}={mark}".encode() in _read(f"{proc}/{pid}/environ").split(b"\0") and not _of_pm2(pid, proc)
    return False


def _of_pm2(pid: str, proc: str) -> bool:
    """Whether it is a PM2 daemon, or runs under one: a suite may have started it, and the application stays."""
    parent = _read(f"{proc}/{pid}/stat").rpartition(b")")[2].split()[1].decode()
    for one in (pid, parent):
        with contextlib.suppress(OSError):  # the parent has ended meanwhile
            title = _read(f"{proc}/{one}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
            if DAEMON_TITLE.match(title):
                return True
    return False


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(1 << 20)
