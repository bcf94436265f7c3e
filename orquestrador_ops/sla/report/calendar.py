"""The days of a period as calendars, month by month, each with what it was: up, down, planned, unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from orquestrador.core.messages import msg

from ...core.text import clean
from .levels import number
from .words import Stretch, Words

# From worst to best: how a day is called, and the sign that tells it without colour.
STATES: Mapping[str, tuple[str, Any]] = {
    "down": ("✘", msg("down, unplanned")),
    "planned": ("P", msg("down, planned")),
    "unknown": ("?", msg("unknown: nobody looked")),
    "gaps": ("~", msg("up, with gaps")),
    "up": ("✔", msg("up")),
}
_MUCH = 0.5  # of a day unknown: then nobody says that it was up
_LITTLE_S = 1.0


def date_of(day: Mapping[str, Any]) -> date | None:
    """The date of an entry of a document's ``days``; ``None`` where it has none."""
    try:
        return date.fromisoformat(str(day.get("date")))
    except ValueError:
        return None


def state(day: Mapping[str, Any]) -> str:
    """One of :data:`STATES` for an entry of a document's ``days``."""
    up, down, planned, unknown = (
        number(day.get(name)) or 0.0 for name in ("up_s", "down_s", "planned_down_s", "unknown_s")
    )
    if down > 0:
        return "down"
    if planned > 0:
        return "planned"
    if unknown > _MUCH * (up + unknown) or up + unknown == 0:
        return "unknown"
    return "gaps" if unknown >= _LITTLE_S else "up"


def build(days: Sequence[Mapping[str, Any]], stretch: Stretch, words: Words) -> dict[str, Any]:
    """``{size, weekdays, months: [{title, weeks: [[cell | None] * 7]}], legend}``.

    ``size`` is ``week``, ``large``, ``medium`` or ``small``, as many as the days are. A cell is ``{number, state,
    symbol, note, words}``; one of a day that has not begun has no state.
    """
    known = {when: day for day in days if (when := date_of(day)) is not None}
    size = "large" if stretch.days <= 35 else "medium" if stretch.days <= 100 else "small"
    months: list[dict[str, Any]] = []
    if stretch.days <= 7:
        size = "week"
        cells = [_cell(stretch.first + timedelta(days=ahead), known, words) for ahead in range(stretch.days)]
        months.append({"title": clean(words.dates(stretch)), "weeks": [cells]})
        names = [words.weekdays()[(stretch.first + timedelta(days=ahead)).weekday()] for ahead in range(stretch.days)]
    else:
        names = words.weekdays()
        first = stretch.first
        while first <= stretch.last:
            after = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
            last = min(after - timedelta(days=1), stretch.last)
            months.append({"title": words.month(first), "weeks": _weeks(first, last, known, words)})
            first = after
    seen = {cell["state"] for month in months for week in month["weeks"] for cell in week if cell}
    legend = [
        {"state": name, "symbol": symbol, "word": words.tr.message(word)}
        for name, (symbol, word) in reversed(list(STATES.items()))
        if name in seen
    ]
    return {"size": size, "weekdays": names, "months": months, "legend": legend}


def _weeks(first: date, last: date, known: Mapping[date, Mapping[str, Any]], words: Words) -> list[list[Any]]:
    weeks: list[list[Any]] = []
    day = first - timedelta(days=first.weekday())
    while day <= last:
        row = [day + timedelta(days=ahead) for ahead in range(7)]
        weeks.append([_cell(one, known, words) if first <= one <= last else None for one in row])
        day += timedelta(days=7)
    return weeks


def _cell(day: date, known: Mapping[date, Mapping[str, Any]], words: Words) -> dict[str, str]:
    found = known.get(day)
    if found is None:
        return {"number": str(day.day), "state": "", "symbol": "", "note": "", "words": words.day(day, "MMMd")}
    named = state(found)
    symbol, word = STATES[named]
    lost = number(found.get({"planned": "planned_down_s", "down": "down_s"}.get(named, "unknown_s"))) or 0.0
    note = "" if named == "up" else words.seconds(lost)
    said = f"{words.day(day, 'MMMd')}: {words.tr.message(word)}"
    return {
        "number": str(day.day),
        "state": named,
        "symbol": symbol,
        "note": note,
        "words": clean(f"{said}, {note}" if note else said),
    }
