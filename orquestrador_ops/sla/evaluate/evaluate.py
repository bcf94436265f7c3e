"""From facts to one document per host and period: objective, measured value, interval, budget and verdict of each SLA.

Definitions, formulas and units: ``docs/sla.md``. Everything here is pure; the document holds plain numbers, ``None``
where something is not known, and messages (:mod:`orquestrador.core.messages`) for people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.i18n import iso
from ..data import histogram, spans
from ..data.cells import Cells, Figures, grouped, picked
from ..data.facts import Facts, bounds, day_edges, edges, hour_edges, planned
from ..data.spans import Spans, Timeline
from ..data.timeline import clip
from . import recovery, success
from .objectives import Objectives

__all__ = ["SCHEMA", "Facts", "edges", "evaluate", "planned"]

SCHEMA = 1

_TITLES: Mapping[str, Message] = {
    "uptime": msg("Uptime"),
    "response": msg("Response time"),
    "availability": msg("Availability"),
    "error_rate": msg("Error rate"),
    "recovery": msg("Recovery time"),
}
# Source: the operational playbook, what is to be done where a service level is missed.
_ACTIONS: Mapping[str, Message] = {
    "uptime": msg(
        "Automatic recovery: see to it that the watch runs and may act, then look why it did not prevent this"
    ),
    "response": msg("Look into the performance: run playbooks/emergency/performance.yml"),
    "availability": msg("Alert and recover: run playbooks/emergency/triage.yml, and check the way from outside"),
    "error_rate": msg("Find the root cause of the errors: begin with the error log and its most frequent message"),
    "recovery": msg("Improve the automation: look at what the longest incident waited for"),
}


@dataclass(frozen=True)
class Time:
    """Seconds of a stretch: all of it, and what of it was down or unknown."""

    total: float
    down: float
    unknown: float

    @property
    def up(self) -> float:
        return max(self.total - self.unknown - self.down, 0.0)

    def figures(self) -> dict[str, float | None]:
        """Value, worst, best and coverage as ratios; ``None`` for what nothing is known of."""
        known = max(self.total - self.unknown, 0.0)
        if self.total <= 0:
            return {"value": None, "worst": None, "best": None, "coverage": None}
        return {
            "value": _ratio(self.up, known),
            "worst": _ratio(self.up, self.total),
            "best": _ratio(self.total - self.down, self.total),
            "coverage": _ratio(known, self.total),
        }


def evaluate(facts: Facts, objectives: Objectives) -> dict[str, Any]:
    """The document of one host and one period; see ``docs/sla.md`` for its keys."""
    period, until = facts.period, facts.until
    plan = planned(facts.windows, facts.restarts, objectives.restart_allowance_s)
    within = spans.cut(plan, period.start, until)
    whole = facts.timelines.get("uptime") or Timeline(period.start, period.start, spans.NONE, spans.NONE)
    uptime = clip(whole, period.start, until)
    outside = facts.timelines.get("availability")
    available = uptime if outside is None else clip(outside, period.start, until)
    unplanned = picked(facts.cells, _unplanned(facts.cells, plan))
    happened = _incidents(facts, whole, plan)
    records = recovery.Records(facts.incidents, facts.now)
    budget_minutes = (1 - objectives.uptime) * period.seconds / 60
    coverage = _time(uptime, None).figures()["coverage"], _time(uptime, within).figures()["coverage"]
    slas = [
        _timed("uptime", objectives.uptime, uptime, within, period.seconds, "probes", _samples(facts.cells, False)),
        _response(facts.cells, unplanned, objectives, coverage),
        _timed(
            "availability",
            objectives.availability,
            available,
            within,
            period.seconds,
            "inside" if outside is None else "outside",
            _samples(facts.cells, outside is not None),
        ),
        _error_rate(facts, unplanned, objectives, plan, coverage),
        _recovery(
            [one for one, counted in happened if counted],
            objectives,
            coverage,
            (_hidden(uptime.unknown), _hidden(spans.difference(uptime.unknown, within))),
        ),
    ]
    return {
        "schema": SCHEMA,
        "host": facts.host,
        "evaluated_at": iso(facts.now),
        "period": _period(facts),
        "resolution_s": _plain(facts.resolution_s),
        "slas": slas,
        "incidents": [recovery.shown(one, records.about(one), counted=counted) for one, counted in happened],
        "seconds": _seconds(uptime, within),
        "days": _days(facts, uptime, within, objectives, budget_minutes),
        "hours": _pieces(facts, hour_edges(period, until), uptime, within, objectives),
        "metrics": success.metrics(facts, uptime, unplanned, within, objectives.uptime),
        "maintenance": _maintenance(facts),
    }


def _period(facts: Facts) -> dict[str, Any]:
    period = facts.period
    return {
        "name": period.name,
        "kind": period.kind,
        "from": iso(period.start),
        "to": iso(period.end),
        "until": iso(facts.until),
        "timezone": period.timezone,
        "seconds": _plain(period.seconds),
        "over": period.end < facts.now,
    }


# -------------------------------------------------------------------- time


def _time(timeline: Timeline, without: Spans | None) -> Time:
    total, down, unknown = timeline.end - timeline.start, timeline.down, timeline.unknown
    if without is None:
        return Time(total, down.seconds, unknown.seconds)
    return Time(
        total - without.seconds,
        spans.difference(down, without).seconds,
        spans.difference(unknown, without).seconds,
    )


def _timed(
    name: str,
    objective: float,
    timeline: Timeline,
    plan: Spans,
    period_s: float,
    measured_by: str,
    samples: tuple[int, int],
) -> dict[str, Any]:
    """Uptime or availability. ``samples``: good, and all."""
    raw, bare = _time(timeline, None).figures(), _time(timeline, plan)
    adjusted = bare.figures()
    budget, spent = (1 - objective) * period_s / 60, bare.down / 60
    known = adjusted["value"] is not None
    return {
        **_entry(name, "ratio", objective, raw, adjusted, measured_by),
        "good": samples[0],
        "total": samples[1],
        "budget_minutes": _round(budget),
        "spent_minutes": _round(spent) if known else None,
        "remaining_minutes": _round(budget - spent) if known else None,
        "adjusted": {**adjusted, "down_minutes": _round(spent) if known else None},
    }


def _samples(cells: Cells, outside: bool) -> tuple[int, int]:
    good, total = (cells.outside_good, cells.outside_total) if outside else (cells.good, cells.total)
    return int(good.sum()), int(total.sum())


def _entry(
    name: str,
    unit: str,
    objective: float,
    raw: Mapping[str, float | None],
    adjusted: Mapping[str, float | None],
    measured_by: str,
    *,
    known: bool | None = None,
) -> dict[str, Any]:
    """What every SLA has. ``known``: whether anything is, where the adjusted value alone does not tell."""
    less_is_better = name in ("error_rate", "recovery")
    is_known = adjusted["value"] is not None if known is None else known
    verdict = _verdict(objective, adjusted["worst"], adjusted["best"], is_known, less_is_better)
    return {
        "id": name,
        "title": _TITLES[name],
        "unit": unit,
        "objective": objective,
        "threshold": None,
        **{figure: raw[figure] for figure in ("value", "worst", "best", "coverage")},
        **dict.fromkeys(("good", "total", "budget_minutes", "spent_minutes", "remaining_minutes")),
        **dict.fromkeys(("budget_events", "remaining_events")),
        "met": {"met": True, "missed": False}.get(verdict),
        "verdict": verdict,
        "adjusted": {**adjusted, "down_minutes": None},
        "measured_by": measured_by,
        "action": _ACTIONS[name] if verdict == "missed" else None,
    }


def _verdict(objective: float, worst: float | None, best: float | None, known: bool, less_is_better: bool) -> str:
    """``met`` and ``missed`` are proven; ``unproven``: what is not known could decide either way."""
    if not known:
        return "no_data"
    sign = -1 if less_is_better else 1
    if best is not None and sign * best < sign * objective:
        return "missed"
    return "met" if worst is not None and sign * worst >= sign * objective else "unproven"


# -------------------------------------------------------------------- counts


def _unplanned(cells: Cells, plan: Spans) -> Any:
    """Cells that do not lie wholly in planned time."""
    lengths = np.diff(cells.edges)
    return spans.seconds_between(plan, cells.edges) < lengths - 1e-6


def _counted(value: float | None, coverage: float | None) -> dict[str, float | None]:
    """Figures of something that is counted: what nobody counted is not made up."""
    return {"value": value, "worst": value, "best": value, "coverage": coverage}


def _events(allowed: float, total: int, bad: float) -> dict[str, Any]:
    return {"budget_events": _round(allowed * total), "remaining_events": _round(allowed * total - bad)}


def _response(
    cells: Cells, unplanned: Cells, objectives: Objectives, coverage: tuple[float | None, float | None]
) -> dict[str, Any]:
    counts, bare = cells.latency.sum(axis=0), unplanned.latency.sum(axis=0)
    (good, total), (fast, of) = (
        (histogram.below(one, objectives.response_ms), int(one.sum())) for one in (counts, bare)
    )
    raw, adjusted = _counted(_ratio(good, total), coverage[0]), _counted(_ratio(fast, of), coverage[1])
    return {
        **_entry("response", "ratio", objectives.response, raw, adjusted, "probes"),
        "threshold": {"latency_ms": _plain(objectives.response_ms)},
        "good": good,
        "total": total,
        **_events(1 - objectives.response, of, of - fast),
        **_percentiles(counts),
    }


def _percentiles(counts: Any) -> dict[str, float | None]:
    return {f"p{rank}_ms": histogram.quantile(counts, rank / 100) for rank in (50, 95, 99)}


def _error_rate(
    facts: Facts,
    unplanned: Cells,
    objectives: Objectives,
    plan: Spans,
    coverage: tuple[float | None, float | None],
) -> dict[str, Any]:
    logged = _logged(facts, plan)
    if logged is not None:
        (errors, total), (bad, of), seen = logged
        coverage = seen
    else:
        (good, total), (fine, of) = _samples(facts.cells, False), _samples(unplanned, False)
        errors, bad = total - good, of - fine
    raw = _counted(_ratio(min(errors, total), total), coverage[0])
    adjusted = _counted(_ratio(min(bad, of), of), coverage[1])
    by = "probes" if logged is None else "logs"
    return {
        **_entry("error_rate", "ratio", objectives.error_rate, raw, adjusted, by),
        "good": max(total - errors, 0),
        "total": total,
        **_events(objectives.error_rate, of, bad),
    }


_Logged = tuple[tuple[int, int], tuple[int, int], tuple[float | None, float | None]]


def _logged(facts: Facts, plan: Spans) -> _Logged | None:
    """Errors and requests of the logs: all, those outside of planned time, and how much of both times they cover.

    ``None`` where no request was logged. What was counted over a stretch that is planned in part only is not planned.
    """
    start, until = facts.period.start, facts.until
    rows = sorted(
        (float(row["start_at"]), float(row["seconds"]), int(row["requests"] or 0), int(row["errors"] or 0))
        for row in facts.log_counts
        if start <= float(row["start_at"]) < until
    )
    if not sum(row[2] for row in rows):
        return None
    seen = spans.cut(spans.of((at, at + seconds) for at, seconds, _, _ in rows), start, until)
    left_out = [
        spans.seconds_between(plan, np.array([at, at + seconds]))[0] >= seconds - 1e-6 for at, seconds, _, _ in rows
    ]
    bare = [row for row, out in zip(rows, left_out, strict=True) if not out]
    within = spans.cut(plan, start, until)
    covered = (
        _ratio(seen.seconds, until - start),
        _ratio(spans.difference(seen, within).seconds, until - start - within.seconds),
    )
    return _sums(rows), _sums(bare), covered


def _sums(rows: list[tuple[float, float, int, int]]) -> tuple[int, int]:
    return sum(row[3] for row in rows), sum(row[2] for row in rows)


# -------------------------------------------------------------------- incidents


def _incidents(facts: Facts, uptime: Timeline, plan: Spans) -> list[tuple[recovery.Incident, bool]]:
    """Incidents that the period saw anything of, and whether they count for it: those that ended in it, or are open."""
    start, until = facts.period.start, facts.until
    over = facts.period.end < facts.now
    found = []
    for one in recovery.incidents(uptime, plan):
        if one.from_at < until and one.last_at > start:
            counted = not over if one.to_at is None else start < one.to_at <= until
            found.append((one, counted))
        elif one.to_at is not None and start < one.to_at <= until:
            found.append((one, True))  # it was last seen before the period, and proven over in it
    return found


def _hidden(unknown: Spans) -> float:
    """How long an incident can have lasted that nobody saw anything of, in seconds."""
    return _round(float(np.max(unknown.end - unknown.start))) if len(unknown) else 0.0


def _recovery(
    happened: list[recovery.Incident],
    objectives: Objectives,
    coverage: tuple[float | None, float | None],
    hidden: tuple[float, float],
) -> dict[str, Any]:
    """``hidden``: the longest that an incident nobody saw can have lasted, raw and without planned time."""
    unplanned = [one for one in happened if not one.planned]
    raw = _longest([(one.seconds, one.best_seconds, one.worst_seconds) for one in unplanned], hidden[0])
    adjusted = _longest(
        [(one.unplanned_seconds, one.unplanned_best_seconds, one.unplanned_worst_seconds) for one in unplanned],
        hidden[1],
    )
    nothing = not unplanned
    limit = objectives.recovery_s
    entry = _entry(
        "recovery",
        "seconds",
        _plain(limit),
        {**raw, "coverage": coverage[0]},
        # Where nothing happened there is nothing to compare: that is met, unless nobody looked for too long.
        {**adjusted, "coverage": coverage[1], **({"worst": hidden[1], "best": 0.0} if nothing else {})},
        "probes",
        known=bool(coverage[0]) or not nothing,
    )
    entry["adjusted"] |= adjusted
    return {**entry, "good": sum(one.unplanned_seconds <= limit for one in unplanned), "total": len(unplanned)}


def _longest(lengths: list[tuple[float, float, float | None]], hidden: float) -> dict[str, float | None]:
    """Of (known, at best, at worst) of each incident; at worst ``None``: nobody knows. Or one that nobody saw."""
    if not lengths:
        return {"value": None, "worst": hidden or None, "best": 0.0 if hidden else None}
    worst = [one[2] for one in lengths]
    return {
        "value": max(one[0] for one in lengths),
        "worst": None if None in worst else max(hidden, *(one for one in worst if one is not None)),
        "best": max(one[1] for one in lengths),
    }


# -------------------------------------------------------------------- days and the rest


def _seconds(uptime: Timeline, plan: Spans) -> dict[str, float]:
    raw = _time(uptime, None)
    planned_down = spans.intersection(uptime.down, plan).seconds
    found = {
        "up": raw.up,
        "down": raw.down - planned_down,
        "planned_down": planned_down,
        "unknown": raw.unknown,
        "planned": plan.seconds,
    }
    return {name: _round(value) for name, value in found.items()}


def _days(
    facts: Facts, uptime: Timeline, plan: Spans, objectives: Objectives, budget_minutes: float
) -> list[dict[str, Any]]:
    borders = day_edges(facts.period, facts.until)
    if len(borders) < 2:
        return []
    unknown = spans.seconds_between(uptime.unknown, borders)
    down = spans.seconds_between(spans.difference(uptime.down, plan), borders)
    remaining = budget_minutes - np.cumsum(down) / 60
    known = np.cumsum(np.diff(borders) - unknown) > 0
    errors = _errors_by_day(facts, borders)
    return [
        {
            "date": date,
            **piece,
            "errors": facts.log_errors.get(date, errors[day]),
            "budget_remaining_minutes": _round(remaining[day]) if known[day] else None,
        }
        for day, (date, piece) in enumerate(
            zip(facts.period.dates(), _pieces(facts, borders, uptime, plan, objectives), strict=False)
        )
    ]


def _pieces(
    facts: Facts, borders: Figures, uptime: Timeline, plan: Spans, objectives: Objectives
) -> list[dict[str, Any]]:
    """What was between each two of ``borders``."""
    if len(borders) < 2:
        return []
    cells = grouped(facts.cells, borders)
    length = np.diff(borders)
    unknown = spans.seconds_between(uptime.unknown, borders)
    planned_down = spans.seconds_between(spans.intersection(uptime.down, plan), borders)
    down = spans.seconds_between(spans.difference(uptime.down, plan), borders)
    up = np.maximum(length - unknown - planned_down - down, 0)
    return [
        {
            "from": iso(float(borders[piece])),
            "to": iso(float(borders[piece + 1])),
            "up_s": _round(up[piece]),
            "down_s": _round(down[piece]),
            "planned_down_s": _round(planned_down[piece]),
            "unknown_s": _round(unknown[piece]),
            "total": int(cells.total[piece]),
            "good": int(cells.good[piece]),
            "fast": _ratio(histogram.below(counts, objectives.response_ms), int(counts.sum())),
            **_percentiles(counts),
            "memory_max_bytes": _whole(cells.memory_max[piece]),
            "memory_mean_bytes": _whole(cells.memory_mean[piece]),
            "cpu_mean_percent": _figure(cells.cpu_mean[piece]),
            "disk_max_percent": _figure(cells.disk_max[piece]),
        }
        for piece, counts in enumerate(cells.latency)
    ]


def _errors_by_day(facts: Facts, borders: Any) -> list[int | None]:
    """Error events that were counted in the logs, per day; ``None`` where nobody counted."""
    found: list[int | None] = [None] * (len(borders) - 1)
    for row in facts.log_counts:
        day = int(np.searchsorted(borders, float(row["start_at"]), side="right")) - 1
        if 0 <= day < len(found):
            found[day] = (found[day] or 0) + int(row["errors"] or 0)
    return found


def _maintenance(facts: Facts) -> list[dict[str, Any]]:
    found = [(pair, str(window.get("reason") or "")) for window in facts.windows if (pair := bounds(window))]
    return [
        {"from": iso(start), "to": iso(end), "reason": reason}
        for (start, end), reason in sorted(found)
        if start < facts.period.end and end > facts.period.start
    ]


def _ratio(part: float, whole: float) -> float | None:
    """To twelve places: what arithmetic adds beyond them must not decide whether 0.999 is 0.999."""
    return round(min(max(part / whole, 0.0), 1.0), 12) if whole > 0 else None


def _round(value: float) -> float:
    """To the microsecond; never ``-0.0``."""
    return round(float(value), 6) + 0.0


def _figure(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None


def _whole(value: float) -> int | None:
    return round(float(value)) if math.isfinite(value) else None


def _plain(value: float) -> float:
    """A whole number as one."""
    return int(value) if float(value).is_integer() else float(value)
