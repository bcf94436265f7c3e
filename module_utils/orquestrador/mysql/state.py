"""State of the database server: reachable, how fast, how full, and which statements run too long."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Optional

from ..core.messages import finding, msg
from ..core.types import DatabaseState, Finding
from .driver import (
    MAX_ROWS,
    DatabaseError,
    Defaults,
    Product,
    connect,
    import_pymysql,
    integer,
    product_of,
    read_defaults,
    reason_of,
    rows,
)
from .statements import normalise

MAX_SLOW = 20
# Fetched of each long-running statement before it is normalised.
FETCHED_QUERY = 2000
# PyMySQL bounds each wait, not their sum: a server that answers slowly first and then hangs must still be reported as
# hanging within the collector's time.
WAIT_SHARE = 0.45
# Reasons for which the probe, not the application, has no access share one code in findings.
CODES = {
    "denied_socket": "denied",
    "denied_database": "denied",
    "denied_table": "denied",
    "password_expired": "denied",
    "no_pymysql": "no_driver",
    "no_cryptography": "no_driver",
    "unknown_plugin": "no_driver",
}

_finding = functools.partial(finding, "database")


def _as_text(value: Any, limit: int = 100) -> Optional[str]:
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode("utf-8", "replace")
    return value[:limit] if isinstance(value, str) else None


def slow_queries(rows: Iterable[Sequence[Any]], own_id: int, slow_s: float) -> list[dict[str, Any]]:
    """Return the statements that have run for ``slow_s`` seconds or longer, slowest first, at most 20.

    A row is ``(id, user, db, command, state, seconds, query)``. Sleeping connections, the server's own threads and
    replication are skipped.
    """
    idle = ("Sleep", "Daemon", "Binlog Dump", "Binlog Dump GTID", "Slave_IO", "Slave_SQL", "Slave_worker")
    queries: list[dict[str, Any]] = []
    for row in rows:
        number, user, db, command, state, seconds, query = (*row, *[None] * 7)[:7]
        try:
            running_s = float(seconds)
            thread = int(number)
        except (TypeError, ValueError):
            continue
        text = _as_text(query, FETCHED_QUERY)
        if thread == own_id or running_s < slow_s or not text or _as_text(command) in idle:
            continue
        if _as_text(user) in ("system user", "event_scheduler"):
            continue
        queries.append(
            {
                "id": thread,
                "user": _as_text(user),
                "db": _as_text(db),
                "command": _as_text(command),
                "state": _as_text(state),
                "seconds": round(running_s, 3),
                "query": normalise(text),
            }
        )
    return sorted(queries, key=lambda item: float(item["seconds"]), reverse=True)[:MAX_SLOW]


def _failure(error: BaseException, where: str, database: str) -> Finding:
    """Return the finding for ``error``; it never quotes the server, since that may quote data."""
    reason = reason_of(error)
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    texts = {
        "no_pymysql": msg("PyMySQL is not installed for the Python that runs the probe"),
        "no_cryptography": msg("The account's authentication needs the Unix socket, TLS or Python's cryptography"),
        "timeout": msg("The database server at {where} does not answer in time", where=where),
        "refused": msg("The database server at {where} refuses connections: it does not run", where=where),
        "no_socket": msg("The database server does not run: there is no socket {where}", where=where),
        "denied_socket": msg("This user has no permission to use the socket {where}", where=where),
        "denied": msg("The database server at {where} refuses the user or the password", where=where),
        "denied_database": msg("The account has no privileges on the database {database}", database=database),
        "unknown_database": msg("The database server has no database {database}", database=database),
        "too_many_connections": msg("The database server at {where} has no free connection", where=where),
        "password_expired": msg("The password of the account has expired"),
        "shutting_down": msg("The database server at {where} is shutting down", where=where),
        "garbled": msg("The server at {where} does not speak MySQL's protocol", where=where),
    }
    hints = {
        "no_pymysql": msg("Install python3-pymysql, as bootstrap does."),
        "timeout": msg("Look at its load, its disk and its locks before restarting it."),
        "denied": msg("Compare the defaults file with the account, or run bootstrap again."),
        "denied_database": msg("Correct mysql_database, or run bootstrap again to grant the account its rights."),
        "denied_table": msg("Run bootstrap again to grant the account its rights."),
        "denied_socket": msg("Let this user reach the socket's directory, or name a host in the defaults file."),
        "password_expired": msg("Set the account's password again with bootstrap."),
        "no_cryptography": msg("Name the server's Unix socket in the defaults file, or install python3-cryptography."),
        "unknown_host": msg("Correct the host in the defaults file."),
        "unknown_database": msg("Correct mysql_database, or restore it from a backup."),
        "too_many_connections": msg("See who holds the connections; the application's pool may leak them."),
    }
    for dead in ("refused", "no_socket", "shutting_down"):
        hints[dead] = msg("Start the database service and look at its error log.")
    default = msg("The database server at {where} failed: error {number}", where=where, number=str(number))
    hint = hints.get(reason, msg("Look at the error log of the database server."))
    return _finding(CODES.get(reason, reason), texts.get(reason, default), hint)


def _processlist(connection: Any, product: Product, slow_s: float) -> list[Sequence[Any]]:
    """Return all visible threads, slow ones with their statement. Raises the error of the last source."""
    failure: Optional[Exception] = None
    for source in product.processlists:
        seconds = product.seconds
        # Names from a constant table, no input.
        statement = (
            f"SELECT ID, USER, DB, COMMAND, STATE, {seconds}, IF({seconds} >= %s, LEFT(INFO, %s), NULL)"  # noqa: S608
            f" FROM {source} LIMIT {MAX_ROWS}"
        )
        try:
            return rows(connection, statement, (slow_s, FETCHED_QUERY))
        except Exception as error:  # no right or no such table: the next source may do
            if reason_of(error) in ("timeout", "lost"):
                raise
            failure = error
    raise failure or LookupError("no source for the list of threads")


def _observe(
    connection: Any, state: DatabaseState, started: float, slow_s: float, now: Callable[[], float]
) -> list[Finding]:
    """Fill ``state`` from a connection; a value that can't be read stays ``None`` and becomes a finding."""
    findings: list[Finding] = []
    version, comment, allowed, own_id, user = (
        *rows(
            connection,
            "SELECT VERSION(), @@version_comment, @@max_connections, CONNECTION_ID(), SUBSTRING_INDEX(USER(), '@', 1)",
        )[0],
        *[None] * 5,
    )[:5]
    state["reachable"] = True
    state["latency_ms"] = round((now() - started) * 1000, 2)
    state["version"] = _as_text(version)
    product = product_of(_as_text(version) or "", _as_text(comment) or "")
    state["product"] = product.name
    status = {
        str(_as_text(row[0])).lower(): row[1]
        for row in rows(
            connection,
            "SHOW GLOBAL STATUS WHERE Variable_name IN"
            " ('Threads_connected', 'Threads_running', 'Max_used_connections', 'Uptime')",
        )
    }
    state["uptime_s"] = integer(status.get("uptime"))
    threads = {
        "connected": integer(status.get("threads_connected")),
        "running": integer(status.get("threads_running")),
        "max_used": integer(status.get("max_used_connections")),
        "allowed": integer(allowed),
    }
    state["threads"] = threads
    try:
        threads_rows = _processlist(connection, product, slow_s)
    except Exception as error:  # noqa: BLE001 - the figures above stay valid
        findings.append(_finding("no_processlist", msg("The list of running statements can't be read"), _GRANT_HINT))
        if reason_of(error) in ("timeout", "lost"):
            findings.append(_finding("timeout", msg("The database server stopped answering"), None))
        return findings
    state["slow"] = slow_queries(threads_rows, integer(own_id), slow_s)
    own_only = all(_as_text(row[1]) == _as_text(user) for row in threads_rows)
    if own_only and threads["connected"] > len(threads_rows):
        text = msg("The account sees its own statements only, so that long-running ones of others are missed")
        findings.append(_finding("limited_view", text, _GRANT_HINT))
    return findings


_GRANT_HINT = msg("Grant the operations account PROCESS, as bootstrap does.")


def collect(
    defaults_file: str,
    database: str,
    *,
    timeout_s: float,
    slow_s: float = 2.0,
    opener: Callable[[Defaults, str, float], Any] = connect,
) -> tuple[DatabaseState, list[Finding]]:
    """Observe the database server over one connection and three statements, within about ``timeout_s``.

    ``latency_ms`` is a client's wait: from connecting to the first result, without imports. ``error`` is the code
    of the finding that explains why ``reachable`` is false.
    """
    state: DatabaseState = {
        "reachable": False,
        "error": None,
        "latency_ms": None,
        "product": None,
        "version": None,
        "uptime_s": None,
        "threads": None,
        "slow": [],
    }
    try:
        defaults, findings = read_defaults(defaults_file)
    except DatabaseError as error:
        state["error"] = error.finding["code"]
        return state, [error.finding]
    where = defaults.socket or defaults.host or "localhost"
    connection = None
    try:
        if opener is connect:
            import_pymysql(lean=defaults.socket is not None)  # before the clock starts
        started = time.monotonic()
        connection = opener(defaults, database, timeout_s * WAIT_SHARE)
        findings += _observe(connection, state, started, slow_s, time.monotonic)
    except Exception as error:  # noqa: BLE001 - a server that answers garbage makes PyMySQL raise anything
        finding = _failure(error, where, database)
        state["error"] = finding["code"] if not state["reachable"] else None
        findings.append(finding)
    finally:
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()
    return state, findings
