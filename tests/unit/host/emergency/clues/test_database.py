"""What an application's log says of its database, why a server does not start, and who it is that holds or waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.emergency.clues import database as clues
from orquestrador.mysql import (
    app_login as database_login,
)
from orquestrador.mysql import (
    service as database_service,
)
from orquestrador.mysql import (
    sessions as database_sessions,
)
from orquestrador.mysql import (
    tables as database_tables,
)
from orquestrador.system import tcp_owner

NOW = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("Error: Access denied for user 'app'@'localhost' (using password: YES)", "denied"),
        ("  code: 'ER_ACCESS_DENIED_ERROR',", "denied"),
        ("Error: Too many connections", "too_many_connections"),
        ("  code: 'ER_CON_COUNT_ERROR',", "too_many_connections"),
        ("The MySQL server is running with the --super-read-only option so it cannot", "read_only"),
        ("  code: 'ER_OPTION_PREVENTS_STATEMENT'", "read_only"),
        ("Table './shop/message' is marked as crashed and should be repaired", "crashed_tables"),
        ("Incorrect key file for table './shop/message.MYI'; try to repair it", "crashed_tables"),
        ("The table 'message' is full", "disk_full"),
        ("Error: getaddrinfo ENOTFOUND db.invalid", "unknown_host"),
        ("Error: connect ECONNREFUSED 127.0.0.1:3306", "refused"),
        ("Error: Database did not answer within 1000 ms", None),
        ("[Server] Listening", None),
    ],
)
def test_what_a_line_of_the_log_means(line: str, meaning: str | None) -> None:
    assert list(clues.errors_of([line])) == ([meaning] if meaning else [])


def test_errors_are_counted_and_the_newest_is_kept() -> None:
    found = clues.errors_of(["Too many connections 1", "x", "2023-11-14 22:13:00 +00:00:  Too many connections 2"])
    assert found == {"too_many_connections": {"count": 2, "last": "Too many connections 2"}}


@pytest.mark.parametrize(
    ("line", "tables"),
    [
        ("Table './shop/message' is marked as crashed", ["message"]),
        ("Incorrect key file for table './shop/message.MYI'; try", ["message"]),
        ("Incorrect key file for table 'message'; try", ["message"]),
        ("Table 'shop.order' is marked as crashed", ["order"]),
        ("Table './other/message' is marked as crashed", []),
        ("Table './shop/message' is fine", []),
    ],
)
def test_which_tables_an_error_names(line: str, tables: list[str]) -> None:
    assert clues.tables_of([line, line], "shop") == tables


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (["2023-11-14 22:13:00 +00:00: a", "  at b"], 2),
        (["2023-11-14 20:00:00 +00:00: a", "  at b", "2023-11-14 22:13:10 +00:00: c"], 1),
        (["2023-11-14 19:13:10 -03:00: c"], 1),
        (["2023-11-14T22:13:10.123Z c"], 1),
        (["2023-11-14 20:00:00 +00:00: a"], 0),
        (["no time at all"], 1),
        (["2023-99-99 20:00:00 +00:00: a"], 1),
    ],
)
def test_only_what_is_fresh_counts(lines: list[str], kept: int) -> None:
    assert len(clues.fresh(lines, NOW)) == kept


def test_a_log_that_nobody_wrote_to_lately_is_not_read(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    log.write_text("Too many connections\n")
    assert clues.recent_lines([str(log), None, str(tmp_path / "none")]) == ["Too many connections"]
    assert clues.recent_lines([str(log)], now=log.stat().st_mtime + 1000) == []


# --- why it does not start


@pytest.mark.parametrize(
    ("line", "name", "level"),
    [
        ("0 [ERROR] [MY-000067] [Server] unknown variable 'no_such_option=1'.", "bad_config", "L3"),
        ("[ERROR] Disk is full writing '/d/binlog' (OS errno 28 - No space left on device)", "disk_full", "L4"),
        ("[ERROR] Failed to set datadir to '/d/' (OS errno: 13 - Permission denied)", "not_writable", "L3"),
        ("[ERROR] Do you already have another mysqld server running on port: 3306 ?", "port_taken", "L3"),
        ("[ERROR] InnoDB: Cannot allocate memory for the buffer pool", "out_of_memory", "L4"),
        ("[ERROR] InnoDB: Database page corruption on disk", "corrupted", "L3"),
        ("[ERROR] something quite new", "unknown", "L3"),
    ],
)
def test_why_a_server_does_not_start(line: str, name: str, level: str) -> None:
    found = database_service.find_cause(["[Note] fine", line, "[ERROR] [MY-010119] [Server] Aborting"])
    assert found == database_service.StartFailure(name, line, level)


def test_no_error_is_no_cause() -> None:
    assert database_service.find_cause(["[Warning] Permission denied somewhere", "[ERROR] Aborting"]) is None


def test_a_unit_as_systemd_shows_it() -> None:
    text = "Id=mariadb.service\n"
    text += "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nMainPID=0\nNRestarts=3\nResult=signal\n"
    found = database_service.state_from(database_service.parse_show(text))
    assert (found["active"], found["sub"], found["pid"], found["restarts"]) == ("activating", "auto-restart", None, 3)
    assert found["id"] == "mariadb.service", "its journal goes by that, whatever it was asked for as"


# --- the application's account


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"DB_HOST": "x"}, None),
        (
            {"DB_USER": "u", "DB_PASSWORD": "p", "DB_NAME": "n", "DB_PORT": "3307"},
            ("127.0.0.1", 3307, "u", "p", "n", ""),
        ),
        ({"DATABASE_URL": "mysql://u:p%40ss@db:3308/shop?x=1"}, ("db", 3308, "u", "p@ss", "shop", "")),
        ({"DATABASE_URL": "postgres://u:p@db/shop", "DB_USER": "m"}, ("127.0.0.1", 3306, "m", "", "", "")),
        ({"DATABASE_URL": "mysql://u:p@db:port/shop"}, None),
    ],
)
def test_the_account_that_settings_name(settings: dict[str, str], expected: tuple[Any, ...] | None) -> None:
    found = database_login.account_from(settings)
    assert (tuple(found) if found else None) == expected


def test_what_a_process_was_started_with_counts_above_its_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DB_USER=file\nDB_HOST='there' # note\nAPI_KEY=x\n")
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "environ").write_bytes(b"DB_USER=process\0SECRET=y\0")
    found = database_login.read_settings(str(tmp_path / ".env"), [7], proc=str(tmp_path))
    assert (found["DB_USER"], found["DB_HOST"]) == ("process", "there")
    assert "SECRET" not in found


def test_a_login_tells_no_password() -> None:
    account = database_login.Account("127.0.0.1", 1, "u", "secret", "n", "")
    told = database_login.try_login(account, None, 0.5)
    assert told == {"host": "127.0.0.1", "port": 1, "user": "u", "database": "n", "local": True, "result": "refused"}


# --- sessions


ROWS = [
    (1, "event_scheduler", "localhost", "Daemon", 900, ""),
    (2, "app", "localhost:4001", "Sleep", 3, ""),
    (3, b"app", b"localhost:4002", b"Sleep", 3, b""),
    (4, "report", "10.0.0.9:1234", "Sleep", 700, None),
    (5, "root", "localhost", "Query", 1, "executing"),
    (6, "copy", "10.0.0.8:1", "Binlog Dump", 99999, ""),
    ("x", "broken", "localhost", "Sleep", 3, ""),
    (7, "report", "10.0.0.9:1235", "Sleep", 700, ""),
]


def test_sessions_are_those_of_people_and_programs() -> None:
    found = database_sessions.parse_sessions(ROWS, changing=[7])
    assert [(s.id, s.user, s.host, s.port) for s in found] == [
        (2, "app", "localhost", 4001),
        (3, "app", "localhost", 4002),
        (4, "report", "10.0.0.9", 1234),
        (5, "root", "localhost", None),
        (7, "report", "10.0.0.9", 1235),
    ]


def test_holders_are_grouped_most_first() -> None:
    rows = database_sessions.group_by_holder(database_sessions.parse_sessions(ROWS), own_ports=[4001, 4002])
    assert [(r["user"], r["sessions"], r["age"], r["app"]) for r in rows] == [
        ("app", 2, "< 10 s", True),
        ("report", 2, "< 1 h", False),
        ("root", 1, "< 10 s", False),
    ]


def test_only_idle_sessions_of_others_without_open_changes_may_be_ended() -> None:
    found = database_sessions.parse_sessions(ROWS, changing=[7])
    assert [s.id for s in database_sessions.select_idle(found, idle_s=60, spared=["app"])] == [4]
    assert database_sessions.select_idle(found, idle_s=701, spared=[]) == []


@given(st.lists(st.tuples(*[st.none() | st.integers() | st.text(max_size=9) | st.binary(max_size=9)] * 6), max_size=6))
def test_rows_of_anything_are_sessions_or_nothing(rows: list[tuple[Any, ...]]) -> None:
    found = database_sessions.parse_sessions(rows)
    assert len(found) <= len(rows)
    assert sum(row["sessions"] for row in database_sessions.group_by_holder(found)) == len(found)


def test_who_waits_himself_is_not_the_cause() -> None:
    everybody = {s.id: s for s in database_sessions.parse_sessions(ROWS)}
    rows = [
        ("metadata", "shop.`t`", 2, 9, "SELECT 'secret'", 3, 5, "ALTER TABLE t"),
        ("metadata", "shop.t", 2, 9, "SELECT 1", 4, 700, None),
        ("metadata", "shop.t", 3, 5, "ALTER TABLE t", 4, 700, None),
        ("row", "shop.u", 5, 0, "x", 4, 700, None),
    ]
    found = database_sessions.parse_waits(rows, everybody)
    assert [(w["waiter"], w["blocker"], w["blocker_user"]) for w in found] == [(2, 4, "report"), (3, 4, "report")]
    assert found[0]["waiting_query"] == "SELECT ?"
    assert found[0]["object"] == "shop.t"


# --- tables


@pytest.mark.parametrize(
    ("rows", "sound"),
    [
        ([("s.t", "check", "status", "OK")], True),
        ([("s.t", "check", "status", "Table is already up to date")], True),
        ([("s.t", "check", "warning", "1 client"), ("s.t", "check", "status", "OK")], True),
        ([("s.t", "check", "error", "Size of indexfile is: 1"), ("s.t", "check", "error", "Corrupt")], False),
        ([("s.t", "check", "error", "x"), ("s.t", "check", "status", "OK")], False),
        ([("s.t", "check", "status", "Operation failed")], False),
        ([], False),
    ],
)
def test_a_table_is_sound_when_the_server_says_so_and_nothing_else(rows: list[tuple[str, ...]], sound: bool) -> None:
    assert database_tables.verdict_of(rows)[0] is sound


def test_ports_that_a_process_speaks_from(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    table = "sl local rem st\n 0: 0100007F:0FA1 0100007F:0CEA 01 0:0 0:0 0 1000 0 4711 1\n"
    table += " 1: 0100007F:0FA2 0100007F:0CEA 01 0:0 0:0 0 1000 0 4712 1\n"
    (tmp_path / "net" / "tcp").write_text(table)
    (tmp_path / "5" / "fd").mkdir(parents=True)
    (tmp_path / "5" / "fd" / "3").symlink_to("socket:[4711]")
    assert tcp_owner.client_ports([5, 6], 3306, proc=str(tmp_path)) == {0x0FA1}
