"""A database that several use at once: whole transactions, a URL that can't be used, a file that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from orquestrador_ops.core.errors import HistoryError
from orquestrador_ops.history import schema
from orquestrador_ops.history.engine import Database

ROW = {"host": "web-01", "app": "a", "at": 1.0, "run_id": None, "count": 1}


def counts(database: Database) -> list[int]:
    query = sa.select(schema.planned_restarts.c.count)
    return [int(one) for one in database.read(lambda connection: connection.execute(query).scalars().all())]


def test_what_fails_half_way_is_not_there(tmp_path: Path) -> None:
    def work(connection: sa.Connection) -> None:
        connection.execute(sa.insert(schema.planned_restarts), ROW)
        raise KeyError

    with Database(f"sqlite:///{tmp_path / 'a.db'}") as database:
        with pytest.raises(KeyError):
            database.write(work)
        assert counts(database) == []
        database.write(lambda connection: connection.execute(sa.insert(schema.planned_restarts), ROW))
        with Database(f"sqlite:///{tmp_path / 'a.db'}") as other:
            assert counts(other) == [1]


def test_work_is_tried_again_only_when_another_process_was_in_the_way(tmp_path: Path) -> None:
    tried = []

    def work(said: str) -> int:
        tried.append(said)
        if len(tried) < 3:
            raise sa.exc.OperationalError("SELECT", {}, Exception(said))
        return 7

    with Database(f"sqlite:///{tmp_path / 'a.db'}") as database:
        assert database.write(lambda _: work("database is locked")) == 7
        tried.clear()
        with pytest.raises(HistoryError, match="disk is full"):
            database.write(lambda _: work("database or disk is full"))
    assert len(tried) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "oracle9://u:hunter2secret@h/x",
        "://",
        "mysql+pymysql://u:hunter2secret@h:port/x",
        "sqlite:////proc/x",
    ],
)
def test_a_url_that_cannot_be_used_is_one_line_without_its_password(url: str) -> None:
    with pytest.raises(HistoryError) as raised:
        Database(url)
    assert "\n" not in str(raised.value)
    assert "hunter2secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(HistoryError, match="is damaged"):
        Database(f"sqlite:///{path}")
    assert path.read_bytes() == b"not a database" * 100
