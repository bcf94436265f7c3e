"""Rebuild tables with enough free space in their files, after checking the disk, with bounded lock waits.

``OPTIMIZE TABLE`` on InnoDB rebuilds the table beside the old one. It needs space for both, and at its beginning and
end a metadata lock: it waits for every open transaction, and all later statements on the table wait for it.
``lock_wait_timeout`` bounds that. A table that does not exist is a row of the answer, not an error.

The statement goes to the binary log, as an operator's would: replicas rebuild their tables as well.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..core.redact import scrub_text
from ..core.types import Message
from . import driver
from .statements import closing, query_error, quoted

ANSWER_GRACE_S = 5.0  # for a killed statement to return
GROWTH = 1.2  # the new table may be this many times as large as the old one
# Engines that support OPTIMIZE TABLE.
ENGINES = frozenset({"innodb", "myisam", "aria", "archive"})

# States of a table.
OPTIMIZED, NOT_NEEDED, PENDING = "optimized", "not_needed", "would_optimize"
MISSING, VIEW, UNSUPPORTED, SHARED = "missing", "view", "unsupported", "shared"
LOCKED, NO_SPACE, TIMED_OUT, FAILED = "locked", "no_room", "timed_out", "failed"
OK_STATUSES = ("OK", "TABLE IS ALREADY UP TO DATE")  # status rows of the server's answer
_WRONG_LIST = frozenset({MISSING, VIEW})
_FAILED_STATES = frozenset({LOCKED, NO_SPACE, TIMED_OUT, FAILED})

_SERVER_LOCKED = (1205, 3572)  # lock wait timeout; NOWAIT
_SERVER_ENDED = (1317, 1969, 3024)  # killed; MariaDB's max_statement_time; max_execution_time


class Limits(NamedTuple):
    """Thresholds for a rebuild, and time limits."""

    min_free_bytes: int
    min_free_ratio: float  # of the table's file
    everything: bool  # rebuild all listed tables
    lock_wait_s: int
    timeout_s: float


class Table(NamedTuple):
    """A listed table as the server describes it; sizes in bytes."""

    listed: str
    name: Optional[str]  # None: there is no such table
    kind: str  # BASE TABLE | VIEW | …
    engine: str
    size_bytes: int
    free_bytes: int
    similar: Optional[str] = None  # name of a table that differs in case only
    shared: bool = False  # in a tablespace with other tables, whose free space a rebuild does not return


class AnswerRow(NamedTuple):
    """One row of the server's answer to OPTIMIZE TABLE."""

    kind: str  # note | warning | error | status
    text: str


# --- pure ----------------------------------------------------------------------------------------------------------


def tablespace_names(schema: str, table: str) -> tuple[str, ...]:
    """Return InnoDB's names of the table's file: plain in MySQL, encoded in MariaDB; only plain when not ASCII.

    >>> tablespace_names("app", "a b")
    ('app/a b', 'app/a@0020b')
    """

    def encoded(name: str) -> str:
        return re.sub(r"[^A-Za-z0-9_]", lambda match: f"@{ord(match.group()):04x}", name)

    plain_name = f"{schema}/{table}"
    if not plain_name.isascii():
        return (plain_name,)
    return tuple(dict.fromkeys((plain_name, f"{encoded(schema)}/{encoded(table)}")))


def find_table(listed: str, rows: Iterable[Sequence[Any]], *, any_case: bool) -> Table:
    """Return a listed table from the schema's rows ``(name, kind, engine, data, index, free)``.

    :param any_case: the server ignores the case of names.
    """
    similar: Optional[str] = None
    for name, kind, engine, data, index, free in rows:
        current = driver.text_of(name)
        if current == listed or (any_case and current.casefold() == listed.casefold()):
            used = int(data or 0) + int(index or 0)
            return Table(listed, current, str(kind), str(engine or ""), used + int(free or 0), int(free or 0))
        if current.casefold() == listed.casefold():
            similar = current
    return Table(listed, None, "", "", 0, 0, similar)


def is_worthwhile(table: Table, limits: Limits) -> bool:
    """Whether the free space in a table's file is worth a rebuild."""
    enough = table.free_bytes >= limits.min_free_bytes and not table.shared
    return limits.everything or (enough and table.free_bytes >= limits.min_free_ratio * max(table.size_bytes, 1))


def reason_unsupported(table: Table) -> Optional[str]:
    """Return why a table can't be optimised, ``None`` when it can."""
    if table.name is None:
        return MISSING
    if table.kind != "BASE TABLE":
        return VIEW if "VIEW" in table.kind else UNSUPPORTED
    return None if table.engine.lower() in ENGINES else UNSUPPORTED


def outcome_of(answer: Sequence[AnswerRow]) -> tuple[str, str]:
    """Return ``(state, reason)`` of an answer; InnoDB's note that it recreates the table is normal."""
    errors = [row.text for row in answer if row.kind == "error"]
    if not errors and any(row.kind == "status" and row.text.strip().upper() in OK_STATUSES for row in answer):
        return OPTIMIZED, ""
    reason = " ".join((errors or [row.text for row in answer] or ["no answer"])[0].split())[:200]
    lowered = reason.lower()
    if "lock wait timeout" in lowered:
        return LOCKED, reason
    if "interrupted" in lowered or "max_statement_time" in lowered:
        return TIMED_OUT, reason
    if "doesn't exist" in lowered:
        return MISSING, reason
    return FAILED, reason


def message_for(entry: dict[str, Any], limits: Limits) -> Optional[Message]:
    """Return the message about a table, ``None`` when the operator need not act."""
    table, state = entry["table"], entry["state"]
    similar, engine, limit_s = entry.get("similar"), entry.get("engine") or "?", limits.lock_wait_s
    if state == MISSING and similar:
        return msg(
            "There is no table {table}, but {similar}: correct mysql_optimize_tables", table=table, similar=similar
        )
    figures = {"needed_bytes": entry.get("needed_bytes"), "free_bytes": entry.get("room_bytes")}
    texts = {
        MISSING: msg("There is no table {table}: correct mysql_optimize_tables", table=table),
        VIEW: msg("{table} is a view, which has nothing to optimise: correct mysql_optimize_tables", table=table),
        UNSUPPORTED: msg("{table} is of a kind that can't be optimised: {engine}", table=table, engine=engine),
        LOCKED: msg(
            "{table} was not optimised: a transaction held it for more than {lock_wait_s}; try again later",
            table=table,
            lock_wait_s=limit_s,
        ),
        NO_SPACE: msg(
            "{table} was not optimised: it needs {needed_bytes} in {directory}, which has {free_bytes} free",
            table=table,
            directory=entry.get("directory"),
            **figures,
        ),
        TIMED_OUT: msg(
            "{table} was not optimised: it did not finish within {limit_s}", table=table, limit_s=limits.timeout_s
        ),
        FAILED: msg("{table} was not optimised: {reason}", table=table, reason=entry.get("reason", "")),
    }
    return texts.get(state)


def summary(entries: Sequence[dict[str, Any]], limits: Limits) -> dict[str, Any]:
    """Return ``{changed, status?, note, failures, evidence}`` from the entries of all tables."""
    optimized = [entry for entry in entries if entry["state"] == OPTIMIZED]
    pending = [entry for entry in entries if entry["state"] == PENDING]
    messages = [(entry["state"], message_for(entry, limits)) for entry in entries]
    notes = [text for _, text in messages if text is not None]
    reclaimed = sum(max(entry["before_bytes"] - entry["after_bytes"], 0) for entry in optimized)
    if optimized:
        figures = {"count": len(optimized), "reclaimed_bytes": reclaimed}
        head = msg("{count} tables optimised, {reclaimed_bytes} freed", **figures)
    elif pending:
        names = ", ".join(entry["table"] for entry in pending)
        head = msg("{count} tables would be optimised: {tables}", count=len(pending), tables=names)
    else:
        head = msg("No table was worth optimising")
    result: dict[str, Any] = {
        "changed": bool(optimized or pending),
        "note": [head, *notes] if notes else head,
        "failures": [text for state, text in messages if state in _FAILED_STATES and text is not None],
        "evidence": {"tables": list(entries), "reclaimed_bytes": reclaimed, "optimized": len(optimized)},
    }
    states = {entry["state"] for entry in entries}
    if states & _FAILED_STATES:
        result["status"] = "failed"
    elif states & _WRONG_LIST:
        result["status"] = "warn"
    return result


# --- I/O -----------------------------------------------------------------------------------------------------------


def defaults_of(defaults_file: str, socket: Optional[str]) -> driver.Defaults:
    """Return how to connect: by the option file, or without one as this user over the Unix socket."""
    if not defaults_file:
        return driver.Defaults("", socket or None, None)
    return driver.read_defaults(defaults_file)[0]


class Server:
    """A connection that runs statements, with a second one to kill a statement that takes too long."""

    def __init__(self, defaults: driver.Defaults, schema: str, deadline: float) -> None:
        self._defaults = defaults
        self._schema = schema
        self._deadline = deadline
        self._connection: Any = None
        self.id = 0
        self.product = driver.MYSQL
        self.directory = ""
        self.any_case = False

    def __enter__(self) -> Server:
        self._connection = self._open(max(self._deadline - time.monotonic(), 1.0) + ANSWER_GRACE_S)
        row = self.rows("SELECT VERSION(), @@version_comment, CONNECTION_ID(), @@datadir, @@lower_case_table_names")[0]
        self.product = driver.product_of(str(row[0]), str(row[1]))
        self.id, self.directory, self.any_case = int(row[2]), str(row[3]), int(row[4]) != 0
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()

    def _open(self, wait_s: float) -> Any:
        try:
            return driver.connect(self._defaults, self._schema, wait_s)
        except Exception as error:  # a server that answers garbage makes PyMySQL raise anything
            raise query_error(self._defaults, self._schema, error) from error

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """Return the rows of a statement."""
        return driver.rows(self._connection, statement, values)

    def prepare(self, lock_wait_s: int) -> None:
        """Bound the lock waits of this session and read current sizes: MySQL caches them for a day."""
        self.rows("SET SESSION lock_wait_timeout = %s", (lock_wait_s,))
        with contextlib.suppress(Exception):
            self.rows("SET SESSION innodb_lock_wait_timeout = %s", (lock_wait_s,))
        if self.product is driver.MYSQL:
            self.rows("SET SESSION information_schema_stats_expiry = 0")

    def tables(self, listed: Sequence[str]) -> list[Table]:
        """Return the listed tables with their sizes, in that order."""
        rows = self.rows(
            "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, DATA_LENGTH, INDEX_LENGTH, DATA_FREE"
            " FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        )
        return [self._measured(find_table(name, rows, any_case=self.any_case)) for name in listed]

    def _measured(self, table: Table) -> Table:
        """Return the table with the size of its own file on disk, where the server reports it."""
        if table.name is None or table.engine.lower() != "innodb":
            return table
        source = "INNODB_TABLESPACES" if self.product is driver.MYSQL else "INNODB_SYS_TABLESPACES"
        names = tablespace_names(self._schema, table.name)
        # Partitions have a file each: app/table#p#name.
        like = [name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%") + "#p#%" for name in names]
        where = " OR ".join(["NAME = %s"] * len(names) + ["NAME LIKE %s"] * len(like))
        # The source is one of two names from here.
        statement = f"SELECT COALESCE(SUM(FILE_SIZE), 0) FROM information_schema.{source} WHERE {where}"  # noqa: S608
        with contextlib.suppress(Exception):
            size = int(self.rows(statement, (*names, *like))[0][0])
            if size > 0:
                return table._replace(size_bytes=size)
            # Names that are not ASCII may be encoded differently: an unmatched one proves nothing.
            return table._replace(shared=names[0].isascii())
        return table

    def optimize(self, name: str, timeout_s: float) -> tuple[str, str]:
        """Rebuild a table and return ``(state, reason)``; kill it after ``timeout_s`` or on an exception."""
        if self.product is driver.MARIADB:
            self.rows("SET SESSION max_statement_time = %s", (max(timeout_s, 0.1),))
        timer = threading.Timer(max(timeout_s, 0.1), self._stop)
        timer.daemon = True
        timer.start()
        finished = False
        try:
            answer = self.rows(f"OPTIMIZE TABLE {quoted(name)}")
            finished = True
        except Exception as error:  # noqa: BLE001 - any error is the table's result
            finished = True
            return _of_error(error)
        finally:
            timer.cancel()
            if not finished:
                self._stop()
        answer_rows = [(driver.text_of(row[2]), driver.text_of(row[3])) for row in answer]
        return outcome_of([AnswerRow(kind.lower(), scrub_text(text)) for kind, text in answer_rows])

    def _stop(self) -> None:
        with contextlib.suppress(Exception), closing(self._open(ANSWER_GRACE_S)) as other:
            driver.rows(other, f"KILL QUERY {self.id}")


def _of_error(error: Exception) -> tuple[str, str]:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if number in _SERVER_LOCKED:
        return LOCKED, ""
    if number in _SERVER_ENDED:
        return TIMED_OUT, ""
    return FAILED, f"{driver.reason_of(error)} ({number})"


def free_space(directory: str, schema: str) -> Optional[int]:
    """Return the free bytes of a schema's file system, ``None`` when its directory can't be read."""
    own = os.path.join(directory, tablespace_names(schema, "")[-1])
    try:
        info = os.statvfs(own if os.path.isdir(own) else directory)
    except OSError:
        return None
    return info.f_bavail * info.f_frsize


def optimize(
    tables: Sequence[str],
    *,
    schema: str,
    defaults_file: str,
    socket: Optional[str],
    limits: Limits,
    check_mode: bool,
    free: Callable[[str, str], Optional[int]] = free_space,
) -> dict[str, Any]:
    """Rebuild the listed tables that are worth it, one after the other; return :func:`summary`.

    Raises :class:`OperatorError` when the server can't be reached. One table's failure does not stop the others.
    """
    deadline = time.monotonic() + limits.timeout_s
    entries: list[dict[str, Any]] = []
    with Server(defaults_of(defaults_file, socket), schema, deadline) as server:
        try:
            server.prepare(limits.lock_wait_s)
            described = server.tables(list(dict.fromkeys(tables)))
        except Exception as error:  # a lost connection or a missing privilege
            reason = driver.reason_of(error)
            raise OperatorError(
                msg("The sizes of the tables of {database} can't be read: {reason}", database=schema, reason=reason)
            ) from error
        for table in described:
            entry = _assess(table, limits)
            entries.append(entry)
            if entry["state"] == PENDING:
                _check_space(entry, server.directory, free(server.directory, schema))
            if entry["state"] == PENDING and not check_mode:
                _rebuild(server, table, entry, deadline)
    return summary(entries, limits)


def _assess(table: Table, limits: Limits) -> dict[str, Any]:
    state = reason_unsupported(table) or (PENDING if is_worthwhile(table, limits) else NOT_NEEDED)
    if state == NOT_NEEDED and table.shared:
        state = SHARED
    return {
        "table": table.name or table.listed,
        "state": state,
        "engine": table.engine,
        "similar": table.similar,
        "before_bytes": table.size_bytes,
        "free_before_bytes": table.free_bytes,
        "after_bytes": table.size_bytes,
        "free_after_bytes": table.free_bytes,
        "duration_s": 0.0,
    }


def _check_space(entry: dict[str, Any], directory: str, available: Optional[int]) -> None:
    """Set the entry to :data:`NO_SPACE` when the rebuild would fill the disk."""
    needed = int(entry["before_bytes"] * GROWTH)
    if available is None or available < needed:
        entry.update(state=NO_SPACE, needed_bytes=needed, room_bytes=available, directory=directory)


def _rebuild(server: Server, table: Table, entry: dict[str, Any], deadline: float) -> None:
    started = time.monotonic()
    remaining_s = deadline - started
    if remaining_s <= 0:
        entry["state"] = TIMED_OUT
        return
    entry["state"], reason = server.optimize(str(table.name), remaining_s)
    entry["duration_s"] = round(time.monotonic() - started, 3)
    if reason:
        entry["reason"] = reason
    with contextlib.suppress(Exception):
        (after,) = server.tables([str(table.name)])
        entry.update(after_bytes=after.size_bytes, free_after_bytes=after.free_bytes)
