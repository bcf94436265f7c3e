"""The days of a period as calendars, month by month, each with its state: up, down, planned, unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from orquestrador.core.messages import msg

from ...core.text import clean
from .cards import number
from .wording import PeriodDates, Wording

# From worst to best: symbol, which works without colour, and title.
STATES: Mapping[str, tuple[str, Any]] = {
    "down": ("✘", msg("down, unplanned")),
    "planned": ("P", msg("down, planned")),
    "unknown": ("?", msg("unknown: no probe")),
    "gaps": ("~", msg("up, with gaps")),
    "up": ("✔", msg("up")),
}
_MAX_UNKNOWN = 0.5  # share of a day beyond which it does not count as up
_MIN_GAP_S = 1.0


def date_of(day: Mapping[str, Any]) -> date | None:
    """Return the date of an entry of a document's ``days``; ``None`` without one."""
    try:
        return date.fromisoformat(str(day.get("date")))
    except ValueError:
        return None


def state(day: Mapping[str, Any]) -> str:
    """Return one of :data:`STATES` for an entry of a document's ``days``."""
    up, down, planned, unknown = (
        number(day.get(name)) or 0.0 for name in ("up_s", "down_s", "planned_down_s", "unknown_s")
    )
    if down > 0:
        return "down"
    if planned > 0:
        return "planned"
    if unknown > _MAX_UNKNOWN * (up + unknown) or up + unknown == 0:
        return "unknown"
    return "gaps" if unknown >= _MIN_GAP_S else "up"


def build(days: Sequence[Mapping[str, Any]], dates: PeriodDates, wording: Wording) -> dict[str, Any]:
    """Return ``{size, weekdays, months: [{title, weeks: [[cell | None] * 7]}], legend}``.

    ``size`` is ``week``, ``large``, ``medium`` or ``small``, by the number of days. A cell is ``{number, state,
    symbol, note, words}``; one of a day that has not begun has no state.
    """
    by_date = {when: day for day in days if (when := date_of(day)) is not None}
    size = "large" if dates.days <= 35 else "medium" if dates.days <= 100 else "small"
    months: list[dict[str, Any]] = []
    if dates.days <= 7:
        size = "week"
        cells = [_cell(dates.first + timedelta(days=ahead), by_date, wording) for ahead in range(dates.days)]
        months.append({"title": clean(wording.dates(dates)), "weeks": [cells]})
        names = [wording.weekdays()[(dates.first + timedelta(days=ahead)).weekday()] for ahead in range(dates.days)]
    else:
        names = wording.weekdays()
        first = dates.first
        while first <= dates.last:
            after = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
            last = min(after - timedelta(days=1), dates.last)
            months.append({"title": wording.month(first), "weeks": _weeks(first, last, by_date, wording)})
            first = after
    states = {cell["state"] for month in months for week in month["weeks"] for cell in week if cell}
    legend = [
        {"state": name, "symbol": symbol, "word": wording.tr.message(title)}
        for name, (symbol, title) in reversed(list(STATES.items()))
        if name in states
    ]
    return {"size": size, "weekdays": names, "months": months, "legend": legend}


def _weeks(first: date, last: date, by_date: Mapping[date, Mapping[str, Any]], wording: Wording) -> list[list[Any]]:
    weeks: list[list[Any]] = []
    day = first - timedelta(days=first.weekday())
    while day <= last:
        row = [day + timedelta(days=ahead) for ahead in range(7)]
        weeks.append([_cell(when, by_date, wording) if first <= when <= last else None for when in row])
        day += timedelta(days=7)
    return weeks


def _cell(day: date, by_date: Mapping[date, Mapping[str, Any]], wording: Wording) -> dict[str, str]:
    entry = by_date.get(day)
    if entry is None:
        return {"number": str(day.day), "state": "", "symbol": "", "note": "", "words": wording.day(day, "MMMd")}
    name = state(entry)
    symbol, title = STATES[name]
    lost = number(entry.get({"planned": "planned_down_s", "down": "down_s"}.get(name, "unknown_s"))) or 0.0
    note = "" if name == "up" else wording.seconds(lost)
    text = f"{wording.day(day, 'MMMd')}: {wording.tr.message(title)}"
    return {
        "number": str(day.day),
        "state": name,
        "symbol": symbol,
        "note": note,
        "words": clean(f"{text}, {note}" if note else text),
    }
