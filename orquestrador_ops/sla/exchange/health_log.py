"""The application's own ``health-monitor.log`` as history: ``YYYY-MM-DD HH:MM:SS [INFO|WARNING|ERROR] message``.

The script writes several lines for each check and ends it with a summary (``Sistema: SAUDÁVEL``): that is one sample,
bad if any of its lines is. In a log without summaries, lines within two seconds of each other are one check.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from orquestrador.core.messages import msg

from ..data.series import INSIDE_GOOD, INSIDE_PROBED
from .row_parser import Numbered, Parsed, Rejected

LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \[(INFO|WARNING|ERROR)\] (.*\S)")
_SUMMARY = re.compile(r"(?:Sistema|System|Status)\s*:", re.I)
# A warning is good unless its text reports a failure.
_BAD = re.compile(
    r"falh|\berros?\b|\berror|\bfail|\bdown\b|offline|indispon|inacess|unavailable|unreachable|timeout|"
    r"n[ãa]o (?:saud|respond|encontr|conect)|unhealthy|fora do ar|ca[íi]u",
    re.I,
)
_LATENCY = re.compile(r"HTTP 200 (?:em|in) (\d+(?:\.\d+)?) ?(ms|s)\b", re.I)
_MEMORY = re.compile(r"(?:Memória da aplicação|Application memory): (\d+) MB", re.I)
_DISK = re.compile(r"(?:Disco|Disk): (\d+(?:\.\d+)?)%", re.I)
_FIGURES = ("latency_ms", "memory_bytes", "disk_percent")
_MIB = 1024.0**2

_MAX_PAUSE_S = 2.0  # between lines of one check, in a log without summaries
_MAX_CHECK_S = 60.0  # of a check: its commands have timeouts
_PREVIEW_LINES = 400  # among which a log with summaries has one
_MIN_SETBACK_S = 60.0  # a clock that goes back by more, in the hour that occurs twice, was set back

_NO_LINE = msg("not a line such as 2026-01-31 12:00:00 [INFO] message")
_NO_TIME = msg("the date or time does not exist")
_INCOMPLETE = msg("the monitor's check has no summary: it did not finish")


@dataclass
class _Check:
    """Lines of one check."""

    line: int
    at: float
    last_at: float
    bad: bool = False
    complete: bool = False
    figures: dict[str, float] = field(default_factory=dict)


def read(lines: Numbered, host: str | None, zone: tzinfo) -> Iterator[Parsed]:
    """Yield the samples of a log with times in ``zone``."""
    if host is None:
        raise ValueError("a health-monitor.log does not name its host")
    numbered = iter(lines)
    ahead = list(itertools.islice(numbered, _PREVIEW_LINES))
    summaries = any((match := LINE.match(text)) and _SUMMARY.match(match[3]) for _, text in ahead)
    check: _Check | None = None
    before = -math.inf
    for number, text in itertools.chain(ahead, numbered):
        match = LINE.match(text.rstrip())
        if match is None:
            yield Rejected(number, _NO_LINE)
            continue
        at = _instant(match[1], zone, before)
        if at is None:
            yield Rejected(number, _NO_TIME)
            continue
        before = at
        if check is not None and _is_over(check, at, summaries):
            yield _to_sample(check, host, summaries)
            check = None
        check = check or _Check(number, at, at)
        _add(check, at, match[2], match[3])
        if check.complete:
            yield _to_sample(check, host, summaries)
            check = None
    if check is not None:
        yield _to_sample(check, host, summaries)


def _instant(text: str, zone: tzinfo, before: float) -> float | None:
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=zone)
        at = moment.timestamp()
        # The hour that occurs twice when clocks go back: in its second run, times seem to go back.
        again = moment.replace(fold=1).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return again if again > at and before > at + _MIN_SETBACK_S else at


def _is_over(check: _Check, at: float, summaries: bool) -> bool:
    if summaries:
        return not check.at <= at <= check.at + _MAX_CHECK_S
    return not check.last_at <= at <= check.last_at + _MAX_PAUSE_S


def _add(check: _Check, at: float, level: str, message: str) -> None:
    check.last_at = at
    check.bad |= level == "ERROR" or (level == "WARNING" and bool(_BAD.search(message)))
    check.complete = bool(_SUMMARY.match(message))
    if latency := _LATENCY.search(message):
        check.figures["latency_ms"] = float(latency[1]) * (1.0 if latency[2].lower() == "ms" else 1000.0)
    if memory := _MEMORY.search(message):
        check.figures["memory_bytes"] = float(memory[1]) * _MIB
    if disk := _DISK.search(message):
        check.figures["disk_percent"] = float(disk[1])


def _to_sample(check: _Check, host: str, summaries: bool) -> Parsed:
    """Return the sample of a check, at the time of its last line, by which its result was known."""
    if summaries and not check.complete and not check.bad:
        return Rejected(check.line, _INCOMPLETE)
    flags = INSIDE_PROBED if check.bad else INSIDE_PROBED | INSIDE_GOOD
    latency, memory, disk = (check.figures.get(name, math.nan) for name in _FIGURES)
    return check.line, host, (check.last_at, latency, memory, math.nan, disk, flags)
