"""Which process has accepted a connection of ours: proof of who answers where workers share one port.

In cluster mode the daemon listens and hands each accepted connection to a worker, so the listener tells nothing. But
the accepted socket stands in /proc/net/tcp with the two ports of the connection, its inode among the open files of the
one process that has it. No help of the application is needed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from typing import Optional

from .ports import parse_address

ESTABLISHED, LISTENING = "01", "0A"
ACCEPT_S = 0.5


def parse_connection(lines: Iterable[str], local_port: int, remote_port: int) -> Optional[int]:
    """The inode of the established connection between these two ports in a table of /proc/net/tcp, or ``None``."""
    for line in lines:
        fields = line.split()
        with contextlib.suppress(IndexError, ValueError):
            if fields[3] == ESTABLISHED and fields[9] != "0":
                ports = parse_address(fields[1])[1], parse_address(fields[2])[1]
                if ports == (local_port, remote_port):
                    return int(fields[9])
    return None


def inode(server_port: int, client_port: int, proc: str = "/proc") -> Optional[int]:
    """The inode of the server's end of a connection; ``None`` while nobody has accepted it."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"{proc}/net/{table}", encoding="ascii", errors="replace") as stream:
            found = parse_connection(stream, server_port, client_port)
            if found is not None:
                return found
    return None


def client_ports(pids: Iterable[int], server_port: int, proc: str = "/proc") -> set[int]:
    """The ports that processes speak to a server's port from; who asks has to be allowed to see their open files."""
    mine = {number for pid in pids for number in _sockets(pid, proc)}
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"{proc}/net/{table}", encoding="ascii", errors="replace") as stream:
            for line in stream:
                fields = line.split()
                with contextlib.suppress(IndexError, ValueError):
                    if parse_address(fields[2])[1] == server_port and int(fields[9]) in mine:
                        found.add(parse_address(fields[1])[1])
    return found


def _sockets(pid: int, proc: str) -> set[int]:
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"{proc}/{pid}/fd"):
            with contextlib.suppress(OSError, ValueError):
                target = os.readlink(f"{proc}/{pid}/fd/{name}")
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found


def has(pid: int, number: int, proc: str = "/proc") -> bool:
    """Whether a process has the socket of this inode open."""
    wanted = f"socket:[{number}]"
    folder = f"{proc}/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    for name in names:
        with contextlib.suppress(OSError):
            if os.readlink(f"{folder}/{name}") == wanted:
                return True
    return False


def has_accepted(pid: int, server_port: int, client_port: int) -> bool:
    """Whether a process accepts the connection between these two ports within a moment."""
    until = time.monotonic() + ACCEPT_S
    while time.monotonic() < until:
        number = inode(server_port, client_port)
        if number is not None:
            # The daemon accepts it and hands it on: give the hand-over its moment.
            for _ in range(5):
                if has(pid, number):
                    return True
                time.sleep(0.005)
            return False
        time.sleep(0.005)
    return False


def listeners_of(pid: int, address: str, proc: str = "/proc") -> set[int]:
    """The IPv4 ports of ``address`` on which a process listens."""
    found = set()
    with contextlib.suppress(OSError), open(f"{proc}/net/tcp", encoding="ascii", errors="replace") as stream:
        for line in stream:
            fields = line.split()
            with contextlib.suppress(IndexError, ValueError):
                if fields[3] == LISTENING:
                    host, port = parse_address(fields[1])
                    if host == address and has(pid, int(fields[9]), proc):
                        found.add(port)
    return found
