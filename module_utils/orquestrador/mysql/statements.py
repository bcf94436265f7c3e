"""What statements are made of, and connections on which they are asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..core.errors import OperatorError
from ..core.messages import msg
from . import state as database


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
    database.rows(connection, f"CREATE DATABASE {quoted(schema)} {words}")


def drop_schema(connection: Any, schema: str) -> None:
    """Drop a schema and all in it, if it is there. Grants stay."""
    database.rows(connection, f"DROP DATABASE IF EXISTS {quoted(schema)}")


@contextlib.contextmanager
def closing(connection: Any) -> Iterator[Any]:
    """Say goodbye in the end; a server that does not listen any more is left."""
    try:
        yield connection
    finally:
        with contextlib.suppress(Exception):
            connection.close()


def unasked(defaults: database.Defaults, schema: str, error: Exception) -> OperatorError:
    """What to say when a server can't be asked about a schema."""
    facts = {"where": defaults.socket or defaults.host or "localhost", "reason": database.reason_of(error)}
    return OperatorError(
        msg("The database server at {where} can't be asked about {database}: {reason}", database=schema, **facts)
    )


@contextlib.contextmanager
def asked(defaults: database.Defaults, schema: str, timeout_s: float) -> Iterator[Any]:
    """A connection; whatever goes wrong on it becomes an :class:`OperatorError` of one line."""
    try:
        with closing(database.connect(defaults, schema, timeout_s)) as connection:
            yield connection
    except OperatorError:
        raise
    except Exception as error:  # a server that answers garbage makes PyMySQL raise anything
        raise unasked(defaults, schema, error) from error
