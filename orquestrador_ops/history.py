"""The history store: runs, samples, memories, planned restarts and what later procedures add.

SQLAlchemy Core over SQLite (WAL) by default, or any other SQLAlchemy URL. A store is created and migrated when it is
first opened; Alembic costs half a second to import and is imported only then. An open store keeps its connection,
because SQLite folds its log into the file whenever the last one closes; Ansible forks its workers, so a store that
finds itself in another process than the one that opened it connects anew.

Instants go in as ISO 8601 or epoch seconds and are kept as epoch seconds; records come out with ISO 8601 in UTC.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from module_utils.orquestrador.messages import msg

from . import packed, schema
from .errors import HistoryError
from .files import private_dir
from .i18n import epoch, iso
from .memory import STORE, cache, drop_cache

__all__ = ["History", "HistoryError", "open_history"]

T = TypeVar("T")

BUSY_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 60
ATTEMPTS = 5
_MYSQL_LOCK = "orquestrador_ops.migrate"
_RUN_TIMES = ("started_at", "deadline", "ended_at")
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


def _jsonable(value: Any) -> Any:
    """Make anything storable: NaN and infinities become null, unknown types their text, half surrogates ``?``."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {_text(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_jsonable(item) for item in value]
    return _text(value)


def as_json(value: Any) -> str:
    """``value`` as JSON; what nearly always is storable as it stands is not copied first."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(_jsonable(value), allow_nan=False)
    # Escaped half surrogates are the one thing that JSON lets pass and databases do not.
    return text if "\\ud" not in text else json.dumps(_jsonable(value), allow_nan=False)


def _text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


def _dig(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def open_history(state_dir: Path, url: str | None = None) -> History:
    """Open the default store ``<state_dir>/history.sqlite3``, or the one at ``url``; create and migrate as needed.

    Raises :class:`HistoryError`.
    """
    if url is not None:
        return _with_what_waited(History(url), state_dir)
    try:
        private_dir(Path(state_dir))
    except OSError as error:
        raise HistoryError(
            msg(
                "history store in {path}: cannot create the directory: give this user write access, "
                "or set ops_state_dir to a directory that has it ({reason})",
                path=str(state_dir),
                reason=error.strerror,
            )
        ) from error
    store = (Path(state_dir) / STORE).resolve()
    with contextlib.suppress(OSError):  # said better when it is opened
        os.close(os.open(store, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would make it 0644
    url_of_file = sa.URL.create("sqlite", database=str(store))
    return _with_what_waited(History(url_of_file, state_dir=Path(state_dir)), state_dir)


def _with_what_waited(store: History, state_dir: Path) -> History:
    """``store`` with the samples that it could not take before; what it still cannot take waits on."""
    from .sla import spool  # noqa: PLC0415 - which needs this

    if spool.waiting(state_dir):
        with contextlib.suppress(HistoryError):  # whoever goes on to write is told
            spool.replay(store, state_dir)
    return store


def warm() -> None:
    """Load what the first connection of a process loads: forked workers inherit it from a parent that called this."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.execute(sa.select(schema.runs.c.run_id).where(sa.false()).with_only_columns(sa.literal(1)))
    engine.dispose()


class History:
    """One open store. Safe to use from several processes at once, each with its own object."""

    def __init__(self, url: str | sa.URL, *, state_dir: Path | None = None) -> None:
        self._state_dir = state_dir  # of the default store, whose memories are copied to files
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

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the store holds."""
        self._engine.dispose()

    # ---------------------------------------------------------------- writing

    def conclude(
        self,
        record: Mapping[str, Any],
        snapshot: Mapping[str, Any] | None,
        verdict: Mapping[str, Any] | None,
        memory: Mapping[str, Any] | None = None,
    ) -> None:
        """Store a run, the sample it took and what it remembers, all or nothing; doing it again changes nothing.

        ``memory=None`` (check mode, an unreachable host) leaves the memory of the run before.
        """
        row, host, procedure = _run_row(record), str(record["host"]), str(record["procedure"])
        sample = sample_row(host, snapshot, verdict, procedure, row["run_id"]) if snapshot is not None else None

        def write(connection: sa.Connection) -> None:
            self._upsert(connection, schema.runs, row, ("run_id",))
            if sample is not None:
                self._upsert(connection, schema.samples, sample, ("run_id",))
            if memory is not None:
                self._upsert(connection, schema.memories, memory_row(host, procedure, memory), ("host", "procedure"))

        with self.copied(host, procedure, memory):
            self._write(write)

    def record_run(self, record: Mapping[str, Any]) -> None:
        """Store or replace one run record.

        ``{run_id, procedure, host, operator, check_mode, started_at, deadline, ended_at, budget_s, outcome, steps,
        verdict_before, verdict_after, escalated_to, previous_run, reports}``; the first three are required, other
        keys are ignored.
        """
        row = _run_row(record)
        self._write(lambda connection: self._upsert(connection, schema.runs, row, ("run_id",)))

    def record_sample(
        self, host: str, snapshot: Mapping[str, Any] | None, verdict: Mapping[str, Any] | None, source: str
    ) -> None:
        """Store what one probe saw; ``source`` is the procedure that probed. ``snapshot=None``: host unreachable."""
        row = sample_row(host, snapshot, verdict, source, None)
        self._write(lambda connection: connection.execute(sa.insert(schema.samples), row))

    def remember(self, host: str, procedure: str, memory: Mapping[str, Any]) -> None:
        """Store what the next run of ``procedure`` on ``host`` has to know."""
        row = memory_row(host, procedure, memory)
        with self.copied(host, procedure, memory):
            self._write(lambda connection: self._upsert(connection, schema.memories, row, ("host", "procedure")))

    def record_planned_restart(
        self, host: str, app: str, *, run_id: str | None = None, count: int = 1, at: object = None
    ) -> None:
        """Note that ``count`` restarts of ``app`` were ours, so that no later verdict takes them for failures."""
        when = time.time() if at is None else epoch(at)
        if when is None:
            raise HistoryError(
                msg(
                    "history store {name}: {value} is not a time: give ISO 8601 or epoch seconds",
                    name=self.name,
                    value=repr(at),
                )
            )
        row = {"host": _text(host), "app": _text(app), "at": when, "run_id": run_id, "count": int(count)}
        self._write(lambda connection: connection.execute(sa.insert(schema.planned_restarts), row))

    def own_restarts(self, host: str, app: str, counts: Mapping[str, int], *, run_id: str) -> None:
        """Restarts of a run's own, by PM2's id of the worker: noted, and no failures for any later verdict.

        What each procedure remembers of the counters is moved on by them, rather than set to what they are now: a crash
        before or after them is still a crash. Without a memory of the daily routine, one that knows just that much is
        begun. Doing it again for the same run changes nothing.
        """
        moved: dict[str, dict[str, Any]] = {}
        table = schema.memories
        for known in self._read(
            lambda connection: (
                connection.execute(sa.select(table.c.procedure).where(table.c.host == host)).scalars().all()
            )
        ):
            moved[str(known)] = {}
        moved.setdefault("daily", {})
        with contextlib.ExitStack() as copies:
            for procedure, memory in moved.items():
                copies.enter_context(self.copied(host, procedure, memory))
            self._write(lambda connection: self._move(connection, host, app, counts, run_id, moved))

    def _move(
        self,
        connection: sa.Connection,
        host: str,
        app: str,
        counts: Mapping[str, int],
        run_id: str,
        moved: dict[str, dict[str, Any]],
    ) -> None:
        """Move every memory in ``moved`` on, and put what it is now into it."""
        planned, memories = schema.planned_restarts, schema.memories
        again = sa.select(planned.c.id).where(planned.c.run_id == run_id, planned.c.host == host, planned.c.app == app)
        done = connection.execute(again).first() is not None
        for procedure, memory in moved.items():
            query = sa.select(memories.c.data).where(memories.c.host == host, memories.c.procedure == procedure)
            held = connection.execute(query).scalar()
            memory.clear()
            memory.update(held if done and isinstance(held, dict) else moved_on(held, counts))
            self._upsert(connection, memories, memory_row(host, procedure, memory), ("host", "procedure"))
        if not done:
            row = {"host": host, "app": app, "at": time.time(), "run_id": run_id, "count": sum(counts.values())}
            connection.execute(sa.insert(planned), row)

    # ---------------------------------------------------------------- reading

    def recall(self, host: str, procedure: str) -> dict[str, Any]:
        """What the last run remembered, or ``{}``."""
        table = schema.memories
        query = sa.select(table.c.data).where(table.c.host == host, table.c.procedure == procedure)
        data = self._read(lambda connection: connection.execute(query).scalar())
        return data if isinstance(data, dict) else {}

    def planned_restarts(self, host: str, app: str, since: object) -> int:
        """How many restarts of ``app`` after ``since`` (ISO 8601, epoch seconds, or ``None`` for ever) were ours."""
        table = schema.planned_restarts
        query = sa.select(sa.func.coalesce(sa.func.sum(table.c.count), 0)).where(
            table.c.host == host, table.c.app == app, table.c.at > (epoch(since) or 0.0)
        )
        return int(self._read(lambda connection: connection.execute(query).scalar()) or 0)

    def last_planned_restart(self, host: str, app: str) -> str | None:
        """When a restart of ours of ``app`` was last recorded, ISO 8601 in UTC; ``None`` when none ever was."""
        table = schema.planned_restarts
        query = sa.select(sa.func.max(table.c.at)).where(table.c.host == host, table.c.app == app)
        at = self._read(lambda connection: connection.execute(query).scalar())
        return None if at is None else datetime.fromtimestamp(float(at), UTC).isoformat()

    def last_run(self, host: str, procedure: str, *, check_mode: bool = False) -> dict[str, Any] | None:
        """The newest run of ``procedure`` on ``host``; runs in check mode count only when asked for."""
        found = self.runs(host=host, procedure=procedure, check_mode=check_mode, limit=1)
        return found[0] if found else None

    def runs(
        self,
        *,
        host: str | None = None,
        procedure: str | None = None,
        since: object = None,
        until: object = None,
        check_mode: bool = True,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Run records, newest first, of those that fit; ``check_mode=False`` leaves out runs in check mode."""
        table = schema.runs
        query = sa.select(table).order_by(table.c.started_at.desc(), table.c.run_id.desc()).limit(limit)
        if host is not None:
            query = query.where(table.c.host == host)
        if procedure is not None:
            query = query.where(table.c.procedure == procedure)
        if not check_mode:
            query = query.where(table.c.check_mode.is_(False))
        query = _window(query, table.c.started_at, since, until)
        rows = self._read(lambda connection: connection.execute(query).mappings().all())
        return [{**row, **{name: iso(row[name]) for name in _RUN_TIMES}} for row in rows]

    def samples(
        self, host: str, *, since: object = None, until: object = None, limit: int = 10_000
    ) -> list[dict[str, Any]]:
        """Samples of ``host``, oldest first; ``at`` is epoch seconds. Of old ones less is known: see :mod:`.packed`."""
        start, end = epoch(since), epoch(until)
        return self._read(lambda connection: packed.listed(connection, host, start, end, limit))

    def tally(self, host: str, since: object) -> dict[str, Any]:
        """What is on record of ``host`` since an instant: ``{since_at, probes, probes_good, runs, runs_met}``."""
        runs, start = schema.runs, epoch(since) or 0.0
        met = sa.func.coalesce(sa.func.sum(sa.case((runs.c.outcome == "met", 1), else_=0)), 0)
        ran = sa.select(sa.func.count(), met).where(
            runs.c.host == host, runs.c.started_at >= start, runs.c.check_mode.is_(False)
        )
        probes, probes_good = self._read(lambda connection: packed.counted(connection, host, start))
        total, total_met = self._read(lambda connection: connection.execute(ran).one())
        return {
            "since_at": iso(start),
            "probes": probes,
            "probes_good": probes_good,
            "runs": int(total),
            "runs_met": int(total_met),
        }

    # ---------------------------------------------------------------- for modules that keep a table of their own

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """What ``work`` finds. Raises :class:`HistoryError`."""
        return self._read(work)

    def write(self, work: Callable[[sa.Connection], T], *, attempts: int = ATTEMPTS) -> T:
        """Do ``work`` in one transaction and give back what it returns.

        It may be done again, when another process was in the way. What it reads is safe from others only after its
        first writing statement: begin with that. Raises :class:`HistoryError`.
        """
        return self._write(work, attempts)

    def upsert(self, connection: sa.Connection, table: sa.Table, row: dict[str, Any], key: tuple[str, ...]) -> None:
        """Insert ``row``, or replace its columns where ``key`` is taken; inside :meth:`write`."""
        self._upsert(connection, table, row, key)

    # ---------------------------------------------------------------- inside

    @contextlib.contextmanager
    def copied(self, host: str, procedure: str, memory: Mapping[str, Any] | None) -> Iterator[None]:
        """Keep the file copy of a memory true: gone while the store changes, written when it has."""
        if memory is None or self._state_dir is None:
            yield
            return
        try:
            drop_cache(self._state_dir, host, procedure)
        except OSError as error:
            raise HistoryError(
                msg(
                    "memory of {host} in {path}: cannot be replaced: "
                    "give this user write access to the directory ({reason})",
                    host=host,
                    path=str(self._state_dir),
                    reason=error.strerror,
                )
            ) from error
        yield
        cache(self._state_dir, None, host, procedure, _jsonable(memory))

    def _upsert(self, connection: sa.Connection, table: sa.Table, row: dict[str, Any], key: tuple[str, ...]) -> None:
        new = {name: value for name, value in row.items() if name not in key}
        if self._engine.dialect.name in {"mysql", "mariadb"}:
            from sqlalchemy.dialects import mysql  # noqa: PLC0415 - the default store needs none of it

            connection.execute(mysql.insert(table).values(row).on_duplicate_key_update(new))
        elif self._sqlite:
            statement = sqlite.insert(table).values(row)
            connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=new))
        else:
            connection.execute(sa.delete(table).where(*(table.c[name] == row[name] for name in key)))
            connection.execute(sa.insert(table), row)

    def _write(self, work: Callable[[sa.Connection], T], attempts: int = ATTEMPTS) -> T:
        def transaction() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return self._tried(transaction, attempts)

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        def look() -> T:
            with self._engine.connect() as connection:
                return work(connection)

        return self._tried(look)

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

        return self._read(look)

    def _migrate(self, url: sa.URL) -> None:
        with self._migration_lock(url):
            if self._revision() == schema.REVISION:
                return  # another process was quicker
            from alembic import command  # noqa: PLC0415 - half a second, only when there is something to migrate
            from alembic.config import Config  # noqa: PLC0415
            from alembic.util import CommandError  # noqa: PLC0415

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
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise HistoryError({**_UNOPENED, "args": {"name": name, "reason": error.strerror}}) from error
    try:
        until = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise HistoryError({**_MIGRATING, "args": {"name": name}}) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)  # releases the lock


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


def _window(query: sa.Select[Any], column: sa.Column[Any], since: object, until: object) -> sa.Select[Any]:
    start, end = epoch(since), epoch(until)
    if start is not None:
        query = query.where(column >= start)
    if end is not None:
        query = query.where(column < end)
    return query


def moved_on(memory: object, counts: Mapping[str, int]) -> dict[str, Any]:
    """A memory whose counters of restarts, by worker and in total, are moved on by ``counts``.

    A worker that it does not know is new, or is another by now: that says nothing about its counter. A memory without
    counters gets them: from it every restart that PM2 counts is new but those.
    """
    held = dict(memory) if isinstance(memory, dict) else {}
    restarts = held.get("restarts")
    if not isinstance(restarts, dict) or not isinstance(restarts.get("count"), int):
        return {**held, "restarts": {"count": sum(counts.values()), "by_id": dict(counts)}}
    held_by_id = restarts.get("by_id")
    by_id = held_by_id if isinstance(held_by_id, dict) else {}
    known = {worker: count for worker, count in counts.items() if worker in by_id} if by_id else dict(counts)
    return {
        **held,
        "restarts": {
            **restarts,
            "count": restarts["count"] + sum(known.values()),
            "by_id": {worker: before + known.get(worker, 0) for worker, before in by_id.items()},
        },
    }


def name_of_run(record: object) -> dict[str, Any] | None:
    """What a run keeps of the one before it: whole, each would hold all that ever were."""
    if not isinstance(record, Mapping):
        return None
    return {name: record.get(name) for name in ("run_id", "started_at", "outcome")}


def _run_row(record: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {column.name: record.get(column.name) for column in schema.runs.columns}
    row["previous_run"] = name_of_run(row["previous_run"])
    for name in _RUN_TIMES:
        row[name] = epoch(row[name])
    if row["started_at"] is None:
        row["started_at"] = time.time()
    row["check_mode"] = bool(row["check_mode"])
    for name in ("run_id", "procedure", "host", "operator", "outcome", "escalated_to"):
        row[name] = None if row[name] is None else _text(row[name])
    return row


def memory_row(host: str, procedure: str, memory: Mapping[str, Any]) -> dict[str, Any]:
    taken_at = epoch(memory.get("taken_at"))
    return {
        "host": _text(host),
        "procedure": _text(procedure),
        "taken_at": time.time() if taken_at is None else taken_at,
        "data": dict(memory),
    }


def sample_row(
    host: str,
    snapshot: Mapping[str, Any] | None,
    verdict: Mapping[str, Any] | None,
    source: str,
    run_id: str | None,
) -> dict[str, Any]:
    """One probe in a row. ``ok`` is what an SLO counts: HTTP 200, ``status: ok``, ``database: connected``."""
    taken_at = epoch(_dig(snapshot, "taken_at"))
    checks = {str(check.get("id")): str(check.get("status")) for check in _dig(verdict, "checks") or []}
    good = [checks.get(name) == "ok" for name in ("http.status", "app.status", "app.database")]
    return {
        "host": _text(host),
        "at": time.time() if taken_at is None else taken_at,
        "source": _text(source),
        "run_id": run_id,
        "ok": all(good),
        "latency_ms": _number(_dig(snapshot, "http", "latency_median_ms")),
        "overall": str(_dig(verdict, "overall") or "unknown"),
        "status": _number(_dig(snapshot, "http", "status")),
        "memory_bytes": _number(_dig(snapshot, "pm2", "app", "memory_bytes")),
        "cpu_percent": _number(_dig(snapshot, "pm2", "app", "cpu_percent")),
        "restarts": _number(_dig(snapshot, "pm2", "app", "restarts")),
        "data": {
            "checks": {name: status for name, status in checks.items() if status != "ok"},
            "procedure": _dig(verdict, "procedure"),
            "errors_day": _number(_dig(snapshot, "logs", "errors_day")),
            "disk_percent": _fullest(_dig(snapshot, "resources", "disk")),
        },
    }


def _fullest(disks: Any) -> float | None:
    """How full the fullest of a snapshot's file systems is, in percent."""
    known = [_number(_dig(one, "used_percent")) for one in disks] if isinstance(disks, list | tuple) else []
    return max((one for one in known if one is not None), default=None)
