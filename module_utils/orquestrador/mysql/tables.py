"""Tables that the server called crashed: checked one by one, and repaired where their engine knows how to.

``REPAIR TABLE`` works on a file of its own (MyISAM, Aria, ARCHIVE, CSV). InnoDB repairs itself when it starts or not at
all: what it can't read comes back from a backup.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from ..core.errors import OperatorError
from ..core.messages import msg
from ..core.redact import scrub_text
from . import driver, sessions
from .optimize import DONE
from .statements import quoted

REPAIRABLE = frozenset(("myisam", "aria", "archive", "csv"))
SOUND, REPAIRED, DAMAGED, MISSING, UNCHECKED = "sound", "repaired", "damaged", "missing", "unchecked"
FINE = (SOUND, REPAIRED)
LEAST_S = 1.0


def verdict_of(rows: Iterable[Sequence[Any]]) -> tuple[bool, str]:
    """``(sound, what was said)`` of the answer to CHECK or REPAIR TABLE, rows of ``(table, operation, type, text)``."""
    told = [(driver.text_of(row[2]).lower(), driver.text_of(row[3])) for row in rows if len(row) > 3]
    errors = [text for kind, text in told if kind == "error"]
    sound = any(kind == "status" and text.strip().upper() in DONE for kind, text in told)
    said = errors or [text for kind, text in told if kind == "warning"] or [text for _, text in told]
    return sound and not errors, scrub_text(" ".join((said or ["no answer"])[0].split()))[:200]


def damaged(root: sessions.Root, schema: str, names: Iterable[str]) -> list[str]:
    """Of tables that were called crashed, those that still are, or that can't be checked in a moment."""
    found = []
    for name in names:
        try:
            sound, _ = verdict_of(root.rows(f"CHECK TABLE {quoted(schema)}.{quoted(name)} QUICK"))
        except Exception:  # noqa: BLE001 - whatever it is, that it is sound is not known
            sound = False
        if not sound:
            found.append(name)
    return found


def mend(names: Sequence[str], *, schema: str, socket: Any, seconds: float) -> list[dict[str, Any]]:
    """Check each table, repair it where that is possible: ``[{table, engine, state, said, took_s}]``.

    :class:`OperatorError` when the server does not let its root in. The time is the tables' together: one that is
    not reached in it is ``unchecked``.
    """
    deadline = time.monotonic() + seconds
    found: list[dict[str, Any]] = []
    try:
        with sessions.as_root(socket, max(seconds, LEAST_S)) as root:
            # Who waits for the metadata lock has everybody wait behind him.
            root.rows("SET SESSION lock_wait_timeout = %s", (max(int(seconds / 4), 1),))
            for name in names:
                found.append(_one(root, schema, name, deadline))
    except Exception as error:  # noqa: BLE001 - PyMySQL raises anything; a table's failure is its result
        if found:
            found += [_entry(name, UNCHECKED, "") for name in names[len(found) :]]
            return found
        raise OperatorError(
            msg("The database's root is not let in over its socket: {reason}", reason=driver.reason_of(error))
        ) from None
    return found


def _one(root: sessions.Root, schema: str, name: str, deadline: float) -> dict[str, Any]:
    began = time.monotonic()
    if deadline - began < LEAST_S:
        return _entry(name, UNCHECKED, "")
    statement = "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    rows = root.rows(statement, (schema, name))
    if not rows:
        return _entry(name, MISSING, "")
    # A table whose file can't be opened has no engine in the list, but SHOW CREATE TABLE may still tell; CHECK does.
    engine = driver.text_of(rows[0][1]).lower()
    table = f"{quoted(schema)}.{quoted(name)}"
    sound, said = verdict_of(root.rows(f"CHECK TABLE {table} MEDIUM"))
    if sound:
        return _entry(name, SOUND, said, engine, began)
    if engine not in REPAIRABLE:
        return _entry(name, DAMAGED, said, engine, began)
    mended, answer = verdict_of(root.rows(f"REPAIR TABLE {table}"))
    if mended:
        mended, answer = verdict_of(root.rows(f"CHECK TABLE {table} MEDIUM"))
    return _entry(name, REPAIRED if mended else DAMAGED, said if mended else answer, engine, began)


def _entry(name: str, state: str, said: str, engine: str = "", began: float = 0.0) -> dict[str, Any]:
    took = round(time.monotonic() - began, 2) if began else 0.0
    return {"table": name, "engine": engine or None, "state": state, "said": said or None, "took_s": took}
