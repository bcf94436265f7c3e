"""Rebuild tables where that pays: looked at first, with room to do it, and never in the application's way for long.

``OPTIMIZE TABLE`` on InnoDB rebuilds the table beside the old one. It needs that room, and at its beginning and end a
metadata lock for which it waits behind every open transaction, while everything else waits behind it:
``lock_wait_timeout`` bounds that. A table that does not exist is a row of the answer, not an error.

The statement is the one an operator would type, binary log included: replicas rebuild theirs as well.
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
from .statements import closing, quoted, unasked

ANSWER_GRACE_S = 5.0  # a statement that was ended has that long to say so
ROOM = 1.2  # the new table may be this much larger than the old one while both exist
# Engines that OPTIMIZE TABLE does something for.
ENGINES = frozenset({"innodb", "myisam", "aria", "archive"})

# What became of a table.
OPTIMIZED, NOT_NEEDED, WOULD = "optimized", "not_needed", "would_optimize"
MISSING, VIEW, UNSUPPORTED, SHARED = "missing", "view", "unsupported", "shared"
LOCKED, NO_ROOM, TIMED_OUT, FAILED = "locked", "no_room", "timed_out", "failed"
DONE = ("OK", "TABLE IS ALREADY UP TO DATE")  # status of the server's answer
_WRONG_LIST = frozenset({MISSING, VIEW})
_NOT_DONE = frozenset({LOCKED, NO_ROOM, TIMED_OUT, FAILED})

_SERVER_LOCKED = (1205, 3572)  # lock wait timeout; NOWAIT
_SERVER_ENDED = (1317, 1969, 3024)  # killed; MariaDB's max_statement_time; max_execution_time


class Limits(NamedTuple):
    """When it pays, and how long anything may take."""

    min_free_bytes: int
    min_free_ratio: float  # of the table's file
    everything: bool  # all listed tables, whatever they would gain
    lock_wait_s: int
    timeout_s: float


class Table(NamedTuple):
    """A listed table as the server describes it; sizes in bytes."""

    listed: str
    name: Optional[str]  # None: there is none of that name
    kind: str  # BASE TABLE | VIEW | …
    engine: str
    size_bytes: int
    free_bytes: int
    similar: Optional[str] = None  # another table's name that differs in case only
    shared: bool = False  # lies in a tablespace with others: what is free there is not its own, nor given back


class Said(NamedTuple):
    """One row of the server's answer to OPTIMIZE TABLE."""

    kind: str  # note | warning | error | status
    text: str


# --- pure ----------------------------------------------------------------------------------------------------------


def tablespace_names(schema: str, table: str) -> tuple[str, ...]:
    """What InnoDB may call the table's file: MySQL plainly, MariaDB as in the file's name, others than ASCII left out.

    >>> tablespace_names("app", "a b")
    ('app/a b', 'app/a@0020b')
    """

    def encoded(name: str) -> str:
        return re.sub(r"[^A-Za-z0-9_]", lambda match: f"@{ord(match.group()):04x}", name)

    plain_name = f"{schema}/{table}"
    if not plain_name.isascii():
        return (plain_name,)
    return tuple(dict.fromkeys((plain_name, f"{encoded(schema)}/{encoded(table)}")))


def described(listed: str, rows: Iterable[Sequence[Any]], *, any_case: bool) -> Table:
    """Find a listed table among ``(name, kind, engine, data, index, free)`` rows of the schema.

    ``any_case``: the server doesn't tell names apart that differ in case only.
    """
    similar: Optional[str] = None
    for name, kind, engine, data, index, free in rows:
        found = driver.text_of(name)
        if found == listed or (any_case and found.casefold() == listed.casefold()):
            used = int(data or 0) + int(index or 0)
            return Table(listed, found, str(kind), str(engine or ""), used + int(free or 0), int(free or 0))
        if found.casefold() == listed.casefold():
            similar = found
    return Table(listed, None, "", "", 0, 0, similar)


def pays(table: Table, limits: Limits) -> bool:
    """Whether what is free in a table's file is worth a rebuild."""
    enough = table.free_bytes >= limits.min_free_bytes and not table.shared
    return limits.everything or (enough and table.free_bytes >= limits.min_free_ratio * max(table.size_bytes, 1))


def unfit(table: Table) -> Optional[str]:
    """Why a table can't be optimised at all, ``None`` when it can."""
    if table.name is None:
        return MISSING
    if table.kind != "BASE TABLE":
        return VIEW if "VIEW" in table.kind else UNSUPPORTED
    return None if table.engine.lower() in ENGINES else UNSUPPORTED


def outcome_of(said: Sequence[Said]) -> tuple[str, str]:
    """``(state, reason)`` of an answer. That InnoDB recreates instead is a note and the way it is meant to be."""
    errors = [row.text for row in said if row.kind == "error"]
    if not errors and any(row.kind == "status" and row.text.strip().upper() in DONE for row in said):
        return OPTIMIZED, ""
    reason = " ".join((errors or [row.text for row in said] or ["no answer"])[0].split())[:200]
    lowered = reason.lower()
    if "lock wait timeout" in lowered:
        return LOCKED, reason
    if "interrupted" in lowered or "max_statement_time" in lowered:
        return TIMED_OUT, reason
    if "doesn't exist" in lowered:
        return MISSING, reason
    return FAILED, reason


def message_of(entry: dict[str, Any], limits: Limits) -> Optional[Message]:
    """What an operator has to know of a table; ``None`` when there is nothing to do about it."""
    table, state = entry["table"], entry["state"]
    similar, engine, waited_s = entry.get("similar"), entry.get("engine") or "?", limits.lock_wait_s
    if state == MISSING and similar:
        return msg(
            "There is no table {table}, but {similar}: correct mysql_optimize_tables", table=table, similar=similar
        )
    room = {"needed_bytes": entry.get("needed_bytes"), "free_bytes": entry.get("room_bytes")}
    texts = {
        MISSING: msg("There is no table {table}: correct mysql_optimize_tables", table=table),
        VIEW: msg("{table} is a view, which has nothing to optimise: correct mysql_optimize_tables", table=table),
        UNSUPPORTED: msg("{table} is of a kind that can't be optimised: {engine}", table=table, engine=engine),
        LOCKED: msg(
            "{table} was not optimised: a transaction held it for more than {lock_wait_s}; try again later",
            table=table,
            lock_wait_s=waited_s,
        ),
        NO_ROOM: msg(
            "{table} was not optimised: it needs {needed_bytes} free in {directory} and {free_bytes} are",
            table=table,
            directory=entry.get("directory"),
            **room,
        ),
        TIMED_OUT: msg(
            "{table} was not optimised: the time allowed, {limit_s}, is over", table=table, limit_s=limits.timeout_s
        ),
        FAILED: msg("{table} was not optimised: {reason}", table=table, reason=entry.get("reason", "")),
    }
    return texts.get(state)


def summary(entries: Sequence[dict[str, Any]], limits: Limits) -> dict[str, Any]:
    """``{changed, status?, note, failures, evidence}`` of what became of each table."""
    done = [entry for entry in entries if entry["state"] == OPTIMIZED]
    would = [entry for entry in entries if entry["state"] == WOULD]
    messages = [(entry["state"], message_of(entry, limits)) for entry in entries]
    told = [text for _, text in messages if text is not None]
    reclaimed = sum(max(entry["before_bytes"] - entry["after_bytes"], 0) for entry in done)
    if done:
        head = msg("{count} tables optimised, {reclaimed_bytes} given back", count=len(done), reclaimed_bytes=reclaimed)
    elif would:
        names = ", ".join(entry["table"] for entry in would)
        head = msg("{count} tables would be optimised: {tables}", count=len(would), tables=names)
    else:
        head = msg("No table was worth optimising")
    result: dict[str, Any] = {
        "changed": bool(done or would),
        "note": [head, *told] if told else head,
        "failures": [text for state, text in messages if state in _NOT_DONE and text is not None],
        "evidence": {"tables": list(entries), "reclaimed_bytes": reclaimed, "optimized": len(done)},
    }
    states = {entry["state"] for entry in entries}
    if states & _NOT_DONE:
        result["status"] = "failed"
    elif states & _WRONG_LIST:
        result["status"] = "warn"
    return result


# --- I/O -----------------------------------------------------------------------------------------------------------


def defaults_of(defaults_file: str, socket: Optional[str]) -> driver.Defaults:
    """How to reach the server: by an option file, or as this user over its Unix socket when there is none named."""
    if not defaults_file:
        return driver.Defaults("", socket or None, None)
    return driver.read_defaults(defaults_file)[0]


class Server:
    """One connection that works and, when it has to be told to stop, another one."""

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
            raise unasked(self._defaults, self._schema, error) from error

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """What a statement returns."""
        return driver.rows(self._connection, statement, values)

    def prepare(self, lock_wait_s: int) -> None:
        """Bound the waits of this session, and see sizes as they are, not as they were a day ago."""
        self.rows("SET SESSION lock_wait_timeout = %s", (lock_wait_s,))
        with contextlib.suppress(Exception):
            self.rows("SET SESSION innodb_lock_wait_timeout = %s", (lock_wait_s,))
        if self.product is driver.MYSQL:
            self.rows("SET SESSION information_schema_stats_expiry = 0")

    def tables(self, listed: Sequence[str]) -> list[Table]:
        """The listed tables with their sizes, in that order."""
        rows = self.rows(
            "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, DATA_LENGTH, INDEX_LENGTH, DATA_FREE"
            " FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        )
        return [self._measured(described(name, rows, any_case=self.any_case)) for name in listed]

    def _measured(self, table: Table) -> Table:
        """With the size of the table's own file, which is what the disk feels, where the server tells it."""
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
            # Names that are not ASCII may be spelled otherwise there, and then nothing is known.
            return table._replace(shared=names[0].isascii())
        return table

    def optimize(self, name: str, timeout_s: float) -> tuple[str, str]:
        """Rebuild a table: ``(state, reason)``. It is ended after ``timeout_s``, and when this process is."""
        if self.product is driver.MARIADB:
            self.rows("SET SESSION max_statement_time = %s", (max(timeout_s, 0.1),))
        over = threading.Timer(max(timeout_s, 0.1), self._stop)
        over.daemon = True
        over.start()
        finished = False
        try:
            answer = self.rows(f"OPTIMIZE TABLE {quoted(name)}")
            finished = True
        except Exception as error:  # noqa: BLE001 - whatever the server or the connection says is the table's result
            finished = True
            return _of_error(error)
        finally:
            over.cancel()
            if not finished:
                self._stop()
        said = [(driver.text_of(row[2]), driver.text_of(row[3])) for row in answer]
        return outcome_of([Said(kind.lower(), scrub_text(text)) for kind, text in said])

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


def room(directory: str, schema: str) -> Optional[int]:
    """Bytes that the server may still use where a schema's tables lie, ``None`` when that can't be seen from here."""
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
    free: Callable[[str, str], Optional[int]] = room,
) -> dict[str, Any]:
    """Look at the listed tables and rebuild those where it pays, one after the other; see :func:`summary`.

    Raises :class:`OperatorError` when the server can't be asked at all. One table's failure doesn't stop the others.
    """
    deadline = time.monotonic() + limits.timeout_s
    entries: list[dict[str, Any]] = []
    with Server(defaults_of(defaults_file, socket), schema, deadline) as server:
        try:
            server.prepare(limits.lock_wait_s)
            found = server.tables(list(dict.fromkeys(tables)))
        except Exception as error:  # the server went away or keeps its tables to itself
            reason = driver.reason_of(error)
            raise OperatorError(
                msg("The sizes of the tables of {database} can't be read: {reason}", database=schema, reason=reason)
            ) from error
        for table in found:
            entry = _looked_at(table, limits)
            entries.append(entry)
            if entry["state"] == WOULD:
                _with_room(entry, server.directory, free(server.directory, schema))
            if entry["state"] == WOULD and not check_mode:
                _rebuild(server, table, entry, deadline)
    return summary(entries, limits)


def _looked_at(table: Table, limits: Limits) -> dict[str, Any]:
    state = unfit(table) or (WOULD if pays(table, limits) else NOT_NEEDED)
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


def _with_room(entry: dict[str, Any], directory: str, available: Optional[int]) -> None:
    """Refuse a rebuild that would fill the disk which the database needs to go on."""
    needed = int(entry["before_bytes"] * ROOM)
    if available is None or available < needed:
        entry.update(state=NO_ROOM, needed_bytes=needed, room_bytes=available, directory=directory)


def _rebuild(server: Server, table: Table, entry: dict[str, Any], deadline: float) -> None:
    began = time.monotonic()
    left = deadline - began
    if left <= 0:
        entry["state"] = TIMED_OUT
        return
    entry["state"], reason = server.optimize(str(table.name), left)
    entry["duration_s"] = round(time.monotonic() - began, 3)
    if reason:
        entry["reason"] = reason
    with contextlib.suppress(Exception):
        (after,) = server.tables([str(table.name)])
        entry.update(after_bytes=after.size_bytes, free_after_bytes=after.free_bytes)
