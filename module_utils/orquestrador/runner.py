"""Run a command so that it can neither hang, nor flood, nor leave children behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from typing import IO, NamedTuple, Optional, cast

MAX_OUTPUT_BYTES = 4 * 1024 * 1024


class Completed(NamedTuple):
    """What became of a command. ``code`` is ``None`` when it was killed at its timeout or never started."""

    code: Optional[int]
    stdout: bytes
    stderr: bytes
    timed_out: bool
    truncated: bool
    error: Optional[str]  # exception class when it could not be started, e.g. "FileNotFoundError"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the command and all it started and did not detach."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # all gone, or (with sudo) running as somebody else and bounded by its own `timeout`


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
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {}), "LC_ALL": "C"},
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return Completed(None, b"", b"", False, False, type(error).__name__)
    kept: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    truncated = timed_out = False
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(cast("IO[bytes]", process.stdout), selectors.EVENT_READ, "stdout")
            selector.register(cast("IO[bytes]", process.stderr), selectors.EVENT_READ, "stderr")
            # A child that was left behind may hold the pipes open after the command ended: the end of the command
            # counts, not the end of the pipes.
            while selector.get_map():
                left = deadline - time.monotonic()
                if left <= 0:
                    timed_out = process.poll() is None
                    break
                events = selector.select(min(left, 0.1))
                for key, _ in events:
                    chunk = os.read(key.fd, 65536)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    room = max_bytes - len(kept[key.data])
                    truncated = truncated or len(chunk) > room
                    kept[key.data] += chunk[: max(room, 0)]
                if not events and process.poll() is not None:
                    break
        if not timed_out:
            try:
                process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                timed_out = True
    finally:
        # Only one that still runs: the group id of one that was reaped may be somebody else's by now.
        if process.poll() is None:
            timed_out = True
            _kill_group(process)
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            pass  # unkillable (uninterruptible sleep): leave it rather than hang with it
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    code = None if timed_out else process.returncode
    return Completed(code, bytes(kept["stdout"]), bytes(kept["stderr"]), timed_out, truncated, None)
