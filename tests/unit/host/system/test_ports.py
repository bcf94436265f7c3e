"""Who listens on a port: the kernel's tables, the process behind a socket, and whose it is."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.system import ports as port
from orquestrador.system import procfs as _procfs
from tests.unit.fakes import servers

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 10527 1 0 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 10528 1 0 100 0 0 10 0
   2: 0100007F:0BB9 0100007F:C000 01 00000000:00000000 00:00000000 00000000  1000        0 10529 1 0 100 0 0 10 0
   3: rubbish
   4: XX:0BB9 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
"""


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0100007F:0BB9", ("127.0.0.1", 3001)),
        ("00000000:0050", ("0.0.0.0", 80)),
        ("00000000000000000000000001000000:0BB9", ("::1", 3001)),
        ("0000000000000000FFFF00000100007F:0BB9", ("::ffff:127.0.0.1", 3001)),
    ],
)
def test_addresses_of_the_kernel(text: str, address: tuple[str, int]) -> None:
    assert port.parse_address(text) == address


@given(st.text(max_size=50))
def test_what_is_no_address_is_a_value_error(text: str) -> None:
    try:
        port.parse_address(text)
    except ValueError:
        return
    assert text[8] == ":" or text[32] == ":"


def test_only_listeners_on_the_port_are_taken() -> None:
    assert port.parse_table(TABLE.splitlines(), 3001) == [port.Socket("127.0.0.1", 3001, 1000, 10527)]


@given(st.lists(st.text(max_size=80), max_size=5))
def test_arbitrary_tables_never_raise(lines: list[str]) -> None:
    port.parse_table(lines, 3001)


def diag(family: int, number: int, address: bytes, uid: int, inode: int) -> bytes:
    body = struct.pack("=BBBB", family, 10, 0, 0) + struct.pack(">HH", number, 0) + address.ljust(16, b"\0")
    body += b"\0" * 16 + struct.pack("=III", 0, 0, 0) + b"\0" * 12
    body = body[:64] + struct.pack("=II", uid, inode)
    return struct.pack("=IHHII", 16 + len(body), 20, 2, 1, 0) + body


DONE = struct.pack("=IHHIII", 20, 3, 2, 1, 0, 0)


def test_netlink_answers_are_read() -> None:
    data = diag(socket.AF_INET, 3001, bytes([127, 0, 0, 1]), 1000, 77) + diag(socket.AF_INET, 22, b"", 0, 78)
    assert port.parse_diag(data, 3001) == ([port.Socket("127.0.0.1", 3001, 1000, 77)], False)
    six = diag(socket.AF_INET6, 3001, socket.inet_pton(socket.AF_INET6, "::1"), 0, 79)
    assert port.parse_diag(six + DONE, 3001) == ([port.Socket("::1", 3001, 0, 79)], True)


@given(st.binary(max_size=200))
def test_arbitrary_netlink_answers_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ValueError, OSError, struct.error):
        port.parse_diag(data, 3001)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            'LISTEN 0 511 127.0.0.1:3001 0.0.0.0:* users:(("node /srv/app.js",pid=5613,fd=20))',
            [(5613, "node /srv/app.js")],
        ),
        ('users:(("nginx",pid=7,fd=6),("nginx",pid=8,fd=6))', [(7, "nginx"), (8, "nginx")]),
        ("", []),
        ("LISTEN 0 511 127.0.0.1:3001 0.0.0.0:*", []),
    ],
)
def test_ss_output(output: str, expected: list[tuple[int, str]]) -> None:
    assert port.parse_ss(output) == expected


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/usr/bin/node", "/srv/app/index.js", "--token=abc"], "node index.js"),
        (["node", "--inspect", "/srv/app/index.js"], "node index.js"),
        (["nc", "-l", "3001"], "nc"),
        (["prog", "--password", "hunter2"], "prog"),
        (["prog", "password=hunter2"], "prog"),
        (["prog", "mysql://u:hunter2@h/db"], "prog"),
        (["python3", "-m", "http.server", "3001"], "python3"),
        (["PM2 v7.0.4: God Daemon (/home/flavio/.pm2)"], "PM2 v7.0.4: God Daemon"),
        (["node /srv/app/index.js"], "node index.js"),
        (["/usr/sbin/mysqld"], "mysqld"),
        (["", ""], None),
        ([], None),
    ],
)
def test_a_command_is_shown_without_what_may_be_secret(argv: list[str], shown: str | None) -> None:
    assert port.short_command(argv) == shown


def test_this_process_is_found_by_both_ways_of_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.tcp(servers.silent) as number:
        by_netlink, findings = port.collect(number, timeout_s=2)

        def refuse(_port: int) -> list[port.Socket]:
            raise PermissionError

        monkeypatch.setattr(port, "_diag", refuse)
        by_table, _ = port.collect(number, timeout_s=2)
    assert by_netlink == by_table
    assert findings == []
    assert (by_netlink["open"], by_netlink["pid"]) == (True, os.getpid())
    assert [item["address"] for item in by_netlink["listeners"]] == ["127.0.0.1"]
    assert Path(sys.executable).name[:6] in str(by_netlink["command"])


def test_a_closed_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    state, findings = port.collect(number, timeout_s=2)
    assert (state["open"], state["pid"], state["listeners"], findings) == (False, None, [], [])


def proc_with_table(tmp_path: Path) -> Path:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(TABLE)
    return tmp_path


def test_an_owner_that_can_not_be_looked_into_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port, "_ask_sudo", lambda _port, _timeout: [])
    state, findings = port.collect(3001, timeout_s=1, proc=str(proc_with_table(tmp_path)))
    assert [item["code"] for item in findings] == ["owner_unknown"]
    assert (state["pid"], state["listeners"][0]["user"]) == (None, _procfs.user_name(1000))


def test_sudo_names_the_owner_where_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text(
        '#!/bin/sh\n[ "$*" = "-n ss -Hltnp sport = :3001" ] && echo \'users:(("node /srv/x.js",pid=999999,fd=3))\'\n'
    )
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sudo.parent}:{os.environ['PATH']}")
    state, findings = port.collect(3001, timeout_s=5, proc=str(proc_with_table(tmp_path)))
    assert (state["pid"], state["command"], findings) == (999999, "node", [])


def listener(pid: int | None) -> dict[str, Any]:
    return {"address": "127.0.0.1", "pid": pid, "command": None if pid is None else "x", "user": "u", "of_app": None}


@pytest.mark.parametrize(
    ("daemon", "mode", "pids", "owner", "of_app"),
    [
        ("online", "fork", [10], 10, True),
        ("online", "fork", [10], 99, False),
        ("online", "fork", [10], 1, False),  # PM2's daemon listens for nobody in fork mode
        ("online", "cluster", [10], 1, True),
        ("online", "cluster", [10, 11], 11, True),
        ("online", "fork", [10], None, None),
        ("online", None, [], 99, False),
        ("dead", None, [], 99, False),
        ("unresponsive", None, [], 99, None),
    ],
)
def test_whose_listener_it_is(
    daemon: str, mode: str | None, pids: list[int], owner: int | None, of_app: object
) -> None:
    app = {"mode": mode, "pids": pids} if mode else None
    state: Any = {"daemon": daemon, "daemon_pid": 1, "app": app}
    before: Any = {"port": 1, "open": True, "pid": owner, "command": "x", "listeners": [listener(owner)]}
    after = port.attribute(before, state)
    assert after is not None
    assert after["listeners"][0]["of_app"] is of_app
    assert before["listeners"][0]["of_app"] is None


def test_an_intruder_beside_the_application_is_the_one_named() -> None:
    state: Any = {"daemon": "online", "daemon_pid": 1, "app": {"mode": "fork", "pids": [10]}}
    before: Any = {"port": 1, "open": True, "pid": 10, "command": "x", "listeners": [listener(10), listener(99)]}
    after = port.attribute(before, state)
    assert after is not None
    assert after["pid"] == 99


def test_nothing_is_attributed_without_pm2_or_without_a_port() -> None:
    before: Any = {"port": 1, "open": True, "pid": 10, "command": "x", "listeners": [listener(10)]}
    after = port.attribute(before, None)
    assert after is not None
    assert after["listeners"][0]["of_app"] is None
    assert port.attribute(None, None) is None


def test_who_is_seen_by_somebody_else_needs_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root sees whose process listens; who observes as the application's user may not."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        known = port.owners(number)
        assert list(known.values()) == [os.getpid()]
        monkeypatch.setattr(port, "_sockets_of", lambda *_: set())
        monkeypatch.setattr(port, "_ask_sudo", lambda *_: [])
        assert port.collect(number, timeout_s=2)[0]["pid"] is None
        state, findings = port.collect(number, timeout_s=2, known=known)
    assert (state["pid"], findings) == (os.getpid(), [])
