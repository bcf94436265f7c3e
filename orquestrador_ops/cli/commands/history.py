"""``runbook history``: probes out of the store and into it, and those of long ago kept small."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from orquestrador.core.messages import msg

from ...core.files import replacing
from ...core.text import clean
from ...history import access
from ...sla.data import periods, rollups
from ...sla.exchange import transfer as exchange
from ..words import Refused, said, t
from . import status as looking
from .sla import translator

Document = dict[str, Any]

SCHEMA = 1
STANDARD = "-"
MAX_REJECTED = 20
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


def export(
    state_dir: Path, file: str, *, host: str | None, start: str | None, end: str | None, named: str | None
) -> Document:
    """Write raw probes to a file, whole or not at all, or to standard output.

    ``{schema, file, format, samples}``. Raises ``SlaError``, ``HistoryError`` and ``OSError``.
    """
    zone = translator().zone_name()
    window = periods.between(0.0 if start is None else start, end, now=time.time(), timezone=zone)
    fmt = named or _ENDINGS.get(Path(file).suffix.lower(), "jsonl")
    until = None if end is None else window.end
    with looking.open_history(state_dir) as store, _writing(file) as out:
        count = exchange.export(
            store, out, fmt=fmt, host=host, start=None if start is None else window.start, end=until
        )
    return {"schema": SCHEMA, "file": file, "format": fmt, "samples": count}


@contextlib.contextmanager
def _writing(file: str) -> Iterator[TextIO]:
    """Where it goes: a file is there when it is whole, and stays as it was until then."""
    if file == STANDARD:
        yield sys.stdout
        sys.stdout.flush()
        return
    path = Path(file).expanduser()
    try:
        with replacing(path) as stream:
            out = io.TextIOWrapper(stream, encoding="utf-8")
            try:
                yield out
            finally:
                out.detach()  # which flushes, and leaves the closing to whoever opened it
    except OSError as error:
        reason = error.strerror or str(error)
        raise Refused(msg("{path} cannot be written: {reason}", path=str(path), reason=reason), 1) from error


def read(state_dir: Path, file: str, *, host: str | None, named: str | None) -> Document:
    """Read probes from a file or from standard input; the same again changes nothing.

    ``{schema, file, format, hosts, read, stored, duplicates, rejected: [{line, reason}], rejected_total}``. Raises
    ``SlaError`` for a file that cannot be read, ``HistoryError``.
    """
    source = sys.stdin.buffer if file == STANDARD else Path(file).expanduser()
    zone = translator().zone_name()
    with access.open_history(state_dir, os.environ.get("OPS_HISTORY_URL") or None) as store:
        done = exchange.import_file(store, source, fmt=named or "auto", host=host, timezone=zone)
    rejected = [{"line": one["line"], "reason": said(one["reason"])} for one in done["rejected"]]
    return {"schema": SCHEMA, "file": file, **done, "rejected": rejected}


def roll_up(state_dir: Path, *, raw_days: int, fine_days: int) -> Document:
    """Roll up what is older; what was done, by the names of :func:`orquestrador_ops.sla.data.rollups.roll_up`."""
    if fine_days < raw_days:
        days = {"fine": fine_days, "raw": raw_days}
        raise Refused(
            msg("--fine-days {fine} is less than --raw-days {raw}: probes are put together a second time later", **days)
        )
    with looking.open_history(state_dir) as store:
        done = rollups.roll_up(store, time.time(), raw_days=raw_days, fine_days=fine_days)
    return {"schema": SCHEMA, **done}


def exported(done: Document) -> Iterator[str]:
    """Said after an export."""
    yield t("{count} probes written to {path}", count=done["samples"], path=done["file"])


def imported(done: Document) -> Iterator[str]:
    """Said after an import: a line that sums it up, and one for each line that was rejected."""
    yield t(
        "{read} lines read ({format}): {stored} probes stored, {duplicates} known already, {rejected} rejected",
        **(done | {"rejected": done["rejected_total"]}),
    )
    for one in done["rejected"][:MAX_REJECTED]:
        yield "  " + t("line {number}: {reason}", number=one["line"], reason=clean(one["reason"], 200))
    if done["rejected_total"] > MAX_REJECTED:
        yield "  " + t("{count} more", count=done["rejected_total"] - MAX_REJECTED)


def rolled_up(done: Document) -> Iterator[str]:
    """Said after rolling up."""
    counts = {name: value for name, value in done.items() if name != "schema"}
    if not any(counts.values()):
        yield t("Nothing is old enough to be rolled up.")
        return
    yield t("Rolled up: {counts}", counts=", ".join(f"{name} {value}" for name, value in counts.items()))
