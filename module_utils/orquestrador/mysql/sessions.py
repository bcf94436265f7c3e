"""Sessions of the database server: which accounts hold connections, which sessions block others, and killing them.

Read as root over the server's socket, which sees all sessions and for which MySQL and MariaDB reserve one connection
when all others are taken. Statements leave this module without their literals.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

from . import driver
from .statements import normalise

# The server's own threads and replicas: never killed, never counted as holders.
SERVER_USERS = frozenset(("system user", "event_scheduler", "unauthenticated user", "mysql.session", "mysql.sys"))
COPYING = ("Binlog Dump", "Binlog Dump GTID", "Daemon", "Slave_IO", "Slave_SQL", "Slave_worker", "Register Slave")
IDLE = "Sleep"
# Age groups: typical of a connection pool, of a forgotten client, of a leak.
AGES = ((10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"))
MAX_GROUPS, MAX_WAITS = 20, 20
PERSIST_S, RETRY_S = 3.0, 0.02


class Session(NamedTuple):
    """One session of the server; ``seconds`` is the time in its current ``command``."""

    id: int
    user: str
    host: str  # without the port
    port: Optional[int]  # of a TCP client
    command: str
    seconds: float
    state: str
    changing: bool = False  # has uncommitted changes


class RootConnection:
    """A connection of the database's root over its socket, every wait bounded; see :func:`connect_as_root`."""

    def __init__(self, connection: Any, wait_s: float) -> None:
        self._connection = connection
        version, comment, own = self.rows("SELECT VERSION(), @@version_comment, CONNECTION_ID()")[0]
        self.id, self.wait_s = int(own), wait_s
        self.product = driver.product_of(str(version), str(comment))

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
        """Return the rows of a statement."""
        return driver.rows(self._connection, statement, values)

    def close(self) -> None:
        """Close the connection; errors of a lost server are ignored."""
        with contextlib.suppress(Exception):
            self._connection.close()


@contextlib.contextmanager
def connect_as_root(socket: Optional[str], wait_s: float, defaults_file: str = "") -> Iterator[RootConnection]:
    """Connect as the database's root; this process must be root. Raises any exception of PyMySQL."""
    defaults = driver.read_defaults(defaults_file)[0] if defaults_file else driver.Defaults("", socket or None, None)
    root = RootConnection(_connect_with_retry(defaults, wait_s), wait_s)
    try:
        yield root
    finally:
        root.close()


def _connect_with_retry(defaults: driver.Defaults, wait_s: float) -> Any:
    """Return a connection; retry while all are taken, for :data:`PERSIST_S` at most.

    Every client that the server is about to reject takes the connection reserved for root for a moment: our own probe
    just before, and an application that keeps reconnecting.
    """
    deadline = time.monotonic() + min(wait_s, PERSIST_S)
    while True:
        try:
            return driver.connect(defaults, "", wait_s)
        except Exception as error:
            if driver.reason_of(error) != "too_many_connections" or time.monotonic() >= deadline:
                raise
        time.sleep(RETRY_S)


# --- holders of connections -------------------------------------------------------------------------------------------


def list_sessions(root: RootConnection) -> list[Session]:
    """Return every session except this one and the server's own threads."""
    seconds = root.product.seconds
    changing = _changing(root)
    failure: Optional[Exception] = None
    for source in root.product.processlists:
        # Names from a constant table, no input.
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


def _changing(root: RootConnection) -> set[int]:
    with contextlib.suppress(Exception):
        statement = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_rows_modified > 0"
        return {int(row[0]) for row in root.rows(statement)}
    return set()


def parse_sessions(rows: Iterable[Sequence[Any]], changing: Iterable[int] = ()) -> list[Session]:
    """Return sessions from rows ``(id, user, host:port, command, seconds, state)``; invalid rows are skipped."""
    sessions = []
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
        has_port = port.isdigit() and bool(host)
        host, number_of_port = (host, int(port)) if has_port else (where, None)
        busy_s = max(seconds, 0.0)
        sessions.append(Session(number, user, host, number_of_port, command, busy_s, state, number in busy))
    return sessions


def group_by_holder(sessions: Iterable[Session], own_ports: Iterable[int] = ()) -> list[dict[str, Any]]:
    """Group sessions by holder, largest first: ``{user, host, command, age, sessions, longest_s, app}``.

    ``age`` is ``< 10 s`` … ``> 1 h``; ``app`` whether the client is the application, ``own_ports`` being the local
    ports of its connections.
    """
    ports = set(own_ports)
    groups: dict[tuple[str, str, str, str, bool], list[float]] = {}
    for session in sessions:
        age = next((f"< {name}" for limit, name in AGES if session.seconds < limit), f"> {AGES[-1][1]}")
        key = (session.user, session.host, session.command, age, session.port in ports)
        groups.setdefault(key, []).append(session.seconds)
    rows = []
    for (user, host, command, age, app), seconds in groups.items():
        figures = {"sessions": len(seconds), "longest_s": round(max(seconds), 1)}
        rows.append({"user": user, "host": host, "command": command, "age": age, "app": app, **figures})
    return sorted(rows, key=lambda row: (-int(str(row["sessions"])), str(row["user"]), str(row["age"])))[:MAX_GROUPS]


def select_idle(sessions: Iterable[Session], *, idle_s: float, spared: Iterable[str]) -> list[Session]:
    """Return the sessions that an operator may have killed: idle for ``idle_s``, without uncommitted changes.

    :param spared: accounts with sessions that are never selected: operations, root, the application.
    """
    excluded = {"root", *spared}
    idle = [session for session in sessions if session.command == IDLE and session.seconds >= idle_s]
    return [session for session in idle if session.user not in excluded and not session.changing]


def kill_sessions(root: RootConnection, chosen: Iterable[Session]) -> list[Session]:
    """Kill the chosen sessions that are still idle and of the same account; return the killed ones."""
    now = {session.id: session for session in list_sessions(root)}
    killed = []
    for session in chosen:
        current = now.get(session.id)
        if current is None or current.command != IDLE or current.user != session.user:
            continue
        with contextlib.suppress(Exception):  # it ended by itself
            root.rows(f"KILL CONNECTION {session.id:d}")
            killed.append(session)
    return killed


# --- lock waits -------------------------------------------------------------------------------------------------------

# (kind, statement). Columns: object, waiter's id, seconds it has waited, its statement, blocker's id, seconds of the
# blocker's transaction or command, its statement. As in the views of MySQL's sys schema, which may be missing. Waiters
# for a metadata lock queue up, so the blocker is the session that holds it.
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
    # Only with the plugin metadata_lock_info; without it the next statement returns the waiters without blockers.
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


def lock_waits(root: RootConnection, least_s: float = 1.0) -> list[dict[str, Any]]:
    """Return the sessions that wait for a lock and the sessions that block them, longest wait first.

    ``{kind: row|metadata, object, waiter, waiter_user, waited_s, waiting_query, blocker, blocker_user, blocker_host,
    blocker_command, blocker_s, blocking_query}``; the blocker's are ``None`` when the server does not report them.
    """
    waits: list[Sequence[Any]] = []
    known_waiters: set[int] = set()
    for kind, statement in _MARIADB_WAITS if root.product is driver.MARIADB else _MYSQL_WAITS:
        try:
            rows = root.rows(statement)
        except Exception as error:  # this server does not have the table
            if driver.reason_of(error) in ("timeout", "lost"):
                raise
            continue
        new_rows = [row for row in rows if row[4] is not None or driver.integer(row[1]) not in known_waiters]
        known_waiters |= {driver.integer(row[1]) for row in rows}
        waits += [(kind, *row) for row in new_rows]
    if not waits:
        return []
    sessions_by_id = {session.id: session for session in list_sessions(root)}
    return parse_waits(waits, sessions_by_id, least_s)


def parse_waits(
    rows: Iterable[Sequence[Any]], sessions_by_id: dict[int, Session], least_s: float = 1.0
) -> list[dict[str, Any]]:
    """See :func:`waits`; rows are ``(kind, object, waiter, waited, its statement, blocker, age, its statement)``."""
    waits: dict[tuple[int, Optional[int]], dict[str, Any]] = {}
    for kind, name, waiter, waited, waiting, blocker, age, blocking in rows:
        number, other = driver.integer(waiter), driver.integer(blocker) if blocker is not None else None
        waited_s = float(waited or 0)
        if waited_s < least_s or (number, other) in waits:
            continue
        waiting_session = sessions_by_id.get(number)
        blocking_session = sessions_by_id.get(other) if other is not None else None
        waits[number, other] = {
            "kind": kind,
            "object": driver.text_of(name).replace("`", "") or None,
            "waiter": number,
            "waiter_user": waiting_session.user if waiting_session else None,
            "waited_s": round(waited_s, 1),
            "waiting_query": normalise(driver.text_of(waiting)) or None,
            "blocker": other,
            "blocker_user": blocking_session.user if blocking_session else None,
            "blocker_host": blocking_session.host if blocking_session else None,
            "blocker_command": blocking_session.command if blocking_session else None,
            "blocker_s": round(float(age), 1) if age is not None else None,
            "blocking_query": normalise(driver.text_of(blocking)) or None,
        }
    # A blocker that waits itself is not the cause.
    waiting_too = {entry["waiter"] for entry in waits.values()}
    causes = [entry for entry in waits.values() if entry["blocker"] not in waiting_too] or list(waits.values())
    return sorted(causes, key=lambda entry: -float(entry["waited_s"]))[:MAX_WAITS]
