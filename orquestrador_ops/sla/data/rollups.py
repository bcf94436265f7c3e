"""Roll-ups: a day in cells of five minutes, later of an hour, which replace raw samples that are too old.

Cells are cut where planned time begins and ends, so that counts of planned time can still be left out.

A cell has counts, a histogram of latencies (only the buckets that are not empty) and figures. Down and unknown time is
stored exactly, so that no figure that is weighted by time changes. One row of the history is one day (UTC) of one host.
It is written in the transaction that removes its samples: after an interruption a day is either raw or rolled up.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ...history import schema
from ...history.packed_samples import DAY_S, HOUR_S
from ...history.store import History
from . import blocks, histogram
from .aggregates import Aggregates, aggregate, empty
from .facts import planned
from .series import INSIDE_GOOD, Series
from .spans import Spans
from .timeline import Kind, Timeline, timeline

LAYOUT = 1
FINE_S, COARSE_S = 300, 3600
ALLOWANCE_S = 60.0  # before and after a planned restart, as sla_restart_allowance_s is by default
_MARGIN_S = 3600.0
KINDS: tuple[Kind, ...] = ("uptime", "availability")

_HEADER = struct.Struct("<6I")  # cells, buckets, and spans: down and unknown of each kind
_CELL_FIELDS = [
    ("at", "<f8"),  # its beginning
    ("total", "<u4"),
    ("good", "<u4"),
    ("outside_total", "<u4"),
    ("outside_good", "<u4"),
    ("memory_max", "<f4"),
    ("memory_sum", "<f8"),
    ("memory_count", "<u4"),
    ("cpu_sum", "<f8"),
    ("cpu_count", "<u4"),
    ("disk_max", "<f4"),
    ("buckets", "<u2"),  # how many of the histogram are not empty
]
_CELL = np.dtype(_CELL_FIELDS)
_NUMBER, _COUNT = np.dtype("<u2"), np.dtype("<u4")  # of a bucket that is not empty
_SPAN = np.dtype(("<f8", 2))
_HOUR = np.dtype("<i4")
_PARTS: tuple[np.dtype[Any], ...] = (_CELL, _NUMBER, _COUNT, _SPAN, _SPAN, _SPAN, _SPAN, _HOUR)
_HOURS = 24
_COUNTS = ("total", "good", "outside_total", "outside_good", "memory_count", "cpu_count")
_SUMS = ("memory_sum", "cpu_sum")
_MAXIMA = ("memory_max", "disk_max")


@dataclass(frozen=True, eq=False)
class Day:
    """A rolled-up day: ``cells`` of :data:`_CELL`, ``numbers`` of their filled buckets, and the ``counts`` in these."""

    start: float
    resolution_s: int
    cells: NDArray[Any]
    numbers: NDArray[np.uint16]
    counts: NDArray[np.uint32]
    timelines: dict[Kind, Timeline]
    errors: dict[float, int]  # of the last 24 h, by hour of the last probe that counted them


# -------------------------------------------------------------------- reading


def load(connection: sa.Connection, host: str, start: float, end: float) -> list[Day]:
    """Return rolled-up days that overlap ``[start, end)``, oldest first. Raises ``HistoryError`` for a damaged one."""
    table = schema.sample_rollups
    query = (
        sa.select(table.c.start_at, table.c.resolution_s, table.c.layout, table.c.data)
        .where(table.c.host == host, table.c.start_at > start - DAY_S, table.c.start_at < end)
        .order_by(table.c.start_at)
    )
    return [_day_from_row(host, row) for row in connection.execute(query)]


def aggregate_days(days: Sequence[Day], edges: NDArray[np.float64]) -> Aggregates:
    """Sum the cells of whole days into those between ``edges``: each into the one it begins in."""
    result = empty(edges)
    if not days or not len(result):
        return result
    # Joined as bytes: numpy's concatenate compares the fields of every part.
    cells = np.frombuffer(b"".join([day.cells.data for day in days]), _CELL)
    if not len(cells):
        return result
    at = cells["at"]
    target = np.searchsorted(result.edges, at, side="right") - 1
    target[at >= result.edges[-1]] = -1
    _sum(result, cells, target)
    numbers = np.frombuffer(b"".join([day.numbers.data for day in days]), _NUMBER)
    counts = np.frombuffer(b"".join([day.counts.data for day in days]), _COUNT)
    flat = np.repeat(target * histogram.BUCKETS, cells["buckets"]) + numbers
    if target[0] < 0 or target[-1] < 0:
        flat, counts = flat[flat >= 0], counts[flat >= 0]
    total = np.bincount(flat, weights=counts, minlength=result.latency.size)
    result.latency[:] = total.reshape(result.latency.shape).astype(np.int64)
    return result


def _sum(result: Aggregates, cells: NDArray[Any], target: NDArray[np.int64]) -> None:
    inside = np.flatnonzero(target >= 0)
    if not len(inside):
        return
    cells, target = cells[inside], target[inside]
    starts = np.concatenate(([0], np.flatnonzero(np.diff(target)) + 1))  # in order of time, so cells lie together
    targets = target[starts]
    for name in _COUNTS:
        getattr(result, name)[targets] = np.add.reduceat(cells[name].astype(np.int64), starts)
    for name in _SUMS:
        getattr(result, name)[targets] = np.add.reduceat(cells[name], starts)
    for name in _MAXIMA:
        getattr(result, name)[targets] = np.fmax.reduceat(cells[name].astype(np.float64), starts)


def _day_from_row(host: str, row: Any) -> Day:
    if row.layout != LAYOUT:
        raise blocks.damaged_block(host, float(row.start_at))
    try:
        return _unpack(float(row.start_at), int(row.resolution_s), bytes(row.data))
    except (ValueError, struct.error) as error:
        raise blocks.damaged_block(host, float(row.start_at)) from error


def _unpack(start: float, resolution_s: int, data: bytes) -> Day:
    header = _HEADER.unpack_from(data)
    offset = _HEADER.size
    arrays: list[NDArray[Any]] = []
    counts = (header[0], header[1], *header[1:], _HOURS)
    for layout, count in zip(_PARTS, counts, strict=True):
        arrays.append(np.frombuffer(data, layout, count, offset))
        offset += count * layout.itemsize
    if offset != len(data):
        raise ValueError(offset)
    cells, numbers, totals, *bounds, hours = arrays
    timelines = {}
    for number, kind in enumerate(KINDS):
        down, unknown = (Spans(pairs[:, 0], pairs[:, 1]) for pairs in bounds[2 * number : 2 * number + 2])
        timelines[kind] = Timeline(start, start + DAY_S, down, unknown)
    errors = {start + HOUR_S * hour: count for hour, count in enumerate(hours.tolist()) if count >= 0}
    return Day(start, resolution_s, cells, numbers, totals, timelines, errors)


def maintenance_windows(connection: sa.Connection, host: str, start: float, end: float) -> list[dict[str, Any]]:
    """Return maintenance windows that overlap ``[start, end)``."""
    table = schema.maintenance_windows
    over = sa.func.coalesce(table.c.ended_at, table.c.ends_at)
    query = (
        sa.select(table.c.starts_at, table.c.ends_at, table.c.ended_at, table.c.reason)
        .where(table.c.host == host, table.c.starts_at < end, over > start)
        .order_by(table.c.starts_at)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def planned_restarts(connection: sa.Connection, host: str, start: float, end: float) -> list[float]:
    """Return planned restarts in ``[start, end)``, and those near it: their allowance may overlap it."""
    table = schema.planned_restarts
    near = (table.c.at >= start - _MARGIN_S, table.c.at < end + _MARGIN_S)
    query = sa.select(table.c.at).where(table.c.host == host, *near).order_by(table.c.at)
    return list(connection.execute(query).scalars())


def planned_time(connection: sa.Connection, host: str, start: float, end: float, allowance_s: float) -> Spans:
    """Return planned time that overlaps ``[start, end)``: maintenance windows, and time around planned restarts."""
    windows = maintenance_windows(connection, host, start, end)
    return planned(windows, planned_restarts(connection, host, start, end), allowance_s)


# -------------------------------------------------------------------- writing


def day_of(series: Series, start: float, gap_s: float, errors: dict[float, int], borders: Spans) -> Day:
    """Roll up a day from its samples and those of ``gap_s`` before it; ``borders``: planned time."""
    end = start + DAY_S
    cells = aggregate(series, _edges(start, FINE_S, borders))
    at = series["at"]
    inside = series[(at >= start) & (at < end)]
    timelines = {kind: timeline(series, kind, start, end, gap_s) for kind in KINDS}
    own = {hour: count for hour, count in errors.items() if start <= hour < end}
    return _pack_cells(start, FINE_S, cells, timelines, own) if len(inside) else _empty_day(start, timelines, own)


def _edges(start: float, step_s: int, borders: Spans) -> NDArray[np.float64]:
    end = start + DAY_S
    inside = [edges[(edges > start) & (edges < end)] for edges in (borders.start, borders.end)]
    return np.unique(np.concatenate((np.arange(start, end + 1, step_s), *inside)))


def _empty_day(start: float, timelines: dict[Kind, Timeline], errors: dict[float, int]) -> Day:
    return Day(start, FINE_S, np.zeros(0, _CELL), np.zeros(0, _NUMBER), np.zeros(0, _COUNT), timelines, errors)


def _pack_cells(
    start: float, resolution_s: int, source: Aggregates, timelines: dict[Kind, Timeline], errors: dict[float, int]
) -> Day:
    filled = np.isfinite(source.disk_max)
    for name in _COUNTS:
        filled |= getattr(source, name) > 0
    indexes = np.flatnonzero(filled)
    cells = np.zeros(len(indexes), _CELL)
    cells["at"] = source.edges[indexes]
    for name in (*_COUNTS, *_SUMS, *_MAXIMA):
        cells[name] = getattr(source, name)[indexes]
    latency = source.latency[indexes]
    cells["buckets"] = np.count_nonzero(latency, axis=1)
    nonempty = np.nonzero(latency)
    numbers, counts = nonempty[1].astype(_NUMBER), latency[nonempty].astype(_COUNT)
    return Day(start, resolution_s, cells, numbers, counts, timelines, errors)


def pack_day(day: Day) -> bytes:
    """Return a day as bytes of layout :data:`LAYOUT`."""
    timelines = [part for kind in KINDS for part in (day.timelines[kind].down, day.timelines[kind].unknown)]
    hours = np.full(_HOURS, -1, _HOUR)
    for hour, count in day.errors.items():
        hours[int((hour - day.start) // HOUR_S)] = count
    header = _HEADER.pack(len(day.cells), len(day.numbers), *map(len, timelines))
    columns = [np.column_stack((part.start, part.end)).astype("<f8").tobytes() for part in timelines]
    figures = [part.tobytes() for part in (day.cells, day.numbers, day.counts)]
    return b"".join([header, *figures, *columns, hours.tobytes()])


def coarsen_day(day: Day, borders: Spans) -> Day:
    """Return a day in cells of an hour; ``borders``: planned time."""
    if day.resolution_s >= COARSE_S:
        return day
    edges = _edges(day.start, COARSE_S, borders)
    return _pack_cells(day.start, COARSE_S, aggregate_days([day], edges), day.timelines, day.errors)


def roll_up(
    store: History, now: float, *, raw_days: int = 90, fine_days: int = 400, gap_s: float = 300.0
) -> dict[str, int]:
    """Pack what is older than two days, roll up what is older than ``raw_days``, coarsen beyond ``fine_days``.

    Idempotent, and safe beside another one. ``gap_s``: for how long a sample holds. Returns ``{moved,
    late, days_rolled, days_coarsened}``; ``late``: dropped samples, of days that were rolled up before.
    """
    counts = {**blocks.compact(store, now), "days_rolled": 0, "days_coarsened": 0}
    raw, fine = now - raw_days * DAY_S, now - fine_days * DAY_S
    for host in _hosts(store):
        for start in _raw_days(store, host, raw):
            counts["days_rolled"] += store.write(
                lambda connection, host=host, start=start: _roll(connection, host, start, gap_s)  # type: ignore[misc]
            )
        for start in _fine_days(store, host, fine):
            counts["days_coarsened"] += store.write(
                lambda connection, host=host, start=start: _coarsen(connection, host, start)  # type: ignore[misc]
            )
    return counts


def _hosts(store: History) -> list[str]:
    tables = (schema.samples, schema.sample_blocks, schema.sample_rollups)
    return sorted({host for table in tables for host in blocks.hosts_of(store, table)})


def _raw_days(store: History, host: str, before: float) -> list[float]:
    """Return days that are over by ``before`` and still raw."""
    last = before // DAY_S * DAY_S
    hours_table, samples_table = schema.sample_blocks, schema.samples

    def work(connection: sa.Connection) -> list[float]:
        hour_query = sa.select(hours_table.c.start_at).where(hours_table.c.host == host, hours_table.c.start_at < last)
        sample_query = sa.select(samples_table.c.at).where(samples_table.c.host == host, samples_table.c.at < last)
        queries = (hour_query, sample_query)
        days = {at // DAY_S * DAY_S for query in queries for at in connection.execute(query).scalars()}
        return sorted(days - blocks.rolled_days(connection, host, min(days), last)) if days else []

    return store.read(work)


def _fine_days(store: History, host: str, before: float) -> list[float]:
    table = schema.sample_rollups
    query = (
        sa.select(table.c.start_at)
        .where(table.c.host == host, table.c.start_at <= before - DAY_S, table.c.resolution_s < COARSE_S)
        .order_by(table.c.start_at)
    )
    return list(store.read(lambda connection: connection.execute(query).scalars().all()))


def _roll(connection: sa.Connection, host: str, start: float, gap_s: float) -> int:
    table, raw = schema.sample_rollups, schema.sample_blocks
    blank = {"host": host, "start_at": start, "resolution_s": FINE_S, "layout": LAYOUT, "count": 0, "good": 0}
    if blocks.insert_missing(connection, table, [{**blank, "data": b""}]) == 0:
        return 0  # another process was quicker
    series, errors = blocks.load_all(connection, host, start - gap_s, start + DAY_S)
    samples_of_day = series[series["at"] >= start]
    day = day_of(series, start, gap_s, errors, planned_time(connection, host, start, start + DAY_S, ALLOWANCE_S))
    connection.execute(
        sa.update(table)
        .where(table.c.host == host, table.c.start_at == start)
        .values(
            {
                "count": len(samples_of_day),
                "good": int(np.count_nonzero(samples_of_day["flags"] & INSIDE_GOOD)),
                "data": pack_day(day),
            }
        )
    )
    # Its last hours stay until the next day is rolled up, which starts in their last state.
    retained_s = max(-(-gap_s // HOUR_S), 1) * HOUR_S
    obsolete = [sa.and_(raw.c.start_at >= start, raw.c.start_at < start + DAY_S - retained_s)]
    if blocks.rolled_days(connection, host, start - DAY_S, start):
        obsolete.append(sa.and_(raw.c.start_at >= start - DAY_S, raw.c.start_at < start))
    connection.execute(sa.delete(raw).where(raw.c.host == host, sa.or_(*obsolete)))
    return 1


def _coarsen(connection: sa.Connection, host: str, start: float) -> int:
    table = schema.sample_rollups
    fine_day = sa.and_(table.c.host == host, table.c.start_at == start, table.c.resolution_s < COARSE_S)
    # A writing statement first, which locks the day.
    if connection.execute(sa.update(table).where(fine_day).values(resolution_s=COARSE_S)).rowcount == 0:
        return 0
    row = connection.execute(
        sa.select(table.c.start_at, sa.literal(FINE_S).label("resolution_s"), table.c.layout, table.c.data).where(
            table.c.host == host, table.c.start_at == start
        )
    ).one()
    borders = planned_time(connection, host, start, start + DAY_S, ALLOWANCE_S)
    data = pack_day(coarsen_day(_day_from_row(host, row), borders))
    connection.execute(sa.update(table).where(table.c.host == host, table.c.start_at == start).values(data=data))
    return 1
