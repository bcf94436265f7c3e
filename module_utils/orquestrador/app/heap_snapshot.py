"""Take a heap snapshot of a Node.js process that knows nothing of it.

SIGUSR1 makes Node open its inspector on the loopback interface. Over that (a WebSocket with the DevTools protocol) the
snapshot comes in pieces, which go into a file of the user's own; then the inspector is closed again. The process stands
still while V8 writes its heap down, for about a second per 100 MB, so this is done only when somebody asks for it.

The signal is sent only where it is caught: without Node's handler it would end the process. An application with a
handler of its own gets that one called instead, and no inspector opens.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import select
import signal
import socket
import struct
import time
from typing import Any, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..system import signals
from ..system.tcp_owner import listeners_of

LOOPBACK = "127.0.0.1"
OPEN_S = 5.0
# A snapshot is written down as text: room for this many times the process's memory, and something for the others.
ROOM = 2
RESERVE_BYTES = 256 * 1024 * 1024
MAX_FRAME = 64 * 1024 * 1024
KEEP = 3
_CLOSE = "setTimeout(() => process.getBuiltinModule('node:inspector').close(), 50), process.pid"
_CLOSE_OLD = "setTimeout(() => require('node:inspector').close(), 50), process.pid"


def directory_of(lease_path: str) -> str:
    """Where snapshots are kept: beside the lease, outside whatever the application serves."""
    return os.path.join(os.path.dirname(lease_path), "heap")


def take(pid: int, directory: str, name: str, weight: int, seconds: float) -> dict[str, Any]:
    """Write ``<directory>/<name>-<pid>.heapsnapshot``, 0600: ``{path, size_bytes, pid, took_s}``.

    Has to run as the process's user. ``weight`` is the process's memory in bytes. The newest few are kept.

    :raises OperatorError: there is no room, the process can't be asked, or it did not finish in time.
    """
    end, began = time.monotonic() + seconds, time.monotonic()
    os.makedirs(directory, mode=0o700, exist_ok=True)
    room = os.statvfs(directory)
    needed, free = ROOM * weight + RESERVE_BYTES, room.f_bavail * room.f_frsize
    if free < needed:
        raise OperatorError(
            msg(
                "No heap snapshot: {path} has {free_bytes} free and {needed_bytes} may be needed",
                path=directory,
                free_bytes=free,
                needed_bytes=needed,
            )
        )
    path = os.path.join(directory, f"{name}-{pid}.heapsnapshot")
    port, opened = _open_inspector(pid, end)
    try:
        with contextlib.closing(_Session(pid, port, end)) as session:
            try:
                size = _write(session, path)
            finally:
                if opened:  # one that somebody else had opened is his to close
                    session.close_inspector()
    except (OSError, ValueError, http.client.HTTPException) as error:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise OperatorError(
            msg("No heap snapshot of process {pid}: {reason}", pid=str(pid), reason=str(error) or type(error).__name__)
        ) from None
    closed = not opened or _gone(pid, port)
    _keep_newest(directory)
    took = round(time.monotonic() - began, 1)
    return {"path": path, "size_bytes": size, "pid": pid, "inspector_closed": closed, "took_s": took}


def _open_inspector(pid: int, end: float) -> tuple[int, bool]:
    """The inspector's port, and whether it was us who opened it."""
    before = _ports(pid)
    if catches(pid):
        signals.send([pid], signal.SIGUSR1, signals.Target(os.geteuid()))
    until = min(time.monotonic() + OPEN_S, end)
    while time.monotonic() < until:
        for port in sorted(_ports(pid)):
            if _is_inspector(port):
                return port, port not in before
        time.sleep(0.05)
    raise OperatorError(
        msg(
            "No heap snapshot: process {pid} does not open its inspector within {limit_s}", pid=str(pid), limit_s=OPEN_S
        )
    )


def catches(pid: int, proc: str = "/proc") -> bool:
    """Whether a process catches SIGUSR1, as Node does; one that does not would be ended by it."""
    try:
        with open(f"{proc}/{pid}/status", encoding="utf-8", errors="replace") as file:
            caught = next(line.split()[1] for line in file if line.startswith("SigCgt:"))
        return bool(int(caught, 16) & (1 << (signal.SIGUSR1 - 1)))
    except (OSError, StopIteration, ValueError, IndexError):
        return False


def _ports(pid: int) -> set[int]:
    return listeners_of(pid, LOOPBACK)


def _gone(pid: int, port: int) -> bool:
    until = time.monotonic() + 2
    while time.monotonic() < until:
        if port not in _ports(pid):
            return True
        time.sleep(0.05)
    return False


def _is_inspector(port: int) -> Optional[str]:
    """The path of its WebSocket; ``None`` for a port that is something else."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1)
    try:
        connection.request("GET", "/json/list", headers={"Host": f"{LOOPBACK}:{port}"})
        told = json.loads(connection.getresponse().read(65536))
        address = str(told[0]["webSocketDebuggerUrl"])
        return address[address.index("/", 5 + 2) :]
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
        return None
    finally:
        connection.close()


class _Session:
    """The DevTools protocol over a WebSocket (RFC 6455), as much of both as is needed."""

    def __init__(self, pid: int, port: int, end: float) -> None:
        self._end, self._number, self._rest = end, 0, b""
        path = _is_inspector(port)
        if path is None:
            raise OSError("the inspector does not answer")
        self._socket = socket.create_connection((LOOPBACK, port), timeout=max(end - time.monotonic(), 0.1))
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._some()
            if len(head) > 65536:
                raise OSError("the inspector does not speak WebSocket")
        head, _, self._rest = head.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n", 1)[0]:
            raise OSError("the inspector refuses a WebSocket")
        # A port may have changed hands since it was looked up.
        if self.evaluate("process.pid") != pid:
            raise OSError("the inspector is another process's")

    def close(self) -> None:
        self._socket.close()

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the process."""
        wanted = {"expression": expression, "includeCommandLineAPI": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", wanted)
        if "exceptionDetails" in answer:
            raise OSError("the process can't say who it is")
        return answer["result"].get("value")

    def close_inspector(self) -> None:
        """Have the process close its inspector once this session has ended."""
        for expression in (_CLOSE, _CLOSE_OLD):
            with contextlib.suppress(OSError, ValueError):
                self.evaluate(expression)
                return

    def call(self, method: str, params: dict[str, Any], on_event: Any = None) -> dict[str, Any]:
        """Send a command and return its result; events that come before it go to ``on_event``."""
        self._number += 1
        self._send(json.dumps({"id": self._number, "method": method, "params": params}).encode())
        while True:
            told = json.loads(self._message())
            if told.get("id") == self._number:
                if "error" in told:
                    raise OSError(f"{method}: {str(told['error'].get('message'))[:200]}")
                result: dict[str, Any] = told["result"]
                return result
            if on_event is not None:
                on_event(told)

    def _send(self, payload: bytes) -> None:
        mask, size = os.urandom(4), len(payload)
        head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + struct.pack(">H", size)
        self._socket.sendall(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))

    def _message(self) -> bytes:
        """One whole text message; control frames in between are passed over, a close ends it."""
        whole = b""
        while True:
            first, second = self._take(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack(">H", self._take(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._take(8))
            if size > MAX_FRAME or len(whole) + size > MAX_FRAME:
                raise OSError("the inspector sends too much at once")
            payload, opcode = self._take(size), first & 0x0F
            if opcode == 8:
                raise OSError("the inspector closed the connection")
            if opcode in (0, 1, 2):
                whole += payload
                if first & 0x80:
                    return whole

    def _take(self, size: int) -> bytes:
        parts, have = [self._rest], len(self._rest)
        while have < size:
            part = self._some()
            parts.append(part)
            have += len(part)
        whole = b"".join(parts)
        self._rest = whole[size:]
        return whole[:size]

    def _some(self) -> bytes:
        left = self._end - time.monotonic()
        if left <= 0 or not select.select([self._socket], [], [], left)[0]:
            raise OSError("it was not done in time")
        part = self._socket.recv(1 << 16)
        if not part:
            raise OSError("the process closed the connection")
        return part


def _write(session: _Session, path: str) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8", errors="surrogatepass") as file:

        def keep(event: dict[str, Any]) -> None:
            if event.get("method") == "HeapProfiler.addHeapSnapshotChunk":
                file.write(event["params"]["chunk"])

        session.call("HeapProfiler.takeHeapSnapshot", {"reportProgress": False}, keep)
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _keep_newest(directory: str) -> None:
    ours = sorted(name for name in os.listdir(directory) if name.endswith(".heapsnapshot"))
    for name in ours[:-KEEP]:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(directory, name))
