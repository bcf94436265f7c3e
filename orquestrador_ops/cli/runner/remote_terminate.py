"""End the processes of one SSH connection on a managed host. Sent there as the standard input of Python ≥ 3.9.

Every task of a run is a child of sshd's process of its connection. That connection belongs to one run, and this script
uses the same: all other processes below it are left over from that run. They get SIGTERM, so that a module can undo
its changes, and SIGKILL after the grace time. PM2's daemon is spared: the application runs below it.

``python3 -I - GRACE_S`` prints ``{"ended": [name, …], "killed": [name, …], "left": [name, …]}``; names are without
arguments, which may hold secrets.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

POLL_S = 0.05
KILL_WAIT_S = 2.0


def processes(proc: str = "/proc") -> dict[int, tuple[int, str, str]]:
    """Return all processes: ``{pid: (parent, name, started)}``; the start time identifies a reused pid."""
    table = {}
    for entry in Path(proc).iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
            head, _, tail = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
            fields = tail.split()
            if fields[0] not in ("Z", "X"):
                table[int(entry.name)] = (int(fields[1]), head.partition("(")[2], fields[19])
    return table


def signal_process(pid: int, started: str, number: int) -> None:
    """Signal the process with that start time, by a descriptor, because its pid may be reused."""
    descriptor = os.pidfd_open(pid)
    try:
        now = processes().get(pid)
        if now is not None and now[2] == started:
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def is_pm2(pid: int, proc: str = "/proc") -> bool:
    """Return whether a process is PM2's daemon."""
    try:
        return (Path(proc) / str(pid) / "cmdline").read_bytes().startswith(b"PM2 v")
    except OSError:
        return False


def connection_server(table: dict[int, tuple[int, str, str]], pid: int) -> int | None:
    """Return the sshd process of the connection of ``pid``."""
    while pid in table:
        pid = table[pid][0]
        if pid in table and table[pid][1].startswith("sshd"):
            return pid
    return None


def descendants(table: dict[int, tuple[int, str, str]], top: int, spared: set[int], proc: str = "/proc") -> list[int]:
    """Return all descendants of ``top``, without ``spared``, PM2's daemons, and their descendants."""
    pids, waiting = [], [top]
    while waiting:
        parent = waiting.pop()
        for pid in [pid for pid, (parent_pid, _, _) in table.items() if parent_pid == parent]:
            if pid not in spared and not is_pm2(pid, proc):
                pids.append(pid)
                waiting.append(pid)
    return pids


def end(grace_s: float) -> dict[str, list[str]]:
    """Terminate the remaining processes of this connection, and kill them after ``grace_s``."""
    table = processes()
    top = connection_server(table, os.getpid())
    if top is None:
        return {"ended": [], "killed": [], "left": []}
    spared, pid = set(), os.getpid()
    while pid != top:
        spared.add(pid)
        pid = table[pid][0]
    recorded: dict[int, tuple[str, str]] = {}

    def living() -> list[int]:
        # A process changes its parent when that ends, so it is recorded by itself.
        now = processes()
        for process in descendants(now, top, spared):
            recorded.setdefault(process, now[process][1:])
        return [process for process, (_, started) in recorded.items() if process in now and now[process][2] == started]

    def signalled(number: int, targets: list[int]) -> None:
        for process in targets:
            with contextlib.suppress(OSError, AttributeError):  # ended meanwhile, or no descriptor: reported as left
                signal_process(process, recorded[process][1], number)

    signalled(signal.SIGTERM, living())
    remaining = _wait(living, grace_s)
    killed = [recorded[process][0] for process in remaining]
    signalled(signal.SIGKILL, remaining)
    left = [recorded[process][0] for process in _wait(living, KILL_WAIT_S)] if remaining else []
    return {"ended": sorted(name for name, _ in recorded.values()), "killed": sorted(killed), "left": sorted(left)}


def _wait(living: Callable[[], list[int]], seconds: float) -> list[int]:
    until = time.monotonic() + seconds
    while True:
        remaining = living()
        if not remaining or time.monotonic() > until:
            return remaining
        time.sleep(POLL_S)


if __name__ == "__main__":
    print(json.dumps(end(float(sys.argv[1]))))
