"""Which charts a report has, what they say in words, and the figures they are drawn from as tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from orquestrador.core.messages import msg

from ...core.i18n import epoch
from ...core.text import clean
from ..data import periods, spans
from ..data.facts import planned
from ..evaluate.objectives import Objectives
from . import calendar, charts
from .context import ReportContext

DAY_S = 86400.0
MAX_ROWS = 500  # of a table of stretches
MAX_STEPS = 1000  # of a line of the error budget
STRIP_DAYS = 35  # more rows would be no strip any more
_HOURS = (0, 6, 12, 18, 24)
_MIB, _GIB = 1024.0**2, 1024.0**3
Values = list[float | None]


class Pictures:
    """Charts of one sheet: ``{id, title, summary, svg, table}`` each, ``None`` where there is nothing to draw."""

    def __init__(self, sheet: ReportContext) -> None:
        self.sheet, self.tr, self.words = sheet, sheet.tr, sheet.words
        self.days = [day for day in sheet.days if epoch(day.get("from")) is not None]
        # A day by its hours, every other period by its days.
        self.hourly = len(sheet.hours) > 1
        self.pieces = sheet.hours if self.hourly else self.days
        self.at = [self.middle(piece) for piece in self.pieces]
        self.span = (0.0, max((sheet.end - sheet.start) / DAY_S, 1 / 24))

    def all(self) -> dict[str, Any]:
        """Every chart by its name."""
        return {
            "strip": self.strip(),
            "latency": self.latency(),
            "budget": self.budget(),
            "memory": self.memory(),
            "disk": self.disk(),
        }

    # ------------------------------------------------------------------ what charts have in common

    def position(self, instant: float) -> float:
        """Days since the period began."""
        return (instant - self.sheet.start) / DAY_S

    def middle(self, piece: Mapping[str, Any]) -> float:
        start, end = epoch(piece.get("from")) or 0.0, epoch(piece.get("to"))
        return self.position((start + (end if end is not None else start)) / 2)

    def values(self, name: str) -> Values:
        return _values(self.pieces, name)

    def midnight(self, day: date) -> float:
        return periods.beginning(day, self.tr.zone)

    def ticks(self) -> list[tuple[float, str]]:
        """Marks of the axis of time: days of a week, dates of a month, months of a year."""
        stretch, words = self.sheet.stretch, self.words
        every = [stretch.first + timedelta(days=number) for number in range(stretch.days)]
        if self.span[1] <= 1.1:
            begin = self.midnight(stretch.first)
            marks = [(begin + hour * 3600, f"{hour if hour <= 24 else hour - 24}h") for hour in range(0, 49, 6)]
        elif stretch.days <= 8:
            marks = [(self.midnight(day) + DAY_S / 2, f"{words.weekdays()[day.weekday()]} {day.day}") for day in every]
        elif stretch.days <= STRIP_DAYS:
            marks = [(self.midnight(day) + DAY_S / 2, words.day(day, "Md")) for day in every[::7]]
        elif stretch.days <= 100:
            marks = [(self.midnight(day), words.day(day, "Md")) for day in every if day.day in {1, 15}]
        else:
            firsts = [day for day in every if day.day == 1]
            step = 1 if len(firsts) <= 7 else 2
            marks = [(self.midnight(day), words.month_name(day)) for day in firsts[::step]]
        placed = [(self.position(at), label) for at, label in marks]
        return [(at, label) for at, label in placed if self.span[0] <= at <= self.span[1]]

    def chart(
        self, name: str, title: str, summary: str, svg: charts.Drawing | None, columns: list[str], rows: list[list[str]]
    ) -> dict[str, Any]:
        return {
            "id": name,
            "title": title,
            "summary": clean(summary),
            "svg": svg,
            "table": {"columns": columns, "rows": rows},
        }

    def drawn(self, name: str, plot: charts.Plot, title: str, summary: str) -> charts.Drawing | None:
        """A chart of pieces; one alone makes no line, and its figures say more."""
        return charts.Drawing(lambda: charts.plot(name, plot, title, summary)) if len(self.pieces) > 1 else None

    def column(self) -> str:
        """What the first column of a table of pieces is called."""
        return self.tr.t("Hour") if self.hourly else self.tr.t("Day")

    def dated(
        self, pieces: Sequence[Mapping[str, Any]], *columns: tuple[Values, Callable[[float], str]]
    ) -> list[list[str]]:
        """Rows of a table: when a piece was, then each column's value as people write it."""
        rows = []
        for number, piece in enumerate(pieces):
            cells = [write(value) if (value := values[number]) is not None else "–" for values, write in columns]
            rows.append([self.when(piece), *cells])
        return rows

    def when(self, piece: Mapping[str, Any]) -> str:
        """The date of a day, the beginning of an hour."""
        if "date" not in piece:
            return clean(self.tr.time(piece.get("from")))
        day = calendar.date_of(piece)
        return self.words.day(day, "yMMMd") if day else clean(piece["date"])

    # ------------------------------------------------------------------ lines

    def latency(self) -> dict[str, Any] | None:
        tr = self.tr
        named = [(label, self.values(f"{label}_ms")) for label in ("p50", "p95", "p99")]
        largest = _largest(values for _, values in named)
        if largest is None:
            return None
        goal = next((sla.get("threshold") for sla in self.sheet.slas if sla.get("threshold")), None) or {}
        limit = float(goal.get("latency_ms") or 200.0)
        title = tr.t("Response time: p50, p95 and p99")
        top = max(largest, limit) * 1.12
        looks = (("first", "-"), ("second", "--"), ("third", "-."))
        lines = [charts.Line(label, values, *look) for (label, values), look in zip(named, looks, strict=True)]
        levels = [(at, tr.value("_ms", at) if at else "0") for at in charts.levels(top)]
        p95 = [value for value in named[1][1] if value is not None]
        worst = {"p95_ms": max(p95, default=None), "slow": sum(value > limit for value in p95), "limit_ms": limit}
        summary = tr.t("95 of 100 answers took {p95_ms} or less", **worst)
        if self.hourly:
            summary = tr.t(
                "95 of 100 answers took {p95_ms} or less in the slowest hour; hours with more than {limit_ms}: {slow}.",
                **worst,
            )
        elif len(self.days) > 1:
            summary = tr.t(
                "95 of 100 answers took {p95_ms} or less on the slowest day; days with more than {limit_ms}: {slow}.",
                **worst,
            )
        drawn = charts.Plot(self.at, self.span, lines, self.ticks(), levels, top, goal=(limit, tr.value("_ms", limit)))
        rows = self.dated(self.pieces, *[(values, lambda value: tr.value("_ms", value)) for _, values in named])
        columns = [self.column(), "p50", "p95", "p99"]
        return self.chart("latency", title, summary, self.drawn("latency", drawn, title, summary), columns, rows)

    def budget(self) -> dict[str, Any] | None:
        tr, words = self.tr, self.words
        sla = next((sla for sla in self.sheet.slas if sla.get("id") == "uptime"), {})
        whole, left = sla.get("budget_minutes"), _values(self.days, "budget_remaining_minutes")
        known = [value for value in left if value is not None]
        if not isinstance(whole, int | float) or whole <= 0 or not known:
            return None
        at, burnt = self.burnt(whole) or self.burnt_by_day(whole, left)
        title = tr.t("Error budget of the uptime")
        lines = [
            charts.Line(tr.t("left"), burnt, "first", marked=False),
            charts.Line(tr.t("even use"), [whole, 0.0], "goal", ":", marked=False, at=self.span),
        ]
        bottom = min(0.0, *known) * 1.08
        unit, name = (60.0, "h") if max(whole, -bottom) > 240 else (1.0, "min")
        levels = [
            (value * unit, f"{tr.number(value)} {name}" if value else "0")
            for value in charts.levels(whole * 1.05 / unit, bottom / unit)
        ]
        summary = self.sheet.levels.left("minutes", known[-1], whole, words.minutes)
        drawn = charts.Plot(at, self.span, lines, self.ticks(), levels, whole * 1.05, bottom, zero=True)
        rows = self.dated(self.days, (left, words.minutes))
        columns = [tr.t("Day"), tr.t("Budget left")]
        return self.chart(
            "budget",
            title,
            summary,
            charts.Drawing(lambda: charts.plot("budget", drawn, title, summary)),
            columns,
            rows,
        )

    def burnt(self, whole: float) -> tuple[list[float], Values] | None:
        """Where and how the budget was spent, to the second; ``None`` without a timeline, or with too long a one."""
        down = self.states().get("down")
        if down is None or len(down) > MAX_STEPS:
            return None
        at, left = [0.0], [whole]
        for start, end in down.pairs():
            at += [self.position(start), self.position(end)]
            left += [left[-1], left[-1] - (end - start) / 60]
        return [*at, self.position(self.sheet.until)], [*left, left[-1]]

    def burnt_by_day(self, whole: float, left: Values) -> tuple[list[float], Values]:
        return [0.0, *(self.position(epoch(day.get("to")) or self.sheet.end) for day in self.days)], [whole, *left]

    def memory(self) -> dict[str, Any] | None:
        tr = self.tr
        most, mean = self.values("memory_max_bytes"), self.values("memory_mean_bytes")
        largest = _largest([most, mean])
        if largest is None:
            return None
        unit, name = (_GIB, "GB") if largest >= _GIB else (_MIB, "MB")
        title = tr.t("Memory of the application")
        top = max(largest * 1.15 / unit, 0.01)
        lines = [
            charts.Line(tr.t("at most"), [None if value is None else value / unit for value in most], "second", "--"),
            charts.Line(tr.t("mean"), [None if value is None else value / unit for value in mean], "first"),
        ]
        levels = [(at, f"{tr.number(at, 2)} {name}" if at else "0") for at in charts.levels(top)]
        summary = self.trend(most, tr.bytes)
        drawn = charts.Plot(self.at, self.span, lines, self.ticks(), levels, top)
        rows = self.dated(self.pieces, (most, tr.bytes), (mean, tr.bytes))
        columns = [self.column(), tr.t("at most"), tr.t("mean")]
        return self.chart("memory", title, summary, self.drawn("memory", drawn, title, summary), columns, rows)

    def disk(self) -> dict[str, Any] | None:
        tr = self.tr
        used = self.values("disk_max_percent")
        if _largest([used]) is None:
            return None
        title = tr.t("Fullest file system")
        lines = [charts.Line(tr.t("used"), used, "third", "-")]
        levels = [(at, tr.percent(at)) for at in (0.0, 25.0, 50.0, 75.0, 100.0)]
        summary = self.trend(used, tr.percent)
        drawn = charts.Plot(self.at, self.span, lines, self.ticks(), levels, 105, fill=True)
        columns = [self.column(), tr.t("used")]
        rows = self.dated(self.pieces, (used, tr.percent))
        return self.chart("disk", title, summary, self.drawn("disk", drawn, title, summary), columns, rows)

    def trend(self, values: Values, write: Callable[[float], str]) -> str:
        known = [value for value in values if value is not None]
        if not known:
            return ""
        if len(known) == 1:
            return self.tr.t("{most} at most.", most=write(known[0]))
        ends = {"first": write(known[0]), "last": write(known[-1]), "most": write(max(known))}
        if self.hourly:
            return self.tr.t("From {first} in the first hour to {last} in the last; {most} at most.", **ends)
        return self.tr.t("From {first} on the first day to {last} on the last; {most} at most.", **ends)

    # ------------------------------------------------------------------ the strip

    def strip(self) -> dict[str, Any] | None:
        """Each day as a row of 24 hours, from the timeline itself."""
        stretch, states = self.sheet.stretch, self.states()
        if not states or stretch.days > STRIP_DAYS:
            return None
        days = [stretch.first + timedelta(days=number) for number in range(stretch.days)]
        edges = [self.midnight(day) for day in (*days, days[-1] + timedelta(days=1))]
        bars = {state: _bars(found, edges) for state, found in states.items()}
        longest = max(24.0, *(round((b - a) / 3600, 3) for a, b in itertools.pairwise(edges)))
        table = self.said(states)
        title = self.tr.t("Hour by hour")
        summary = self.tr.t(
            "A row is a day, from midnight to midnight. Stretches in which it was not up, or nobody looked: {count}.",
            count=sum(len(found) for state, found in states.items() if state != "up"),
        )
        rows = [self.words.day(day, "MMMd") for day in days]
        ticks = [(float(hour), f"{hour}h") for hour in _HOURS]
        named = {"up": msg("up"), "gap": msg("unknown"), "planned": msg("planned"), "down": msg("down")}
        labels = {state: self.tr.message(word) for state, word in named.items() if bars[state]}
        drawn = charts.Strip(rows, longest, ticks, bars, labels)
        svg = charts.Drawing(lambda: charts.strip("strip", drawn, title, summary))
        columns = [self.tr.t("From"), self.tr.t("To"), self.tr.t("State")]
        return self.chart("strip", title, summary, svg, columns, table)

    def states(self) -> dict[str, spans.Spans]:
        """When it was up, down, down as planned, and when nobody looked; empty without facts, which alone know."""
        facts, start, end = self.sheet.facts, self.sheet.start, self.sheet.until
        timeline = facts.timelines.get("uptime") if facts is not None else None
        if facts is None or timeline is None:
            return {}
        down, gaps = spans.cut(timeline.down, start, end), spans.cut(timeline.unknown, start, end)
        ours = spans.intersection(down, planned(facts.windows, facts.restarts, Objectives().restart_allowance_s))
        whole = spans.of([(max(start, timeline.start), min(end, timeline.end))])
        return {
            "up": spans.difference(whole, spans.union(down, gaps)),
            "gap": gaps,
            "planned": ours,
            "down": spans.difference(down, ours),
        }

    def said(self, states: Mapping[str, spans.Spans]) -> list[list[str]]:
        """What was not up as rows of a table, the first stretch first."""
        words = {"down": "down", "planned": "planned", "gap": "unknown"}
        rows = sorted((start, end, word) for name, word in words.items() for start, end in states[name].pairs())
        tr = self.tr
        return [
            [tr.time(start), tr.time(end), tr.message(calendar.STATES[word][1])] for start, end, word in rows[:MAX_ROWS]
        ]


def _values(pieces: Sequence[Mapping[str, Any]], name: str) -> Values:
    return [float(value) if isinstance(value := piece.get(name), int | float) else None for piece in pieces]


def _bars(found: spans.Spans, edges: Sequence[float]) -> list[tuple[int, float, float]]:
    """Stretches as bars ``(row, from, length)`` in hours, a row between two edges each.

    Those that no eye tells apart become one: a thousand gaps of a second are no thousand bars.
    """
    bars = []
    for row, (start, end) in enumerate(itertools.pairwise(edges)):
        inside = spans.cut(found, start, end)
        seen = spans.joined(inside.start, inside.end + (end - start) / 600)
        bars += [(row, (a - start) / 3600, (min(b - (end - start) / 600, end) - a) / 3600) for a, b in seen.pairs()]
    return bars


def _largest(several: Iterable[Values]) -> float | None:
    return max((value for values in several for value in values if value is not None), default=None)
