"""Export samples of the history to files, and import them: CSV and JSON Lines.

JSON Lines: ``{"host", "at", "ok", "latency_ms"}`` a line, ``at`` in ISO 8601 or seconds since the epoch, ``ok`` null
when the application was not probed; other known figures follow. CSV has the same names as columns.
Each line is judged by itself (:mod:`.row_parser`): a bad one is reported with its number, counts for nothing
and stops no other. An exported sample is imported unchanged.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import sqlalchemy as sa

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.errors import HistoryError, SlaError
from ...history import schema
from ...history.packed_samples import DAY_S, HOUR_S
from ...history.store import History
from ..data import blocks
from ..data import series as samples
from ..data.periods import zone_of
from ..data.series import Series
from ..data.store import hosts
from . import health_log
from .row_parser import COLUMNS, Reader, Rejected, Sample, from_csv, from_json, host_or_none

MAX_REJECTED = 1000  # listed one by one; the others are counted
_BATCH = 200_000  # samples in memory
_LONGEST = 1 << 16  # characters of a line
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


# -------------------------------------------------------------------- out


def export(
    store: History,
    out: TextIO,
    *,
    fmt: str,
    host: str | None = None,
    start: float | None = None,
    end: float | None = None,
) -> int:
    """Write the raw samples of one host or all, from ``start`` up to ``end`` (epoch seconds); return their number.

    Days that are rolled up have no samples any more. Raises :class:`SlaError` for another format or a host without
    samples, ``HistoryError``.
    """
    if fmt not in ("csv", "jsonl"):
        raise SlaError(msg('"{format}" is not an export format: use csv or jsonl', format=str(fmt)))
    known_hosts = hosts(store)
    if host is not None and host not in known_hosts:
        others = ", ".join(known_hosts[:20]) or "-"
        raise SlaError(msg("there are no samples of {host}: choose one of {known}", host=host[:100], known=others))
    write = _csv_lines if fmt == "csv" else _json_lines
    if fmt == "csv":
        out.write(",".join(COLUMNS) + "\n")
    count = 0
    for name in known_hosts if host is None else [host]:
        for part in _samples_by_day(store, name, start, end):
            out.writelines(write(name, part))
            count += len(part)
    return count


def _samples_by_day(store: History, host: str, start: float | None, end: float | None) -> Iterator[Series]:
    """Yield samples of a host, day by day, so that a year of them is never in memory."""
    columns = (schema.samples.c.at, schema.sample_blocks.c.start_at)

    def next_day(connection: sa.Connection) -> float | None:
        """Return the first day from ``at`` on with samples: there may be years without."""
        candidates = []
        for column in columns:
            query = sa.select(sa.func.min(column)).where(column.table.c.host == host, column >= at // HOUR_S * HOUR_S)
            candidates.append(connection.execute(query).scalar())
        instants = [instant for instant in candidates if instant is not None]
        return min(instants) // DAY_S * DAY_S if instants else None

    at = 0.0 if start is None else start
    until = math.inf if end is None else end
    while (day := store.read(next_day)) is not None and day < until:
        low, high = max(day, at), min(day + DAY_S, until)
        part = store.read(lambda connection: blocks.load(connection, host, low, high))  # noqa: B023 - read at once
        if len(part):
            yield part
        at = day + DAY_S


def _json_lines(host: str, part: Series) -> Iterator[str]:
    name = json.dumps(host, ensure_ascii=False)
    for at, ok, latency, *more in _text_columns(part):
        line = f'{{"host": {name}, "at": "{at}", "ok": {ok or "null"}, "latency_ms": {latency or "null"}'
        line += "".join(f', "{key}": {value}' for key, value in zip(COLUMNS[4:], more, strict=True) if value)
        yield line + "}\n"


def _csv_lines(host: str, part: Series) -> Iterator[str]:
    cell = io.StringIO()
    csv.writer(cell, lineterminator="").writerow([host])
    name = cell.getvalue()
    for values in _text_columns(part):
        yield f"{name},{','.join(values)}\n"


def _text_columns(part: Series) -> Iterator[tuple[str, ...]]:
    """Yield every sample as texts, in the order of the columns after the host; empty for a missing figure."""
    flags = part["flags"].tolist()
    words = ("", "false", "false", "true")
    columns = [[_instant(at) for at in part["at"].tolist()], [words[flag & 3] for flag in flags]]
    figures = [_figures(part[name]) for name in ("latency_ms", "memory_bytes", "cpu_percent", "disk_percent")]
    outside = [words[flag >> 2 & 3] for flag in flags]
    return zip(*columns, figures[0], outside, *figures[1:], strict=True)


def _figures(values: Any) -> list[str]:
    # Whole numbers without fraction; else the shortest text for this number in single precision.
    whole = (values == np.floor(values)).tolist()
    pairs = zip(values.astype(str).tolist(), values.tolist(), whole, strict=True)
    return [f"{value:.0f}" if exact else "" if text == "nan" else text for text, value, exact in pairs]


def _instant(at: float) -> str:
    """Return ISO 8601 in UTC that is parsed to the same number."""
    text = datetime.fromtimestamp(at, UTC).isoformat()
    if datetime.fromisoformat(text).timestamp() == at:
        return text
    second = math.floor(at)
    digits = f"{at - second:.9f}"  # enough to distinguish two doubles of this century
    if digits.startswith("1"):
        return datetime.fromtimestamp(second + 1, UTC).isoformat()
    return datetime.fromtimestamp(second, UTC).isoformat()[:19] + digits[1:] + "+00:00"


# -------------------------------------------------------------------- in


@dataclass
class _Import:
    """Counts of an import so far, and samples that are not stored yet."""

    store: History
    read: int = 0
    stored: int = 0
    duplicates: int = 0
    refused: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    lines: dict[str, list[int]] = field(default_factory=dict)
    rows: dict[str, list[Sample]] = field(default_factory=dict)
    pending: int = 0

    def reject(self, line: int, reason: Message) -> None:
        self.refused += 1
        if len(self.rejected) < MAX_REJECTED:
            self.rejected.append({"line": line, "reason": reason})

    def add(self, line: int, host: str, sample: Sample) -> None:
        if host not in self.rows:
            self.rows[host], self.lines[host] = [], []
        self.rows[host].append(sample)
        self.lines[host].append(line)
        self.pending += 1
        if self.pending >= _BATCH:
            self.flush()

    def flush(self) -> None:
        for host, rows in self.rows.items():
            series = np.array(rows, samples.SAMPLE)
            result = blocks.add(self.store, host, series)
            self.stored += result.stored
            self.duplicates += result.duplicates
            self.hosts.add(host)
            if len(result.refused):
                for index in np.flatnonzero(np.isin(series["at"], result.refused)).tolist():
                    self.reject(self.lines[host][index], _ROLLED_UP)
        self.rows, self.lines, self.pending = {}, {}, 0


_ROLLED_UP = msg("this day is rolled up already and accepts no new samples")
_READERS: dict[str, Reader] = {"csv": from_csv, "jsonl": from_json, "health-monitor": health_log.read}
FORMATS = tuple(_READERS)


def import_file(
    store: History,
    source: Path | str | BinaryIO,
    *,
    fmt: str = "auto",
    host: str | None = None,
    timezone: str = "UTC",
) -> dict[str, Any]:
    """Import a file (a path, or a stream of bytes), which may be gzipped, into the history.

    ``host``: of lines without one, required for ``health-monitor``; ``timezone``: of times without one. Returns
    ``{format, hosts, read, stored, duplicates, rejected: [{line, reason: Message}], rejected_total}``: lines read,
    new samples, known samples; ``rejected`` lists the first :data:`MAX_REJECTED`.

    Idempotent; samples stored before a failure stay stored.

    Raises :class:`SlaError` for an unknown format, host or zone, and for a file that can't be read; ``HistoryError``.
    """
    if fmt not in (*FORMATS, "auto"):
        formats = ", ".join(FORMATS)
        raise SlaError(msg('"{format}" is not an import format: use {known} or auto', format=str(fmt), known=formats))
    if host is not None and not host_or_none(host):
        raise SlaError(msg("{host} is not a valid host name: use one of the inventory", host=str(host)[:100]))
    zone, state, detected = zone_of(timezone), _Import(store), fmt
    try:
        with _open_text(source) as stream:
            detected, lines = _detect_format(_numbered_lines(state, stream), fmt)
            if detected == "health-monitor" and not host:
                raise SlaError(msg("a health-monitor.log does not name its host: give it with --host"))
            for parsed in _READERS[detected](lines, host, zone):
                if isinstance(parsed, Rejected):
                    state.reject(parsed.line, parsed.reason)
                else:
                    state.add(*parsed)
    except HistoryError:
        raise
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        state.reject(state.read + 1, msg("the packed file is damaged, or ends here ({reason})", reason=str(error)))
    except OSError as error:
        state.flush()
        reason = error.strerror or str(error)
        raise SlaError(msg("{path} cannot be read: {reason}", path=_name(source), reason=reason)) from error
    state.flush()
    state.rejected.sort(key=lambda entry: entry["line"])
    return {
        "format": detected,
        "hosts": sorted(state.hosts),
        "read": state.read,
        "stored": state.stored,
        "duplicates": state.duplicates,
        "rejected": state.rejected,
        "rejected_total": state.refused,
    }


def _name(source: Path | str | BinaryIO) -> str:
    return str(source) if isinstance(source, Path | str) else str(getattr(source, "name", "-"))


@contextlib.contextmanager
def _open_text(source: Path | str | BinaryIO) -> Iterator[TextIO]:
    """Open the text of a file or stream, decompressed, without a byte order mark."""
    with contextlib.ExitStack() as closing:
        if isinstance(source, Path | str):
            raw: Any = closing.enter_context(Path(source).open("rb"))
        else:
            raw = source if hasattr(source, "peek") else io.BufferedReader(source)
        head = raw.peek(2)[:2]
        if head in _UTF16:
            raise SlaError(msg("{path} is in UTF-16: save it as UTF-8", path=_name(source)))
        if head == _GZIP:
            raw = gzip.GzipFile(fileobj=raw)
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape")
        try:
            yield text
        finally:
            text.detach()  # the caller closes its stream


def _numbered_lines(state: _Import, stream: TextIO) -> Iterator[tuple[int, str]]:
    """Yield non-blank lines with their numbers; of a too long one, only the beginning."""
    number = 0
    while line := stream.readline(_LONGEST):
        number += 1
        if len(line) == _LONGEST and line[-1] != "\n":
            while (remainder := stream.readline(_LONGEST)) and remainder[-1] != "\n":
                pass
        if line.isspace():
            continue
        state.read += 1
        yield number, line


def _detect_format(lines: Iterator[tuple[int, str]], fmt: str) -> tuple[str, Iterator[tuple[int, str]]]:
    """Return the format, and the lines from the first one on. An empty file counts as JSON Lines."""
    first = next(lines, None)
    if first is None:
        return ("jsonl" if fmt == "auto" else fmt), lines
    if fmt == "auto":
        fmt = _format_of(first[1])
    return fmt, itertools.chain([first], lines)


def _format_of(line: str) -> str:
    if line.lstrip().startswith("{"):
        return "jsonl"
    if health_log.LINE.match(line):
        return "health-monitor"
    if {"at", "ok"} <= {name.strip().strip('"').lower() for name in line.replace(";", ",").split(",")}:
        return "csv"
    raise SlaError(
        msg(
            "the format is not recognised from the first line: name it ({known}); CSV begins with a line of names such "
            "as {columns}",
            known=", ".join(FORMATS),
            columns=",".join(COLUMNS[:4]),
        )
    )
