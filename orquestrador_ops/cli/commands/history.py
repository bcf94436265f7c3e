"""``runbook history``: export, import and roll up probes."""

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
from ...sla.exchange import transfer
from ..words import CliError, t, translated
from . import status
from .sla import translator

Document = dict[str, Any]

SCHEMA = 1
STANDARD = "-"
MAX_REJECTED = 20
_ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}


def export(
    state_dir: Path, file: str, *, host: str | None, start: str | None, end: str | None, format_name: str | None
) -> Document:
    """Write raw probes to a file, atomically, or to standard output.

    ``{schema, file, format, samples}``. Raises ``SlaError``, ``HistoryError`` and ``OSError``.
    """
    zone = translator().zone_name()
    window = periods.between(0.0 if start is None else start, end, now=time.time(), timezone=zone)
    fmt = format_name or _ENDINGS.get(Path(file).suffix.lower(), "jsonl")
    until = None if end is None else window.end
    with status.open_history(state_dir) as store, _open_output(file) as out:
        count = transfer.export(
            store, out, fmt=fmt, host=host, start=None if start is None else window.start, end=until
        )
    return {"schema": SCHEMA, "file": file, "format": fmt, "samples": count}


@contextlib.contextmanager
def _open_output(file: str) -> Iterator[TextIO]:
    """Open the output: standard output, or a file that is replaced when it is complete."""
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
                out.detach()  # flushes, without closing the file
    except OSError as error:
        reason = error.strerror or str(error)
        raise CliError(msg("{path} cannot be written: {reason}", path=str(path), reason=reason), 1) from error


def import_probes(state_dir: Path, file: str, *, host: str | None, format_name: str | None) -> Document:
    """Import probes from a file or from standard input; idempotent.

    ``{schema, file, format, hosts, read, stored, duplicates, rejected: [{line, reason}], rejected_total}``. Raises
    ``SlaError`` for a file that cannot be read, ``HistoryError``.
    """
    source = sys.stdin.buffer if file == STANDARD else Path(file).expanduser()
    zone = translator().zone_name()
    with access.open_history(state_dir, os.environ.get("OPS_HISTORY_URL") or None) as store:
        result = transfer.import_file(store, source, fmt=format_name or "auto", host=host, timezone=zone)
    rejected = [{"line": entry["line"], "reason": translated(entry["reason"])} for entry in result["rejected"]]
    return {"schema": SCHEMA, "file": file, **result, "rejected": rejected}


def roll_up(state_dir: Path, *, raw_days: int, fine_days: int) -> Document:
    """Roll up old probes; return the counts of :func:`orquestrador_ops.sla.data.rollups.roll_up`."""
    if fine_days < raw_days:
        days = {"fine": fine_days, "raw": raw_days}
        raise CliError(
            msg("--fine-days {fine} is less than --raw-days {raw}: probes are put together a second time later", **days)
        )
    with status.open_history(state_dir) as store:
        result = rollups.roll_up(store, time.time(), raw_days=raw_days, fine_days=fine_days)
    return {"schema": SCHEMA, **result}


def export_lines(result: Document) -> Iterator[str]:
    """Yield the lines after an export."""
    yield t("{count} probes written to {path}", count=result["samples"], path=result["file"])


def import_lines(result: Document) -> Iterator[str]:
    """Yield the lines after an import: a summary, and one for each rejected line."""
    yield t(
        "{read} lines read ({format}): {stored} probes stored, {duplicates} known already, {rejected} rejected",
        **(result | {"rejected": result["rejected_total"]}),
    )
    for entry in result["rejected"][:MAX_REJECTED]:
        yield "  " + t("line {number}: {reason}", number=entry["line"], reason=clean(entry["reason"], 200))
    if result["rejected_total"] > MAX_REJECTED:
        yield "  " + t("{count} more", count=result["rejected_total"] - MAX_REJECTED)


def roll_up_lines(result: Document) -> Iterator[str]:
    """Yield the lines after rolling up."""
    counts = {name: value for name, value in result.items() if name != "schema"}
    if not any(counts.values()):
        yield t("Nothing is old enough to be rolled up.")
        return
    yield t("Rolled up: {counts}", counts=", ".join(f"{name} {value}" for name, value in counts.items()))
