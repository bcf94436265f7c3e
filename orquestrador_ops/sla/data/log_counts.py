"""Requests and errors per hour, counted in the logs of a host.

Recording an hour replaces its earlier record, because the current hour is counted again with
each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from orquestrador_ops.history import schema
from orquestrador_ops.history.store import History

SOURCE = "logs"
_KEY = ("host", "start_at", "source")


def record(store: History, host: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Store rows of ``{start_at, seconds, requests, errors}`` (epoch seconds); return their number.

    Idempotent. Raises :class:`orquestrador_ops.core.errors.HistoryError`.
    """
    records = [
        {
            "host": host,
            "start_at": float(row["start_at"]),
            "source": SOURCE,
            "seconds": float(row["seconds"]),
            "requests": max(int(row["requests"]), 0),
            "errors": max(int(row["errors"]), 0),
        }
        for row in rows
    ]

    def write(connection: sa.Connection) -> None:
        for row in records:
            store.upsert(connection, schema.log_counts, row, _KEY)

    if records:
        store.write(write)
    return len(records)


def read(store: History, host: str, start: float, end: float) -> list[dict[str, Any]]:
    """Return rows of ``{start_at, seconds, requests, errors}`` that begin in ``[start, end)``, oldest first."""
    table = schema.log_counts
    query = (
        sa.select(table.c.start_at, table.c.seconds, table.c.requests, table.c.errors)
        .where(table.c.host == host, table.c.source == SOURCE, table.c.start_at >= start, table.c.start_at < end)
        .order_by(table.c.start_at)
    )
    return [dict(row) for row in store.read(lambda connection: connection.execute(query).mappings().all())]
