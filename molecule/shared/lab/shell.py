"""Commands with a bound, and progress that is visible while they run."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from settings import LabError

STARTED = time.monotonic()
HEARTBEAT = 10.0  # seconds of silence after which a stage says that it is alive
TAIL = 25  # lines of a failed stage that are shown


def say(text: str) -> None:
    """One line of progress with the time since the command began."""
    print(f"[{time.monotonic() - STARTED:6.1f}s] {text}", file=sys.stderr, flush=True)


def elevated(argv: Sequence[str], keep: Sequence[str] = ()) -> list[str]:
    """The command as root, through sudo where we are not; `keep` are VAR=value that must survive sudo."""
    if os.geteuid() == 0:
        return ["env", *keep, *argv] if keep else list(argv)
    if shutil.which("sudo") is None:
        raise LabError("the lab needs root for podman: run as root, or install sudo and allow this user")
    return ["sudo", "env", *keep, *argv]


def mortal(argv: Sequence[str], by: str = "TERM") -> list[str]:
    """The command such that it ends when its parent is killed: no package manager goes on working unseen.

    Through sudo that can't be had; the build lock and the next run's cleaning have to do.
    """
    guarded = os.geteuid() == 0 and shutil.which("setpriv") is not None
    return ["setpriv", "--pdeathsig", by, *argv] if guarded else list(argv)


def authenticate() -> None:
    """Let sudo ask for its password now, on the terminal, rather than in the midst of bounded commands."""
    if os.geteuid() == 0:
        return
    if run([*elevated([])[:1], "-n", "true"], check=False).returncode == 0:
        return
    if not sys.stdin.isatty() or subprocess.run(["sudo", "-v"], check=False, timeout=120).returncode != 0:
        raise LabError("the lab needs root for podman, and sudo wants a password: run it from a terminal, or as root")


def run(
    argv: Sequence[str], *, timeout: float = 30, check: bool = True, stdin: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a short command; LabError when it fails (`check`) or outlives `timeout` seconds."""
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv, input=stdin if stdin is not None else b"", capture_output=True, timeout=timeout, env=env, check=False
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"{_short(argv)}: no answer within {timeout:.0f} s") from None
    except OSError as error:
        raise LabError(f"{_short(argv)}: {error.strerror}: run tools/ensure-lab-tools.sh") from None
    out = done.stdout.decode(errors="replace")
    err = done.stderr.decode(errors="replace")
    if check and done.returncode != 0:
        lines = (err.strip() or out.strip() or "no output").splitlines()
        raise LabError(f"{_short(argv)}: exit {done.returncode}: {lines[-1]}")
    return subprocess.CompletedProcess(list(argv), done.returncode, out, err)


def stage(
    title: str, argv: Sequence[str], *, timeout: float, log: Path, stdin: bytes | None = None, echo: bool = False
) -> None:
    """Run a long command: its output goes to `log`, its liveness to the terminal, its end is bounded.

    With `echo` every line is shown. On failure the log's last lines are shown and LabError names the log.
    """
    say(title)
    began = beat = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: collections.deque[str] = collections.deque(maxlen=TAIL)
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    with log.open("wb") as sink:
        child = subprocess.Popen(
            mortal(argv),
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            if stdin is not None and child.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.write(stdin)
                    child.stdin.close()
            for line in _lines(child, began + timeout):
                now = time.monotonic()
                if line is None:
                    if now - beat >= HEARTBEAT:
                        beat = now
                        say(f"  ... {title}: {now - began:.0f} s; last: {tail[-1][:100] if tail else 'nothing yet'}")
                    continue
                sink.write(line)
                text = line.decode(errors="replace").rstrip()
                if text:
                    tail.append(text)
                if echo and text:
                    beat = now
                    say(f"  {text}")
            child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            raise LabError(f"{title}: not done within {timeout:.0f} s; see {log}") from None
        finally:
            _end(child)
    if child.returncode != 0:
        if not echo:
            for text in tail:
                print(f"    {text}", file=sys.stderr)
        raise LabError(f"{title}: exit {child.returncode}; the whole output is in {log}")


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a child that still runs: politely, then not."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(timeout=10)


def _lines(child: subprocess.Popen[bytes], deadline: float) -> Iterator[bytes | None]:
    """Lines of the child's output, and None about once a second of silence."""
    if child.stdout is None:
        return
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(child.args), 0)
            if selector.select(timeout=1.0):
                chunk = os.read(child.stdout.fileno(), 65536)
                if not chunk:
                    break
                *whole, pending = (pending + chunk).split(b"\n")
                for line in whole:
                    yield line + b"\n"
            elif child.poll() is not None:
                break  # a grandchild holds the pipe open
            yield None
    if pending:
        yield pending


@contextlib.contextmanager
def lock(path: Path, what: str, timeout: float) -> Iterator[None]:
    """An exclusive lock on `path`; says who holds it while it waits, LabError after `timeout` seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + timeout
        told = 0.0
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                now = time.monotonic()
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                if now > deadline:
                    raise LabError(
                        f"{what} is held by process {holder} for over {timeout:.0f} s: "
                        "wait for it or end it, then try again"
                    ) from None
                if now - told > HEARTBEAT:
                    told = now
                    say(f"waiting for {what}: process {holder} is at work")
                time.sleep(0.2)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def die_politely() -> None:
    """Make SIGTERM and SIGHUP unwind like Ctrl-C, so that children end and temporary files go."""

    def leave(number: int, _frame: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


def _short(argv: Sequence[str]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 90 else text[:87] + "..."
