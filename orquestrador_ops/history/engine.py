"""A database that several processes use at once: opened, migrated, written in transactions that are tried again.

SQLAlchemy Core over SQLite (WAL) by default, or any other SQLAlchemy URL. A store is created and migrated when it is
first opened; Alembic costs half a second to import and is imported only then. An open store keeps its connection,
because SQLite folds its log into the file whenever the last one closes; Ansible forks its workers, so a store that
finds itself in another process than the one that opened it connects anew.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from orquestrador.core.messages import msg

from ..core.errors import HistoryError
from ..core.files import locked
from . import schema
from .rows import as_json

T = TypeVar("T")

BUSY_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 60
ATTEMPTS = 5
_MYSQL_LOCK = "orquestrador_ops.migrate"
# What a driver says, and what the operator can do about it. The first that occurs in the text applies.
_DAMAGED = msg(
    "history store {name}: the file is damaged: move it away (it is made anew) or restore it from a backup ({reason})"
)
_UNOPENED = msg("history store {name}: it cannot be opened: give this user write access to its directory ({reason})")
_HINTS = (
    ("not a database", _DAMAGED),
    ("malformed", _DAMAGED),
    ("disk is full", msg("history store {name}: the disk is full: free some space and run again ({reason})")),
    (
        "disk i/o error",
        msg("history store {name}: the disk is full or failing: look at df and dmesg, then run again ({reason})"),
    ),
    (
        "readonly database",
        msg(
            "history store {name}: it cannot be written: give this user write access to the file "
            "and its directory ({reason})"
        ),
    ),
    ("unable to open", _UNOPENED),
    (
        "locked",
        msg("history store {name}: another process holds it: wait for the other run to end and run again ({reason})"),
    ),
    (
        "unknown database",
        msg("history store {name}: there is no such database: create it, or correct the history URL ({reason})"),
    ),
    (
        "access denied",
        msg("history store {name}: the account was refused: check user and password of the history URL ({reason})"),
    ),
    (
        "connect",
        msg(
            "history store {name}: the database does not answer: check that it runs, and host and "
            "port of the history URL ({reason})"
        ),
    ),
)
_MIGRATING = msg("history store {name}: another process is migrating it: wait for it or end it, then run again")
_NO_HINT = msg("history store {name}: look at the store and run again ({reason})")
_TRANSIENT = ("locked", "busy", "deadlock", "lock wait timeout", "lost connection", "gone away")


class Database:
    """One open store. Safe to use from several processes at once, each with its own object."""

    def __init__(self, url: str | sa.URL) -> None:
        try:
            parsed = sa.make_url(url)
            self.name = parsed.database if parsed.get_backend_name() == "sqlite" else parsed.render_as_string()
            self._engine = sa.create_engine(
                parsed,
                pool_size=1,
                connect_args=_connect_args(parsed),
                json_serializer=as_json,
            )
        except ImportError as error:
            raise HistoryError(
                msg(
                    "history URL: its driver is not installed: install {driver} into .venv or use mysql+pymysql",
                    driver=str(error.name or "it"),
                )
            ) from None
        except (ArgumentError, NoSuchModuleError, ValueError) as error:
            # Without the URL: one that cannot be parsed may show its password anywhere.
            raise HistoryError(
                msg(
                    "history URL: not usable: write it as mysql+pymysql://user@host/name or sqlite:///file ({reason})",
                    reason=type(error).__name__,
                )
            ) from error
        self._pid = os.getpid()
        self._sqlite = self._engine.dialect.name == "sqlite"
        if self._sqlite:
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
        if self._revision() != schema.REVISION:
            self._migrate(parsed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the store holds."""
        self._engine.dispose()

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """What ``work`` finds. Raises :class:`HistoryError`."""

        def look() -> T:
            with self._engine.connect() as connection:
                return work(connection)

        return self._tried(look)

    def write(self, work: Callable[[sa.Connection], T], *, attempts: int = ATTEMPTS) -> T:
        """Do ``work`` in one transaction and give back what it returns.

        It may be done again, when another process was in the way. What it reads is safe from others only after its
        first writing statement: begin with that. Raises :class:`HistoryError`.
        """

        def transaction() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return self._tried(transaction, attempts)

    def upsert(self, connection: sa.Connection, table: sa.Table, row: dict[str, Any], key: tuple[str, ...]) -> None:
        """Insert ``row``, or replace its columns where ``key`` is taken; inside :meth:`write`."""
        new = {name: value for name, value in row.items() if name not in key}
        if self._engine.dialect.name in {"mysql", "mariadb"}:
            from sqlalchemy.dialects import mysql

            connection.execute(mysql.insert(table).values(row).on_duplicate_key_update(new))
        elif self._sqlite:
            statement = sqlite.insert(table).values(row)
            connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=new))
        else:
            connection.execute(sa.delete(table).where(*(table.c[name] == row[name] for name in key)))
            connection.execute(sa.insert(table), row)

    def _tried(self, work: Callable[[], T], attempts: int = ATTEMPTS) -> T:
        """Run ``work``; again when another process was in the way, which is safe because every write is an upsert
        or comes before the commit that was refused."""
        if self._pid != os.getpid():
            self._engine.dispose(close=False)  # the connection belongs to the parent
            self._pid = os.getpid()
        for attempt in range(1, attempts + 1):
            try:
                return work()
            except SQLAlchemyError as error:
                if attempt == attempts or not any(word in str(error).lower() for word in _TRANSIENT):
                    raise self._explained(error) from error
                time.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 - spreads retries, guards nothing
        raise AssertionError("unreachable")

    def _explained(self, error: Exception) -> HistoryError:
        said = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        said = " ".join(said.split())[:200]
        hint = next((hint for word, hint in _HINTS if word in said.lower()), _NO_HINT)
        return HistoryError({"text": hint["text"], "args": {"name": self.name, "reason": said}})

    def _revision(self) -> str | None:
        """Revision of the schema the store has; ``None`` when it has none yet."""

        def look(connection: sa.Connection) -> str | None:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

        return self.read(look)

    def _migrate(self, url: sa.URL) -> None:
        with self._migration_lock(url):
            if self._revision() == schema.REVISION:
                return  # another process was quicker
            from alembic import command
            from alembic.config import Config
            from alembic.util import CommandError

            config = Config()
            config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
            try:
                with self._engine.begin() as connection:
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
            except CommandError as error:
                raise HistoryError(
                    msg(
                        "history store {name}: its schema {found} is newer than this version knows ({known}): "
                        "update the project, or name another store",
                        name=self.name,
                        found=self._revision(),
                        known=schema.REVISION,
                    )
                ) from error
            except SQLAlchemyError as error:
                raise self._explained(error) from error

    @contextlib.contextmanager
    def _migration_lock(self, url: sa.URL) -> Iterator[None]:
        """Let one process at a time migrate."""
        if self._sqlite and url.database and url.database != ":memory:":
            with _file_lock(Path(f"{url.database}.lock"), self.name or ""):
                yield
        elif self._engine.dialect.name in {"mysql", "mariadb"}:
            with self._engine.connect() as connection:
                got = connection.execute(sa.select(sa.func.get_lock(_MYSQL_LOCK, LOCK_TIMEOUT_S))).scalar()
                if got != 1:
                    raise HistoryError({**_MIGRATING, "args": {"name": self.name}})
                try:
                    yield
                finally:
                    connection.execute(sa.select(sa.func.release_lock(_MYSQL_LOCK)))
        else:
            yield


@contextlib.contextmanager
def _file_lock(path: Path, name: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path, wait_s=LOCK_TIMEOUT_S))
        except BlockingIOError:
            raise HistoryError({**_MIGRATING, "args": {"name": name}}) from None
        except OSError as error:
            raise HistoryError({**_UNOPENED, "args": {"name": name, "reason": error.strerror}}) from error
        yield


def _connect_args(url: sa.URL) -> dict[str, Any]:
    backend = url.get_backend_name()
    if backend == "sqlite":
        return {"timeout": BUSY_TIMEOUT_S}
    if backend in {"mysql", "mariadb"} and url.get_driver_name() == "pymysql":
        return {"connect_timeout": 5, "read_timeout": 30, "write_timeout": 30, "charset": "utf8mb4"}
    return {}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    try:
        # WAL stays with the file, and switching to it needs the whole store for itself: ask first.
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] not in {"wal", "memory"}:
            with contextlib.suppress(Exception):  # refused while another process has the store open: next time
                cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
    finally:
        cursor.close()
