"""What is left of a day once its raw samples are too old to keep: cells of five minutes, later of an hour.

Cells are cut where planned time begins and ends, so that what was counted in it can still be told from the rest.

A cell has counts, a histogram of latencies (only the buckets that are not empty) and figures. When the application was
down and when nobody looked is kept to the instant, so that no figure that is weighted by time changes. One row of the
history is one day (UTC) of one host, and is written in the transaction that removes its samples: whatever is
interrupted, a day is either raw or rolled up.
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
from .cells import Cells, cells, empty
from .facts import planned
from .series import INSIDE_GOOD, Series
from .spans import Spans
from .timeline import Kind, Timeline, timeline

LAYOUT = 1
FINE_S, COARSE_S = 300, 3600
ALLOWANCE_S = 60.0  # before and after a planned restart, as sla_restart_allowance_s is by default
_MARGIN_S = 3600.0
KINDS: tuple[Kind, ...] = ("uptime", "availability")

_HEAD = struct.Struct("<6I")  # cells, buckets, and spans: down and unknown of each kind
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
    """One rolled-up day: ``cells`` of :data:`_CELL`; which buckets of each are not empty, and how many they count."""

    start: float
    resolution_s: int
    cells: NDArray[Any]
    numbers: NDArray[np.uint16]
    counts: NDArray[np.uint32]
    timelines: dict[Kind, Timeline]
    errors: dict[float, int]  # by hour, as its last probe reported those of the day before it


# -------------------------------------------------------------------- reading


def load(connection: sa.Connection, host: str, start: float, end: float) -> list[Day]:
    """Rolled-up days that overlap ``[start, end)``, oldest first. Raises ``HistoryError`` for one that is damaged."""
    table = schema.sample_rollups
    query = (
        sa.select(table.c.start_at, table.c.resolution_s, table.c.layout, table.c.data)
        .where(table.c.host == host, table.c.start_at > start - DAY_S, table.c.start_at < end)
        .order_by(table.c.start_at)
    )
    return [_decoded(host, row) for row in connection.execute(query)]


def grouped(days: Sequence[Day], edges: NDArray[np.float64]) -> Cells:
    """Cells of whole days as those between ``edges``; each goes to the one in which it begins."""
    made = empty(edges)
    if not days or not len(made):
        return made
    # Joined as bytes: numpy compares the fields of every part.
    fine = np.frombuffer(b"".join([day.cells.data for day in days]), _CELL)
    if not len(fine):
        return made
    at = fine["at"]
    home = np.searchsorted(made.edges, at, side="right") - 1
    home[at >= made.edges[-1]] = -1
    _sum(made, fine, home)
    numbers = np.frombuffer(b"".join([day.numbers.data for day in days]), _NUMBER)
    counts = np.frombuffer(b"".join([day.counts.data for day in days]), _COUNT)
    flat = np.repeat(home * histogram.BUCKETS, fine["buckets"]) + numbers
    if home[0] < 0 or home[-1] < 0:
        flat, counts = flat[flat >= 0], counts[flat >= 0]
    total = np.bincount(flat, weights=counts, minlength=made.latency.size)
    made.latency[:] = total.reshape(made.latency.shape).astype(np.int64)
    return made


def _sum(made: Cells, fine: NDArray[Any], home: NDArray[np.int64]) -> None:
    kept = np.flatnonzero(home >= 0)
    if not len(kept):
        return
    fine, home = fine[kept], home[kept]
    starts = np.concatenate(([0], np.flatnonzero(np.diff(home)) + 1))  # in order of time, so cells lie together
    places = home[starts]
    for name in _COUNTS:
        getattr(made, name)[places] = np.add.reduceat(fine[name].astype(np.int64), starts)
    for name in _SUMS:
        getattr(made, name)[places] = np.add.reduceat(fine[name], starts)
    for name in _MAXIMA:
        getattr(made, name)[places] = np.fmax.reduceat(fine[name].astype(np.float64), starts)


def _decoded(host: str, row: Any) -> Day:
    if row.layout != LAYOUT:
        raise blocks.damaged(host, float(row.start_at))
    try:
        return _unpack(float(row.start_at), int(row.resolution_s), bytes(row.data))
    except (ValueError, struct.error) as error:
        raise blocks.damaged(host, float(row.start_at)) from error


def _unpack(start: float, resolution_s: int, data: bytes) -> Day:
    head = _HEAD.unpack_from(data)
    place = _HEAD.size
    found: list[NDArray[Any]] = []
    counts = (head[0], head[1], *head[1:], _HOURS)
    for layout, count in zip(_PARTS, counts, strict=True):
        found.append(np.frombuffer(data, layout, count, place))
        place += count * layout.itemsize
    if place != len(data):
        raise ValueError(place)
    fine, numbers, totals, *stretches, hours = found
    lines = {}
    for number, kind in enumerate(KINDS):
        down, unknown = (Spans(one[:, 0], one[:, 1]) for one in stretches[2 * number : 2 * number + 2])
        lines[kind] = Timeline(start, start + DAY_S, down, unknown)
    errors = {start + HOUR_S * hour: count for hour, count in enumerate(hours.tolist()) if count >= 0}
    return Day(start, resolution_s, fine, numbers, totals, lines, errors)


def windows(connection: sa.Connection, host: str, start: float, end: float) -> list[dict[str, Any]]:
    """Maintenance windows that overlap ``[start, end)``."""
    table = schema.maintenance_windows
    over = sa.func.coalesce(table.c.ended_at, table.c.ends_at)
    query = (
        sa.select(table.c.starts_at, table.c.ends_at, table.c.ended_at, table.c.reason)
        .where(table.c.host == host, table.c.starts_at < end, over > start)
        .order_by(table.c.starts_at)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def restarts(connection: sa.Connection, host: str, start: float, end: float) -> list[float]:
    """Planned restarts from ``start`` up to ``end``, and those that may reach into it."""
    table = schema.planned_restarts
    near = (table.c.at >= start - _MARGIN_S, table.c.at < end + _MARGIN_S)
    query = sa.select(table.c.at).where(table.c.host == host, *near).order_by(table.c.at)
    return list(connection.execute(query).scalars())


def planned_time(connection: sa.Connection, host: str, start: float, end: float, allowance_s: float) -> Spans:
    """Planned time that overlaps ``[start, end)``: maintenance, and what is around restarts of ours."""
    return planned(windows(connection, host, start, end), restarts(connection, host, start, end), allowance_s)


# -------------------------------------------------------------------- writing


def day_of(series: Series, start: float, gap_s: float, errors: dict[float, int], borders: Spans) -> Day:
    """A day from its samples and those of ``gap_s`` before it; ``borders``: planned time."""
    end = start + DAY_S
    fine = cells(series, _edges(start, FINE_S, borders))
    at = series["at"]
    inside = series[(at >= start) & (at < end)]
    lines = {kind: timeline(series, kind, start, end, gap_s) for kind in KINDS}
    kept = errors.items()
    own = {hour: count for hour, count in kept if start <= hour < end}
    return _sparse(start, FINE_S, fine, lines, own) if len(inside) else _nothing(start, lines, own)


def _edges(start: float, step_s: int, borders: Spans) -> NDArray[np.float64]:
    end = start + DAY_S
    inside = [one[(one > start) & (one < end)] for one in (borders.start, borders.end)]
    return np.unique(np.concatenate((np.arange(start, end + 1, step_s), *inside)))


def _nothing(start: float, lines: dict[Kind, Timeline], errors: dict[float, int]) -> Day:
    return Day(start, FINE_S, np.zeros(0, _CELL), np.zeros(0, _NUMBER), np.zeros(0, _COUNT), lines, errors)


def _sparse(start: float, resolution_s: int, of: Cells, lines: dict[Kind, Timeline], errors: dict[float, int]) -> Day:
    known = np.isfinite(of.disk_max)
    for name in _COUNTS:
        known |= getattr(of, name) > 0
    wanted = np.flatnonzero(known)
    made = np.zeros(len(wanted), _CELL)
    made["at"] = of.edges[wanted]
    for name in (*_COUNTS, *_SUMS, *_MAXIMA):
        made[name] = getattr(of, name)[wanted]
    latency = of.latency[wanted]
    made["buckets"] = np.count_nonzero(latency, axis=1)
    places = np.nonzero(latency)
    numbers, counts = places[1].astype(_NUMBER), latency[places].astype(_COUNT)
    return Day(start, resolution_s, made, numbers, counts, lines, errors)


def packed(day: Day) -> bytes:
    """Bytes of layout :data:`LAYOUT`."""
    stretches = [part for kind in KINDS for part in (day.timelines[kind].down, day.timelines[kind].unknown)]
    hours = np.full(_HOURS, -1, _HOUR)
    for hour, count in day.errors.items():
        hours[int((hour - day.start) // HOUR_S)] = count
    head = _HEAD.pack(len(day.cells), len(day.numbers), *map(len, stretches))
    lines = [np.column_stack((one.start, one.end)).astype("<f8").tobytes() for one in stretches]
    figures = [part.tobytes() for part in (day.cells, day.numbers, day.counts)]
    return b"".join([head, *figures, *lines, hours.tobytes()])


def coarsened(day: Day, borders: Spans) -> Day:
    """The same day in cells of an hour; ``borders``: planned time."""
    if day.resolution_s >= COARSE_S:
        return day
    edges = _edges(day.start, COARSE_S, borders)
    return _sparse(day.start, COARSE_S, grouped([day], edges), day.timelines, day.errors)


def roll_up(
    store: History, now: float, *, raw_days: int = 90, fine_days: int = 400, gap_s: float = 300.0
) -> dict[str, int]:
    """Pack what is older than two days, roll up what is older than ``raw_days``, coarsen beyond ``fine_days``.

    Doing it again, or beside another one, changes nothing. ``gap_s``: for how long a sample holds. Returns ``{moved,
    late, days_rolled, days_coarsened}``; ``late``: samples that came after their day was rolled up, and are left out.
    """
    counted = {**blocks.compact(store, now), "days_rolled": 0, "days_coarsened": 0}
    raw, fine = now - raw_days * DAY_S, now - fine_days * DAY_S
    for host in _hosts(store):
        for start in _raw_days(store, host, raw):
            counted["days_rolled"] += store.write(
                lambda connection, host=host, start=start: _roll(connection, host, start, gap_s)  # type: ignore[misc]
            )
        for start in _fine_days(store, host, fine):
            counted["days_coarsened"] += store.write(
                lambda connection, host=host, start=start: _coarsen(connection, host, start)  # type: ignore[misc]
            )
    return counted


def _hosts(store: History) -> list[str]:
    tables = (schema.samples, schema.sample_blocks, schema.sample_rollups)
    return sorted({host for table in tables for host in blocks.hosts_of(store, table)})


def _raw_days(store: History, host: str, before: float) -> list[float]:
    """Days that are over by then and still raw."""
    last = before // DAY_S * DAY_S
    packed_ones, rows = schema.sample_blocks, schema.samples

    def work(connection: sa.Connection) -> list[float]:
        hours = sa.select(packed_ones.c.start_at).where(packed_ones.c.host == host, packed_ones.c.start_at < last)
        instants = sa.select(rows.c.at).where(rows.c.host == host, rows.c.at < last)
        found = {at // DAY_S * DAY_S for query in (hours, instants) for at in connection.execute(query).scalars()}
        return sorted(found - blocks.rolled_days(connection, host, min(found), last)) if found else []

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
    mine = series[series["at"] >= start]
    day = day_of(series, start, gap_s, errors, planned_time(connection, host, start, start + DAY_S, ALLOWANCE_S))
    connection.execute(
        sa.update(table)
        .where(table.c.host == host, table.c.start_at == start)
        .values(
            {
                "count": len(mine),
                "good": int(np.count_nonzero(mine["flags"] & INSIDE_GOOD)),
                "data": packed(day),
            }
        )
    )
    # Its last hours stay until the day after is rolled up: that one's first state is their last.
    kept = max(-(-gap_s // HOUR_S), 1) * HOUR_S
    gone = [sa.and_(raw.c.start_at >= start, raw.c.start_at < start + DAY_S - kept)]
    if blocks.rolled_days(connection, host, start - DAY_S, start):
        gone.append(sa.and_(raw.c.start_at >= start - DAY_S, raw.c.start_at < start))
    connection.execute(sa.delete(raw).where(raw.c.host == host, sa.or_(*gone)))
    return 1


def _coarsen(connection: sa.Connection, host: str, start: float) -> int:
    table = schema.sample_rollups
    mine = sa.and_(table.c.host == host, table.c.start_at == start, table.c.resolution_s < COARSE_S)
    # The writing statement first: from here on nobody else changes this day.
    if connection.execute(sa.update(table).where(mine).values(resolution_s=COARSE_S)).rowcount == 0:
        return 0
    row = connection.execute(
        sa.select(table.c.start_at, sa.literal(FINE_S).label("resolution_s"), table.c.layout, table.c.data).where(
            table.c.host == host, table.c.start_at == start
        )
    ).one()
    data = packed(coarsened(_decoded(host, row), planned_time(connection, host, start, start + DAY_S, ALLOWANCE_S)))
    connection.execute(sa.update(table).where(table.c.host == host, table.c.start_at == start).values(data=data))
    return 1
