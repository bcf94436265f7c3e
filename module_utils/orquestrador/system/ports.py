"""Who listens on the application's port, and whether anybody accepts there."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

from ..core.messages import msg
from ..core.types import Finding, Listener, Pm2State, PortState
from .command import run
from .procfs import user_name

LISTEN = "0A"  # state TCP_LISTEN in /proc/net/tcp, include/net/tcp_states.h
# linux/netlink.h, linux/sock_diag.h
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLMSG_DONE = 4, 20, 3
SUDO_TIMEOUT_S = 2.0
SCRIPT = re.compile(r"^[\w.-]+\.(?:[cm]?[jt]s|py|sh|rb|pl|php|jar)$")


class Socket(NamedTuple):
    """One listening socket of the kernel's table."""

    address: str
    port: int
    uid: int
    inode: int


def parse_address(text: str) -> tuple[str, int]:
    """Turn ``0100007F:0BB9`` into ``("127.0.0.1", 3001)``; IPv6 is four 32-bit words in host order.

    Raises ``ValueError`` for anything else.
    """
    address, separator, port = text.partition(":")
    if not separator or len(address) not in (8, 32):
        raise ValueError("not an address of /proc/net/tcp")
    raw = bytes.fromhex(address)
    # The kernel prints each word as a number; this project's hosts are little-endian, as all of Node's platforms are.
    swapped = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    family = socket.AF_INET if len(swapped) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, swapped), int(port, 16)


def parse_table(lines: Iterable[str], port: int) -> list[Socket]:
    """The listening sockets on ``port`` in the lines of ``/proc/net/tcp`` or ``tcp6``; other lines are ignored."""
    suffix = f":{port:04X}"
    found = []
    for line in lines:
        fields = line.split()
        if len(fields) < 10 or fields[3] != LISTEN or not fields[1].endswith(suffix):
            continue
        with contextlib.suppress(ValueError):
            address, number = parse_address(fields[1])
            found.append(Socket(address, number, int(fields[7]), int(fields[9])))
    return found


def parse_ss(output: str) -> list[tuple[int, str]]:
    """``(pid, name)`` of each process in the output of ``ss -Hltnp``: ``users:(("node",pid=5613,fd=20))``."""
    return [(int(pid), name) for name, pid in re.findall(r'\("((?:[^"\\]|\\.){0,64})",pid=(\d{1,9}),', output)]


def short_command(argv: Sequence[str]) -> Optional[str]:
    """The executable and its first argument that is no option, both without directory: ``node server.js``.

    Never more: command lines carry passwords. A title that a process gave itself (``PM2 v7.0.4: God Daemon (…)``)
    comes as one argument and is cut at its parenthesis.
    """
    words = [word for word in argv if word]
    if not words:
        return None
    if len(words) == 1:
        title = words[0].partition(" (")[0]
        # `node /srv/app.js` in one piece is a title too, set by PM2 in cluster mode.
        parts = [os.path.basename(part) for part in title.split(" ")[:5] if not part.startswith("-")]
        return " ".join(parts)[:80] if title.startswith("PM2 ") else " ".join(parts[:2])[:80]
    at = next((at for at, word in enumerate(words) if at and not word.startswith("-")), 0)
    script = os.path.basename(words[at]) if at else ""
    # What follows an option may be that option's value (`--password x`), and what has "=" or "://" is a setting:
    # neither is shown unless its name is a script's.
    if at and (at > 1 or "=" in words[at] or "://" in words[at]) and not SCRIPT.search(script):
        script = ""
    return f"{os.path.basename(words[0])} {script}".strip()[:80]


def read_command(pid: int, proc: str = "/proc") -> Optional[str]:
    """:func:`short_command` of a living process, ``None`` when it can't be read."""
    try:
        with open(f"{proc}/{pid}/cmdline", "rb") as file:
            argv = file.read(8192).decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    return short_command(argv)


def parse_diag(data: bytes, port: int) -> tuple[list[Socket], bool]:
    """The sockets on ``port`` in one netlink answer (``struct inet_diag_msg``), and whether it was the last.

    Raises ``ValueError`` or ``struct.error`` for what is no such answer.
    """
    found: list[Socket] = []
    at = 0
    while at < len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if kind == NLMSG_DONE:
            return found, True
        if kind != SOCK_DIAG_BY_FAMILY or length < 16 + 72:
            raise ValueError("not an answer of sock_diag")
        body = at + 16
        # family, state, timer, retransmits, source and destination port (network order), source address
        family = data[body]
        (number,) = struct.unpack_from(">H", data, body + 4)
        size = 4 if family == socket.AF_INET else 16
        uid, inode = struct.unpack_from("=II", data, body + 64)
        if number == port:
            found.append(Socket(socket.inet_ntop(family, data[body + 8 : body + 8 + size]), number, uid, inode))
        at += (length + 3) & ~3
    return found, False


def _diag(port: int) -> list[Socket]:
    """Ask the kernel for its listening sockets only: ``/proc/net/tcp`` walks a table of all, 12 ms where this takes 1.

    Raises ``OSError``, ``ValueError`` or ``struct.error`` where that is not to be had.
    """
    found: list[Socket] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as link:
            link.settimeout(0.5)
            # struct inet_diag_req_v2: family, protocol, extensions, padding, wanted states, and an empty socket id
            request = struct.pack("=BBBBI48x", family, socket.IPPROTO_TCP, 0, 0, 1 << int(LISTEN, 16))
            flags = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
            header = struct.pack("=IHHII", 16 + len(request), SOCK_DIAG_BY_FAMILY, flags, 1, 0)
            link.sendto(header + request, (0, 0))
            done = False
            for _ in range(1000):  # answers of up to 32 KiB, some 300 sockets each
                more, done = parse_diag(link.recv(65536), port)
                found += more
                if done:
                    break
    return found


def _tables(port: int, proc: str) -> list[Socket]:
    if proc == "/proc":
        with contextlib.suppress(OSError, ValueError, struct.error):
            return _diag(port)
    found: list[Socket] = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"{proc}/net/{name}", encoding="ascii", errors="replace") as file:
            found += parse_table(file, port)
    return found


def _sockets_of(pid: str, proc: str) -> set[int]:
    inodes = set()
    with contextlib.suppress(OSError), os.scandir(f"{proc}/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError, ValueError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    inodes.add(int(target[8:-1]))
    return inodes


def find_owners(sockets: Sequence[Socket], proc: str = "/proc") -> dict[int, int]:
    """``{inode: pid}`` for those sockets whose process may be looked into.

    Processes of the sockets' own users come first: they nearly always are it, and root has hundreds to look through.
    """
    wanted = {item.inode for item in sockets}
    uids = {item.uid for item in sockets}
    likely: list[str] = []
    others: list[str] = []
    with contextlib.suppress(OSError):
        for name in os.listdir(proc):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    (likely if os.stat(f"{proc}/{name}").st_uid in uids else others).append(name)
    owners: dict[int, int] = {}
    for name in sorted(likely, key=int) + sorted(others, key=int):
        if not wanted - owners.keys():
            break
        for inode in _sockets_of(name, proc) & wanted:
            owners.setdefault(inode, int(name))
    return owners


def accepts(host: str, port: int, timeout_s: float) -> bool:
    """Whether a TCP connection is accepted; by the kernel, so a hung process still accepts."""
    try:
        with socket.create_connection((host, port), timeout_s):
            return True
    except OSError:
        return False


def _ask_sudo(port: int, timeout_s: float) -> list[tuple[int, str]]:
    """Ask ``ss`` as root, where sudo permits it without a password."""
    argv = ["sudo", "-n", "ss", "-Hltnp", f"sport = :{port}"]
    done = run(argv, timeout_s=min(timeout_s, SUDO_TIMEOUT_S), max_bytes=65536)
    return parse_ss(done.stdout.decode("utf-8", "replace")) if done.code == 0 else []


def owners(port: int) -> dict[int, int]:
    """``{inode: pid}`` of who listens on ``port``, as far as this process may see it: root sees everybody."""
    return find_owners(_tables(port, "/proc"))


def collect(
    port: int,
    *,
    timeout_s: float,
    host: str = "127.0.0.1",
    proc: str = "/proc",
    known: Optional[Mapping[int, int]] = None,
) -> tuple[PortState, list[Finding]]:
    """Observe the listeners on ``port`` and connect to it at ``host``, within about ``timeout_s``.

    ``known`` are :func:`owners` that somebody else has seen. ``of_app`` stays ``None``: see :func:`attribute`.
    """
    sockets = _tables(port, proc)
    found = dict(known or {})
    found.update(find_owners([item for item in sockets if item.inode not in found], proc))
    unknown = [item for item in sockets if item.inode not in found]
    named = dict(_ask_sudo(port, timeout_s / 2)) if unknown else {}
    listeners: list[Listener] = []
    for item in sockets:
        pid: Optional[int] = found.get(item.inode)
        command = read_command(pid, proc) if pid is not None else None
        if pid is None and len(named) == 1:  # with several processes ss does not say which socket is whose
            pid = next(iter(named))
            command = read_command(pid, proc) or os.path.basename(named[pid].split(" ")[0])
        listeners.append(
            {"address": item.address, "pid": pid, "command": command, "user": user_name(item.uid), "of_app": None}
        )
    findings: list[Finding] = []
    hidden = next((item for item in listeners if item["pid"] is None), None)
    if hidden is not None:
        text = msg(
            "The process that listens on port {port} belongs to {user} and can't be identified",
            port=str(port),
            user=hidden["user"],
        )
        hint = msg("Look with `sudo ss -ltnp`, or permit this user that one command in sudoers.")
        findings.append({"collector": "port", "code": "owner_unknown", "message": text, "hint": hint})
    first = next((item for item in listeners if item["pid"] is not None), None)
    state: PortState = {
        "port": port,
        "open": accepts(host, port, timeout_s / 2),
        "pid": first["pid"] if first else None,
        "command": first["command"] if first else None,
        "listeners": listeners,
    }
    return state, findings


def attribute(port: Optional[PortState], pm2: Optional[Pm2State]) -> Optional[PortState]:
    """Say of each listener whether it is the application; pure, returns a new state.

    It is when its process is an instance of the application, or PM2's daemon while the application runs in cluster
    mode (there the daemon listens and hands connections on). ``None`` while either side is unknown.
    """
    if port is None:
        return None
    app = pm2["app"] if pm2 is not None else None
    pids = set(app["pids"]) if app is not None else set()
    if pm2 is not None and app is not None and app["mode"] == "cluster" and pm2["daemon_pid"] is not None:
        pids.add(pm2["daemon_pid"])
    known = pm2 is not None and pm2["daemon"] != "unresponsive"
    listeners = [
        Listener(
            address=item["address"],
            pid=item["pid"],
            command=item["command"],
            user=item["user"],
            of_app=item["pid"] in pids if known and item["pid"] is not None else None,
        )
        for item in port["listeners"]
    ]
    # Name the intruder, if there is one, where the state names one process.
    foremost = next((item for item in listeners if item["of_app"] is False), None)
    foremost = foremost or next((item for item in listeners if item["pid"] is not None), None)
    return {
        "port": port["port"],
        "open": port["open"],
        "pid": foremost["pid"] if foremost else None,
        "command": foremost["command"] if foremost else None,
        "listeners": listeners,
    }
