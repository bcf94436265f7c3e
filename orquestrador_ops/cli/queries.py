"""Questions to the history that only this command asks: the last of everything, for all hosts at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..core.i18n import iso
from ..history import schema

if TYPE_CHECKING:
    from ..history.store import History

# A recovery that began longer ago and never ended was killed: nothing goes on any more.
RECOVERY_S = 900.0
_RUN_TIMES = ("started_at", "ended_at", "deadline")


def last_samples(store: History) -> dict[str, dict[str, Any]]:
    """The newest sample of each host: ``{host: {at, epoch, source, ok, overall}}``.

    Goes from host to host along the index: there may be millions of samples.
    """
    table = schema.samples

    def work(connection: sa.Connection) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        host = connection.execute(sa.select(sa.func.min(table.c.host))).scalar()
        newest = sa.select(table.c.at, table.c.source, table.c.ok, table.c.overall)
        while host is not None:
            last = newest.where(table.c.host == host).order_by(table.c.at.desc()).limit(1)
            row = connection.execute(last).mappings().one()
            found[str(host)] = {**row, "at": iso(row["at"]), "epoch": row["at"]}
            host = connection.execute(sa.select(sa.func.min(table.c.host)).where(table.c.host > host)).scalar()
        return found

    return store.read(work)


def last_runs(store: History) -> dict[str, dict[str, dict[str, Any]]]:
    """The newest run of each procedure on each host, none in check mode: ``{host: {procedure: {…}}}``."""
    table = schema.runs
    newest = (
        sa.select(table.c.host, table.c.procedure, sa.func.max(table.c.started_at).label("started_at"))
        .where(table.c.check_mode.is_(False))
        .group_by(table.c.host, table.c.procedure)
        .subquery()
    )
    names = ("host", "procedure", "run_id", "outcome", "started_at", "ended_at", "reports")
    query = sa.select(*(table.c[name] for name in names))
    query = query.join(
        newest, sa.and_(*(table.c[name] == newest.c[name] for name in ("host", "procedure", "started_at")))
    )
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in store.read(lambda connection: connection.execute(query).mappings().all()):
        reports = row["reports"] if isinstance(row["reports"], Mapping) else {}
        found.setdefault(row["host"], {})[row["procedure"]] = {
            "run_id": row["run_id"],
            "outcome": row["outcome"],
            "started_at": iso(row["started_at"]),
            "ended_at": iso(row["ended_at"]),
            "report": reports.get("md"),
        }
    return found


def recovering(store: History, now: float) -> dict[str, dict[str, Any]]:
    """Recoveries that go on, by host: ``{procedure, run_id, started_at}``."""
    table = schema.recoveries
    query = sa.select(table).where(table.c.ended_at.is_(None), table.c.started_at > now - RECOVERY_S)
    return {
        row["host"]: {"procedure": row["procedure"], "run_id": row["run_id"], "started_at": iso(row["started_at"])}
        for row in store.read(lambda connection: connection.execute(query).mappings().all())
    }


def recovered(store: History) -> set[tuple[str, str]]:
    """Hosts and procedures that a breaker is about."""
    table = schema.recoveries
    query = sa.select(table.c.host, table.c.procedure).distinct()
    return {(row[0], row[1]) for row in store.read(lambda connection: connection.execute(query).all())}


def last_cycle(store: History) -> dict[str, Any] | None:
    """The newest cycle of the watch: ``{started_at, ended_at, outcome, hosts, acted}``."""
    table = schema.watch_cycles
    query = sa.select(table).order_by(table.c.started_at.desc()).limit(1)
    row = store.read(lambda connection: connection.execute(query).mappings().first())
    if row is None:
        return None
    return {
        "started_at": iso(row["started_at"]),
        "ended_at": iso(row["ended_at"]),
        **{name: row[name] for name in ("outcome", "hosts", "acted")},
    }


def run(store: History, run_id: str) -> dict[str, Any] | None:
    """One run's record."""
    query = sa.select(schema.runs).where(schema.runs.c.run_id == run_id)
    row = store.read(lambda connection: connection.execute(query).mappings().first())
    return None if row is None else {**row, **{name: iso(row[name]) for name in _RUN_TIMES}}
