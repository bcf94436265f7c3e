"""Which logs PM2 writes, and having it reopen them without the loss of a line.

``reloadLogs`` is asked for over the RPC socket: the command does the same, but starts a daemon where none answers. It
is for the whole daemon; other applications' logs are watched as ours are, and get back what would be lost.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Optional

from ..core.errors import os_reason
from ..core.messages import msg
from ..core.types import Message
from ..pm2 import axon
from ..pm2 import daemon as pm2
from ..pm2.bus import Bus, Spoken, missing
from .rotation import HELD, held, inode, times_open

RPC_S = 3.0
POLL_S = 0.005
# How long a line that was heard may take to appear in its file, before it counts as lost. A disk that stands still for
# longer than this would have it twice.
SETTLE_S = 3.0


class Stream(NamedTuple):
    """One output of one process: ``kind`` is out, err, or std for both; ``holder`` is who writes it, 0 for nobody."""

    app: str
    pm_id: int
    kind: str
    path: str
    holder: int


class Daemon(NamedTuple):
    """What is known of PM2: its state as in :mod:`..pm2.daemon`, its pid, its streams, and what there is to say."""

    state: str
    pid: int
    home: str
    streams: list[Stream]
    message: Optional[Message] = None

    def paths(self, app: Optional[str] = None) -> list[str]:
        """The logs of one application, of all without a name."""
        return sorted({stream.path for stream in self.streams if app is None or stream.app == app})


class Reopened(NamedTuple):
    """How the reopening went: lines put back that PM2 had dropped; why it failed; whether all was overheard."""

    restored: int = 0
    problem: Optional[Message] = None
    proven: bool = True


def normal(path: str) -> str:
    """A path without links in its directories; the last part may be one."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def streams(raw: Any, daemon_pid: int) -> list[Stream]:
    """Select the logs from PM2's answer, which carries whole environments."""
    found: list[Stream] = []
    for item in raw if isinstance(raw, list) else []:
        env = item.get("pm2_env") if isinstance(item, dict) else None
        if not isinstance(env, dict) or not isinstance(env.get("pm_id"), int):
            continue
        pid = item.get("pid")
        running = env.get("status") == "online" and isinstance(pid, int) and pid > 0
        # In fork mode the daemon writes, in cluster mode each worker.
        holder = (pid if "cluster" in str(env.get("exec_mode")) else daemon_pid) if running else 0
        for kind, key in (("out", "pm_out_log_path"), ("err", "pm_err_log_path"), ("std", "pm_log_path")):
            path = env.get(key)
            if isinstance(path, str) and path.startswith("/") and not path.startswith("/dev/") and "\0" not in path:
                found.append(Stream(str(env.get("name", "")), env["pm_id"], kind, normal(path), int(holder or 0)))
    return found


def look(home: str, app: str, command: str) -> Daemon:
    """Observe PM2; never starts one."""
    state, findings = pm2.collect(pm2.Target(home, app, command), timeout_s=2 * RPC_S)
    message = findings[0]["message"] if findings else None
    pid = state["daemon_pid"] or 0
    if state["daemon"] != pm2.ONLINE or state["source"] != "rpc":
        answered = pm2.UNRESPONSIVE if state["daemon"] == pm2.ONLINE else state["daemon"]
        return Daemon(answered, pid, home, [], message)
    try:
        raw = axon.call(f"{home}/rpc.sock", "getMonitorData", timeout_s=RPC_S)
    except (OSError, axon.AxonError):
        return Daemon(pm2.UNRESPONSIVE, pid, home, [], msg("PM2 stopped answering on {path}", path=home))
    return Daemon(pm2.ONLINE, pid, home, streams(raw, pid))


def reopen(daemon: Daemon, rotate: Callable[[], Mapping[str, str]], timeout_s: float) -> Reopened:
    """Listen, have ``rotate`` rename logs (it returns old paths with new ones), have PM2 reopen, and put back what it
    dropped. Nothing is renamed when PM2 can't be listened to."""
    # Before anything is heard: what is heard from now on is found behind these places, if it is written.
    before = {path: _size(path) for path in daemon.paths()}
    try:
        bus = Bus(daemon.home)
    except OSError as error:
        reason = os_reason(error)
        return Reopened(
            problem=msg("PM2's bus {path}/pub.sock can't be listened to: {reason}", path=daemon.home, reason=reason)
        )
    try:
        _turn(daemon)  # by its answer the daemon has taken the subscription, too
        moved = rotate()
        axon.call(f"{daemon.home}/rpc.sock", "reloadLogs", timeout_s=RPC_S)
        problem = _wait(daemon, bus, moved, timeout_s)
        _turn(daemon)
        bus.drain()
    except (OSError, axon.AxonError) as error:
        code = error.code if isinstance(error, axon.AxonError) else error.strerror
        why = msg("PM2 did not reopen its logs: {reason}", reason=code or type(error).__name__)
        return Reopened(problem=why, proven=False)
    finally:
        bus.close()
    return Reopened(_put_back(daemon, bus.heard, before, moved), problem, bus.whole)


def _turn(daemon: Daemon) -> None:
    axon.call(f"{daemon.home}/rpc.sock", "getVersion", timeout_s=RPC_S)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _wait(daemon: Daemon, bus: Bus, moved: Mapping[str, str], timeout_s: float) -> Optional[Message]:
    """Until nobody has an old file open and each writer has its new one; what is wrong when that does not happen."""
    wanted = Counter((stream.holder, stream.path) for stream in daemon.streams if stream.holder)
    until = time.monotonic() + timeout_s
    while True:
        bus.drain()
        closed = all(held(path) != HELD for path in moved.values())
        slow = next((path for (pid, path), times in wanted.items() if _opened(pid, path) < times), None)
        if closed and slow is None:
            return None
        if time.monotonic() > until:
            if slow is not None:
                return msg("PM2 has not reopened {path}: see what {home}/pm2.log says", path=slow, home=daemon.home)
            return None  # each file that is still held is looked at by itself
        time.sleep(POLL_S)


def _opened(pid: int, path: str) -> int:
    if not os.path.exists(f"/proc/{pid}"):
        return 1 << 30  # it ended: nothing to wait for
    return times_open(pid, inode(os.path.realpath(path)))


def _put_back(daemon: Daemon, heard: list[Spoken], before: Mapping[str, int], moved: Mapping[str, str]) -> int:
    """Append to each old file what was heard and came into neither it nor its successor; the number of lines."""
    said: dict[str, list[Spoken]] = {}
    where: dict[tuple[int, str], list[str]] = {}
    for stream in daemon.streams:
        for kind in ("out", "err") if stream.kind == "std" else (stream.kind,):
            where.setdefault((stream.pm_id, kind), []).append(stream.path)
    for item in heard:
        for path in dict.fromkeys(where.get((item.pm_id, item.stream), ())):
            said.setdefault(path, []).append(item)
    until = time.monotonic() + SETTLE_S
    restored = 0
    while said:
        for path in list(said):
            content = _content(path, before.get(path, 0), moved.get(path))
            lost = missing(said[path], content)
            if not lost:
                del said[path]
            elif time.monotonic() > until:
                restored += _append(moved.get(path, path), lost)
                del said[path]
        if said:
            time.sleep(0.02)
    return restored


def _content(path: str, offset: int, old: Optional[str]) -> bytes:
    """What was written since: the old file from ``offset`` on, then the new one."""
    data = b""
    if old is not None:
        data, offset = _tail(old, offset), 0
    return data + _tail(path, offset)


def _tail(path: str, offset: int) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.seek(offset)
            return file.read()
    return b""


def _append(path: str, lines: list[bytes]) -> int:
    """Write whole lines at the end of a file, at once; how many."""
    data = b"\n".join(lines) + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return len(lines)
