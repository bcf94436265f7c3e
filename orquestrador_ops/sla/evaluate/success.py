"""The playbook's success metrics: each day, week and month of a period evaluated by its evidence.

A piece of the period without evidence is unknown, never met. Left out, unless they are all there is, are one that is
still under way and has none yet, and, where runs are the evidence, one that the period's border cuts off from its run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.i18n import epoch
from ..data import spans
from ..data.aggregates import Aggregates, Figures, regroup
from ..data.facts import Facts, day_edges
from ..data.spans import Spans, Timeline

MAX_ERRORS_A_DAY = 10
_OK = frozenset({"ok", "changed"})

Piece = tuple[float, float]
Test = Callable[[int, float, float], bool | None]


def metrics(
    facts: Facts, uptime: Timeline, unplanned: Aggregates, planned: Spans, objective: float
) -> dict[str, list[dict[str, Any]]]:
    """``{daily, weekly, monthly}``, each a list of ``{id, title, status: met|missed|unknown, observed}``.

    ``uptime``: of the period; ``unplanned``: what was counted outside of planned time; ``objective``: of uptime.
    """
    days = day_edges(facts.period, facts.until)
    counted = regroup(unplanned, days)
    bare = [spans.difference(of, planned) for of in (uptime.down, uptime.unknown)]
    down, unknown = (spans.seconds_between(of, days).tolist() for of in bare)
    errors = [facts.log_errors.get(date) for date in facts.period.dates()[: len(days) - 1]]

    def no_downtime(day: int, _start: float, _end: float) -> bool | None:
        return False if down[day] > 0 else None if unknown[day] > 0 else True

    def probes_good(day: int, _start: float, _end: float) -> bool | None:
        total, good = int(counted.total[day]), int(counted.good[day])
        return None if not total else good == total

    def few_errors(day: int, _start: float, _end: float) -> bool | None:
        count = errors[day]
        return None if count is None else count < MAX_ERRORS_A_DAY

    def uptime_met(_piece: int, start: float, end: float) -> bool | None:
        return _uptime_met([*bare, planned], start, end, objective)

    tests, dependencies = _last_passed(facts, ("app_tests",)), _last_passed(facts, ("npm_audit", "npm_outdated"))
    reviewed, backed_up = _last_passed(facts, ("documentation_review",)), _any_passed(facts, "database_backup")
    weeks, months = (_edges_until(edges, facts.until) for edges in (facts.period.weeks(), facts.period.months()))
    by_day = _DAYS, days, facts
    by_week = _WEEKS, weeks, facts
    by_month = _MONTHS, months, facts
    return {
        "daily": [
            _metric("no_unplanned_downtime", msg("No unplanned downtime"), no_downtime, *by_day),
            _metric("health_checks", msg("All health checks passed"), probes_good, *by_day),
            _metric("error_log", msg("Fewer than 10 errors a day in the logs"), few_errors, *by_day),
        ],
        "weekly": [
            _metric("uptime", msg("Uptime of the week as promised"), uptime_met, *by_week),
            _metric("tests", msg("All automated tests passed"), tests, *by_week, _WEEK_S),
            _metric("backup", msg("Backup made"), backed_up, *by_week, _WEEK_S),
        ],
        "monthly": [
            _metric("uptime_sla", msg("Uptime of the month as promised"), uptime_met, *by_month),
            _metric("dependencies", msg("Dependencies audited and up to date"), dependencies, *by_month, _MONTH_S),
            _metric("documentation", msg("Documentation reviewed"), reviewed, *by_month, _MONTH_S),
        ],
    }


# The shortest whole week and month, on which clocks go forward.
_WEEK_S, _MONTH_S = 7 * 86400 - 7200, 28 * 86400 - 7200
_DAYS = msg("{met} of {total} day(s)", met=0, total=0)
_WEEKS = msg("{met} of {total} week(s)", met=0, total=0)
_MONTHS = msg("{met} of {total} month(s)", met=0, total=0)


def _metric(
    name: str, title: Message, test: Test, observed_text: Message, edges: Figures, facts: Facts, whole_s: float = 0
) -> dict[str, Any]:
    """Return the entry of a metric. ``whole_s``: a shorter piece is only part of a week or month."""
    pieces = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    results = [test(number, start, end) for number, (start, end) in enumerate(pieces)]
    if len(results) > 1 and results[-1] is None and (facts.period.end >= facts.now or _is_partial(pieces[-1], whole_s)):
        results.pop()
    if len(results) > 1 and results[0] is None and _is_partial(pieces[0], whole_s):
        results.pop(0)
    status = "missed" if False in results else "unknown" if None in results or not results else "met"
    evaluated = any(result is not None for result in results)
    observed = {**observed_text, "args": {"met": results.count(True), "total": len(results)}} if evaluated else None
    return {"id": name, "title": title, "status": status, "observed": observed}


def _is_partial(piece: Piece, whole_s: float) -> bool:
    return piece[1] - piece[0] < whole_s


def _edges_until(edges: Figures, until: float) -> Figures:
    return np.append(edges[edges < until], until) if until > edges[0] else edges[:1]


def _uptime_met(parts: Sequence[Spans], start: float, end: float, objective: float) -> bool | None:
    """Return whether the uptime between two times, without planned time, provably meets the objective; else ``None``.

    ``of``: down and unknown outside of planned time, and planned time.
    """
    edges = np.array([start, end])
    down, unknown, left_out = (float(spans.seconds_between(part, edges)[0]) for part in parts)
    total = end - start - left_out
    if total <= 0 or unknown >= total:
        return None
    if round((total - down - unknown) / total, 12) >= objective:
        return True
    return False if round((total - down) / total, 12) < objective else None


def _step_results(facts: Facts, name: str) -> list[tuple[float, str]]:
    """Return time and status of a step in every run that executed it, oldest first."""
    results = []
    for run in facts.runs:
        at = epoch(run.get("ended_at")) or epoch(run.get("started_at"))
        if at is None or run.get("check_mode"):
            continue
        steps: Sequence[Mapping[str, Any]] = run.get("steps") or ()
        results += [(at, str(step.get("status"))) for step in steps if step.get("id") == name]
    return sorted(result for result in results if result[1] not in ("skipped", "unknown"))


def _last_passed(facts: Facts, names: tuple[str, ...]) -> Test:
    """Return a test that each of these steps passed the last time it ran."""
    steps = [_step_results(facts, name) for name in names]

    def test(_piece: int, start: float, end: float) -> bool | None:
        last = [[status for at, status in results if start <= at < end][-1:] for results in steps]
        if any(status and status[0] not in _OK for status in last):
            return False
        return True if all(last) else None

    return test


def _any_passed(facts: Facts, name: str) -> Test:
    """Return a test that a step passed at least once."""
    steps = _step_results(facts, name)

    def test(_piece: int, start: float, end: float) -> bool | None:
        passed = [status in _OK for at, status in steps if start <= at < end]
        return any(passed) if passed else None

    return test
