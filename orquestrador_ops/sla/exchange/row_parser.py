"""One sample a line: what a line of CSV or of JSON Lines says, or why it says nothing."""

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

from ..data.series import INSIDE_GOOD, INSIDE_SEEN, OUTSIDE_GOOD, OUTSIDE_SEEN

COLUMNS = ("host", "at", "ok", "latency_ms", "outside_ok", "memory_bytes", "cpu_percent", "disk_percent")

# In the order of orquestrador_ops.sla.data.series.SAMPLE.
Sample = tuple[float, float, float, float, float, int]
Numbered = Iterable[tuple[int, str]]


@dataclass(frozen=True)
class Rejected:
    """A line that counts for nothing, and why."""

    line: int
    reason: Message


Found = tuple[int, str, Sample] | Rejected
Reader = Callable[[Numbered, str | None, tzinfo], Iterator[Found]]

_MAX_HOST = 255
_LATEST = 4102444800.0  # 2100: seconds since the epoch, not milliseconds
_LARGEST = 1e15
_FRACTION = re.compile(r"\.(\d{7,})")
_SECONDS = re.compile(r"\d{1,10}(\.\d+)?")
_WORDS = {"": None, "null": None, "true": True, "false": False, "1": True, "0": False}

_NOT_JSON = msg("not a whole line of JSON")
_NO_OBJECT = msg(
    "not an object such as {example}", example='{"host": "web-01", "at": "2026-01-31T12:00:00Z", "ok": true}'
)
_NO_HOST = msg("no host: name one for lines that have none")
_NO_TIME = msg("at is no time in ISO 8601, nor seconds since 1970")
_NO_WORD = msg("ok and outside_ok are true, false or null")
_NO_OK = msg("ok is missing")
_NO_FIGURE = msg("a figure is no number, or negative")
_NO_COLUMNS = msg("another number of columns than the first line has")
_NO_NAMES = msg("the first line of a CSV file names its columns: at and ok at least")


def host_of(value: Any) -> str | None:
    """A host's name, ``None`` for what can't be one."""
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_HOST or not value.isprintable() or value.isspace():
        return None
    return value


def instant(value: Any, zone: tzinfo) -> float | None:
    """ISO 8601 (without offset in ``zone``) or seconds since the epoch; ``None`` for what is neither."""
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


def sample(row: dict[str, Any], at: float) -> Sample | Message:
    """The sample of an object or of a line of CSV whose words are values already; why not, for one that is none."""
    if "ok" not in row:
        return _NO_OK
    flags = 0
    for word, seen, good in (
        (row["ok"], INSIDE_SEEN, INSIDE_GOOD),
        (row.get("outside_ok"), OUTSIDE_SEEN, OUTSIDE_GOOD),
    ):
        if word is True or word is False:
            flags |= seen | good if word else seen
        elif word is not None:
            return _NO_WORD
    figures = []
    for name in ("latency_ms", "memory_bytes", "cpu_percent", "disk_percent"):
        value = row.get(name)
        if value is None:
            figures.append(math.nan)
        elif type(value) in (float, int) and 0 <= value < _LARGEST:
            figures.append(value)
        else:
            return _NO_FIGURE
    return at, figures[0], figures[1], figures[2], figures[3], flags


def from_json(lines: Numbered, host: str | None, zone: tzinfo) -> Iterator[Found]:
    """Samples of JSON Lines."""
    loads, names = json.loads, {}
    for number, text in lines:
        try:
            row = loads(text)
        except (ValueError, RecursionError):
            yield Rejected(number, _NOT_JSON)
            continue
        if not isinstance(row, dict):
            yield Rejected(number, _NO_OBJECT)
            continue
        name = row.get("host")
        if type(name) is not str or name not in names:
            name = host_of(host if name is None else name)
            if name is None:
                yield Rejected(number, _NO_HOST)
                continue
            names[name] = True
        yield _judged(number, name, row, instant(row.get("at"), zone))


def _judged(number: int, host: str, row: dict[str, Any], at: float | None) -> Found:
    if at is None:
        return Rejected(number, _NO_TIME)
    found = sample(row, at)
    return (number, host, found) if isinstance(found, tuple) else Rejected(number, found)


def from_csv(lines: Numbered, host: str | None, zone: tzinfo) -> Iterator[Found]:
    """Samples of CSV with a line of names; separated by commas or semicolons."""
    numbers: list[int] = []

    def texts() -> Iterator[str]:
        for number, text in lines:
            numbers[:] = [number]
            yield text

    source = texts()
    first = next(source, None)
    if first is None:
        return
    delimiter = ";" if ";" in first else ","
    names = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter))]
    if not {"at", "ok"} <= set(names):
        yield Rejected(numbers[0], _NO_NAMES)
        return
    # Line by line: a quote that is never closed would swallow the rest of the file.
    for text in source:
        number = numbers[0]
        try:
            values = next(csv.reader([text.rstrip("\r\n")], delimiter=delimiter, strict=True))
        except (csv.Error, StopIteration):
            values = []
        if len(values) != len(names):
            yield Rejected(number, _NO_COLUMNS)
            continue
        yield _from_values(number, dict(zip(names, values, strict=True)), host, zone)


def _from_values(number: int, texts: dict[str, str], host: str | None, zone: tzinfo) -> Found:
    name = host_of(texts.get("host") or host)
    if name is None:
        return Rejected(number, _NO_HOST)
    row: dict[str, Any] = {}
    for column in ("ok", "outside_ok"):
        if column in texts:
            word = texts[column].strip().lower()
            row[column] = _WORDS.get(word, word)
    for column in ("latency_ms", *COLUMNS[5:]):
        text = texts.get(column, "").strip()
        try:
            row[column] = float(text) if text else None
        except ValueError:
            row[column] = text
    at = texts["at"].strip()
    return _judged(number, name, row, instant(float(at) if _SECONDS.fullmatch(at) else at, zone))
