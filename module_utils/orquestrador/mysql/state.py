"""What the database server says of itself: reachable, how fast, how full, and what runs too long in it.

PyMySQL imports ``cryptography`` when it is installed (40 of its 50 ms), which it needs only for
``caching_sha2_password`` over TCP without TLS, and ``ssl`` (5 ms). Over the Unix socket, which is preferred, both are
kept out.
"""

from __future__ import annotations

import configparser
import contextlib
import functools
import os
import re
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import finding, msg
from ..core.types import DatabaseState, Finding, Message

# Where servers put their socket when the defaults file names none: Debian and Ubuntu, Red Hat, source builds.
SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")  # noqa: S108 - MySQL's default
MAX_QUERY = 300
MAX_SLOW = 20
MAX_ROWS = 2000
# Fetched of each long-running statement before it is normalised.
FETCHED_QUERY = 2000
# PyMySQL bounds each wait, not their sum: a server that answers slowly first and then hangs must still be reported as
# hanging within the collector's time.
WAIT_SHARE = 0.45
SocketTimeout = socket.timeout

# Server error numbers (mysqld_error.h) and client ones (errmsg.h) by what they mean to an operator.
SERVER_ERRORS = {
    1040: "too_many_connections",
    1203: "too_many_connections",  # of this user
    1226: "too_many_connections",  # of this user, per resource limit
    1045: "denied",
    1698: "denied",  # MariaDB: account of another authentication plugin
    1130: "denied",  # host not allowed
    1131: "denied",
    1129: "host_blocked",
    1044: "denied_database",
    1142: "denied_table",
    1049: "unknown_database",
    1820: "password_expired",
    1862: "password_expired",
    1053: "shutting_down",
    1152: "lost",
    2013: "lost",
    2006: "lost",
    2026: "tls",
    2059: "unknown_plugin",
}
# Several reasons for which the probe, not the application, can't see the database share one code in findings.
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


# --- pure ----------------------------------------------------------------------------------------------------------

_TOKENS = re.compile(
    r"""
      (?P<comment> /\*.*?(?:\*/|\Z) | (?:--(?=\s|\Z)|\#)[^\n]* )
    | (?P<text> [xXbBnN]?'(?:[^'\\]|\\.|'')*(?:'|\\?\Z) | "(?:[^"\\]|\\.|"")*(?:"|\\?\Z) )
    | (?P<name> `[^`]*(?:`|\Z) | [^\W\d][\w$]* | @@?[\w.$]+ )
    | (?P<number> 0[xX][0-9a-fA-F]+ | (?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\w* )
    | (?P<space> \s+ )
    """,
    re.VERBOSE | re.DOTALL,
)


def normalise(query: str) -> str:
    """A statement without its literals and comments, at most 300 characters: ``select * from t where id = ?``.

    Statements carry people's data and, in ``identified by '…'``, passwords. A literal that is cut off counts as one.
    """

    def replace(match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind in ("comment", "space"):
            return " "
        return match.group() if kind == "name" else "?"

    text = _TOKENS.sub(replace, query)
    text = re.sub(r"\s+", " ", text).strip()
    # Lists of values have no end: (?, ?, …), (?, ?, …).
    text = re.sub(r"\?(?:\s*,\s*\?)+", "?, …", text)
    text = re.sub(r"\(\?, …\)(?:\s*,\s*\(\?, …\))+", "(?, …), …", text)
    return text if len(text) <= MAX_QUERY else text[: MAX_QUERY - 1] + "…"


def text_of(value: Any) -> str:
    """What the server said as text; nothing for nothing."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return "" if value is None else str(value)


def _as_text(value: Any, limit: int = 100) -> Optional[str]:
    if isinstance(value, (bytes, bytearray)):
        value = bytes(value).decode("utf-8", "replace")
    return value[:limit] if isinstance(value, str) else None


def slow_queries(rows: Iterable[Sequence[Any]], own_id: int, slow_s: float) -> list[dict[str, Any]]:
    """The statements that have run for ``slow_s`` seconds or longer, slowest first, at most 20.

    A row is ``(id, user, db, command, state, seconds, query)``. Sleeping connections, the server's own threads and
    replication are no statements.
    """
    idle = ("Sleep", "Daemon", "Binlog Dump", "Binlog Dump GTID", "Slave_IO", "Slave_SQL", "Slave_worker")
    found: list[dict[str, Any]] = []
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
        found.append(
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
    return sorted(found, key=lambda item: float(item["seconds"]), reverse=True)[:MAX_SLOW]


class Product(NamedTuple):
    """Where a product keeps its list of threads; differences as data."""

    name: str
    processlists: tuple[str, ...]
    seconds: str  # column or expression for how long a thread has been at it


# performance_schema.processlist takes no global lock (MySQL 8.0.22 and newer); the other is deprecated there.
MYSQL = Product("mysql", ("performance_schema.processlist", "information_schema.processlist"), "TIME")
MARIADB = Product("mariadb", ("information_schema.processlist",), "TIME_MS / 1000")


def product_of(version: str, comment: str) -> Product:
    """MySQL or MariaDB, by what the server says of itself."""
    return MARIADB if "mariadb" in f"{version} {comment}".lower() else MYSQL


# --- I/O: the defaults file ----------------------------------------------------------------------------------------


class Defaults(NamedTuple):
    """How to reach the server; the credentials stay in the file, PyMySQL reads them there."""

    path: str
    socket: Optional[str]
    host: Optional[str]


class DatabaseError(OperatorError):
    """Nothing can be asked; ``finding`` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding["message"])
        self.finding = finding


def _defaults_error(code: str, message: Message) -> DatabaseError:
    hint = msg("Give the operations account's credentials in that file, mode 0600, as bootstrap does.")
    return DatabaseError(_finding(code, message, hint))


def read_defaults(path: str, sockets: Sequence[str] = SOCKETS) -> tuple[Defaults, list[Finding]]:
    """Read where the server is from a ``my.cnf``-style file, section ``client``.

    Raises :class:`DatabaseError`: ``no_credentials``, ``unreadable`` or ``bad_credentials_file``, whose
    messages never quote the file.
    """
    findings = []
    parser = configparser.RawConfigParser(allow_no_value=True)
    try:
        # O_NONBLOCK: a FIFO in its place must not hang the probe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8") as file:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise _defaults_error("bad_credentials_file", msg("{path} is not a regular file", path=path))
            if info.st_mode & 0o077:
                text = msg("{path} can be read by others: mode {mode}", path=path, mode=f"{info.st_mode & 0o7777:04o}")
                findings.append(_finding("loose_permissions", text, msg("Run chmod 600 on it.")))
            parser.read_string(file.read(65536))
    except FileNotFoundError:
        text = msg("The file with the database credentials, {path}, does not exist", path=path)
        raise _defaults_error("no_credentials", text) from None
    except OSError:
        text = msg("The file with the database credentials, {path}, can't be read", path=path)
        raise _defaults_error("unreadable", text) from None
    except (configparser.Error, ValueError):
        text = msg("The file with the database credentials, {path}, is not a valid option file", path=path)
        raise _defaults_error("bad_credentials_file", text) from None

    def option(name: str) -> Optional[str]:
        value = parser.get("client", name, fallback=None)
        return value.strip("\"'") if value else None

    if not parser.has_section("client") or option("user") is None:
        text = msg("The file {path} has no user in a section [client]", path=path)
        raise _defaults_error("no_credentials", text)
    host, path_to_socket = option("host"), option("socket")
    if path_to_socket is None and host in (None, "localhost"):
        path_to_socket = next((candidate for candidate in sockets if os.path.exists(candidate)), None)
    return Defaults(path, path_to_socket, host), findings


# --- I/O: the server -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def absent(*names: str) -> Iterator[None]:
    """Have imports of ``names`` fail meanwhile, as if the packages were not installed.

    ``None`` in ``sys.modules`` does that. What is imported already stays. Not for several threads at a time.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def import_pymysql(lean: bool) -> Any:
    """Import PyMySQL; ``lean`` keeps out what it does without over the Unix socket: ``cryptography`` and ``ssl``.

    Raises ``ImportError`` when there is no PyMySQL.
    """
    with absent("cryptography", "ssl") if lean and "pymysql" not in sys.modules else contextlib.nullcontext():
        import pymysql
    return pymysql


def connect(defaults: Defaults, database: Optional[str], timeout_s: float, **options: Any) -> Any:
    """Open a connection through PyMySQL, every wait bounded by ``timeout_s``; ``options`` are PyMySQL's own."""
    pymysql = import_pymysql(lean=defaults.socket is not None)
    usual = {
        "read_default_file": defaults.path,
        "unix_socket": defaults.socket,
        "database": database,
        **dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), timeout_s),
        "autocommit": None,  # one statement less: as the server has it, which is on
        # PyMySQL 1.2 prepares TLS before it knows whether it is wanted: loading the certificates takes 30 to 100 ms.
        "ssl_disabled": defaults.socket is not None,
    }
    return pymysql.connect(**{**usual, **options})


def reason_of(error: BaseException) -> str:
    """A stable word for whatever a connection or a statement failed with."""
    if isinstance(error, ImportError):
        return "no_pymysql"
    # PyMySQL keeps the cause as an attribute when connecting, and as the context when reading.
    for cause in (getattr(error, "original_exception", None), error.__context__, error):
        code = _cause(cause)
        if code:
            return code
    number = error.args[0] if error.args and isinstance(error.args[0], int) else None
    if number is not None:
        return SERVER_ERRORS.get(number, "unreachable" if 2000 <= number < 3000 else "failed")
    return "no_cryptography" if "cryptography" in str(error) else "garbled"


def _cause(cause: Optional[BaseException]) -> Optional[str]:
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (SocketTimeout, "timeout"),
        (TimeoutError, "timeout"),
        (ConnectionRefusedError, "refused"),
        (FileNotFoundError, "no_socket"),
        (PermissionError, "denied_socket"),
        (socket.gaierror, "unknown_host"),
    )
    return next((code for kind, code in kinds if isinstance(cause, kind)), None)


def _failure(error: BaseException, where: str, database: str) -> Finding:
    """A finding for ``error``; its text is ours alone, since a server's text may quote anything."""
    reason = reason_of(error)
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    texts = {
        "no_pymysql": msg("PyMySQL is not installed for the Python that runs the probe"),
        "no_cryptography": msg("The account's authentication needs the Unix socket, TLS or Python's cryptography"),
        "timeout": msg("The database server at {where} does not answer in time", where=where),
        "refused": msg("The database server at {where} refuses connections: it does not run", where=where),
        "no_socket": msg("The database server does not run: there is no socket {where}", where=where),
        "denied_socket": msg("The socket {where} may not be used by this user", where=where),
        "denied": msg("The database server at {where} refuses the user or the password", where=where),
        "denied_database": msg("The account may not use the database {database}", database=database),
        "unknown_database": msg("The database server has no database {database}", database=database),
        "too_many_connections": msg("The database server at {where} has no free connection", where=where),
        "password_expired": msg("The password of the account has expired"),
        "shutting_down": msg("The database server at {where} is shutting down", where=where),
        "garbled": msg("What answers at {where} does not speak MySQL's protocol", where=where),
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


def rows(connection: Any, statement: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
    """What a statement returns."""
    with connection.cursor() as cursor:
        cursor.execute(statement, tuple(values) or None)
        return list(cursor.fetchall())


def integer(value: Any) -> int:
    """A whole number of the server's, 0 for what is none."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def _processlist(connection: Any, product: Product, slow_s: float) -> list[Sequence[Any]]:
    """All visible threads; only those that have run long come with their statement. Raises the last source's error."""
    failure: Optional[Exception] = None
    for source in product.processlists:
        seconds = product.seconds
        # Names from the table above, no input.
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
    connection: Any, state: DatabaseState, began: float, slow_s: float, now: Callable[[], float]
) -> list[Finding]:
    """Fill ``state`` from a connection; what can't be asked for becomes a finding and leaves ``None``."""
    findings: list[Finding] = []
    version, comment, allowed, own_id, user = (
        *rows(
            connection,
            "SELECT VERSION(), @@version_comment, @@max_connections, CONNECTION_ID(), SUBSTRING_INDEX(USER(), '@', 1)",
        )[0],
        *[None] * 5,
    )[:5]
    state["reachable"] = True
    state["latency_ms"] = round((now() - began) * 1000, 2)
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
        threads_seen = _processlist(connection, product, slow_s)
    except Exception as error:  # noqa: BLE001 - whatever it is, the figures above stand
        findings.append(_finding("no_processlist", msg("The list of running statements can't be read"), _GRANT_HINT))
        if reason_of(error) in ("timeout", "lost"):
            findings.append(_finding("timeout", msg("The database server stopped answering"), None))
        return findings
    state["slow"] = slow_queries(threads_seen, integer(own_id), slow_s)
    own_only = all(_as_text(row[1]) == _as_text(user) for row in threads_seen)
    if own_only and threads["connected"] > len(threads_seen):
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

    ``latency_ms`` is what a client waits: from connecting to the first result, without imports. ``error`` is the code
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
        began = time.monotonic()
        connection = opener(defaults, database, timeout_s * WAIT_SHARE)
        findings += _observe(connection, state, began, slow_s, time.monotonic)
    except Exception as error:  # noqa: BLE001 - a server that answers garbage makes PyMySQL raise anything
        finding = _failure(error, where, database)
        state["error"] = finding["code"] if not state["reachable"] else None
        findings.append(finding)
    finally:
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()
    return state, findings
