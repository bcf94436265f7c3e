"""What still runs on a managed host over one SSH connection, ended. Sent there as the standard input of Python ≥ 3.9.

Every task of a run is a child of the server's end of the connection it came over. That connection belongs to one run
alone, and this script comes over the same: whatever else hangs below it is a rest of that run. It is asked to end, so
that a module can put back what it has begun, and killed when it does not. PM2's daemon is nobody's rest: the
application runs below it.

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
    """Every process that lives: ``{pid: (parent, name, started)}``; the last tells it from a later one of that pid."""
    found = {}
    for entry in Path(proc).iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):  # it ended meanwhile
            head, _, tail = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
            fields = tail.split()
            if fields[0] not in ("Z", "X"):
                found[int(entry.name)] = (int(fields[1]), head.partition("(")[2], fields[19])
    return found


def signal_held(pid: int, started: str, number: int) -> None:
    """Signal the process that started then, by a descriptor: by its number it might reach a later one."""
    descriptor = os.pidfd_open(pid)
    try:
        now = processes().get(pid)
        if now is not None and now[2] == started:
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)


def is_pm2(pid: int, proc: str = "/proc") -> bool:
    """Whether it is a daemon of PM2's."""
    try:
        return (Path(proc) / str(pid) / "cmdline").read_bytes().startswith(b"PM2 v")
    except OSError:
        return False


def connection(table: dict[int, tuple[int, str, str]], pid: int) -> int | None:
    """The server's end of the connection that ``pid`` came over."""
    while pid in table:
        pid = table[pid][0]
        if pid in table and table[pid][1].startswith("sshd"):
            return pid
    return None


def below(table: dict[int, tuple[int, str, str]], top: int, spared: set[int], proc: str = "/proc") -> list[int]:
    """Everything below ``top`` but ``spared`` and daemons of PM2, each with what is below it."""
    found, waiting = [], [top]
    while waiting:
        parent = waiting.pop()
        for pid in [pid for pid, (above, _, _) in table.items() if above == parent]:
            if pid not in spared and not is_pm2(pid, proc):
                found.append(pid)
                waiting.append(pid)
    return found


def end(grace_s: float) -> dict[str, list[str]]:
    """Ask whatever is left of this connection to end, and kill what has not after ``grace_s``."""
    table = processes()
    top = connection(table, os.getpid())
    if top is None:
        return {"ended": [], "killed": [], "left": []}
    spared, pid = set(), os.getpid()
    while pid != top:
        spared.add(pid)
        pid = table[pid][0]
    known: dict[int, tuple[str, str]] = {}

    def living() -> list[int]:
        # One whose parent has ended hangs below another by now, so it is known by itself.
        now = processes()
        for one in below(now, top, spared):
            known.setdefault(one, now[one][1:])
        return [one for one, (_, started) in known.items() if one in now and now[one][2] == started]

    def signalled(number: int, targets: list[int]) -> None:
        for one in targets:
            with contextlib.suppress(OSError, AttributeError):  # ended meanwhile, or it can't be held: told as left
                signal_held(one, known[one][1], number)

    signalled(signal.SIGTERM, living())
    rest = _wait(living, grace_s)
    killed = [known[one][0] for one in rest]
    signalled(signal.SIGKILL, rest)
    left = [known[one][0] for one in _wait(living, KILL_WAIT_S)] if rest else []
    return {"ended": sorted(name for name, _ in known.values()), "killed": sorted(killed), "left": sorted(left)}


def _wait(living: Callable[[], list[int]], seconds: float) -> list[int]:
    until = time.monotonic() + seconds
    while True:
        rest = living()
        if not rest or time.monotonic() > until:
            return rest
        time.sleep(POLL_S)


if __name__ == "__main__":
    print(json.dumps(end(float(sys.argv[1]))))
