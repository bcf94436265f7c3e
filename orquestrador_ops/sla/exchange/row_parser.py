"""Parse one sample per line of CSV or JSON Lines, or reject the line with a reason."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..data.series import INSIDE_GOOD, INSIDE_PROBED, OUTSIDE_GOOD, OUTSIDE_PROBED

COLUMNS = ("host", "at", "ok", "latency_ms", "outside_ok", "memory_bytes", "cpu_percent", "disk_percent")

# In the order of orquestrador_ops.sla.data.series.SAMPLE.
Sample = tuple[float, float, float, float, float, int]
Numbered = Iterable[tuple[int, str]]


@dataclass(frozen=True)
class Rejected:
    """A line without a valid sample, and the reason."""

    line: int
    reason: Message


Parsed = tuple[int, str, Sample] | Rejected
Reader = Callable[[Numbered, str | None, tzinfo], Iterator[Parsed]]

_MAX_HOST = 255
_LATEST = 4102444800.0  # 2100: seconds since the epoch, not milliseconds
_LARGEST = 1e15
_FRACTION = re.compile(r"\.(\d{7,})")
_SECONDS = re.compile(r"\d{1,10}(\.\d+)?")
_BOOLEANS = {"": None, "null": None, "true": True, "false": False, "1": True, "0": False}

_NOT_JSON = msg("not a valid line of JSON")
_NOT_OBJECT = msg(
    "not an object such as {example}", example='{"host": "web-01", "at": "2026-01-31T12:00:00Z", "ok": true}'
)
_NO_HOST = msg("no host: give one with --host")
_NO_TIME = msg("at is neither a time in ISO 8601 nor seconds since 1970")
_NOT_BOOLEAN = msg("ok and outside_ok must be true, false or null")
_NO_OK = msg("ok is missing")
_NOT_NUMERIC = msg("a figure is not a number, or negative")
_COLUMN_COUNT = msg("the number of columns differs from that of the first line")
_NO_HEADER = msg("the first line of a CSV file must name its columns, with at and ok")


def host_or_none(value: Any) -> str | None:
    """Return a host's name, ``None`` for an invalid one."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_HOST or not value.isprintable() or value.isspace():
        return None
    return value


def instant(value: Any, zone: tzinfo) -> float | None:
    """Return epoch seconds of ISO 8601 (without offset in ``zone``) or of epoch seconds; ``None`` for anything else."""
    if isinstance(value, str):
        try:
            if len(value) < 16:  # a date alone is no instant
                return None
            moment = datetime.fromisoformat(value)
            at = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
        except (ValueError, OverflowError, OSError):
            return None
        if len(value) > 27 and (digits := _FRACTION.search(value)):  # more than a datetime holds
            at = math.floor(at) + float(digits.group())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        at = float(value)
    else:
        return None
    return at if 0 < at < _LATEST else None


def to_sample(row: dict[str, Any], at: float) -> Sample | Message:
    """Return the sample of a JSON object, or of a CSV line with converted values; the reason for an invalid one."""
    if "ok" not in row:
        return _NO_OK
    flags = 0
    for value, probed, good in (
        (row["ok"], INSIDE_PROBED, INSIDE_GOOD),
        (row.get("outside_ok"), OUTSIDE_PROBED, OUTSIDE_GOOD),
    ):
        if value is True or value is False:
            flags |= probed | good if value else probed
        elif value is not None:
            return _NOT_BOOLEAN
    figures = []
    for name in ("latency_ms", "memory_bytes", "cpu_percent", "disk_percent"):
        figure = row.get(name)
        if figure is None:
            figures.append(math.nan)
        elif type(figure) in (float, int) and 0 <= figure < _LARGEST:
            figures.append(figure)
        else:
            return _NOT_NUMERIC
    return at, figures[0], figures[1], figures[2], figures[3], flags


def from_json(lines: Numbered, host: str | None, zone: tzinfo) -> Iterator[Parsed]:
    """Yield the samples of JSON Lines."""
    loads, valid_hosts = json.loads, {}
    for number, text in lines:
        try:
            row = loads(text)
        except (ValueError, RecursionError):
            yield Rejected(number, _NOT_JSON)
            continue
        if not isinstance(row, dict):
            yield Rejected(number, _NOT_OBJECT)
            continue
        name = row.get("host")
        if type(name) is not str or name not in valid_hosts:
            name = host_or_none(host if name is None else name)
            if name is None:
                yield Rejected(number, _NO_HOST)
                continue
            valid_hosts[name] = True
        yield _parsed(number, name, row, instant(row.get("at"), zone))


def _parsed(number: int, host: str, row: dict[str, Any], at: float | None) -> Parsed:
    if at is None:
        return Rejected(number, _NO_TIME)
    result = to_sample(row, at)
    return (number, host, result) if isinstance(result, tuple) else Rejected(number, result)


def from_csv(lines: Numbered, host: str | None, zone: tzinfo) -> Iterator[Parsed]:
    """Yield the samples of CSV with a header, separated by commas or semicolons."""
    current: list[int] = []

    def texts() -> Iterator[str]:
        for number, text in lines:
            current[:] = [number]
            yield text

    source = texts()
    first = next(source, None)
    if first is None:
        return
    delimiter = ";" if ";" in first else ","
    columns = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter))]
    if not {"at", "ok"} <= set(columns):
        yield Rejected(current[0], _NO_HEADER)
        return
    # Line by line: an unclosed quote would extend to the end of the file.
    for text in source:
        number = current[0]
        try:
            values = next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter, strict=True))
        except (csv.Error, StopIteration):
            values = []
        if len(values) != len(columns):
            yield Rejected(number, _COLUMN_COUNT)
            continue
        yield _parse_row(number, dict(zip(columns, values, strict=True)), host, zone)


def _parse_row(number: int, texts: dict[str, str], host: str | None, zone: tzinfo) -> Parsed:
    name = host_or_none(texts.get("host") or host)
    if name is None:
        return Rejected(number, _NO_HOST)
    row: dict[str, Any] = {}
    for column in ("ok", "outside_ok"):
        if column in texts:
            text = texts[column].strip().lower()
            row[column] = _BOOLEANS.get(text, text)
    for column in ("latency_ms", *COLUMNS[5:]):
        text = texts.get(column, "").strip()
        try:
            row[column] = float(text) if text else None
        except ValueError:
            row[column] = text
    at = texts["at"].strip()
    return _parsed(number, name, row, instant(float(at) if _SECONDS.fullmatch(at) else at, zone))
