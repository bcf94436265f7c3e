"""All that the history knows of one host about one period, from rows, packed hours and rolled-up days."""

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
from .aggregates import Cells, added, cells
from .facts import Facts, edges, planned
from .periods import Period
from .rollups import Day, roll_up
from .series import OUTSIDE_SEEN, Series
from .timeline import Kind, Timeline, clip, join, timeline

__all__ = ["facts", "hosts", "planned_time", "roll_up", "series", "write_series"]

# How far beyond its borders the rest of a failure is looked for.
_BEYOND_S = 7 * DAY_S


def hosts(store: History) -> list[str]:
    """Every host of which there is a sample, in order of their names."""
    tables = (schema.samples, schema.sample_blocks, schema.sample_rollups)
    return sorted({host for table in tables for host in blocks.hosts_of(store, table)})


def planned_time(store: History, host: str, start: float, end: float, allowance_s: float) -> stretches.Spans:
    """Planned time that overlaps ``[start, end)`` (epoch seconds). Raises ``HistoryError``."""
    return store.read(lambda connection: rollups.planned_time(connection, host, start, end, allowance_s))


def series(store: History, host: str, start: float, end: float) -> Series:
    """Raw samples from ``start`` up to ``end`` (epoch seconds). Raises ``HistoryError``."""
    return store.read(lambda connection: blocks.load(connection, host, start, end))


def write_series(store: History, host: str, samples: Series, source: str) -> int:
    """Store many samples; how many are new. Doing it again changes nothing.

    They go into packed hours, which keep no ``source``: a sample is what was seen, whoever saw it. Those of days that
    are rolled up already are left out (:func:`.blocks.add` tells which). Raises ``HistoryError``.
    """
    del source
    return blocks.add(store, host, samples).stored


def facts(
    store: History, host: str, period: Period, now: float, *, gap_s: float, restart_allowance_s: float = 60.0
) -> Facts:
    """What is known of ``host`` about ``period`` as of ``now`` (epoch seconds); a sample holds for ``gap_s`` seconds.

    Rolled-up days have the ``gap_s`` with which they were rolled up. Raises ``HistoryError``.
    """
    end = max(min(period.end, now), period.start)

    def work(connection: sa.Connection) -> Facts:
        # Raw before rolled up: a day that is rolled up meanwhile is found twice rather than not at all.
        whole, errors = blocks.load_all(connection, host, period.start - gap_s, end)
        known = _Known(host, whole, rollups.load(connection, host, period.start, end), gap_s)
        windows = rollups.windows(connection, host, period.start, end)
        restarts = rollups.restarts(connection, host, period.start, end)
        within = edges(period, end, planned(windows, restarts, restart_allowance_s))
        return Facts(
            host=host,
            period=period,
            now=now,
            timelines=_timelines(connection, known, period.start, end, now),
            cells=known.cells(within),
            windows=windows,
            restarts=restarts,
            incidents=_incidents(connection, host, period.start - _BEYOND_S, end),
            log_counts=_log_counts(connection, host, period.start, end),
            log_errors=_log_errors(errors, known.days, period, end),
            resolution_s=float(max((day.resolution_s for day in known.days), default=0)),
            runs=_runs(connection, host, period.start, end),
        )

    return store.read(work)


class _Known:
    """Raw samples and rolled-up days as one."""

    def __init__(self, host: str, whole: Series, days: Sequence[Day], gap_s: float) -> None:
        self.host, self.days, self.gap_s = host, days, gap_s
        self.whole = whole  # of rolled-up days as well: what holds into the next one
        self.raw = whole
        if days:
            at = whole["at"]
            inside = np.isin(at // DAY_S * DAY_S, [day.start for day in days])
            self.raw = whole[~inside] if inside.any() else whole

    def cells(self, edges: Any) -> Cells:
        counted = cells(self.raw, edges)
        return added(counted, rollups.grouped(self.days, edges)) if self.days else counted

    def timeline(self, kind: Kind, start: float, end: float) -> Timeline:
        """Rolled-up days as they were kept, and what lies between them from samples."""
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
        first, last = np.searchsorted(self.whole["at"], (start - self.gap_s, end))
        return timeline(self.whole[first:last], kind, start, end, self.gap_s)

    @property
    def outside(self) -> bool:
        """Whether anybody asked from outside."""
        return bool(np.any(self.raw["flags"] & OUTSIDE_SEEN)) or any(
            bool(np.any(day.cells["outside_total"])) for day in self.days
        )


def _timelines(
    connection: sa.Connection, known: _Known, start: float, end: float, now: float
) -> dict[str, Timeline | None]:
    uptime = known.timeline("uptime", start, end)
    if end > start:
        parts = [_before(connection, known, uptime), uptime, _after(connection, known, uptime, now)]
        uptime = join([part for part in parts if part is not None])
    return {"uptime": uptime, "availability": known.timeline("availability", start, end) if known.outside else None}


def _not_up(line: Timeline) -> stretches.Spans:
    return stretches.union(line.down, line.unknown)


def _before(connection: sa.Connection, known: _Known, within: Timeline) -> Timeline | None:
    """What precedes a timeline that does not begin well: from the end of the last good time, if there was a failure."""
    start, reach = within.start, HOUR_S
    troubled = _not_up(within)
    if not len(troubled) or troubled.start[0] > start:
        return None
    while True:
        line = _stretch(connection, known, start - reach, start)
        troubled = _not_up(line)
        begun = float(troubled.start[-1]) if len(troubled) and troubled.end[-1] >= start else start
        if begun > line.start or reach >= _BEYOND_S:
            found = clip(line, begun, start)
            return found if len(found.down) else None
        reach = min(reach * 6, _BEYOND_S)


def _after(connection: sa.Connection, known: _Known, within: Timeline, now: float) -> Timeline | None:
    """What follows a timeline that does not end well, until it is good again, if it ended with a failure."""
    end, reach = within.end, HOUR_S
    troubled = _not_up(within)
    if now <= end or not len(troubled) or troubled.end[-1] < end:
        return None
    if not len(clip(within, float(troubled.start[-1]), end).down):
        return None
    while True:
        line = _stretch(connection, known, end, min(end + reach, now))
        troubled = _not_up(line)
        over = float(troubled.end[0]) if len(troubled) and troubled.start[0] <= end else end
        if over < line.end or line.end >= now or reach >= _BEYOND_S:
            # As far as the good sample itself, without which nobody could tell that it was over.
            return clip(line, end, min(over + 1.0, line.end))
        reach = min(reach * 6, _BEYOND_S)


def _stretch(connection: sa.Connection, known: _Known, start: float, end: float) -> Timeline:
    whole = blocks.load(connection, known.host, start - known.gap_s, end)
    days = rollups.load(connection, known.host, start, end)
    return _Known(known.host, whole, days, known.gap_s).timeline("uptime", start, end)


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
    """By local day, the last that any probe of it reported."""
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
