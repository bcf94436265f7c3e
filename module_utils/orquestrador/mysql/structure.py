"""The structure of a schema from ``information_schema``, reduced to one digest per object.

DDL text can't be compared: MySQL writes the same table differently after a restore (``CHARACTER SET`` appears where
only ``COLLATE`` was). ``information_schema`` is the same before and after.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from . import driver
from .statements import quoted

Structure = dict[str, dict[str, str]]
MAX_DIFFERENCES = 5


class Kind(NamedTuple):
    """One kind of object, with its table and columns in ``information_schema``; the first column is its name."""

    name: str
    source: str
    schema: str
    columns: str
    mysql: str = ""
    mariadb: str = ""
    where: str = ""


_DEFINED = "SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION"
# Without counters, times and estimates, which differ after any restore.
KINDS = (
    Kind(
        "tables",
        "TABLES",
        "TABLE_SCHEMA",
        "TABLE_NAME, TABLE_TYPE, ENGINE, ROW_FORMAT, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT",
        # An invalid view's comment is an error message.
        where=" AND TABLE_TYPE <> 'VIEW'",
    ),
    Kind(
        "columns",
        "COLUMNS",
        "TABLE_SCHEMA",
        "TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_DEFAULT, IS_NULLABLE, COLUMN_TYPE, CHARACTER_SET_NAME, "
        "COLLATION_NAME, COLUMN_KEY, EXTRA, COLUMN_COMMENT, GENERATION_EXPRESSION",
        mysql="SRS_ID",
        where=" AND TABLE_NAME IN (SELECT TABLE_NAME FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE <> 'VIEW')",
    ),
    Kind(
        "indexes",
        "STATISTICS",
        "TABLE_SCHEMA",
        "TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, NON_UNIQUE, COLUMN_NAME, COLLATION, SUB_PART, NULLABLE, "
        "INDEX_TYPE, INDEX_COMMENT",
        mysql="IS_VISIBLE, EXPRESSION",
        mariadb="IGNORED",
    ),
    Kind(
        "keys",
        "KEY_COLUMN_USAGE",
        "TABLE_SCHEMA",
        "TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, "
        "REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME",
    ),
    Kind(
        "references",
        "REFERENTIAL_CONSTRAINTS",
        "CONSTRAINT_SCHEMA",
        "TABLE_NAME, CONSTRAINT_NAME, MATCH_OPTION, UPDATE_RULE, DELETE_RULE",
    ),
    Kind("checks", "CHECK_CONSTRAINTS", "CONSTRAINT_SCHEMA", "CONSTRAINT_NAME, CHECK_CLAUSE"),
    Kind(
        "partitions",
        "PARTITIONS",
        "TABLE_SCHEMA",
        "TABLE_NAME, PARTITION_NAME, SUBPARTITION_NAME, PARTITION_ORDINAL_POSITION, PARTITION_METHOD, "
        "PARTITION_EXPRESSION, PARTITION_DESCRIPTION",
        where=" AND PARTITION_NAME IS NOT NULL",
    ),
    Kind(
        "views",
        "VIEWS",
        "TABLE_SCHEMA",
        "TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, SECURITY_TYPE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION",
    ),
    Kind(
        "routines",
        "ROUTINES",
        "ROUTINE_SCHEMA",
        "ROUTINE_NAME, ROUTINE_TYPE, DTD_IDENTIFIER, ROUTINE_DEFINITION, IS_DETERMINISTIC, SQL_DATA_ACCESS, "
        f"SECURITY_TYPE, ROUTINE_COMMENT, {_DEFINED}",
    ),
    Kind(
        "parameters",
        "PARAMETERS",
        "SPECIFIC_SCHEMA",
        "SPECIFIC_NAME, ROUTINE_TYPE, ORDINAL_POSITION, PARAMETER_MODE, PARAMETER_NAME, DTD_IDENTIFIER",
    ),
    Kind(
        "triggers",
        "TRIGGERS",
        "TRIGGER_SCHEMA",
        "TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_ORDER, ACTION_STATEMENT, ACTION_TIMING, "
        f"{_DEFINED}",
    ),
    Kind(
        "events",
        "EVENTS",
        "EVENT_SCHEMA",
        "EVENT_NAME, TIME_ZONE, EVENT_DEFINITION, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, STARTS, "
        f"ENDS, STATUS, ON_COMPLETION, EVENT_COMMENT, {_DEFINED}",
    ),
    # Separate kinds, because an account without the privilege to set definers can restore all but these.
    Kind("view owners", "VIEWS", "TABLE_SCHEMA", "TABLE_NAME, DEFINER"),
    Kind("routine owners", "ROUTINES", "ROUTINE_SCHEMA", "ROUTINE_NAME, ROUTINE_TYPE, DEFINER"),
    Kind("trigger owners", "TRIGGERS", "TRIGGER_SCHEMA", "TRIGGER_NAME, DEFINER"),
    Kind("event owners", "EVENTS", "EVENT_SCHEMA", "EVENT_NAME, DEFINER"),
)
CODE = frozenset({"routines", "parameters", "triggers", "events"})
OWNERS = frozenset(kind.name for kind in KINDS if kind.name.endswith(" owners"))


def statement(kind: Kind, product: str) -> str:
    """Return the query for one kind of objects of the connection's schema."""
    columns = ", ".join(filter(None, (kind.columns, kind.mysql if product == "mysql" else kind.mariadb)))
    # Names from the table above, no input.
    return (
        f"SELECT {columns} FROM information_schema.{kind.source}"  # noqa: S608
        f" WHERE {kind.schema} = DATABASE(){kind.where}"
    )


def digests(rows: Sequence[Sequence[Any]]) -> dict[str, str]:
    """Return one digest per object (first column), independent of the order of the rows."""
    grouped: dict[str, list[str]] = {}
    for row in rows:
        grouped.setdefault(_text(row[0]), []).append(json.dumps([_text(value) for value in row]))
    return {name: hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:32] for name, lines in grouped.items()}


def read_structure(connection: Any, product: str, renamed: Optional[tuple[str, str]] = None) -> Structure:
    """Return ``{kind: {object: digest}}`` of the connection's schema.

    :param renamed: the schema's name and its replacement in the descriptions, to compare schemas of other names.
    """
    structure: Structure = {}
    own, other = renamed or ("", "")

    def rename(value: Any) -> Any:
        if value == own:
            return other
        return value.replace(quoted(own), quoted(other)) if isinstance(value, str) else value

    for kind in KINDS:
        rows = driver.rows(connection, statement(kind, product))
        if own != other:
            rows = [[rename(value) for value in row] for row in rows]
        structure[kind.name] = digests(rows)
    return structure


def differences(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    """Return the objects that differ as ``kind name``, at most a few and the count of the others."""
    differing = [
        f"{kind} {name}"
        for kind in sorted({*expected, *actual})
        for name in sorted({*expected.get(kind, {}), *actual.get(kind, {})})
        if expected.get(kind, {}).get(name) != actual.get(kind, {}).get(name)
    ]
    shown = differing[:MAX_DIFFERENCES]
    return shown if len(shown) == len(differing) else [*shown, f"+{len(differing) - len(shown)}"]


def _text(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return value if value is None else str(value)
