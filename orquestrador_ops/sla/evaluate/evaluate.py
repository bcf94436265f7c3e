"""Evaluate facts into one document per host and period: objective, value, interval, budget, verdict of each SLA.

Definitions, formulas and units: ``docs/sla.md``. Everything here is pure; the document holds plain numbers, ``None``
for unknown figures, and messages (:mod:`orquestrador.core.messages`) for people.
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
from ..data.aggregates import Aggregates, Figures, regroup, select
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
# Source: the operational playbook, actions for a missed service level.
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
    """Seconds of a time span: in total, down and unknown."""

    total: float
    down: float
    unknown: float

    @property
    def up(self) -> float:
        return max(self.total - self.unknown - self.down, 0.0)

    def figures(self) -> dict[str, float | None]:
        """Return value, worst, best and coverage as ratios; ``None`` without data."""
        observed = max(self.total - self.unknown, 0.0)
        if self.total <= 0:
            return {"value": None, "worst": None, "best": None, "coverage": None}
        return {
            "value": _ratio(self.up, observed),
            "worst": _ratio(self.up, self.total),
            "best": _ratio(self.total - self.down, self.total),
            "coverage": _ratio(observed, self.total),
        }


def evaluate(facts: Facts, objectives: Objectives) -> dict[str, Any]:
    """Return the document of one host and one period; see ``docs/sla.md`` for its keys."""
    period, until = facts.period, facts.until
    plan = planned(facts.windows, facts.restarts, objectives.restart_allowance_s)
    within = spans.cut(plan, period.start, until)
    whole = facts.timelines.get("uptime") or Timeline(period.start, period.start, spans.NONE, spans.NONE)
    uptime = clip(whole, period.start, until)
    outside = facts.timelines.get("availability")
    available = uptime if outside is None else clip(outside, period.start, until)
    unplanned = select(facts.cells, _unplanned(facts.cells, plan))
    incidents = _incidents(facts, whole, plan)
    records = recovery.Records(facts.incidents, facts.now)
    budget_minutes = (1 - objectives.uptime) * period.seconds / 60
    coverage = _time(uptime, None).figures()["coverage"], _time(uptime, within).figures()["coverage"]
    slas = [
        _time_sla("uptime", objectives.uptime, uptime, within, period.seconds, "probes", _counts(facts.cells, False)),
        _response(facts.cells, unplanned, objectives, coverage),
        _time_sla(
            "availability",
            objectives.availability,
            available,
            within,
            period.seconds,
            "inside" if outside is None else "outside",
            _counts(facts.cells, outside is not None),
        ),
        _error_rate(facts, unplanned, objectives, plan, coverage),
        _recovery(
            [item for item, counted in incidents if counted],
            objectives,
            coverage,
            (_longest_unseen(uptime.unknown), _longest_unseen(spans.difference(uptime.unknown, within))),
        ),
    ]
    return {
        "schema": SCHEMA,
        "host": facts.host,
        "evaluated_at": iso(facts.now),
        "period": _period(facts),
        "resolution_s": _int_if_whole(facts.resolution_s),
        "slas": slas,
        "incidents": [recovery.as_dict(item, records.about(item), counted=counted) for item, counted in incidents],
        "seconds": _seconds_by_state(uptime, within),
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
        "seconds": _int_if_whole(period.seconds),
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


def _time_sla(
    name: str,
    objective: float,
    timeline: Timeline,
    plan: Spans,
    period_s: float,
    measured_by: str,
    samples: tuple[int, int],
) -> dict[str, Any]:
    """Return the entry of uptime or availability. ``samples``: number of good ones, and of all."""
    raw, bare = _time(timeline, None).figures(), _time(timeline, plan)
    adjusted = bare.figures()
    budget, spent = (1 - objective) * period_s / 60, bare.down / 60
    measured = adjusted["value"] is not None
    return {
        **_sla(name, "ratio", objective, raw, adjusted, measured_by),
        "good": samples[0],
        "total": samples[1],
        "budget_minutes": _round(budget),
        "spent_minutes": _round(spent) if measured else None,
        "remaining_minutes": _round(budget - spent) if measured else None,
        "adjusted": {**adjusted, "down_minutes": _round(spent) if measured else None},
    }


def _counts(cells: Aggregates, outside: bool) -> tuple[int, int]:
    good, total = (cells.outside_good, cells.outside_total) if outside else (cells.good, cells.total)
    return int(good.sum()), int(total.sum())


def _sla(
    name: str,
    unit: str,
    objective: float,
    raw: Mapping[str, float | None],
    adjusted: Mapping[str, float | None],
    measured_by: str,
    *,
    has_data: bool | None = None,
) -> dict[str, Any]:
    """Return the keys of every SLA. Without ``has_data`` the adjusted value decides whether there is any."""
    less_is_better = name in ("error_rate", "recovery")
    is_known = adjusted["value"] is not None if has_data is None else has_data
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


def _verdict(objective: float, worst: float | None, best: float | None, has_data: bool, less_is_better: bool) -> str:
    """Return the verdict: ``met`` and ``missed`` are proven; ``unproven``: unknown time could decide either way."""
    if not has_data:
        return "no_data"
    sign = -1 if less_is_better else 1
    if best is not None and sign * best < sign * objective:
        return "missed"
    return "met" if worst is not None and sign * worst >= sign * objective else "unproven"


# -------------------------------------------------------------------- counts


def _unplanned(cells: Aggregates, plan: Spans) -> Any:
    """Return a mask of cells that are not entirely planned time."""
    lengths = np.diff(cells.edges)
    return spans.seconds_between(plan, cells.edges) < lengths - 1e-6


def _exact(value: float | None, coverage: float | None) -> dict[str, float | None]:
    """Return figures of a count, which has no interval: missing events are not estimated."""
    return {"value": value, "worst": value, "best": value, "coverage": coverage}


def _event_budget(allowed: float, total: int, bad: float) -> dict[str, Any]:
    return {"budget_events": _round(allowed * total), "remaining_events": _round(allowed * total - bad)}


def _response(
    cells: Aggregates, unplanned: Aggregates, objectives: Objectives, coverage: tuple[float | None, float | None]
) -> dict[str, Any]:
    counts, bare = cells.latency.sum(axis=0), unplanned.latency.sum(axis=0)
    (good, total), (fast, bare_total) = (
        (histogram.below(part, objectives.response_ms), int(part.sum())) for part in (counts, bare)
    )
    raw, adjusted = _exact(_ratio(good, total), coverage[0]), _exact(_ratio(fast, bare_total), coverage[1])
    return {
        **_sla("response", "ratio", objectives.response, raw, adjusted, "probes"),
        "threshold": {"latency_ms": _int_if_whole(objectives.response_ms)},
        "good": good,
        "total": total,
        **_event_budget(1 - objectives.response, bare_total, bare_total - fast),
        **_percentiles(counts),
    }


def _percentiles(counts: Any) -> dict[str, float | None]:
    return {f"p{rank}_ms": histogram.quantile(counts, rank / 100) for rank in (50, 95, 99)}


def _error_rate(
    facts: Facts,
    unplanned: Aggregates,
    objectives: Objectives,
    plan: Spans,
    coverage: tuple[float | None, float | None],
) -> dict[str, Any]:
    counts = _log_counts(facts, plan)
    if counts is not None:
        (errors, total), (bad, of), coverage = counts
    else:
        (good, total), (fine, of) = _counts(facts.cells, False), _counts(unplanned, False)
        errors, bad = total - good, of - fine
    raw = _exact(_ratio(min(errors, total), total), coverage[0])
    adjusted = _exact(_ratio(min(bad, of), of), coverage[1])
    by = "probes" if counts is None else "logs"
    return {
        **_sla("error_rate", "ratio", objectives.error_rate, raw, adjusted, by),
        "good": max(total - errors, 0),
        "total": total,
        **_event_budget(objectives.error_rate, of, bad),
    }


_LogCounts = tuple[tuple[int, int], tuple[int, int], tuple[float | None, float | None]]


def _log_counts(facts: Facts, plan: Spans) -> _LogCounts | None:
    """Return errors and requests of the logs, all and outside of planned time, and the coverage of both times.

    ``None`` without any logged request. Counts of an hour that is only partly planned are not planned.
    """
    start, until = facts.period.start, facts.until
    rows = sorted(
        (float(row["start_at"]), float(row["seconds"]), int(row["requests"] or 0), int(row["errors"] or 0))
        for row in facts.log_counts
        if start <= float(row["start_at"]) < until
    )
    if not sum(row[2] for row in rows):
        return None
    covered = spans.cut(spans.of((at, at + seconds) for at, seconds, _, _ in rows), start, until)
    is_planned = [
        spans.seconds_between(plan, np.array([at, at + seconds]))[0] >= seconds - 1e-6 for at, seconds, _, _ in rows
    ]
    unplanned = [row for row, is_planned_row in zip(rows, is_planned, strict=True) if not is_planned_row]
    within = spans.cut(plan, start, until)
    coverage = (
        _ratio(covered.seconds, until - start),
        _ratio(spans.difference(covered, within).seconds, until - start - within.seconds),
    )
    return _errors_and_requests(rows), _errors_and_requests(unplanned), coverage


def _errors_and_requests(rows: list[tuple[float, float, int, int]]) -> tuple[int, int]:
    return sum(row[3] for row in rows), sum(row[2] for row in rows)


# -------------------------------------------------------------------- incidents


def _incidents(facts: Facts, uptime: Timeline, plan: Spans) -> list[tuple[recovery.Incident, bool]]:
    """Return the period's incidents, and whether they count for it: those that ended in it, or are open."""
    start, until = facts.period.start, facts.until
    over = facts.period.end < facts.now
    result = []
    for incident in recovery.incidents(uptime, plan):
        if incident.from_at < until and incident.last_at > start:
            counted = not over if incident.to_at is None else start < incident.to_at <= until
            result.append((incident, counted))
        elif incident.to_at is not None and start < incident.to_at <= until:
            result.append((incident, True))  # last bad sample before the period, first good one in it
    return result


def _longest_unseen(unknown: Spans) -> float:
    """Return the longest time in seconds that an incident without any sample can have lasted."""
    return _round(float(np.max(unknown.end - unknown.start))) if len(unknown) else 0.0


def _recovery(
    incidents: list[recovery.Incident],
    objectives: Objectives,
    coverage: tuple[float | None, float | None],
    unseen: tuple[float, float],
) -> dict[str, Any]:
    """Return the entry of recovery. ``unseen``: the longest unknown time, raw and without planned time."""
    unplanned = [item for item in incidents if not item.planned]
    raw = _longest([(item.seconds, item.best_seconds, item.worst_seconds) for item in unplanned], unseen[0])
    adjusted = _longest(
        [(item.unplanned_seconds, item.unplanned_best_seconds, item.unplanned_worst_seconds) for item in unplanned],
        unseen[1],
    )
    nothing = not unplanned
    limit = objectives.recovery_s
    entry = _sla(
        "recovery",
        "seconds",
        _int_if_whole(limit),
        {**raw, "coverage": coverage[0]},
        # Without an incident it is met, unless an unknown time is longer than the objective.
        {**adjusted, "coverage": coverage[1], **({"worst": unseen[1], "best": 0.0} if nothing else {})},
        "probes",
        has_data=bool(coverage[0]) or not nothing,
    )
    entry["adjusted"] |= adjusted
    in_time = sum(item.unplanned_seconds <= limit for item in unplanned)
    return {**entry, "good": in_time, "total": len(unplanned)}


def _longest(lengths: list[tuple[float, float, float | None]], unseen: float) -> dict[str, float | None]:
    """Return the longest of (known, best, worst) lengths; a worst ``None`` is unbounded, ``unseen`` is a worst."""
    if not lengths:
        return {"value": None, "worst": unseen or None, "best": 0.0 if unseen else None}
    worst = [length[2] for length in lengths]
    return {
        "value": max(length[0] for length in lengths),
        "worst": None if None in worst else max(unseen, *(length for length in worst if length is not None)),
        "best": max(length[1] for length in lengths),
    }


# -------------------------------------------------------------------- days and the rest


def _seconds_by_state(uptime: Timeline, plan: Spans) -> dict[str, float]:
    raw = _time(uptime, None)
    planned_down = spans.intersection(uptime.down, plan).seconds
    seconds = {
        "up": raw.up,
        "down": raw.down - planned_down,
        "planned_down": planned_down,
        "unknown": raw.unknown,
        "planned": plan.seconds,
    }
    return {name: _round(value) for name, value in seconds.items()}


def _days(
    facts: Facts, uptime: Timeline, plan: Spans, objectives: Objectives, budget_minutes: float
) -> list[dict[str, Any]]:
    borders = day_edges(facts.period, facts.until)
    if len(borders) < 2:
        return []
    unknown = spans.seconds_between(uptime.unknown, borders)
    down = spans.seconds_between(spans.difference(uptime.down, plan), borders)
    remaining = budget_minutes - np.cumsum(down) / 60
    has_data = np.cumsum(np.diff(borders) - unknown) > 0
    errors = _log_errors_by_day(facts, borders)
    return [
        {
            "date": date,
            **piece,
            "errors": facts.log_errors.get(date, errors[day]),
            "budget_remaining_minutes": _round(remaining[day]) if has_data[day] else None,
        }
        for day, (date, piece) in enumerate(
            zip(facts.period.dates(), _pieces(facts, borders, uptime, plan, objectives), strict=False)
        )
    ]


def _pieces(
    facts: Facts, borders: Figures, uptime: Timeline, plan: Spans, objectives: Objectives
) -> list[dict[str, Any]]:
    """Return the figures between each two of ``borders``."""
    if len(borders) < 2:
        return []
    cells = regroup(facts.cells, borders)
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
            "memory_max_bytes": _int_or_none(cells.memory_max[piece]),
            "memory_mean_bytes": _int_or_none(cells.memory_mean[piece]),
            "cpu_mean_percent": _rounded_or_none(cells.cpu_mean[piece]),
            "disk_max_percent": _rounded_or_none(cells.disk_max[piece]),
        }
        for piece, counts in enumerate(cells.latency)
    ]


def _log_errors_by_day(facts: Facts, borders: Any) -> list[int | None]:
    """Return error events of the logs per day; ``None`` for a day that was not counted."""
    errors: list[int | None] = [None] * (len(borders) - 1)
    for row in facts.log_counts:
        day = int(np.searchsorted(borders, float(row["start_at"]), side="right")) - 1
        if 0 <= day < len(errors):
            errors[day] = (errors[day] or 0) + int(row["errors"] or 0)
    return errors


def _maintenance(facts: Facts) -> list[dict[str, Any]]:
    windows = [(pair, str(window.get("reason") or "")) for window in facts.windows if (pair := bounds(window))]
    return [
        {"from": iso(start), "to": iso(end), "reason": reason}
        for (start, end), reason in sorted(windows)
        if start < facts.period.end and end > facts.period.start
    ]


def _ratio(part: float, whole: float) -> float | None:
    """Return a ratio to twelve places: rounding errors beyond them must not decide whether 0.999 is 0.999."""
    return round(min(max(part / whole, 0.0), 1.0), 12) if whole > 0 else None


def _round(value: float) -> float:
    """Round to the microsecond; never ``-0.0``."""
    return round(float(value), 6) + 0.0


def _rounded_or_none(value: float) -> float | None:
    return round(float(value), 3) if math.isfinite(value) else None


def _int_or_none(value: float) -> int | None:
    return round(float(value)) if math.isfinite(value) else None


def _int_if_whole(value: float) -> float:
    """Return a whole number as ``int``."""
    return int(value) if float(value).is_integer() else float(value)
