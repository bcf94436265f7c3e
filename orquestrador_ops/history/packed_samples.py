"""Packed samples read without numpy, for whoever wants a few of them: the library takes longer to load than they do.

The layout is that of :data:`orquestrador_ops.sla.data.series.SAMPLE`; a test compares the two.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from . import schema

HOUR_S, DAY_S = 3600.0, 86400.0
LAYOUT = 1
RECORD = struct.Struct("<dffffB")
INSIDE_GOOD, OUTSIDE_SEEN, OUTSIDE_GOOD = 2, 4, 8


def rows(connection: sa.Connection, host: str, start: float | None, end: float | None) -> Iterator[dict[str, Any]]:
    """Samples of ``host`` from blocks, oldest first, in the shape of rows of ``samples``.

    What a block does not keep is ``None``: ``id``, ``source``, ``run_id``, ``status``, ``restarts``.
    """
    table = schema.sample_blocks
    query = sa.select(table.c.layout, table.c.data).where(table.c.host == host).order_by(table.c.start_at)
    if start is not None:
        query = query.where(table.c.start_at > start - HOUR_S)
    if end is not None:
        query = query.where(table.c.start_at < end)
    low, high = -math.inf if start is None else start, math.inf if end is None else end
    for layout, data in connection.execute(query):
        if layout != LAYOUT or len(data) % RECORD.size:
            continue  # damaged: whoever evaluates is told
        for record in RECORD.iter_unpack(data):
            if low <= record[0] < high:
                yield _row(host, record)


def _row(host: str, record: tuple[Any, ...]) -> dict[str, Any]:
    at, latency, memory, cpu, disk, flags = record
    ok = bool(flags & INSIDE_GOOD)
    data: dict[str, Any] = {"disk_percent": _known(disk)}
    if flags & OUTSIDE_SEEN:
        data["public"] = {"ok": bool(flags & OUTSIDE_GOOD)}
    used = _known(memory)
    return {
        "id": None,
        "host": host,
        "at": at,
        "source": None,
        "run_id": None,
        "ok": ok,
        "latency_ms": _known(latency),
        "overall": "healthy" if ok else "unknown",
        "status": None,
        "memory_bytes": None if used is None else round(used),
        "cpu_percent": _known(cpu),
        "restarts": None,
        "data": data,
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def listed(
    connection: sa.Connection, host: str, start: float | None, end: float | None, limit: int
) -> list[dict[str, Any]]:
    """Samples of ``host`` from rows and blocks, oldest first, at most ``limit``; of both of one instant, the row."""
    table = schema.samples
    query = sa.select(table).where(table.c.host == host).order_by(table.c.at, table.c.id).limit(limit)
    if start is not None:
        query = query.where(table.c.at >= start)
    if end is not None:
        query = query.where(table.c.at < end)
    recent = [dict(row) for row in connection.execute(query).mappings()]  # first: nothing that moves is missed
    taken = {row["at"] for row in recent}
    old = []
    for row in rows(connection, host, start, end):
        if row["at"] not in taken:
            old.append(row)
            if len(old) == limit:
                break
    return sorted(old + recent, key=lambda row: row["at"])[:limit] if old else recent


def counted(connection: sa.Connection, host: str, since: float) -> tuple[int, int]:
    """Probes of ``host`` since an instant, and how many of them were good: rows, blocks and rolled-up days.

    The day of ``since``, if it is rolled up, counts when ``since`` is its first second.
    """
    table, blocks = schema.samples, schema.sample_blocks
    good = sa.func.coalesce(sa.func.sum(sa.case((table.c.ok, 1), else_=0)), 0)
    packed = connection.execute(
        sa.select(blocks.c.start_at, blocks.c.count, blocks.c.good).where(
            blocks.c.host == host, blocks.c.start_at > since - HOUR_S
        )
    ).all()
    rolled_up = schema.sample_rollups.c
    kept = sa.select(rolled_up.start_at, rolled_up["count"], rolled_up.good)
    days = connection.execute(kept.where(rolled_up.host == host, rolled_up.start_at > since - DAY_S)).all()
    rolled = {row[0] for row in days}
    total, well = 0, 0
    for start, count, fine in days:
        if start >= since:
            total, well = total + count, well + fine
    packed = [row for row in packed if row[0] // DAY_S * DAY_S not in rolled]
    # Up to the end of the newest block, rows and blocks may hold the same samples.
    until = max([row[0] + HOUR_S for row in packed] + [day + DAY_S for day in rolled] + [since])
    mixed: dict[float, dict[float, bool]] = {}
    older = sa.select(table.c.at, table.c.ok).where(table.c.host == host, table.c.at >= since, table.c.at < until)
    for at, ok in connection.execute(older):
        if at // DAY_S * DAY_S not in rolled:
            hour = mixed.setdefault(at // HOUR_S * HOUR_S, {})
            hour[at] = bool(ok) and hour.get(at, True)
    for start, count, fine in packed:
        if start >= since and start not in mixed:
            total, well = total + count, well + fine
            continue
        hour = mixed.setdefault(start, {})
        for row in rows(connection, host, max(start, since), start + HOUR_S):
            hour[row["at"]] = row["ok"] and hour.get(row["at"], True)
    for hour in mixed.values():
        total, well = total + len(hour), well + sum(hour.values())
    newer = sa.select(sa.func.count(), good).where(table.c.host == host, table.c.at >= until)
    more, more_good = connection.execute(newer).one()
    return total + int(more), well + int(more_good)
