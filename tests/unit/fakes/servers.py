"""Socket servers whose behaviour is a function: PM2's RPC socket, a health endpoint, a database, all misbehaving.

Each serves in daemon threads and ends with its context manager; no accept or receive outlives it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SECRET = "hunter2secret"
Behaviour = Callable[[socket.socket, threading.Event], None]


@contextlib.contextmanager
def serve(listener: socket.socket, behaviour: Behaviour) -> Iterator[list[int]]:
    """Serve every connection with ``behaviour(connection, stop)``; yields a list that grows by one per connection."""
    stop, connections = threading.Event(), []
    listener.listen(16)
    listener.settimeout(0.05)

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            behaviour(connection, stop)

    def loop() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            connections.append(1)
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield connections
    finally:
        stop.set()
        thread.join(2)
        listener.close()


@contextlib.contextmanager
def tcp(behaviour: Behaviour) -> Iterator[int]:
    """A TCP server on loopback; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    with serve(listener, behaviour):
        yield listener.getsockname()[1]


@contextlib.contextmanager
def unix(path: Path, behaviour: Behaviour) -> Iterator[list[int]]:
    """A Unix socket server at ``path``."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    with serve(listener, behaviour) as connections:
        yield connections


# --- behaviours ----------------------------------------------------------------------------------------------------


def silent(connection: socket.socket, stop: threading.Event) -> None:
    """Accept, and say nothing."""
    stop.wait(10)


def answering(data: bytes, *, read: bool = True) -> Behaviour:
    """Read the request, answer with ``data``, close."""

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        if read:
            connection.recv(65536)
        connection.sendall(data)

    return behave


def dripping(head: bytes, drop: bytes, pause_s: float = 0.02) -> Behaviour:
    """Answer ``head`` and then ``drop`` after ``drop`` for ever."""

    def behave(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(head)
        while not stop.wait(pause_s):
            connection.sendall(drop)

    return behave


def http(body: bytes, *, status: str = "200 OK", headers: str = "", length: int | None = None) -> Behaviour:
    """A well-formed HTTP answer around any body; ``length`` lies about its length."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n{headers}\r\n"
    return answering(head.encode() + body)


def frame(*arguments: bytes) -> bytes:
    """An axon frame, built independently of the code under test."""
    data = bytes([0x10 | len(arguments)])
    for argument in arguments:
        data += struct.pack(">I", len(argument)) + argument
    return data


def mysql_packet(payload: bytes, number: int = 0) -> bytes:
    """A packet of the protocol of MySQL, built independently of the code under test."""
    return len(payload).to_bytes(3, "little") + bytes([number]) + payload


def mysql_refusal(code: int) -> bytes:
    """What a database server sends instead of its greeting; its text quotes a secret."""
    return mysql_packet(b"\xff" + code.to_bytes(2, "little") + b"#08004No: " + SECRET.encode())


def pm2_reply(processes: Any) -> bytes:
    """The answer of PM2 7.0.4 to ``getMonitorData``."""
    return frame(b"j:" + json.dumps({"args": [processes]}).encode(), b"s:1:0")


def pm2_process(name: str = "app", **changes: Any) -> dict[str, Any]:
    """A process as PM2 7.0.4 answers it, its environment included; ``changes`` go into ``pm2_env`` or ``monit``."""
    env = {
        "name": name,
        "env": {"DB_PASSWORD": SECRET},
        "DB_PASSWORD": SECRET,
        "status": "online",
        "exec_mode": "fork_mode",
        "restart_time": 0,
        "unstable_restarts": 0,
        "pm_uptime": 1_700_000_000_000,
        "username": "flavio",
        "version": "N/A",
        "node_version": "20.20.2",
        "pm_out_log_path": "/srv/logs/out.log",
        "pm_err_log_path": "/srv/logs/error.log",
        "axm_monitor": {
            "Used Heap Size": {"value": "5.5", "unit": "MiB"},
            "Event Loop Latency": {"value": "0.40", "unit": "ms"},
        },
    }
    process: dict[str, Any] = {"name": name, "pid": 4242, "pm_id": 0, "monit": {"memory": 104857600, "cpu": 1.5}}
    for key, value in changes.items():
        (process if key in process else process["monit"] if key in ("memory", "cpu") else env)[key] = value
    return {**process, "pm2_env": env}
