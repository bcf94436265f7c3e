"""Samples out of the history into files, and from files into it: CSV and JSON Lines.

JSON Lines: ``{"host", "at", "ok", "latency_ms"}`` a line, ``at`` in ISO 8601 or seconds since the epoch, ``ok`` null
where the application was not seen; figures that are known beyond these four follow. CSV has the same names as columns.
What comes in line by line is judged line by line (:mod:`.lines`): a bad one is told with its number, counts for nothing
and stops no other. Whatever was exported comes back as it was.
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
from .lines import COLUMNS, Reader, Rejected, Sample, from_csv, from_json, host_of

MAX_REJECTED = 1000  # told one by one; the others are counted
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
    """Write the raw samples of one host or all, from ``start`` up to ``end`` (epoch seconds); how many there were.

    Days that are rolled up have no samples any more. Raises :class:`SlaError` for another format or a host of which
    there is nothing, ``HistoryError``.
    """
    if fmt not in ("csv", "jsonl"):
        raise SlaError(msg('"{format}" is no format to export: use csv or jsonl', format=str(fmt)))
    known = hosts(store)
    if host is not None and host not in known:
        others = ", ".join(known[:20]) or "-"
        raise SlaError(msg("there are no samples of {host}: the history knows {known}", host=host[:100], known=others))
    write = _csv_lines if fmt == "csv" else _json_lines
    if fmt == "csv":
        out.write(",".join(COLUMNS) + "\n")
    done = 0
    for name in known if host is None else [host]:
        for part in _days(store, name, start, end):
            out.writelines(write(name, part))
            done += len(part)
    return done


def _days(store: History, host: str, start: float | None, end: float | None) -> Iterator[Series]:
    """Samples of a host, day by day, so that a year of them never stands in memory."""
    columns = (schema.samples.c.at, schema.sample_blocks.c.start_at)

    def next_day(connection: sa.Connection) -> float | None:
        """The first day from ``at`` on that has any: there may be years without."""
        first = []
        for column in columns:
            query = sa.select(sa.func.min(column)).where(column.table.c.host == host, column >= at // HOUR_S * HOUR_S)
            first.append(connection.execute(query).scalar())
        known = [one for one in first if one is not None]
        return min(known) // DAY_S * DAY_S if known else None

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
    for at, ok, latency, *more in _texts(part):
        line = f'{{"host": {name}, "at": "{at}", "ok": {ok or "null"}, "latency_ms": {latency or "null"}'
        line += "".join(f', "{key}": {value}' for key, value in zip(COLUMNS[4:], more, strict=True) if value)
        yield line + "}\n"


def _csv_lines(host: str, part: Series) -> Iterator[str]:
    cell = io.StringIO()
    csv.writer(cell, lineterminator="").writerow([host])
    name = cell.getvalue()
    for values in _texts(part):
        yield f"{name},{','.join(values)}\n"


def _texts(part: Series) -> Iterator[tuple[str, ...]]:
    """Every sample as texts, in the order of the columns after the host; empty for what is not known."""
    flags = part["flags"].tolist()
    words = ("", "false", "false", "true")
    columns = [[_instant(at) for at in part["at"].tolist()], [words[flag & 3] for flag in flags]]
    figures = [_figures(part[name]) for name in ("latency_ms", "memory_bytes", "cpu_percent", "disk_percent")]
    outside = [words[flag >> 2 & 3] for flag in flags]
    return zip(*columns, figures[0], outside, *figures[1:], strict=True)


def _figures(values: Any) -> list[str]:
    # Whole numbers as they are; else the shortest text that is this number in single precision.
    whole = (values == np.floor(values)).tolist()
    pairs = zip(values.astype(str).tolist(), values.tolist(), whole, strict=True)
    return [f"{value:.0f}" if exact else "" if text == "nan" else text for text, value, exact in pairs]


def _instant(at: float) -> str:
    """ISO 8601 in UTC that is read back as the same number."""
    text = datetime.fromtimestamp(at, UTC).isoformat()
    if datetime.fromisoformat(text).timestamp() == at:
        return text
    second = math.floor(at)
    digits = f"{at - second:.9f}"  # a double of this century is told apart by them
    if digits.startswith("1"):
        return datetime.fromtimestamp(second + 1, UTC).isoformat()
    return datetime.fromtimestamp(second, UTC).isoformat()[:19] + digits[1:] + "+00:00"


# -------------------------------------------------------------------- in


@dataclass
class _Import:
    """What an import has come to, and the samples that are not stored yet."""

    store: History
    read: int = 0
    stored: int = 0
    duplicates: int = 0
    refused: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    lines: dict[str, list[int]] = field(default_factory=dict)
    rows: dict[str, list[Sample]] = field(default_factory=dict)
    waiting: int = 0

    def reject(self, line: int, reason: Message) -> None:
        self.refused += 1
        if len(self.rejected) < MAX_REJECTED:
            self.rejected.append({"line": line, "reason": reason})

    def take(self, line: int, host: str, sample: Sample) -> None:
        if host not in self.rows:
            self.rows[host], self.lines[host] = [], []
        self.rows[host].append(sample)
        self.lines[host].append(line)
        self.waiting += 1
        if self.waiting >= _BATCH:
            self.flush()

    def flush(self) -> None:
        for host, rows in self.rows.items():
            series = np.array(rows, samples.SAMPLE)
            added = blocks.add(self.store, host, series)
            self.stored += added.stored
            self.duplicates += added.duplicates
            self.hosts.add(host)
            if len(added.refused):
                for place in np.flatnonzero(np.isin(series["at"], added.refused)).tolist():
                    self.reject(self.lines[host][place], _ROLLED)
        self.rows, self.lines, self.waiting = {}, {}, 0


_ROLLED = msg("this day is rolled up already: it takes no samples any more")
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
    """Read a file (a path, or a stream of bytes), which may be packed by gzip, into the history.

    ``host``: of lines that name none, required for ``health-monitor``; ``timezone``: of times without one. Returns
    ``{format, hosts, read, stored, duplicates, rejected: [{line, reason: Message}], rejected_total}``: lines read,
    samples that are new, samples that were known; ``rejected`` lists the first :data:`MAX_REJECTED`.

    Importing the same again changes nothing, and what was stored before a failure stays stored.

    Raises :class:`SlaError` for an unknown format, host or zone, and for a file that can't be read; ``HistoryError``.
    """
    if fmt not in (*FORMATS, "auto"):
        formats = ", ".join(FORMATS)
        raise SlaError(msg('"{format}" is no format to import: use {known} or auto', format=str(fmt), known=formats))
    if host is not None and not host_of(host):
        raise SlaError(msg("{host} is no name of a host", host=str(host)[:100]))
    zone, done, chosen = zone_of(timezone), _Import(store), fmt
    try:
        with _opened(source) as stream:
            chosen, lines = _recognised(_numbered(done, stream), fmt)
            if chosen == "health-monitor" and not host:
                raise SlaError(msg("a health-monitor.log does not say of which host it is: name the host"))
            for found in _READERS[chosen](lines, host, zone):
                if isinstance(found, Rejected):
                    done.reject(found.line, found.reason)
                else:
                    done.take(*found)
    except HistoryError:
        raise
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        done.reject(done.read + 1, msg("the packed file is damaged, or ends here ({reason})", reason=str(error)))
    except OSError as error:
        done.flush()
        reason = error.strerror or str(error)
        raise SlaError(msg("{path} cannot be read: {reason}", path=_name(source), reason=reason)) from error
    done.flush()
    done.rejected.sort(key=lambda one: one["line"])
    return {
        "format": chosen,
        "hosts": sorted(done.hosts),
        "read": done.read,
        "stored": done.stored,
        "duplicates": done.duplicates,
        "rejected": done.rejected,
        "rejected_total": done.refused,
    }


def _name(source: Path | str | BinaryIO) -> str:
    return str(source) if isinstance(source, Path | str) else str(getattr(source, "name", "-"))


@contextlib.contextmanager
def _opened(source: Path | str | BinaryIO) -> Iterator[TextIO]:
    """The text of a file or stream, unpacked if it is packed; a byte order mark is none of it."""
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
            text.detach()  # whoever opened the stream closes it


def _numbered(done: _Import, stream: TextIO) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, none that is blank; of one that is too long, only the beginning."""
    number = 0
    while line := stream.readline(_LONGEST):
        number += 1
        if len(line) == _LONGEST and line[-1] != "\n":
            while (rest := stream.readline(_LONGEST)) and rest[-1] != "\n":
                pass
        if line.isspace():
            continue
        done.read += 1
        yield number, line


def _recognised(lines: Iterator[tuple[int, str]], fmt: str) -> tuple[str, Iterator[tuple[int, str]]]:
    """The format, and the lines from the first one on. An empty file is one of JSON Lines that has none."""
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
