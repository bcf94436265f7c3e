"""The database collector: option files, errors told apart, statements without their literals."""

from __future__ import annotations

import json
import os
import socket
import string
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymysql
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.mysql import driver, statements
from orquestrador.mysql import state as database_state
from tests.unit.fakes import servers

ROOT = Path(__file__).resolve().parents[4]
PASSWORD = servers.SECRET


@pytest.fixture
def options(tmp_path: Path) -> Path:
    """An option file that names a socket in the test's directory."""
    path = tmp_path / "my.cnf"
    path.write_text(f'[client]\nuser = ops\npassword = "{PASSWORD}"\nsocket = {tmp_path}/s\n')
    path.chmod(0o600)
    return path


def collect(path: Path, **changes: Any) -> tuple[Any, list[str]]:
    state, findings = database_state.collect(str(path), "app", **{"timeout_s": 0.5, **changes})
    assert PASSWORD not in json.dumps([state, findings])
    return state, [item["code"] for item in findings]


# --- statements ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "normalised"),
    [
        ("SELECT * FROM t WHERE id = 42", "SELECT * FROM t WHERE id = ?"),
        ("select  'it''s \\' x', \"y\" ,\n -1.5e3", "select ?, … , -?"),
        ("INSERT INTO t2 VALUES (1,'a'),(2,'b'),(3,'c')", "INSERT INTO t2 VALUES (?, …), …"),
        ("SELECT 1 /* secret */ -- secret\n# secret\n FROM `t 1`", "SELECT ? FROM `t 1`"),
        ("SELECT x'41', 0xff, b'01', N'x', @@version, @v1", "SELECT ?, …, @@version, @v1"),
        ("SELECT * FROM t WHERE a IN (1, 2, 3)", "SELECT * FROM t WHERE a IN (?, …)"),
        ("CREATE USER u IDENTIFIED BY 'hunter2", "CREATE USER u IDENTIFIED BY ?"),
        ("SELECT 'cut \\", "SELECT ?"),
        ("SELECT /* cut", "SELECT"),
        ("", ""),
    ],
)
def test_statements_lose_their_literals(query: str, normalised: str) -> None:
    assert statements.normalise(query) == normalised


@given(st.text(alphabet=string.ascii_letters + string.digits + " '\"\\é-#/*", max_size=30))
def test_a_literal_never_survives_wherever_the_statement_was_cut(secret: str) -> None:
    quoted = secret.replace("\\", "\\\\").replace("'", "''")
    query = f"UPDATE t SET pw = '{quoted}zq9zq9zq9' WHERE id = 1"
    for end in range(20, len(query)):
        assert "zq9zq9zq9" not in statements.normalise(query[:end])


@given(st.text(max_size=400))
def test_any_statement_is_normalised_and_bounded(query: str) -> None:
    assert len(statements.normalise(query)) <= statements.MAX_QUERY


def row(**changes: Any) -> tuple[Any, ...]:
    values = {
        "id": 5,
        "user": "app",
        "db": "d",
        "command": "Query",
        "state": "executing",
        "seconds": 3,
        "query": "select 1",
    }
    return tuple({**values, **changes}.values())


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({}, True),
        ({"seconds": 2}, True),
        ({"seconds": 1.99}, False),
        ({"seconds": None}, False),
        ({"seconds": "x"}, False),
        ({"id": 1}, False),  # the probe's own
        ({"id": None}, False),
        ({"query": None}, False),
        ({"query": b"select 1"}, True),
        ({"command": "Sleep"}, False),
        ({"command": "Daemon"}, False),
        ({"command": "Binlog Dump"}, False),
        ({"user": "system user"}, False),
        ({"user": "event_scheduler"}, False),
    ],
)
def test_which_threads_are_long_running_statements(changes: dict[str, Any], reported: bool) -> None:
    assert bool(database_state.slow_queries([row(**changes)], 1, 2.0)) is reported


def test_long_running_statements_are_bounded_slowest_first_and_rows_may_be_short() -> None:
    rows = [row(id=number, seconds=number) for number in range(2, 60)] + [(1, 2)]
    queries = database_state.slow_queries(rows, 1, 2.0)
    assert [item["seconds"] for item in queries] == [float(number) for number in range(59, 39, -1)]


@pytest.mark.parametrize(
    ("version", "comment", "name"),
    [
        ("9.7.0", "(Debian)", "mysql"),
        ("8.0.43", "MySQL Community Server - GPL", "mysql"),
        ("11.8.3-MariaDB-0+deb13u1 from Debian", "x", "mariadb"),
        ("5.5.5", "mariadb.org binary", "mariadb"),
    ],
)
def test_products(version: str, comment: str, name: str) -> None:
    assert driver.product_of(version, comment).name == name


# --- option files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "no_credentials"),
        ("[mysqld]\nuser=x\n", "no_credentials"),
        (f"[client]\npassword={PASSWORD}\n", "no_credentials"),
        (f"password={PASSWORD}\n", "bad_credentials_file"),
        (f"[client]\nuser=x\n!includedir /{PASSWORD}\n= {PASSWORD}\n[client]\n", "bad_credentials_file"),
        (b"[client]\nuser=\xff\n", "bad_credentials_file"),
    ],
)
def test_option_files_that_do_not_do(options: Path, content: str | bytes, code: str) -> None:
    options.write_bytes(content if isinstance(content, bytes) else content.encode())
    state, codes = collect(options)
    assert (codes, state["error"], state["reachable"]) == ([code], code, False)


def test_a_missing_option_file(tmp_path: Path) -> None:
    assert collect(tmp_path / "none")[1] == ["no_credentials"]


def test_a_fifo_and_a_directory_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert collect(tmp_path / "fifo")[1] == ["bad_credentials_file"]
    assert collect(tmp_path)[1] == ["unreadable"]


def test_an_option_file_that_may_not_be_read(options: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:  # root, as whom tests may run, may read every file
        raise PermissionError

    monkeypatch.setattr(driver.os, "open", refuse)
    assert collect(options)[1] == ["unreadable"]


def test_an_option_file_that_others_may_read_is_named_and_used(options: Path) -> None:
    options.chmod(0o640)
    state, codes = collect(options)
    assert (codes, state["error"]) == (["loose_permissions", "no_socket"], "no_socket")


@pytest.mark.parametrize(
    ("lines", "socket_name", "host"),
    [
        ("", "found", None),
        ("host = localhost", "found", "localhost"),
        ("host = 127.0.0.1", None, "127.0.0.1"),
        ("socket = '/x/y'\nhost = localhost", "/x/y", "localhost"),
    ],
)
def test_the_unix_socket_is_preferred(tmp_path: Path, lines: str, socket_name: str | None, host: str | None) -> None:
    there = tmp_path / "there"
    there.touch()
    path = tmp_path / "my.cnf"
    path.write_text(f"[client]\nuser=x\n{lines}\n")
    path.chmod(0o600)
    defaults, findings = driver.read_defaults(str(path), [str(tmp_path / "none"), str(there)])
    expected = str(there) if socket_name == "found" else socket_name
    assert (defaults.socket, defaults.host, findings) == (expected, host, [])


# --- servers that misbehave, through the real driver ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (servers.silent, "timeout"),
        (servers.answering(servers.mysql_refusal(1040), read=False), "too_many_connections"),
        (servers.answering(servers.mysql_refusal(1203), read=False), "too_many_connections"),
        (servers.answering(servers.mysql_refusal(1129), read=False), "host_blocked"),
        (servers.answering(servers.mysql_refusal(1130), read=False), "denied"),
        (servers.answering(servers.mysql_refusal(1045), read=False), "denied"),
        (servers.answering(servers.mysql_refusal(1049), read=False), "unknown_database"),
        (servers.answering(servers.mysql_refusal(1053), read=False), "shutting_down"),
        (servers.answering(servers.mysql_refusal(3999), read=False), "failed"),
        (servers.answering(b"", read=False), "lost"),
        (servers.answering(b"SSH-2.0-OpenSSH_9.2\r\n" * 3, read=False), "garbled"),
        (servers.answering(servers.mysql_packet(b"\x09abc"), read=False), "garbled"),
        (servers.answering(servers.mysql_packet(b""), read=False), "garbled"),
    ],
)
def test_reasons_of_failed_logins_are_distinguished_in_time(
    options: Path, behaviour: servers.Behaviour, code: str
) -> None:
    started = time.monotonic()
    with servers.unix(options.parent / "s", behaviour):
        state, codes = collect(options)
    assert (codes, state["error"], state["reachable"], state["threads"]) == ([code], code, False, None)
    assert time.monotonic() - started < 3


def test_a_server_that_is_down(options: Path) -> None:
    assert collect(options)[0]["error"] == "no_socket"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(options.parent / "s"))
    stale.close()
    assert collect(options)[0]["error"] == "refused"


def test_a_server_that_is_down_over_tcp(options: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    options.write_text(f"[client]\nuser=x\nhost=127.0.0.1\nport={number}\n")
    assert collect(options)[0]["error"] == "refused"


# --- what is asked, through an injected connection -----------------------------------------------------------------


class Connection:
    """Answers statements by their beginning; an exception is raised instead."""

    def __init__(self, **answers: Any) -> None:
        self.statements: list[str] = []
        self.closed = False
        self.answers: dict[str, Any] = {
            "SELECT VERSION": [("9.7.0", "(Debian)", 151, 1, "ops")],
            "SHOW GLOBAL": [
                ("Threads_connected", "7"),
                ("Threads_running", b"2"),
                ("Max_used_connections", 20),
                ("Uptime", 99),
            ],
            "performance_schema": [row(), row(id=6, seconds=0), row(id=1, user="ops")],
            "information_schema": [],
            **answers,
        }

    def cursor(self) -> Connection:
        return self

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self, statement: str, _values: Sequence[Any] | None) -> None:
        self.statements.append(statement)
        self.answer = next(answer for part, answer in self.answers.items() if part in statement)
        if isinstance(self.answer, Exception):
            raise self.answer

    def fetchall(self) -> Any:
        return self.answer

    def close(self) -> None:
        self.closed = True


def observe(options: Path, connection: Connection) -> tuple[Any, list[str]]:
    result = collect(options, opener=lambda *_: connection)
    assert connection.closed
    return result


def test_state_of_a_server(options: Path) -> None:
    state, codes = observe(options, Connection())
    assert codes == []
    assert (state["reachable"], state["error"], state["product"], state["version"]) == (True, None, "mysql", "9.7.0")
    assert (state["uptime_s"], state["latency_ms"] >= 0) == (99, True)
    assert state["threads"] == {"connected": 7, "running": 2, "max_used": 20, "allowed": 151}
    assert [(item["id"], item["query"]) for item in state["slow"]] == [(5, "select ?")]


def test_mariadb_has_its_own_list(options: Path) -> None:
    connection = Connection(
        **{"SELECT VERSION": [("11.8.3-MariaDB", "x", 151, 1, "ops")], "information_schema": [row()]}
    )
    state, codes = observe(options, connection)
    assert (codes, len(state["slow"])) == ([], 1)
    assert "TIME_MS / 1000" in connection.statements[-1]


def test_the_older_list_does_where_the_newer_may_not_be_read(options: Path) -> None:
    denied = pymysql.err.OperationalError(1142, "SELECT command denied")
    state, codes = observe(options, Connection(performance_schema=denied, information_schema=[row()]))
    assert (codes, len(state["slow"])) == ([], 1)


def test_no_list_at_all_leaves_the_figures(options: Path) -> None:
    denied = pymysql.err.OperationalError(1142, "SELECT command denied")
    state, codes = observe(options, Connection(performance_schema=denied, information_schema=denied))
    assert (codes, state["reachable"], state["threads"]["connected"]) == (["no_processlist"], True, 7)


def test_an_account_that_sees_only_itself_is_a_finding(options: Path) -> None:
    _, codes = observe(options, Connection(performance_schema=[row(id=1, user="ops")]))
    assert codes == ["limited_view"]


def test_a_server_that_stops_answering_after_its_first_answer_was_reachable(options: Path) -> None:
    state, codes = observe(
        options, Connection(**{"SHOW GLOBAL": pymysql.err.OperationalError(2013, "Lost connection")})
    )
    assert (state["reachable"], state["error"], codes) == (True, None, ["lost"])


@pytest.mark.parametrize("answer", [[], [()], [(None, None, None, None, None)], [(b"9", 1, "x", "y", 0)]])
def test_strange_first_answers_never_raise(options: Path, answer: Any) -> None:
    observe(options, Connection(**{"SELECT VERSION": answer}))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ImportError("no module"), "no_pymysql"),
        (RuntimeError("'cryptography' package is required for sha256_password"), "no_cryptography"),
        (pymysql.err.OperationalError(1044, "x"), "denied_database"),
        (pymysql.err.OperationalError(1820, "x"), "password_expired"),
        (pymysql.err.OperationalError(2003, "x"), "unreachable"),
        (pymysql.err.OperationalError("no number"), "garbled"),
        (PermissionError(), "denied_socket"),
        (IndexError(), "garbled"),
    ],
)
def test_reasons(error: Exception, reason: str) -> None:
    assert driver.reason_of(error) == reason


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (pymysql.err.OperationalError(1044, "x"), "Correct mysql_database"),
        (pymysql.err.OperationalError(1142, "x"), "bootstrap"),
        (pymysql.err.OperationalError(1820, "x"), "bootstrap"),
        (RuntimeError("'cryptography' package is required"), "socket"),
    ],
)
def test_what_the_servers_log_cannot_tell_sends_nobody_there(error: Exception, advice: str) -> None:
    assert advice in database_state._failure(error, "/run/s", "app")["hint"]["text"]


def test_a_missing_driver_is_a_finding(options: Path) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'pymysql'")

    assert collect(options, opener=missing)[1] == ["no_driver"]


@pytest.mark.parametrize(("lean", "loaded"), [(True, "False False"), (False, "True True")])
def test_the_lean_import_keeps_cryptography_and_ssl_out_and_leaves_no_trace(lean: bool, loaded: str) -> None:
    program = (
        "import sys; from orquestrador.mysql import driver;"
        f"driver.import_pymysql(lean={lean});"
        "print(*(name in sys.modules for name in ('cryptography', 'ssl'))); import cryptography, ssl"
    )
    argv = [sys.executable, "-c", program]
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (result.stdout.strip(), result.stderr) == (loaded, "")
