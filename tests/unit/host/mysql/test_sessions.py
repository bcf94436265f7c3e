"""Login of the database's root while all connections are taken."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pymysql
import pytest

from orquestrador.mysql import driver, sessions
from tests.unit.fakes import servers


class Connection:
    """A connection of PyMySQL with one row for every statement."""

    def cursor(self) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def execute(self, statement: str, values: Any) -> None:
        assert (statement[:6], values) == ("SELECT", None)

    def fetchall(self) -> list[tuple[str, str, int]]:
        return [("9.7.4", "MySQL", 7)]

    def close(self) -> None:
        return None


def test_root_asks_again_while_others_are_being_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [pymysql.err.OperationalError(1040, "Too many connections")] * 4

    def connect(*_: object) -> Connection:
        if taken:
            raise taken.pop()
        return Connection()

    monkeypatch.setattr(driver, "connect", connect)
    with sessions.connect_as_root(None, 2.0) as root:
        assert root.id == 7
    assert taken == []


@pytest.mark.parametrize(("wait_s", "persist_s"), [(0.3, 3.0), (5.0, 0.3)])
def test_root_gives_up_in_time_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_s: float, persist_s: float
) -> None:
    monkeypatch.setattr(sessions, "PERSIST_S", persist_s)
    started = time.monotonic()
    full = servers.answering(servers.mysql_refusal(1040), read=False)
    with (
        servers.unix(tmp_path / "s", full) as connections,
        pytest.raises(pymysql.err.OperationalError) as raised,
        sessions.connect_as_root(str(tmp_path / "s"), wait_s),
    ):
        pass
    assert 0.3 <= time.monotonic() - started < 3
    assert driver.reason_of(raised.value) == "too_many_connections"
    assert len(connections) >= 2


def test_another_refusal_is_taken_at_once(tmp_path: Path) -> None:
    denied = servers.answering(servers.mysql_refusal(1045), read=False)
    with (
        servers.unix(tmp_path / "s", denied) as connections,
        pytest.raises(pymysql.err.OperationalError),
        sessions.connect_as_root(str(tmp_path / "s"), 5.0),
    ):
        pass
    assert len(connections) == 1
