"""Run a command so that it can neither hang, nor flood, nor leave children behind.

Whatever this package starts, it starts by :func:`start` or :func:`fork`, and who comes of it is for good whom this
process is at that moment. A process of root that works as the application's user (:mod:`.identity`) has root's real
user id still: a child that kept it would have a way back to root, and that user a say in what the child does.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple, Optional, cast

MAX_OUTPUT_BYTES = 4 * 1024 * 1024


class Completed(NamedTuple):
    """What became of a command. ``code`` is ``None`` when it was killed at its timeout or never started."""

    code: Optional[int]
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool
    error: Optional[str]  # exception class when it could not be started, e.g. "FileNotFoundError"


def start(argv: Sequence[str], *, env: Mapping[str, str], **how: Any) -> subprocess.Popen[bytes]:
    """A child in a process group of its own; ``how`` is :class:`subprocess.Popen`'s. An argv list, never a shell."""
    user, group = os.geteuid(), os.getegid()
    if os.getresuid() != (user, user, user) or os.getresgid() != (group, group, group):
        # Sets the saved ids as well: setreuid(2). The groups are those of the user already.
        how.update(user=user, group=group)
    return subprocess.Popen(argv, env=env, start_new_session=True, **how)


def fork() -> int:
    """``os.fork``, but what comes of it is for good whom this process is at the moment."""
    user, group = os.geteuid(), os.getegid()
    pid = os.fork()
    if pid == 0:
        try:
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
        except OSError:
            os._exit(1)
    return pid


class _Output:
    """The two streams of a process, read side by side and kept up to a bound each."""

    def __init__(self, process: subprocess.Popen[bytes], max_bytes: int) -> None:
        self.kept: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.truncated = False
        self._max_bytes = max_bytes
        self._process = process

    def read_until(self, deadline: float) -> None:
        """Read until the command and its output have ended, or ``deadline`` (monotonic seconds)."""
        with selectors.DefaultSelector() as selector:
            selector.register(cast("IO[bytes]", self._process.stdout), selectors.EVENT_READ, "stdout")
            selector.register(cast("IO[bytes]", self._process.stderr), selectors.EVENT_READ, "stderr")
            ended = False
            while selector.get_map() and (left := deadline - time.monotonic()) > 0:
                events = selector.select(0 if ended else min(left, 0.1))
                for key, _ in events:
                    chunk = os.read(key.fd, 65536)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    self._keep(key.data, chunk)
                # A child that was left behind may hold the pipes open after the command ended: the end of the command
                # counts, not the end of the pipes. Asked for once more, because between the two it may have spoken.
                if not events and ended:
                    break
                ended = ended or (not events and self._process.poll() is not None)

    def _keep(self, stream: str, chunk: bytes) -> None:
        room = max(self._max_bytes - len(self.kept[stream]), 0)
        self.truncated = self.truncated or len(chunk) > room
        self.kept[stream] += chunk[:room]


def _end(process: subprocess.Popen[bytes], deadline: float) -> bool:
    """Wait until ``deadline``, then kill the command and all it started and did not detach. True when it was killed."""
    killed = False
    try:
        process.wait(max(deadline - time.monotonic(), 0.01))
    except subprocess.TimeoutExpired:
        killed = True
        # Gone meanwhile, or (with sudo) running as somebody else and bounded by its own `timeout`.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        # One in uninterruptible sleep is left rather than hung with.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return killed


def run(
    argv: list[str],
    *,
    timeout_s: float,
    env: Optional[dict[str, str]] = None,
    max_bytes: int = MAX_OUTPUT_BYTES,
) -> Completed:
    """Run ``argv`` with ``LC_ALL=C`` in its own process group and return what it said.

    ``env`` is added to the environment. Each stream is kept up to ``max_bytes`` and read on beyond, unkept. At
    ``timeout_s`` the group is killed; what was read until then is returned. Never raises for the command's sake.
    """
    deadline = time.monotonic() + timeout_s
    try:
        process = start(
            argv,
            env={**os.environ, **(env or {}), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except (OSError, ValueError) as error:
        return Completed(None, b"", b"", False, False, type(error).__name__)
    output = _Output(process, max_bytes)
    try:
        output.read_until(deadline)
    except BaseException:
        deadline = 0.0  # on the way out nobody waits for the rest
        raise
    finally:
        timed_out = _end(process, deadline)
    code = None if timed_out else process.returncode
    stdout, stderr = bytes(output.kept["stdout"]), bytes(output.kept["stderr"])
    return Completed(code, stdout, stderr, timed_out, output.truncated, None)
