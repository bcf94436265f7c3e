"""Who holds the database's connections, and who makes whom wait in it: looked at, never ended without approval.

Both are asked over a connection that may see everybody: root over the server's socket, for which MySQL and MariaDB keep
one connection free when all others are taken. Statements leave this module without their literals.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

from . import driver
from .statements import normalise

# Nobody's sessions: the server's own threads, and who copies from it. Never ended, never counted as holders.
SERVER_USERS = frozenset(("system user", "event_scheduler", "unauthenticated user", "mysql.session", "mysql.sys"))
COPYING = ("Binlog Dump", "Binlog Dump GTID", "Daemon", "Slave_IO", "Slave_SQL", "Slave_worker", "Register Slave")
IDLE = "Sleep"
# From how long a session's age is told in a group: of a connection pool, of a forgotten window, of a leak.
AGES = ((10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"))
MAX_GROUPS, MAX_WAITS = 20, 20
PERSIST_S, AGAIN_S = 3.0, 0.02


class Session(NamedTuple):
    """One session of the server. ``seconds`` is for how long it has been at its ``command``."""

    id: int
    user: str
    host: str  # without the port
    port: Optional[int]  # of a TCP client
    command: str
    seconds: float
    state: str
    changing: bool = False  # it has changed rows and not committed them


class Root:
    """A connection of the database's root over its socket, every wait bounded; see :func:`as_root`."""

    def __init__(self, connection: Any, wait_s: float) -> None:
        self._connection = connection
        version, comment, own = self.rows("SELECT VERSION(), @@version_comment, CONNECTION_ID()")[0]
        self.id, self.wait_s = int(own), wait_s
        self.product = driver.product_of(str(version), str(comment))

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """What a statement returns."""
        return driver.rows(self._connection, statement, values)

    def close(self) -> None:
        """Say goodbye; a server that does not listen any more is left."""
        with contextlib.suppress(Exception):
            self._connection.close()


@contextlib.contextmanager
def as_root(socket: Optional[str], wait_s: float, defaults_file: str = "") -> Iterator[Root]:
    """Be let in as the database's root for a moment; this process has to be root. Raises whatever PyMySQL does."""
    found = driver.read_defaults(defaults_file)[0] if defaults_file else driver.Defaults("", socket or None, None)
    root = Root(_let_in(found, wait_s), wait_s)
    try:
        yield root
    finally:
        root.close()


def _let_in(found: driver.Defaults, wait_s: float) -> Any:
    """A connection, asked for again while all are taken, for :data:`PERSIST_S` at most.

    The one that is kept free for root is taken for a moment by everybody whom the server is about to turn away: by our
    own look just before, and by an application that asks again and again.
    """
    deadline = time.monotonic() + min(wait_s, PERSIST_S)
    while True:
        try:
            return driver.connect(found, "", wait_s)
        except Exception as error:
            if driver.reason_of(error) != "too_many_connections" or time.monotonic() >= deadline:
                raise
        time.sleep(AGAIN_S)


# --- who holds the connections ----------------------------------------------------------------------------------------


def sessions(root: Root) -> list[Session]:
    """Every session but this one and the server's own threads."""
    seconds = root.product.seconds
    changing = _changing(root)
    failure: Optional[Exception] = None
    for source in root.product.processlists:
        # Names from a table of ours, no input.
        statement = f"SELECT ID, USER, HOST, COMMAND, {seconds}, STATE FROM {source} LIMIT {driver.MAX_ROWS}"  # noqa: S608
        try:
            rows = root.rows(statement)
        except Exception as error:  # no such table: the next source may do
            if driver.reason_of(error) in ("timeout", "lost"):
                raise
            failure = error
            continue
        return [session for session in parse_sessions(rows, changing) if session.id != root.id]
    raise failure or LookupError("no source for the list of sessions")


def _changing(root: Root) -> set[int]:
    with contextlib.suppress(Exception):
        statement = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_rows_modified > 0"
        return {int(row[0]) for row in root.rows(statement)}
    return set()


def parse_sessions(rows: Iterable[Sequence[Any]], changing: Iterable[int] = ()) -> list[Session]:
    """Sessions of rows ``(id, user, host:port, command, seconds, state)``; rows that are none are left out."""
    found = []
    busy = set(changing)
    for row in rows:
        try:
            number, seconds = int(row[0]), float(row[4] or 0)
            user, where, command, state = (driver.text_of(row[i]) for i in (1, 2, 3, 5))
        except (TypeError, ValueError, IndexError):
            continue
        if user in SERVER_USERS or command in COPYING:
            continue
        host, _, port = where.rpartition(":")
        known = port.isdigit() and bool(host)
        host, number_of_port = (host, int(port)) if known else (where, None)
        busy_s = max(seconds, 0.0)
        found.append(Session(number, user, host, number_of_port, command, busy_s, state, number in busy))
    return found


def holders(found: Iterable[Session], own_ports: Iterable[int] = ()) -> list[dict[str, Any]]:
    """Sessions grouped by who holds them, most first: ``{user, host, command, age, sessions, longest_s, app}``.

    ``age`` is ``< 10 s`` … ``> 1 h``; ``app``: whether the other ends are the application's, ``own_ports`` being those
    that it speaks to the server from.
    """
    ports = set(own_ports)
    groups: dict[tuple[str, str, str, str, bool], list[float]] = {}
    for session in found:
        age = next((f"< {name}" for limit, name in AGES if session.seconds < limit), f"> {AGES[-1][1]}")
        key = (session.user, session.host, session.command, age, session.port in ports)
        groups.setdefault(key, []).append(session.seconds)
    rows = []
    for (user, host, command, age, app), seconds in groups.items():
        figures = {"sessions": len(seconds), "longest_s": round(max(seconds), 1)}
        rows.append({"user": user, "host": host, "command": command, "age": age, "app": app, **figures})
    return sorted(rows, key=lambda row: (-int(str(row["sessions"])), str(row["user"]), str(row["age"])))[:MAX_GROUPS]


def may_end(found: Iterable[Session], *, idle_s: float, spared: Iterable[str]) -> list[Session]:
    """Those that may be ended when an operator approved it: idle for ``idle_s`` at least, without uncommitted changes.

    ``spared`` are accounts whose sessions are left alone whatever they do: ours, root's, the application's.
    """
    kept = {"root", *spared}
    return [
        session
        for session in found
        if session.command == IDLE and session.seconds >= idle_s and session.user not in kept and not session.changing
    ]


def end(root: Root, chosen: Iterable[Session]) -> list[Session]:
    """End sessions that still are what they were: idle, of the same account. Returns those that were ended."""
    now = {session.id: session for session in sessions(root)}
    ended = []
    for session in chosen:
        still = now.get(session.id)
        if still is None or still.command != IDLE or still.user != session.user:
            continue
        with contextlib.suppress(Exception):  # it went by itself
            root.rows(f"KILL CONNECTION {session.id:d}")
            ended.append(session)
    return ended


# --- who waits for whom -----------------------------------------------------------------------------------------------

# (kind, statement). Columns: object, waiter's id, seconds it has waited, its statement, blocker's id, seconds of the
# blocker's transaction (or of what it is at), its statement. As the views of MySQL's sys schema have them, which may be
# missing; a metadata lock blocks whatever comes after it, so the one who has it is who matters.
_MYSQL_WAITS = (
    (
        "row",
        "SELECT CONCAT_WS('.', l.OBJECT_SCHEMA, l.OBJECT_NAME), r.trx_mysql_thread_id,"
        " TIMESTAMPDIFF(SECOND, r.trx_wait_started, NOW()), LEFT(r.trx_query, 2000), b.trx_mysql_thread_id,"
        " TIMESTAMPDIFF(SECOND, b.trx_started, NOW()), LEFT(b.trx_query, 2000)"
        " FROM performance_schema.data_lock_waits w"
        " JOIN information_schema.innodb_trx r ON r.trx_id = w.REQUESTING_ENGINE_TRANSACTION_ID"
        " JOIN information_schema.innodb_trx b ON b.trx_id = w.BLOCKING_ENGINE_TRANSACTION_ID"
        " JOIN performance_schema.data_locks l ON l.ENGINE_LOCK_ID = w.REQUESTING_ENGINE_LOCK_ID LIMIT 500",
    ),
    (
        "metadata",
        "SELECT COALESCE(CONCAT_WS('.', w.OBJECT_SCHEMA, w.OBJECT_NAME), w.OBJECT_TYPE), wt.PROCESSLIST_ID,"
        " wt.PROCESSLIST_TIME, LEFT(wt.PROCESSLIST_INFO, 2000), bt.PROCESSLIST_ID, bt.PROCESSLIST_TIME,"
        " LEFT(bt.PROCESSLIST_INFO, 2000)"
        " FROM performance_schema.metadata_locks w"
        " JOIN performance_schema.metadata_locks b ON b.OBJECT_TYPE = w.OBJECT_TYPE"
        " AND b.OBJECT_SCHEMA <=> w.OBJECT_SCHEMA AND b.OBJECT_NAME <=> w.OBJECT_NAME AND b.LOCK_STATUS = 'GRANTED'"
        " AND b.OWNER_THREAD_ID <> w.OWNER_THREAD_ID"
        " AND NOT (b.LOCK_TYPE = w.LOCK_TYPE AND w.LOCK_TYPE = 'INTENTION_EXCLUSIVE')"
        " JOIN performance_schema.threads wt ON wt.THREAD_ID = w.OWNER_THREAD_ID"
        " JOIN performance_schema.threads bt ON bt.THREAD_ID = b.OWNER_THREAD_ID"
        " WHERE w.LOCK_STATUS = 'PENDING' LIMIT 500",
    ),
)
_MARIADB_WAITS = (
    (
        "row",
        "SELECT l.lock_table, r.trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, r.trx_wait_started, NOW()),"
        " LEFT(r.trx_query, 2000), b.trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, b.trx_started, NOW()),"
        " LEFT(b.trx_query, 2000) FROM information_schema.innodb_lock_waits w"
        " JOIN information_schema.innodb_trx r ON r.trx_id = w.requesting_trx_id"
        " JOIN information_schema.innodb_trx b ON b.trx_id = w.blocking_trx_id"
        " JOIN information_schema.innodb_locks l ON l.lock_id = w.requested_lock_id LIMIT 500",
    ),
    # Present only with the plugin metadata_lock_info; without it the next one tells who waits, not for whom.
    (
        "metadata",
        "SELECT CONCAT_WS('.', m.TABLE_SCHEMA, m.TABLE_NAME), p.ID, p.TIME_MS / 1000, LEFT(p.INFO, 2000),"
        " b.ID, b.TIME_MS / 1000, LEFT(b.INFO, 2000) FROM information_schema.processlist p"
        " JOIN information_schema.metadata_lock_info m JOIN information_schema.processlist b ON b.ID = m.THREAD_ID"
        " WHERE p.STATE LIKE 'Waiting for %metadata lock' AND m.LOCK_TYPE = 'Table metadata lock' AND b.ID <> p.ID"
        " AND b.STATE NOT LIKE 'Waiting for %metadata lock' AND p.INFO LIKE CONCAT('%', m.TABLE_NAME, '%')"
        " LIMIT 500",
    ),
    (
        "metadata",
        "SELECT '', p.ID, p.TIME_MS / 1000, LEFT(p.INFO, 2000), NULL, NULL, NULL FROM information_schema.processlist p"
        " WHERE p.STATE LIKE 'Waiting for %lock' LIMIT 500",
    ),
)


def waits(root: Root, least_s: float = 1.0) -> list[dict[str, Any]]:
    """Sessions that wait for a lock and who has it, longest first; a lock that nobody waits for is nobody's trouble.

    ``{kind: row|metadata, object, waiter, waiter_user, waited_s, waiting_query, blocker, blocker_user, blocker_host,
    blocker_command, blocker_s, blocking_query}``; the blocker's are ``None`` where the server does not tell them.
    """
    found: list[Sequence[Any]] = []
    told: set[int] = set()
    for kind, statement in _MARIADB_WAITS if root.product is driver.MARIADB else _MYSQL_WAITS:
        try:
            rows = root.rows(statement)
        except Exception as error:  # a table that this server does not have
            if driver.reason_of(error) in ("timeout", "lost"):
                raise
            continue
        fresh = [row for row in rows if row[4] is not None or driver.integer(row[1]) not in told]
        told |= {driver.integer(row[1]) for row in rows}
        found += [(kind, *row) for row in fresh]
    if not found:
        return []
    everybody = {session.id: session for session in sessions(root)}
    return parse_waits(found, everybody, least_s)


def parse_waits(
    rows: Iterable[Sequence[Any]], everybody: dict[int, Session], least_s: float = 1.0
) -> list[dict[str, Any]]:
    """See :func:`waits`; rows are ``(kind, object, waiter, waited, its statement, blocker, age, its statement)``."""
    found: dict[tuple[int, Optional[int]], dict[str, Any]] = {}
    for kind, name, waiter, waited, waiting, blocker, age, blocking in rows:
        number, other = driver.integer(waiter), driver.integer(blocker) if blocker is not None else None
        waited_s = float(waited or 0)
        if waited_s < least_s or (number, other) in found:
            continue
        who, holds = everybody.get(number), everybody.get(other) if other is not None else None
        found[number, other] = {
            "kind": kind,
            "object": driver.text_of(name).replace("`", "") or None,
            "waiter": number,
            "waiter_user": who.user if who else None,
            "waited_s": round(waited_s, 1),
            "waiting_query": normalise(driver.text_of(waiting)) or None,
            "blocker": other,
            "blocker_user": holds.user if holds else None,
            "blocker_host": holds.host if holds else None,
            "blocker_command": holds.command if holds else None,
            "blocker_s": round(float(age), 1) if age is not None else None,
            "blocking_query": normalise(driver.text_of(blocking)) or None,
        }
    # Somebody who waits himself is not the cause.
    waiting_too = {entry["waiter"] for entry in found.values()}
    causes = [entry for entry in found.values() if entry["blocker"] not in waiting_too] or list(found.values())
    return sorted(causes, key=lambda entry: -float(entry["waited_s"]))[:MAX_WAITS]
