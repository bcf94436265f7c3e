"""The application's own ``health-monitor.log`` as history: ``YYYY-MM-DD HH:MM:SS [INFO|WARNING|ERROR] message``.

The script writes several lines for each look and ends it with a summary (``Sistema: SAUDÁVEL``): that is one sample,
bad if any of its lines is. In a log without summaries, lines that lie within two seconds are one look.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from orquestrador.core.messages import msg

from ..data.series import INSIDE_GOOD, INSIDE_SEEN
from .row_parser import Found, Numbered, Rejected

LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \[(INFO|WARNING|ERROR)\] (.*\S)")
_SUMMARY = re.compile(r"(?:Sistema|System|Status)\s*:", re.I)
# A warning is good unless it says itself that something failed.
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

_APART_S = 2.0  # of lines of one look, in a log without summaries
_LONGEST_S = 60.0  # that a look takes: its commands have timeouts
_LOOK_AHEAD = 400  # lines in which a log with summaries has shown one
_BACK_S = 60.0  # a clock that goes back by more than that, in the hour that it shows twice, was put back

_NO_LINE = msg("not a line such as 2026-01-31 12:00:00 [INFO] message")
_NO_TIME = msg("there is no such date or time")
_NOT_WHOLE = msg("the look of the monitor has no summary: it was not finished")


@dataclass
class _Look:
    """Lines of one look."""

    line: int
    at: float
    last_at: float
    bad: bool = False
    whole: bool = False
    figures: dict[str, float] = field(default_factory=dict)


def read(lines: Numbered, host: str | None, zone: tzinfo) -> Iterator[Found]:
    """Samples of a log; ``zone`` is the one that its times are of."""
    if host is None:
        raise ValueError("a health-monitor.log does not name its host")
    numbered = iter(lines)
    ahead = list(itertools.islice(numbered, _LOOK_AHEAD))
    summaries = any((found := LINE.match(text)) and _SUMMARY.match(found[3]) for _, text in ahead)
    look: _Look | None = None
    before = -math.inf
    for number, text in itertools.chain(ahead, numbered):
        found = LINE.match(text.rstrip())
        if found is None:
            yield Rejected(number, _NO_LINE)
            continue
        at = _instant(found[1], zone, before)
        if at is None:
            yield Rejected(number, _NO_TIME)
            continue
        before = at
        if look is not None and _over(look, at, summaries):
            yield _judged(look, host, summaries)
            look = None
        look = look or _Look(number, at, at)
        _add(look, at, found[2], found[3])
        if look.whole:
            yield _judged(look, host, summaries)
            look = None
    if look is not None:
        yield _judged(look, host, summaries)


def _instant(text: str, zone: tzinfo, before: float) -> float | None:
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=zone)
        at = moment.timestamp()
        # The hour that a clock shows twice: the second time around, it seems to go back.
        again = moment.replace(fold=1).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return again if again > at and before > at + _BACK_S else at


def _over(look: _Look, at: float, summaries: bool) -> bool:
    if summaries:
        return not look.at <= at <= look.at + _LONGEST_S
    return not look.last_at <= at <= look.last_at + _APART_S


def _add(look: _Look, at: float, level: str, message: str) -> None:
    look.last_at = at
    look.bad |= level == "ERROR" or (level == "WARNING" and bool(_BAD.search(message)))
    look.whole = bool(_SUMMARY.match(message))
    if latency := _LATENCY.search(message):
        look.figures["latency_ms"] = float(latency[1]) * (1.0 if latency[2].lower() == "ms" else 1000.0)
    if memory := _MEMORY.search(message):
        look.figures["memory_bytes"] = float(memory[1]) * _MIB
    if disk := _DISK.search(message):
        look.figures["disk_percent"] = float(disk[1])


def _judged(look: _Look, host: str, summaries: bool) -> Found:
    """The sample of a look, of the time at which it ended: what it says was proven by then."""
    if summaries and not look.whole and not look.bad:
        return Rejected(look.line, _NOT_WHOLE)
    flags = INSIDE_SEEN if look.bad else INSIDE_SEEN | INSIDE_GOOD
    latency, memory, disk = (look.figures.get(name, math.nan) for name in _FIGURES)
    return look.line, host, (look.last_at, latency, memory, math.nan, disk, flags)
