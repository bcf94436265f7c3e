"""Periods that service levels are judged over: of the operator's calendar, rolling, named, or from one time to another.

Days are those of a time zone: 23, 25 or 24.5 hours where its clocks change, and they begin when the date does, which is
not midnight where clocks skip it. A week begins on Monday (ISO 8601). Periods are half open.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

import numpy as np
from numpy.typing import NDArray

from orquestrador.core.messages import msg

from ...core.errors import SlaError
from ...core.i18n import iso, parse_time, translator
from ...core.text import excerpt

CALENDAR = ("day", "week", "month", "quarter", "year")
ROLLING = {"24h": 1, "7d": 7, "30d": 30, "90d": 90, "365d": 365}  # in days of 24 hours
NAMES = (*CALENDAR, *(f"last-{kind}" for kind in CALENDAR), *ROLLING)

_DAY_S = 86400
_EARLIEST, _LATEST = 1970, 9998
_NAMED = {
    "day": re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII),
    "week": re.compile(r"(\d{4})-W(\d\d)", re.ASCII),
    "month": re.compile(r"(\d{4})-(\d\d)", re.ASCII),
    "quarter": re.compile(r"(\d{4})-Q([1-4])", re.ASCII),
    "year": re.compile(r"(\d{4})", re.ASCII),
}
_EXAMPLES = "2026-11-22, 2026-W47, 2026-11, 2026-Q4, 2026"
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True)
class Period:
    """``[start, end)`` in seconds since the epoch, of a time zone.

    ``name`` can be part of a file's name: ``2026-11-22``, ``2026-W47``, ``2026-11``, ``2026-Q4``, ``2026``, ``30d``,
    or ``2026-11-01T0000--2026-11-15T1230`` of one from a time to another.
    """

    name: str
    start: float
    end: float
    timezone: str

    @property
    def kind(self) -> str:
        """``day``, ``week``, ``month``, ``quarter``, ``year``, ``rolling`` or ``between``."""
        if self.name in ROLLING:
            return "rolling"
        return next((kind for kind, pattern in _NAMED.items() if pattern.fullmatch(self.name)), "between")

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start

    def days(self) -> NDArray[np.float64]:
        """Edges at the beginnings of its days: ``start``, …, ``end``; one more than there are days."""
        return self._edges(lambda day: day + timedelta(days=1))

    def weeks(self) -> NDArray[np.float64]:
        """Edges at the Mondays within: ``start``, …, ``end``."""
        return self._edges(lambda day: day + timedelta(days=7 - day.weekday()))

    def months(self) -> NDArray[np.float64]:
        """Edges at the first days of the months within: ``start``, …, ``end``."""
        return self._edges(lambda day: _month(day, 1))

    def dates(self) -> list[str]:
        """The date of each of its days, ISO 8601; as many as ``days()`` has cells."""
        zone = zone_of(self.timezone)
        return [datetime.fromtimestamp(edge, zone).date().isoformat() for edge in self.days()[:-1].tolist()]

    def _edges(self, after: Callable[[date], date]) -> NDArray[np.float64]:
        zone = zone_of(self.timezone)
        edges, day = [self.start], after(datetime.fromtimestamp(self.start, zone).date())
        while (at := beginning(day, zone)) < self.end:
            if at > edges[-1]:  # a date that a zone left out begins when the next one does
                edges.append(at)
            day = after(day)
        return np.array([*edges, self.end])


def parse(name: str, *, now: float, timezone: str) -> Period:
    """The period called ``name``, seen from ``now`` (epoch seconds).

    ``day``, ``week``, ``month``, ``quarter``, ``year`` are those that ``now`` lies in, ``last-day`` … the ones before;
    ``24h``, ``7d``, ``30d``, ``90d``, ``365d`` end now; ``2026-11-22``, ``2026-W47``, ``2026-11``, ``2026-Q4``,
    ``2026`` are themselves. Raises ``ValueError``, one line: no such name, no such time zone, not begun yet.
    """
    zone = zone_of(timezone)
    given = str(name).strip()
    if given in ROLLING:
        return Period(given, now - ROLLING[given] * _DAY_S, now, timezone)
    kind = given.removeprefix("last-")
    if kind in CALENDAR:
        day = _first(kind, datetime.fromtimestamp(now, zone).date())
        found = _calendar(kind, _before(kind, day) if given.startswith("last-") else day, zone, timezone)
    else:
        kind, day = _named(given)
        found = _calendar(kind, day, zone, timezone)
    return _begun(found, now)


def between(start: object, end: object, *, now: float, timezone: str) -> Period:
    """The period from ``start`` to ``end``, ``end`` not included; ``None`` as end is now.

    Times are ISO 8601, without an offset in ``timezone``, a date alone when it begins; or epoch seconds, or a datetime.
    Raises ``ValueError``, one line: no such time or time zone, ends before it begins, not begun yet.
    """
    zone = zone_of(timezone)
    from_at, to_at = _instant(start, zone), now if end is None else _instant(end, zone)
    if to_at <= from_at:
        at = {"starts_at": iso(from_at), "ends_at": iso(to_at)}
        raise SlaError(msg("The period ends at {ends_at}, not after it begins at {starts_at}: give a later end", **at))
    local = "--".join(_stamp(datetime.fromtimestamp(at, zone)) for at in (from_at, to_at))
    return _begun(Period(local, from_at, to_at, timezone), now)


def beginning(day: date, zone: tzinfo) -> float:
    """When a date begins in a time zone, in epoch seconds: the first instant that bears it, or a later date."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    at = midnight.timestamp()
    if datetime.fromtimestamp(at, zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return at
    # Clocks skip this midnight: the date begins when they do, somewhere between the two readings of it.
    early, late = int(midnight.replace(fold=1).timestamp()), int(at)
    while late - early > 1:
        middle = (early + late) // 2
        if datetime.fromtimestamp(middle, zone).date() < day:
            early = middle
        else:
            late = middle
    return float(late)


def _begun(period: Period, now: float) -> Period:
    if period.start > now:
        begun = {"name": period.name, "starts_at": iso(period.start)}
        text = msg(
            "The period {name} begins at {starts_at}, which is still to come: choose one that has begun", **begun
        )
        raise SlaError(text)
    return period


def _calendar(kind: str, day: date, zone: tzinfo, timezone: str) -> Period:
    """The period of ``kind`` that begins on ``day``."""
    week = day.isocalendar()
    names = {
        "day": day.isoformat(),
        "week": f"{week.year:04d}-W{week.week:02d}",
        "month": f"{day.year:04d}-{day.month:02d}",
        "quarter": f"{day.year:04d}-Q{(day.month + 2) // 3}",
        "year": f"{day.year:04d}",
    }
    return Period(names[kind], beginning(day, zone), beginning(_after(kind, day), zone), timezone)


def _first(kind: str, day: date) -> date:
    """The first day of the period of ``kind`` that ``day`` lies in."""
    if kind == "week":
        return day - timedelta(days=day.weekday())
    months = {"month": day.month, "quarter": (day.month - 1) // 3 * 3 + 1, "year": 1}
    return day.replace(month=months[kind], day=1) if kind in months else day


_MONTHS = {"month": 1, "quarter": 3, "year": 12}


def _after(kind: str, day: date) -> date:
    return _month(day, _MONTHS[kind]) if kind in _MONTHS else day + timedelta(days=7 if kind == "week" else 1)


def _before(kind: str, day: date) -> date:
    return _month(day, -_MONTHS[kind]) if kind in _MONTHS else day - timedelta(days=7 if kind == "week" else 1)


def _month(day: date, ahead: int) -> date:
    """The first of the month that is ``ahead`` of the day's."""
    count = day.year * 12 + day.month - 1 + ahead
    return date(count // 12, count % 12 + 1, 1)


def _named(name: str) -> tuple[str, date]:
    """Kind and first day of a period that is called by itself."""
    for kind, pattern in _NAMED.items():
        found = pattern.fullmatch(name)
        if found and _EARLIEST <= int(found[1]) <= _LATEST:
            year, *rest = (int(part) for part in found.groups())
            try:
                return kind, _day_of(kind, year, *rest)
            except ValueError:
                break
    known = {"name": excerpt(name, 60), "names": ", ".join(NAMES), "examples": _EXAMPLES}
    raise SlaError(msg('There is no period "{name}": use one of {names}, or one such as {examples}', **known))


def _day_of(kind: str, year: int, number: int = 1, day: int = 1) -> date:
    if kind == "week":
        return date.fromisocalendar(year, number, 1)
    return date(year, number * 3 - 2 if kind == "quarter" else number, day)


def _instant(value: object, zone: tzinfo) -> float:
    given = value.strip() if isinstance(value, str) else value
    try:
        if isinstance(given, str) and _DATE.fullmatch(given):
            moment: datetime | None = datetime.fromtimestamp(beginning(date.fromisoformat(given), zone), zone)
        elif isinstance(given, str):
            read = datetime.fromisoformat(given)
            moment = read if read.tzinfo else read.replace(tzinfo=zone)
        elif isinstance(given, datetime):
            moment = given if given.tzinfo else given.replace(tzinfo=zone)
        else:
            moment = parse_time(given)
        if moment is not None and _EARLIEST <= moment.year <= _LATEST:
            return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        pass
    shown = excerpt(value, 60)
    text = msg('"{value}" is no time: give ISO 8601 such as 2026-11-22 or 2026-11-22T08:00:00-03:00', value=shown)
    raise SlaError(text)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H%M%S" if moment.second else "%Y-%m-%dT%H%M")


def zone_of(timezone: str) -> tzinfo:
    """An IANA time zone. Raises ``ValueError``, one line, for one that nobody knows."""
    return translator("en", timezone).zone
