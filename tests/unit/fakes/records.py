"""What runs and watches leave in a history, put there without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from orquestrador_ops.core.i18n import epoch
from orquestrador_ops.history import schema
from orquestrador_ops.history.rows import sample_row
from orquestrador_ops.history.store import History


def record_sample(
    store: History, host: str, snapshot: Mapping[str, Any] | None, verdict: Mapping[str, Any] | None, source: str
) -> None:
    row = sample_row(host, snapshot, verdict, source, None)
    store.write(lambda connection: connection.execute(sa.insert(schema.samples), row))


def record_planned_restart(
    store: History, host: str, app: str, *, at: object, count: int = 1, run_id: str | None = None
) -> None:
    row = {"host": host, "app": app, "at": epoch(at), "run_id": run_id, "count": count}
    store.write(lambda connection: connection.execute(sa.insert(schema.planned_restarts), row))


def planned_restarts(store: History, host: str, app: str, since: object = 0) -> int:
    table = schema.planned_restarts
    query = sa.select(sa.func.sum(table.c.count)).where(
        table.c.host == host, table.c.app == app, table.c.at > (epoch(since) or 0.0)
    )
    return int(store.read(lambda connection: connection.execute(query).scalar()) or 0)
