"""SQL statements: quoting, normalising, creating schemas, and connections for a single query."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from ..core.errors import OperatorError
from ..core.messages import msg
from . import driver

MAX_QUERY = 300
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
    """Return a statement without literals and comments, at most 300 characters: ``select * from t where id = ?``.

    Statements contain personal data and, in ``identified by '…'``, passwords. A truncated literal counts as one.
    """

    def replace(match: re.Match[str]) -> str:
        kind = match.lastgroup
        if kind in ("comment", "space"):
            return " "
        return match.group() if kind == "name" else "?"

    text = _TOKENS.sub(replace, query)
    text = re.sub(r"\s+", " ", text).strip()
    # Lists of values may be long: (?, ?, …), (?, ?, …).
    text = re.sub(r"\?(?:\s*,\s*\?)+", "?, …", text)
    text = re.sub(r"\(\?, …\)(?:\s*,\s*\(\?, …\))+", "(?, …), …", text)
    return text if len(text) <= MAX_QUERY else text[: MAX_QUERY - 1] + "…"


def quoted(name: str) -> str:
    """Return a quoted identifier."""
    return "`" + name.replace("`", "``") + "`"


def charset_name(value: Any) -> str:
    """Return the name of a character set or collation; :class:`OperatorError` for any other text."""
    text = str(value)
    if not text.replace("_", "").isalnum():
        raise OperatorError(msg("the manifest has an invalid character set: it was not written by a backup"))
    return text


def create_schema(connection: Any, schema: str, charset: Any, collation: Any) -> None:
    """Create an empty schema with a character set and a collation."""
    words = f"CHARACTER SET {charset_name(charset)} COLLATE {charset_name(collation)}"
    driver.rows(connection, f"CREATE DATABASE {quoted(schema)} {words}")


def drop_schema(connection: Any, schema: str) -> None:
    """Drop a schema if it exists. Grants stay."""
    driver.rows(connection, f"DROP DATABASE IF EXISTS {quoted(schema)}")


@contextlib.contextmanager
def closing(connection: Any) -> Iterator[Any]:
    """Close the connection at the end; errors of a lost server are ignored."""
    try:
        yield connection
    finally:
        with contextlib.suppress(Exception):
            connection.close()


def query_error(defaults: driver.Defaults, schema: str, error: Exception) -> OperatorError:
    """Return the error for a query about a schema that failed."""
    facts = {"where": defaults.socket or defaults.host or "localhost", "reason": driver.reason_of(error)}
    return OperatorError(
        msg("The database server at {where} can't be asked about {database}: {reason}", database=schema, **facts)
    )


@contextlib.contextmanager
def open_connection(defaults: driver.Defaults, schema: str, timeout_s: float) -> Iterator[Any]:
    """Open a connection; any error on it becomes an :class:`OperatorError` of one line."""
    try:
        with closing(driver.connect(defaults, schema, timeout_s)) as connection:
            yield connection
    except OperatorError:
        raise
    except Exception as error:  # a server that answers garbage makes PyMySQL raise anything
        raise query_error(defaults, schema, error) from error
