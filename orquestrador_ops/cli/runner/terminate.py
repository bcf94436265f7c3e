"""Ending a run: what it started on this machine, and what it still does on its hosts.

On this machine every process of a run carries its mark in the environment, whichever session or group it is in by now.
On a host the SSH connections are the handle: a run has connections of its own, in a directory of its own, so that a
second session over the same connection finds the rest of this run and of nobody else's (:mod:`.remote_terminate`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orquestrador.system import long_command

# A Unix socket's path may take 108 characters; OpenSSH appends 17 while it connects, Ansible's name for one takes 10.
MAX_SOCKET_DIR = 70
LOCAL_GRACE_S = 3.0
CLOSE_S = 2.0
ON_HOST = Path(__file__).with_name("remote_terminate.py")
# Nothing that lies in the login's directory or a home may be imported by root (-I).
_AS_ROOT = (
    "cd / && if sudo -n true 2>/dev/null; then exec sudo -n python3 -I - {grace}; else exec python3 -I - {grace}; fi"
)


@dataclass
class Rest:
    """What was still running on the hosts: names of processes asked to end, killed, and left; hosts not asked."""

    ended: list[str] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unasked: int = 0


@contextlib.contextmanager
def connections(run_id: str) -> Iterator[Path]:
    """A directory for the SSH connections of one run, which are closed and gone afterwards."""
    directory = _socket_dir(run_id)
    try:
        yield directory
    finally:
        close(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _socket_dir(run_id: str) -> Path:
    short = "rb-" + run_id.rpartition("-")[2]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for parent in (Path.home() / ".ansible" / "cp", Path(runtime) if runtime else None):
        if parent is None or len(str(parent / short)) > MAX_SOCKET_DIR:
            continue
        with contextlib.suppress(OSError):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (parent / short).mkdir(mode=0o700)
            return parent / short
    return Path(tempfile.mkdtemp(prefix="rb-", dir="/tmp"))  # a short name, and private


def sockets(directory: Path) -> list[Path]:
    """Connections that stand."""
    try:
        return [path for path in directory.iterdir() if path.is_socket()]
    except OSError:
        return []


def _over(socket: Path, *more: str) -> list[str]:
    # ProxyCommand: where the connection is gone there is nothing to connect to.
    options = ("ControlMaster=no", f"ControlPath={socket}", "BatchMode=yes", "ProxyCommand=false")
    return ["ssh", "-F", "none", *(f"-o{option}" for option in options), *more]


def close(directory: Path) -> None:
    """Close the connections of a run, all at once, in a bounded time."""
    running = [
        subprocess.Popen(
            _over(socket, "-O", "exit", "host"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for socket in sockets(directory)
    ]
    deadline = time.monotonic() + CLOSE_S
    for process in running:
        _ended_by(process, deadline)


def on_hosts(directory: Path, grace_s: float) -> Rest:
    """End what a run still does on the hosts it is connected to, side by side, in ``grace_s`` and a few seconds."""
    rest, script = Rest(), ON_HOST.read_bytes()
    running = []
    for socket in sockets(directory):
        process = subprocess.Popen(
            _over(socket, "host", _AS_ROOT.format(grace=grace_s)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        running.append(process)
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.write(script)
                process.stdin.close()
    deadline = time.monotonic() + grace_s + 8
    for process in running:
        said = _read(process) if _ended_by(process, deadline) else None
        if said is None:
            rest.unasked += 1
            continue
        for name in ("ended", "killed", "left"):
            getattr(rest, name).extend(map(str, said.get(name) or []))
    return rest


def _ended_by(process: subprocess.Popen[bytes], deadline: float) -> bool:
    try:
        process.wait(max(deadline - time.monotonic(), 0.01))
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        return False
    return process.returncode == 0


def _read(process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(process.stdout.read() if process.stdout else b"")
        return found if isinstance(found, dict) else None
    return None


def locally(mark: str, over: Callable[[], bool]) -> None:
    """Ask the run's ``ansible-playbook`` to end, which ends its workers, and wait for ``over`` to say that it did."""
    for pid in _children(mark):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + LOCAL_GRACE_S
    while not over() and time.monotonic() < until:
        time.sleep(0.05)


def _children(mark: str) -> list[int]:
    """Processes of a run that this one started itself."""
    found = []
    for pid in long_command.marked(mark):
        with contextlib.suppress(OSError, ValueError, IndexError):
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
            if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(pid)
    return found
