"""Connections to the database server through PyMySQL: option files, statements, and the reasons of failures.

PyMySQL imports ``cryptography`` when it is installed (40 of its 50 ms), which it needs only for
``caching_sha2_password`` over TCP without TLS, and ``ssl`` (5 ms). Over the Unix socket, which is preferred, both are
kept out.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import finding, msg
from ..core.types import Finding, Message

# Where servers put their socket when the defaults file names none: Debian and Ubuntu, Red Hat, source builds.
SOCKETS = ("/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock")  # noqa: S108 - MySQL's default
MAX_ROWS = 2000  # of a processlist
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


class Product(NamedTuple):
    """A product and its tables with the list of threads."""

    name: str
    processlists: tuple[str, ...]
    seconds: str  # expression for the seconds of a thread's current command


# performance_schema.processlist takes no global lock (MySQL 8.0.22 and newer); the other is deprecated there.
MYSQL = Product("mysql", ("performance_schema.processlist", "information_schema.processlist"), "TIME")
MARIADB = Product("mariadb", ("information_schema.processlist",), "TIME_MS / 1000")


def product_of(version: str, comment: str) -> Product:
    """Return the product, MySQL or MariaDB, from the server's version and comment."""
    return MARIADB if "mariadb" in f"{version} {comment}".lower() else MYSQL


class Defaults(NamedTuple):
    """Socket or host of the server; PyMySQL reads the credentials from the option file itself."""

    path: str
    socket: Optional[str]
    host: Optional[str]


class DatabaseError(OperatorError):
    """The option file can't be used; ``finding`` has the reason."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding["message"])
        self.finding = finding


def _defaults_error(code: str, message: Message) -> DatabaseError:
    hint = msg("Give the operations account's credentials in that file, mode 0600, as bootstrap does.")
    return DatabaseError(finding("database", code, message, hint))


def read_defaults(path: str, sockets: Sequence[str] = SOCKETS) -> tuple[Defaults, list[Finding]]:
    """Read the server's socket or host from section ``client`` of an option file (``my.cnf``).

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
                findings.append(finding("database", "loose_permissions", text, msg("Run chmod 600 on it.")))
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


@contextlib.contextmanager
def absent(*names: str) -> Iterator[None]:
    """Make imports of ``names`` fail meanwhile, as if the packages were not installed.

    ``None`` in ``sys.modules`` does that. Modules already imported stay. Not thread-safe.
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
    """Import PyMySQL; ``lean`` without ``cryptography`` and ``ssl``, which the Unix socket does not need.

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
        "autocommit": None,  # keep the server's default, which is on: saves a statement
        # PyMySQL 1.2 prepares TLS before it knows whether it is wanted: loading the certificates takes 30 to 100 ms.
        "ssl_disabled": defaults.socket is not None,
    }
    return pymysql.connect(**{**usual, **options})


def reason_of(error: BaseException) -> str:
    """Return a stable code for the failure of a connection or a statement."""
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


def rows(connection: Any, statement: str, values: Sequence[Any] = ()) -> list[Sequence[Any]]:
    """Return the rows of a statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, tuple(values) or None)
        return list(cursor.fetchall())


def integer(value: Any) -> int:
    """Return a value of the server as an integer, 0 for anything else."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0


def text_of(value: Any) -> str:
    """Return a value of the server as text, empty for ``None``."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return "" if value is None else str(value)
