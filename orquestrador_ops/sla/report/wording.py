"""Wording of shares, counts, dates and periods in a language.

Source of the forms: Unicode CLDR, by Babel; instants and durations are :mod:`orquestrador_ops.core.i18n`'s, as in every
other report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from babel import dates, numbers

from ...core.i18n import Translator, parse_time, translator

KINDS = ("day", "week", "month", "quarter", "year", "range")


@dataclass(frozen=True)
class PeriodDates:
    """A period on the calendar: its ``kind`` (one of :data:`KINDS`), its ``name``, and its dates.

    ``first`` and ``last`` are its first and last local date, both inclusive.
    """

    kind: str
    name: str
    first: date
    last: date

    @property
    def days(self) -> int:
        """The number of its dates, begun ones included."""
        return (self.last - self.first).days + 1


def in_timezone(tr: Translator, timezone: object) -> Translator:
    """Return ``tr`` in the time zone of a period; ``tr`` itself for an unknown zone."""
    try:
        return translator(tr.locale, str(timezone))
    except ValueError:
        return tr


def dates_of(period: Mapping[str, Any], tr: Translator) -> PeriodDates:
    """Return the dates of a document's ``period`` in ``tr``'s time zone. Raises ``ValueError`` without from and to."""
    start, end = parse_time(period.get("from")), parse_time(period.get("to"))
    name = str(period.get("name"))
    if start is None or end is None or end <= start:
        raise ValueError(f"the period {name!r} has no beginning and end: evaluate it again")
    begin, finish = start.astimezone(tr.zone), (end - timedelta(microseconds=1)).astimezone(tr.zone)
    kind = str(period.get("kind"))
    return PeriodDates(kind if kind in KINDS else "range", name, begin.date(), finish.date())


class Wording:
    """Words figures in one language and time zone; a missing figure is "unknown"."""

    def __init__(self, tr: Translator) -> None:
        self.tr = tr

    def share(self, value: object, against: float | None = None) -> str:
        """``0.99951`` → ``99,951%``; unknown for ``None``.

        Three decimals at most, unless rounding would make it look like ``against``, 0% or 100% without being it.
        """
        if not isinstance(value, int | float) or not math.isfinite(value):
            return self.tr.t("unknown")
        marks = [mark for mark in (0.0, 1.0, against) if mark is not None]
        digits = 3
        for tried in range(3, 8):
            if all(
                (round(value * 100, tried) == round(mark * 100, tried)) <= math.isclose(value, mark, abs_tol=1e-9)
                for mark in marks
            ):
                digits = tried
                break
        shown = numbers.format_decimal(round(value * 100, digits), format=f"#,##0.{'#' * digits}", locale=self.locale)
        return f"{shown}%"

    def count(self, value: object) -> str:
        """``3153600`` → ``3.153.600``."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return self.tr.t("unknown")
        return str(numbers.format_decimal(round(value), locale=self.locale))

    def minutes(self, value: object) -> str:
        """Return minutes as a duration in whole seconds."""
        return self.seconds(value * 60 if isinstance(value, int | float) else None)

    def seconds(self, value: object) -> str:
        """Return seconds as a duration; below one second with its fraction."""
        if not isinstance(value, int | float) or not math.isfinite(value):
            return self.tr.t("unknown")
        return self.tr.seconds(round(value) if abs(value) >= 1 else value)

    @property
    def locale(self) -> str:
        """Babel's name of the language."""
        return self.tr.locale

    def day(self, day: date, skeleton: str = "yMMMd") -> str:
        """Return a date by one of CLDR's skeletons: ``MMMd`` → ``22 de nov.``."""
        return str(dates.format_skeleton(skeleton, day, locale=self.locale))

    def month(self, day: date) -> str:
        """``novembro de 2026``."""
        return self.day(day, "yMMMM")

    def month_name(self, day: date) -> str:
        """``nov.``, as it stands alone."""
        return str(dates.get_month_names("abbreviated", "stand-alone", self.locale)[day.month])

    def weekdays(self) -> list[str]:
        """Return Monday to Sunday, abbreviated."""
        names = dates.get_day_names("abbreviated", "stand-alone", self.locale)
        return [str(names[number]).rstrip(".") for number in range(7)]

    def period(self, period: PeriodDates) -> str:
        """Return the name of a period for a title."""
        first = period.first
        if period.kind == "day":
            return str(dates.format_date(first, "long", locale=self.locale))
        if period.kind == "week":
            year, week, _ = first.isocalendar()
            return self.tr.t("Week {week} of {year} ({dates})", week=week, year=year, dates=self.dates(period))
        if period.kind == "month":
            return self.month(first)
        if period.kind == "quarter":
            return self.day(first, "yQQQQ")
        if period.kind == "year":
            return str(first.year)
        return self.dates(period)

    def dates(self, period: PeriodDates) -> str:
        """``2 – 8 de nov. de 2026``."""
        return str(dates.format_interval(period.first, period.last, "yMMMd", locale=self.locale))
