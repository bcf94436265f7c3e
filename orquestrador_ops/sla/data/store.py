"""Facts of one host and one period, read from the rows, packed hours and rolled-up days of the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import sqlalchemy as sa

from ...history import schema
from ...history.packed_samples import DAY_S, HOUR_S
from ...history.store import History
from . import blocks, rollups
from . import spans as stretches
from .aggregates import Aggregates, aggregate, combine
from .facts import Facts, edges, planned
from .periods import Period
from .rollups import Day, roll_up
from .series import OUTSIDE_PROBED, Series
from .timeline import Kind, Timeline, clip, join, timeline

__all__ = ["facts", "hosts", "planned_time", "roll_up", "series", "write_series"]

# How far beyond the period's borders an incident is followed.
_BEYOND_S = 7 * DAY_S


def hosts(store: History) -> list[str]:
    """Return every host with a sample, sorted."""
    tables = (schema.samples, schema.sample_blocks, schema.sample_rollups)
    return sorted({host for table in tables for host in blocks.hosts_of(store, table)})


def planned_time(store: History, host: str, start: float, end: float, allowance_s: float) -> stretches.Spans:
    """Return planned time that overlaps ``[start, end)`` (epoch seconds). Raises ``HistoryError``."""
    return store.read(lambda connection: rollups.planned_time(connection, host, start, end, allowance_s))


def series(store: History, host: str, start: float, end: float) -> Series:
    """Return raw samples from ``start`` up to ``end`` (epoch seconds). Raises ``HistoryError``."""
    return store.read(lambda connection: blocks.load(connection, host, start, end))


def write_series(store: History, host: str, samples: Series, source: str) -> int:
    """Store many samples; return how many are new. Idempotent.

    They go into packed hours, which have no ``source``. Samples of days that are rolled up already are left out
    (:func:`.blocks.add` returns them). Raises ``HistoryError``.
    """
    del source
    return blocks.add(store, host, samples).stored


def facts(
    store: History, host: str, period: Period, now: float, *, gap_s: float, restart_allowance_s: float = 60.0
) -> Facts:
    """Read the facts of ``host`` and ``period`` as of ``now`` (epoch seconds); a sample holds for ``gap_s`` seconds.

    Rolled-up days have the ``gap_s`` with which they were rolled up. Raises ``HistoryError``.
    """
    end = max(min(period.end, now), period.start)

    def work(connection: sa.Connection) -> Facts:
        # Raw before rolled up: a day that is rolled up meanwhile is read twice rather than not at all.
        loaded, errors = blocks.load_all(connection, host, period.start - gap_s, end)
        samples = _Samples(host, loaded, rollups.load(connection, host, period.start, end), gap_s)
        windows = rollups.maintenance_windows(connection, host, period.start, end)
        restarts = rollups.planned_restarts(connection, host, period.start, end)
        within = edges(period, end, planned(windows, restarts, restart_allowance_s))
        return Facts(
            host=host,
            period=period,
            now=now,
            timelines=_timelines(connection, samples, period.start, end, now),
            cells=samples.aggregate(within),
            windows=windows,
            restarts=restarts,
            incidents=_incidents(connection, host, period.start - _BEYOND_S, end),
            log_counts=_log_counts(connection, host, period.start, end),
            log_errors=_log_errors(errors, samples.days, period, end),
            resolution_s=float(max((day.resolution_s for day in samples.days), default=0)),
            runs=_runs(connection, host, period.start, end),
        )

    return store.read(work)


class _Samples:
    """Raw samples and rolled-up days of a host together."""

    def __init__(self, host: str, series: Series, days: Sequence[Day], gap_s: float) -> None:
        self.host, self.days, self.gap_s = host, days, gap_s
        self.series = series  # with those of rolled-up days that hold into the next one
        self.raw = series
        if days:
            at = series["at"]
            inside = np.isin(at // DAY_S * DAY_S, [day.start for day in days])
            self.raw = series[~inside] if inside.any() else series

    def aggregate(self, edges: Any) -> Aggregates:
        raw = aggregate(self.raw, edges)
        return combine(raw, rollups.aggregate_days(self.days, edges)) if self.days else raw

    def timeline(self, kind: Kind, start: float, end: float) -> Timeline:
        """Return the timelines of rolled-up days as stored, and of the time between them from samples."""
        parts, at = [], start
        for day in self.days:
            if day.start + DAY_S <= at or day.start >= end:
                continue
            if day.start > at:
                parts.append(self._raw_line(kind, at, day.start))
            until = min(day.start + DAY_S, end)
            line = day.timelines[kind]
            parts.append(line if at <= line.start and until == line.end else clip(line, max(day.start, at), until))
            at = until
        if at < end or not parts:
            parts.append(self._raw_line(kind, at, end))
        return join(parts)

    def _raw_line(self, kind: Kind, start: float, end: float) -> Timeline:
        first, last = np.searchsorted(self.series["at"], (start - self.gap_s, end))
        return timeline(self.series[first:last], kind, start, end, self.gap_s)

    @property
    def outside(self) -> bool:
        """Whether there is any probe from outside."""
        return bool(np.any(self.raw["flags"] & OUTSIDE_PROBED)) or any(
            bool(np.any(day.cells["outside_total"])) for day in self.days
        )


def _timelines(
    connection: sa.Connection, samples: _Samples, start: float, end: float, now: float
) -> dict[str, Timeline | None]:
    uptime = samples.timeline("uptime", start, end)
    if end > start:
        parts = [_lead_in(connection, samples, uptime), uptime, _follow_up(connection, samples, uptime, now)]
        uptime = join([part for part in parts if part is not None])
    return {"uptime": uptime, "availability": samples.timeline("availability", start, end) if samples.outside else None}


def _not_up(line: Timeline) -> stretches.Spans:
    return stretches.union(line.down, line.unknown)


def _lead_in(connection: sa.Connection, samples: _Samples, within: Timeline) -> Timeline | None:
    """Return the time before a timeline that begins with a failure, from the last good sample on; else ``None``."""
    start, reach = within.start, HOUR_S
    not_up = _not_up(within)
    if not len(not_up) or not_up.start[0] > start:
        return None
    while True:
        line = _uptime(connection, samples, start - reach, start)
        not_up = _not_up(line)
        failed_at = float(not_up.start[-1]) if len(not_up) and not_up.end[-1] >= start else start
        if failed_at > line.start or reach >= _BEYOND_S:
            before = clip(line, failed_at, start)
            return before if len(before.down) else None
        reach = min(reach * 6, _BEYOND_S)


def _follow_up(connection: sa.Connection, samples: _Samples, within: Timeline, now: float) -> Timeline | None:
    """Return the time after a timeline that ends with a failure, up to the next good sample; else ``None``."""
    end, reach = within.end, HOUR_S
    not_up = _not_up(within)
    if now <= end or not len(not_up) or not_up.end[-1] < end:
        return None
    if not len(clip(within, float(not_up.start[-1]), end).down):
        return None
    while True:
        line = _uptime(connection, samples, end, min(end + reach, now))
        not_up = _not_up(line)
        recovered_at = float(not_up.end[0]) if len(not_up) and not_up.start[0] <= end else end
        if recovered_at < line.end or line.end >= now or reach >= _BEYOND_S:
            # Includes the good sample itself, which proves that the failure is over.
            return clip(line, end, min(recovered_at + 1.0, line.end))
        reach = min(reach * 6, _BEYOND_S)


def _uptime(connection: sa.Connection, samples: _Samples, start: float, end: float) -> Timeline:
    loaded = blocks.load(connection, samples.host, start - samples.gap_s, end)
    days = rollups.load(connection, samples.host, start, end)
    return _Samples(samples.host, loaded, days, samples.gap_s).timeline("uptime", start, end)


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(query).mappings()]


def _incidents(connection: sa.Connection, host: str, start: float, end: float) -> list[dict[str, Any]]:
    table = schema.incidents
    still = sa.or_(table.c.closed_at.is_(None), table.c.closed_at >= start)
    query = sa.select(table).where(table.c.host == host, table.c.opened_at < end, still).order_by(table.c.opened_at)
    return _rows(connection, query)


def _log_counts(connection: sa.Connection, host: str, start: float, end: float) -> list[dict[str, Any]]:
    table = schema.log_counts
    names = (table.c.start_at, table.c.seconds, table.c.requests, table.c.errors)
    within = (table.c.start_at >= start, table.c.start_at < end)
    return _rows(connection, sa.select(*names).where(table.c.host == host, *within).order_by(table.c.start_at))


def _runs(connection: sa.Connection, host: str, start: float, end: float) -> list[dict[str, Any]]:
    table = schema.runs
    names = ("run_id", "host", "procedure", "outcome", "check_mode", "started_at", "ended_at", "steps")
    query = sa.select(*(table.c[name] for name in names)).where(
        table.c.host == host, table.c.check_mode.is_(False), table.c.started_at >= start, table.c.started_at < end
    )
    return _rows(connection, query.order_by(table.c.started_at))


def _log_errors(errors: Mapping[float, int], days: Sequence[Day], period: Period, end: float) -> dict[str, int]:
    """Return by local day the error count of its last probe."""
    zone = ZoneInfo(period.timezone)
    rolled = {day.start for day in days}
    hours = {hour: count for hour, count in errors.items() if hour // DAY_S * DAY_S not in rolled}
    for day in days:
        hours.update(day.errors)
    return {
        datetime.fromtimestamp(hour, zone).date().isoformat(): hours[hour]
        for hour in sorted(hours)
        if period.start <= hour < end
    }
