"""What statements are made of, and connections on which they are asked."""

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


def quoted(name: str) -> str:
    """A name as the server's statements want it."""
    return "`" + name.replace("`", "``") + "`"


def word(value: Any) -> str:
    """The name of a character set or collation; nothing else gets into a statement."""
    text = str(value)
    if not text.replace("_", "").isalnum():
        raise OperatorError(msg("the manifest names an unusable character set: it was not written by a backup"))
    return text


def create_schema(connection: Any, schema: str, charset: Any, collation: Any) -> None:
    """Create an empty schema with the character set of another."""
    # Words of the server's own, which it would not take were they anything else.
    words = f"CHARACTER SET {word(charset)} COLLATE {word(collation)}"
    driver.rows(connection, f"CREATE DATABASE {quoted(schema)} {words}")


def drop_schema(connection: Any, schema: str) -> None:
    """Drop a schema and all in it, if it is there. Grants stay."""
    driver.rows(connection, f"DROP DATABASE IF EXISTS {quoted(schema)}")


@contextlib.contextmanager
def closing(connection: Any) -> Iterator[Any]:
    """Say goodbye in the end; a server that does not listen any more is left."""
    try:
        yield connection
    finally:
        with contextlib.suppress(Exception):
            connection.close()


def unasked(defaults: driver.Defaults, schema: str, error: Exception) -> OperatorError:
    """What to say when a server can't be asked about a schema."""
    facts = {"where": defaults.socket or defaults.host or "localhost", "reason": driver.reason_of(error)}
    return OperatorError(
        msg("The database server at {where} can't be asked about {database}: {reason}", database=schema, **facts)
    )


@contextlib.contextmanager
def asked(defaults: driver.Defaults, schema: str, timeout_s: float) -> Iterator[Any]:
    """A connection; whatever goes wrong on it becomes an :class:`OperatorError` of one line."""
    try:
        with closing(driver.connect(defaults, schema, timeout_s)) as connection:
            yield connection
    except OperatorError:
        raise
    except Exception as error:  # a server that answers garbage makes PyMySQL raise anything
        raise unasked(defaults, schema, error) from error
