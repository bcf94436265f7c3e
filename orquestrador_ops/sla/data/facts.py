"""Everything that evaluating one host and one period needs, independent of where it is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...core.i18n import epoch
from . import spans
from .aggregates import Aggregates, Figures
from .periods import Period
from .spans import Spans, Timeline

HOUR_S = 3600.0
LONGEST_DAY_S = 25 * HOUR_S  # the one on which clocks go back


@dataclass(frozen=True, eq=False)
class Facts:
    """Data of one host and period. Instants are epoch seconds; of windows, incidents and runs also ISO 8601.

    ``timelines`` of ``uptime`` and ``availability`` (``None``: no outside probes at all) cover the period until now.
    That of uptime extends to the first bad sample of an incident that began before the period and to the next good
    sample after one that was open at its end, which gives their durations.

    ``cells`` end at now and lie between :func:`edges`: those of days, of hours in a period of a day at most, and of
    planned time, so that counts of planned time can be left out.
    """

    host: str
    period: Period
    now: float
    timelines: Mapping[str, Timeline | None]
    cells: Aggregates
    windows: Sequence[Mapping[str, Any]] = ()  # {starts_at, ends_at, ended_at or none, reason}
    restarts: Sequence[float] = ()
    incidents: Sequence[Mapping[str, Any]] = ()  # rows of the table
    log_counts: Sequence[Mapping[str, Any]] = ()  # {start_at, seconds, requests, errors}
    log_errors: Mapping[str, int] = field(default_factory=dict)  # by date
    resolution_s: float = 0
    runs: Sequence[Mapping[str, Any]] = ()  # {procedure, outcome, check_mode, started_at, ended_at, steps}

    @property
    def until(self) -> float:
        """The end of the evaluated time: that of the period, or now."""
        return max(min(self.period.end, self.now), self.period.start)


def bounds(window: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return start and end of a maintenance window; ``None`` for one without these times."""
    start, end, ended = (epoch(window.get(name)) for name in ("starts_at", "ends_at", "ended_at"))
    last = end if ended is None else ended
    return None if start is None or last is None or last <= start else (start, last)


def planned(windows: Sequence[Mapping[str, Any]], restarts: Sequence[float], allowance_s: float) -> Spans:
    """Return planned time: maintenance windows, and ``allowance_s`` before and after each planned restart."""
    periods = [pair for pair in map(bounds, windows) if pair is not None]
    return spans.of([*periods, *((at - allowance_s, at + allowance_s) for at in restarts)])


def day_edges(period: Period, until: float) -> Figures:
    """Return edges of the days of a period up to ``until``, which is the last one."""
    edges = period.days()
    return np.append(edges[edges < until], until) if until > period.start else edges[:1]


def hour_edges(period: Period, until: float) -> Figures:
    """Return edges of the hours of a period that is no longer than a day; none for a longer one.

    Inner edges are full hours of UTC, which cells of rolled-up days never straddle.
    """
    if period.seconds > LONGEST_DAY_S or until <= period.start:
        return np.empty(0)
    full = np.arange(math.floor(period.start / HOUR_S) + 1, math.ceil(until / HOUR_S)) * HOUR_S
    return np.concatenate(([period.start], full, [until]))


def edges(period: Period, until: float, planned: Spans) -> Figures:
    """Return edges for the cells of :class:`Facts`: of days and hours until ``until``, and of planned time."""
    days = day_edges(period, until)
    cut = spans.cut(planned, float(days[0]), float(days[-1]))
    return np.unique(np.concatenate((days, hour_edges(period, until), cut.start, cut.end)))
