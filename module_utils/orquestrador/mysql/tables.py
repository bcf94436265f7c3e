"""Check tables that the server reported as crashed, and repair them where their engine supports it.

``REPAIR TABLE`` needs an engine with a file per table (MyISAM, Aria, ARCHIVE, CSV). InnoDB repairs itself when it
starts or not at all: a table that it can't read must be restored from a backup.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from ..core.errors import OperatorError
from ..core.messages import msg
from ..core.redact import scrub_text
from . import driver, sessions
from .optimize import OK_STATUSES
from .statements import quoted

REPAIRABLE = frozenset(("myisam", "aria", "archive", "csv"))
SOUND, REPAIRED, DAMAGED, MISSING, UNCHECKED = "sound", "repaired", "damaged", "missing", "unchecked"
FINE = (SOUND, REPAIRED)
MIN_S = 1.0


def verdict_of(rows: Iterable[Sequence[Any]]) -> tuple[bool, str]:
    """Return ``(sound, message)`` from the rows ``(table, operation, type, text)`` of CHECK or REPAIR TABLE."""
    answer = [(driver.text_of(row[2]).lower(), driver.text_of(row[3])) for row in rows if len(row) > 3]
    errors = [text for kind, text in answer if kind == "error"]
    sound = any(kind == "status" and text.strip().upper() in OK_STATUSES for kind, text in answer)
    texts = errors or [text for kind, text in answer if kind == "warning"] or [text for _, text in answer]
    return sound and not errors, scrub_text(" ".join((texts or ["no answer"])[0].split()))[:200]


def find_damaged(root: sessions.RootConnection, schema: str, names: Iterable[str]) -> list[str]:
    """Return the tables that are damaged, or that can't be checked quickly."""
    damaged = []
    for name in names:
        try:
            sound, _ = verdict_of(root.rows(f"CHECK TABLE {quoted(schema)}.{quoted(name)} QUICK"))
        except Exception:  # noqa: BLE001 - a table that can't be checked counts as damaged
            sound = False
        if not sound:
            damaged.append(name)
    return damaged


def check_and_repair(names: Sequence[str], *, schema: str, socket: Any, seconds: float) -> list[dict[str, Any]]:
    """Check each table and repair it where possible: ``[{table, engine, state, said, took_s}]``.

    Raises :class:`OperatorError` when root can't log in. ``seconds`` is for all tables together: a table that is not
    reached in time is ``unchecked``.
    """
    deadline = time.monotonic() + seconds
    entries: list[dict[str, Any]] = []
    try:
        with sessions.connect_as_root(socket, max(seconds, MIN_S)) as root:
            # While a statement waits for the metadata lock, all later ones on the table wait for it.
            root.rows("SET SESSION lock_wait_timeout = %s", (max(int(seconds / 4), 1),))
            for name in names:
                entries.append(_check_table(root, schema, name, deadline))
    except Exception as error:  # noqa: BLE001 - PyMySQL raises anything; a table's failure is its result
        if entries:
            entries += [_entry(name, UNCHECKED, "") for name in names[len(entries) :]]
            return entries
        raise OperatorError(
            msg("The database's root is not let in over its socket: {reason}", reason=driver.reason_of(error))
        ) from None
    return entries


def _check_table(root: sessions.RootConnection, schema: str, name: str, deadline: float) -> dict[str, Any]:
    started = time.monotonic()
    if deadline - started < MIN_S:
        return _entry(name, UNCHECKED, "")
    statement = "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    rows = root.rows(statement, (schema, name))
    if not rows:
        return _entry(name, MISSING, "")
    # A table with a file that can't be opened has no engine in the list; CHECK TABLE reports the error.
    engine = driver.text_of(rows[0][1]).lower()
    table = f"{quoted(schema)}.{quoted(name)}"
    sound, message = verdict_of(root.rows(f"CHECK TABLE {table} MEDIUM"))
    if sound:
        return _entry(name, SOUND, message, engine, started)
    if engine not in REPAIRABLE:
        return _entry(name, DAMAGED, message, engine, started)
    repaired, answer = verdict_of(root.rows(f"REPAIR TABLE {table}"))
    if repaired:
        repaired, answer = verdict_of(root.rows(f"CHECK TABLE {table} MEDIUM"))
    return _entry(name, REPAIRED if repaired else DAMAGED, message if repaired else answer, engine, started)


def _entry(name: str, state: str, message: str, engine: str = "", started: float = 0.0) -> dict[str, Any]:
    duration_s = round(time.monotonic() - started, 2) if started else 0.0
    return {"table": name, "engine": engine or None, "state": state, "said": message or None, "took_s": duration_s}
