"""Records of a watch cycle: samples and baselines in one transaction, and a row for the cycle."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ..history import schema
from ..history.rows import memory_row, sample_row
from ..history.store import History
from ..incidents.store import SERVICE_LEVEL
from .decisions import COMPLETED, RUNNING

SOURCE = "watch"


def record(
    store: History,
    samples: Iterable[tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None, Mapping[str, Any]]],
    memories: Mapping[str, Mapping[str, Any]],
) -> None:
    """Store the samples and baselines of a cycle, all or nothing.

    ``samples``: ``(host, snapshot, verdict, more)``, several of one host in the order in which they were taken;
    ``more`` goes into the sample's data. ``memories``: baselines for the next cycle, by host.
    """
    record_rows(store, rows_of(samples), memories)


def rows_of(
    samples: Iterable[tuple[str, Mapping[str, Any] | None, Mapping[str, Any] | None, Mapping[str, Any]]],
) -> list[dict[str, Any]]:
    """Return the rows of ``samples`` for :func:`record_rows`."""
    rows = []
    for host, snapshot, verdict, more in samples:
        row = sample_row(host, snapshot, verdict, SOURCE, None)
        rows.append({**row, "data": {**row["data"], **more}})
    return rows


def record_rows(store: History, rows: Sequence[Mapping[str, Any]], memories: Mapping[str, Mapping[str, Any]]) -> None:
    """Store rows of samples and baselines, all or nothing."""
    remembered = [memory_row(host, SOURCE, memory) for host, memory in memories.items()]

    def write(connection: sa.Connection) -> None:
        if rows:
            connection.execute(sa.insert(schema.samples), list(rows))
        for memory in remembered:
            store.upsert(connection, schema.memories, memory, ("host", "procedure"))

    with contextlib.ExitStack() as copies:
        for host, memory in memories.items():
            copies.enter_context(store.copied(host, SOURCE, memory))
        store.write(write)


def last_problems(store: History, host: str, limit: int) -> list[str | None]:
    """Return the problems of ``host`` in the last cycles, newest first; of two probes the second counts."""
    table = schema.samples
    query = (
        sa.select(table.c.data)
        .where(table.c.host == host, table.c.source == SOURCE)
        .order_by(
            table.c.id.desc()
        )  # not by time: hosts have their own clocks, and an unreachable one has the controller's
        .limit(2 * limit)
    )
    rows: Sequence[Any] = store.read(lambda connection: connection.execute(query).scalars().all())
    looks = [row if isinstance(row, Mapping) else {} for row in rows]
    return [look.get("trouble") for look in looks if not look.get("first_look")][:limit]


def open_incidents(store: History) -> set[str]:
    """Return hosts with an open incident that a probe can prove to be over."""
    table = schema.incidents
    of_state = table.c.procedure.not_like(f"{SERVICE_LEVEL}%")
    query = sa.select(table.c.host).where(table.c.closed_at.is_(None), of_state).distinct()
    return set(store.read(lambda connection: connection.execute(query).scalars().all()))


def begin(store: History, *, key: str, owner: str, hosts: int, budget_s: float) -> int | None:
    """Insert the row of a started cycle; ``None`` when another one of the same watch is running.

    A cycle that was killed stays ``running``; it blocks no other once its budget is over.
    """
    table, now = schema.watch_cycles, time.time()
    row = {"started_at": now, "outcome": RUNNING, "hosts": hosts, "acted": 0, "data": {"key": key, "owner": owner}}
    number = _insert(store, row)
    # Its own row first: of two that start at once, the later one sees the other.
    query = sa.select(table.c.id, table.c.data).where(
        table.c.outcome == RUNNING,
        table.c.id < number,
        table.c.ended_at.is_(None),
        table.c.started_at > now - budget_s,
        table.c.started_at < now + budget_s,  # of a clock that went wrong
    )
    others = store.read(lambda connection: connection.execute(query).all())
    if not any(isinstance(data, Mapping) and data.get("key") == key for _, data in others):
        return number
    store.write(lambda connection: connection.execute(sa.delete(table).where(table.c.id == number)))
    return None


def note(store: History, outcome: str, *, hosts: int, data: Mapping[str, Any]) -> int:
    """Insert the row of a cycle that was left out (closed at once) or is running."""
    now = time.time()
    ended = None if outcome == RUNNING else now
    return _insert(
        store,
        {"started_at": now, "ended_at": ended, "outcome": outcome, "hosts": hosts, "acted": 0, "data": dict(data)},
    )


def finish(
    store: History,
    number: int,
    *,
    acted: int,
    data: Mapping[str, Any],
    started_at: float | None = None,
    over: bool = True,
) -> None:
    """Update a cycle's row; without ``over`` the cycle has decided and acts now."""
    table = schema.watch_cycles
    query = sa.select(table.c.data).where(table.c.id == number)

    def write(connection: sa.Connection) -> None:
        values: dict[str, Any] = {"acted": acted}
        if over:
            values |= {"ended_at": time.time(), "outcome": COMPLETED}
        if started_at is not None:
            values["started_at"] = started_at
        stored = connection.execute(query).scalar()
        values["data"] = {**(stored if isinstance(stored, dict) else {}), **data}
        connection.execute(sa.update(table).where(table.c.id == number).values(values))

    store.write(write)


def cycles(store: History, *, since: float = 0.0, limit: int = 1000) -> list[dict[str, Any]]:
    """Return the cycles since an instant (epoch seconds), newest first."""
    table = schema.watch_cycles
    query = sa.select(table).where(table.c.started_at >= since).order_by(table.c.id.desc()).limit(limit)
    return [dict(row) for row in store.read(lambda connection: connection.execute(query).mappings().all())]


def _insert(store: History, row: Mapping[str, Any]) -> int:
    def write(connection: sa.Connection) -> int:
        key = connection.execute(sa.insert(schema.watch_cycles), dict(row)).inserted_primary_key
        return int(key[0]) if key else 0

    return store.write(write)
