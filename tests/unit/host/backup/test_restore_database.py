from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.backup import restore_database
from orquestrador.backup.restore_database import RestoreRequest
from orquestrador.backup.session import Limits
from orquestrador.backup.store import SUFFIXES
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain
from orquestrador.mysql import load
from orquestrador.mysql.load import ServerInfo
from orquestrador.mysql.statements import charset_name
from orquestrador.mysql.statements import quoted as quoted_name

MIB = 1024 * 1024
SUFFIX = SUFFIXES["database"]


def a_manifest(**changes: Any) -> dict[str, Any]:
    server = {"product": "mysql", "version": "8.4.3", "lower_case_table_names": 0, "size_bytes": 40 * MIB}
    server.update({key[7:]: changes.pop(key) for key in list(changes) if key.startswith("server_")})
    backup_id, tables = "20260102T030405Z-0a1b2c", {"aModel": {"rows": 1, "sha256": "x"}}
    names = {"format": 1, "kind": "database", "id": backup_id, "file": backup_id + SUFFIX, "database": "app"}
    proven = {"verified": {"at": "2026-01-02T03:04:09Z"}, "bytes_dump": 30 * MIB}
    return {**names, **proven, "server": server, "tables": tables, **changes}


def a_server(**changes: Any) -> ServerInfo:
    defaults, structure = ("utf8mb4", "utf8mb4_bin"), {"tables": {"aModel": "d"}}
    server = ServerInfo("mysql", "8.4.3-debian", 0, False, "/nowhere", "ON", defaults, 0, structure)
    return server._replace(**changes)


def request(directory: Path | None = None, **changes: Any) -> RestoreRequest:
    keys = {"identity": "AGE-SECRET-KEY-1X", "recipient": "age1x"}
    names = {"backup": "latest", "name": "app", "confirm": "app", "defaults_file": "/x"}
    limits = Limits(reserve_bytes=0, timeout_s=1.0, stall_s=1.0)
    values = {"directory": str(directory), "unverified": False, "limits": limits, "app_timeout_s": 1.0, **keys, **names}
    return RestoreRequest(**{**values, **changes})


@pytest.mark.parametrize(
    ("manifest", "server", "unverified", "reason"),
    [
        ({}, {}, False, None),
        ({"server_version": "5.7.44"}, {"version": "9.7.4"}, False, None),
        ({"server_version": "8.4.9"}, {"version": "8.4.1"}, False, None),
        (
            {"server_product": "mariadb", "server_version": "10.11.2-MariaDB"},
            {"product": "mariadb", "version": "11.8.3-MariaDB"},
            False,
            None,
        ),
        ({"database": "other"}, {}, False, "is of the database other"),
        ({"verified": None}, {}, False, "is not proven"),
        ({"verified": None}, {}, True, None),
        ({}, {"product": "mariadb", "version": "11.8.3-MariaDB"}, False, "can't load"),
        ({"server_product": "mariadb", "server_version": "11.8.3-MariaDB"}, {}, False, "can't load"),
        ({"server_product": "postgres"}, {"product": "postgres"}, False, "can't load"),
        ({"server_version": "9.1.0"}, {}, False, "update the server first"),
        ({"server_version": "8.10.0"}, {}, False, "update the server first"),
        ({"server_version": "5.6.51"}, {}, False, "too old"),
        ({"server_version": "rubbish"}, {}, False, "too old"),
        ({}, {"lower_case_table_names": 1}, False, "names with capitals"),
        ({"tables": {"model": {}}}, {"lower_case_table_names": 1}, False, None),
    ],
)
def test_reasons_to_refuse(
    manifest: dict[str, Any], server: dict[str, Any], unverified: bool, reason: str | None
) -> None:
    message = restore_database.reason_to_refuse(
        a_manifest(**manifest), request(unverified=unverified), a_server(**server)
    )
    if reason is None:
        assert message is None
    else:
        assert message is not None
        assert reason in plain(message)
        assert "\n" not in plain(message)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_a_newer_dump_is_never_accepted_and_one_of_the_same_release_always(a: int, b: int, c: int, d: int) -> None:
    message = restore_database.reason_incompatible(
        a_manifest(server_version=f"{a}.{b}.7"), a_server(version=f"{c}.{d}.1")
    )
    if (a, b) > (c, d):
        assert message is not None
    elif (a, b) >= restore_database.MIN_VERSIONS["mysql"]:
        assert message is None


@pytest.mark.parametrize("confirm", ["", "App", "app ", "latest"])
def test_without_confirmation_nothing_is_done(tmp_path: Path, confirm: str) -> None:
    with pytest.raises(OperatorError, match="confirmation"):
        restore_database.restore(request(tmp_path, confirm=confirm), None, None)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"])


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({"size_bytes": 0}, 50 * MIB),
        ({"size_bytes": 20 * MIB}, 30 * MIB),
        ({"size_bytes": 900 * MIB}, 0),
        ({"size_bytes": 900 * MIB, "log_bin": True}, 30 * MIB),
    ],
)
def test_needed_space_without_the_dropped_tables_and_with_the_binary_log(server: dict[str, Any], expected: int) -> None:
    assert restore_database.needed_bytes(a_manifest(), a_server(**server)) == expected


def store(directory: Path, number: int, **changes: Any) -> str:
    backup_id = f"2026010{number}T030405Z-0a1b2c"
    manifest = a_manifest(id=backup_id, file=backup_id + SUFFIX, **changes)
    (directory / f"{backup_id}.json").write_text(json.dumps(manifest))
    (directory / f"{backup_id}{SUFFIX}").write_bytes(b"")
    return backup_id


def test_latest_is_the_newest_that_is_no_safety_backup(tmp_path: Path) -> None:
    older, newest = store(tmp_path, 1), store(tmp_path, 2, purpose="routine")
    safety = store(tmp_path, 3, purpose="safety")
    assert restore_database.choose_backup(str(tmp_path), "latest")["id"] == newest
    assert restore_database.choose_backup(str(tmp_path), older)["id"] == older
    assert restore_database.choose_backup(str(tmp_path), f"/elsewhere/{safety}{SUFFIX}")["id"] == safety
    for unknown in ("", "2026", "../x"):
        with pytest.raises(OperatorError):
            restore_database.choose_backup(str(tmp_path), unknown)


def test_only_safety_backups_are_no_latest(tmp_path: Path) -> None:
    store(tmp_path, 1, purpose="safety")
    with pytest.raises(OperatorError, match="no backup"):
        restore_database.choose_backup(str(tmp_path), "latest")


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b"\xff\xfe", b"[" * 5000])
def test_rubbish_is_no_journal(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / restore_database.JOURNAL).write_bytes(content)
    assert restore_database.read_journal(str(tmp_path)) is None


def test_a_link_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("{}")
    (tmp_path / restore_database.JOURNAL).symlink_to(tmp_path / "elsewhere")
    assert restore_database.read_journal(str(tmp_path)) is None


@pytest.mark.parametrize(
    ("version", "expected"),
    [("9.7.4-2", (9, 7)), ("11.8.3-MariaDB-0+deb13u1", (11, 8)), ("8.0.46", (8, 0)), ("x", (0, 0)), ("", (0, 0))],
)
def test_release_of_a_version(version: str, expected: tuple[int, int]) -> None:
    assert load.release(version) == expected


@given(st.text(min_size=1, max_size=64))
def test_a_name_can_not_leave_its_quotes(name: str) -> None:
    quoted = quoted_name(name)
    assert quoted[0] == quoted[-1] == "`"
    assert "`" not in quoted[1:-1].replace("``", "")


@pytest.mark.parametrize("text", ["utf8mb4; DROP", "a b", "", "`x`"])
def test_other_texts_are_no_character_set(text: str) -> None:
    with pytest.raises(OperatorError):
        charset_name(text)
    assert charset_name("utf8mb4_0900_ai_ci") == "utf8mb4_0900_ai_ci"


ROWS = {"a": {"rows": 2, "sha256": "x"}, "b": {"rows": 0, "sha256": "empty"}}


@pytest.mark.parametrize(
    ("actual", "exact", "expected"),
    [
        ({"a": {"rows": 2, "sha256": "x"}}, True, ""),
        ({"a": {"rows": 2, "sha256": "y"}}, True, "a"),
        ({"a": {"rows": 2, "sha256": "y"}}, False, ""),
        ({"a": {"rows": 3, "sha256": "x"}}, False, "a"),
        ({}, False, "a"),
        ({"a": {"rows": 2, "sha256": "x"}, "c": {"rows": 1, "sha256": "z"}}, True, "c"),
    ],
)
def test_tables_that_differ(actual: dict[str, Any], exact: bool, expected: str) -> None:
    assert load.differing_tables(ROWS, actual, exact=exact) == expected


def test_an_empty_schema_is_empty_and_a_missing_one_does_not_exist() -> None:
    assert a_server(structure={"tables": {}, "views": {}}).empty
    assert not a_server(structure={"tables": {}, "views": {"v": "d"}}).empty
    assert not a_server(defaults=None).exists
