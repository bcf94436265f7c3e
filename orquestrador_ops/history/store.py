"""The history store: runs, samples, memories, planned restarts and what later procedures add.

Instants go in as ISO 8601 or epoch seconds and are kept as epoch seconds; records come out with ISO 8601 in UTC.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orquestrador.core.messages import msg

from ..core.coerce import jsonable, text
from ..core.errors import HistoryError
from ..core.i18n import epoch, iso
from ..core.outcomes import MET
from . import packed_samples as packed
from . import schema
from .baseline import cache, drop_cache
from .engine import Database
from .rows import memory_row, moved_on, name_of_run, sample_row

_RUN_TIMES = ("started_at", "deadline", "ended_at")


class History(Database):
    """One open store. Safe to use from several processes at once, each with its own object."""

    def __init__(self, url: str | sa.URL, *, state_dir: Path | None = None) -> None:
        self._state_dir = state_dir  # of the default store, whose memories are copied to files
        super().__init__(url)

    # ---------------------------------------------------------------- writing

    def conclude(
        self,
        record: Mapping[str, Any],
        snapshot: Mapping[str, Any] | None,
        verdict: Mapping[str, Any] | None,
        memory: Mapping[str, Any] | None = None,
    ) -> None:
        """Store a run, the sample it took and what it remembers, all or nothing; doing it again changes nothing.

        ``memory=None`` (check mode, an unreachable host) leaves the memory of the run before.
        """
        row, host, procedure = _run_row(record), str(record["host"]), str(record["procedure"])
        sample = sample_row(host, snapshot, verdict, procedure, row["run_id"]) if snapshot is not None else None

        def write(connection: sa.Connection) -> None:
            self.upsert(connection, schema.runs, row, ("run_id",))
            if sample is not None:
                self.upsert(connection, schema.samples, sample, ("run_id",))
            if memory is not None:
                self.upsert(connection, schema.memories, memory_row(host, procedure, memory), ("host", "procedure"))

        with self.copied(host, procedure, memory):
            self.write(write)

    def record_run(self, record: Mapping[str, Any]) -> None:
        """Store or replace one run record.

        ``{run_id, procedure, host, operator, check_mode, started_at, deadline, ended_at, budget_s, outcome, steps,
        verdict_before, verdict_after, escalated_to, previous_run, reports}``; the first three are required, other
        keys are ignored.
        """
        row = _run_row(record)
        self.write(lambda connection: self.upsert(connection, schema.runs, row, ("run_id",)))

    def remember(self, host: str, procedure: str, memory: Mapping[str, Any]) -> None:
        """Store what the next run of ``procedure`` on ``host`` has to know."""
        row = memory_row(host, procedure, memory)
        with self.copied(host, procedure, memory):
            self.write(lambda connection: self.upsert(connection, schema.memories, row, ("host", "procedure")))

    def own_restarts(self, host: str, app: str, counts: Mapping[str, int], *, run_id: str) -> None:
        """Restarts of a run's own, by PM2's id of the worker: noted, and no failures for any later verdict.

        What each procedure remembers of the counters is moved on by them, rather than set to what they are now: a crash
        before or after them is still a crash. Without a memory of the daily routine, one that knows just that much is
        begun. Doing it again for the same run changes nothing.
        """
        moved: dict[str, dict[str, Any]] = {}
        table = schema.memories
        for known in self.read(
            lambda connection: (
                connection.execute(sa.select(table.c.procedure).where(table.c.host == host)).scalars().all()
            )
        ):
            moved[str(known)] = {}
        moved.setdefault("daily", {})
        with contextlib.ExitStack() as copies:
            for procedure, memory in moved.items():
                copies.enter_context(self.copied(host, procedure, memory))
            self.write(lambda connection: self._move(connection, host, app, counts, run_id, moved))

    def _move(
        self,
        connection: sa.Connection,
        host: str,
        app: str,
        counts: Mapping[str, int],
        run_id: str,
        moved: dict[str, dict[str, Any]],
    ) -> None:
        """Move every memory in ``moved`` on, and put what it is now into it."""
        planned, memories = schema.planned_restarts, schema.memories
        again = sa.select(planned.c.id).where(planned.c.run_id == run_id, planned.c.host == host, planned.c.app == app)
        done = connection.execute(again).first() is not None
        for procedure, memory in moved.items():
            query = sa.select(memories.c.data).where(memories.c.host == host, memories.c.procedure == procedure)
            held = connection.execute(query).scalar()
            memory.clear()
            memory.update(held if done and isinstance(held, dict) else moved_on(held, counts))
            self.upsert(connection, memories, memory_row(host, procedure, memory), ("host", "procedure"))
        if not done:
            row = {"host": host, "app": app, "at": time.time(), "run_id": run_id, "count": sum(counts.values())}
            connection.execute(sa.insert(planned), row)

    # ---------------------------------------------------------------- reading

    def recall(self, host: str, procedure: str) -> dict[str, Any]:
        """What the last run remembered, or ``{}``."""
        table = schema.memories
        query = sa.select(table.c.data).where(table.c.host == host, table.c.procedure == procedure)
        data = self.read(lambda connection: connection.execute(query).scalar())
        return data if isinstance(data, dict) else {}

    def last_planned_restart(self, host: str, app: str) -> str | None:
        """When a restart of ours of ``app`` was last recorded, ISO 8601 in UTC; ``None`` when none ever was."""
        table = schema.planned_restarts
        query = sa.select(sa.func.max(table.c.at)).where(table.c.host == host, table.c.app == app)
        return iso(self.read(lambda connection: connection.execute(query).scalar()))

    def last_run(self, host: str, procedure: str, *, check_mode: bool = False) -> dict[str, Any] | None:
        """The newest run of ``procedure`` on ``host``; runs in check mode count only when asked for."""
        found = self.runs(host=host, procedure=procedure, check_mode=check_mode, limit=1)
        return found[0] if found else None

    def runs(
        self,
        *,
        host: str | None = None,
        procedure: str | None = None,
        since: object = None,
        until: object = None,
        check_mode: bool = True,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Run records, newest first, of those that fit; ``check_mode=False`` leaves out runs in check mode."""
        table = schema.runs
        query = sa.select(table).order_by(table.c.started_at.desc(), table.c.run_id.desc()).limit(limit)
        if host is not None:
            query = query.where(table.c.host == host)
        if procedure is not None:
            query = query.where(table.c.procedure == procedure)
        if not check_mode:
            query = query.where(table.c.check_mode.is_(False))
        query = _window(query, table.c.started_at, since, until)
        rows = self.read(lambda connection: connection.execute(query).mappings().all())
        return [{**row, **{name: iso(row[name]) for name in _RUN_TIMES}} for row in rows]

    def samples(
        self, host: str, *, since: object = None, until: object = None, limit: int = 10_000
    ) -> list[dict[str, Any]]:
        """Samples of ``host``, oldest first; ``at`` is epoch seconds. Old ones are packed (:mod:`.packed_samples`)."""
        start, end = epoch(since), epoch(until)
        return self.read(lambda connection: packed.listed(connection, host, start, end, limit))

    def tally(self, host: str, since: object) -> dict[str, Any]:
        """What is on record of ``host`` since an instant: ``{since_at, probes, probes_good, runs, runs_met}``."""
        runs, start = schema.runs, epoch(since) or 0.0
        met = sa.func.coalesce(sa.func.sum(sa.case((runs.c.outcome == MET, 1), else_=0)), 0)
        ran = sa.select(sa.func.count(), met).where(
            runs.c.host == host, runs.c.started_at >= start, runs.c.check_mode.is_(False)
        )
        probes, probes_good = self.read(lambda connection: packed.counted(connection, host, start))
        total, total_met = self.read(lambda connection: connection.execute(ran).one())
        return {
            "since_at": iso(start),
            "probes": probes,
            "probes_good": probes_good,
            "runs": int(total),
            "runs_met": int(total_met),
        }

    # ---------------------------------------------------------------- inside

    @contextlib.contextmanager
    def copied(self, host: str, procedure: str, memory: Mapping[str, Any] | None) -> Iterator[None]:
        """Keep the file copy of a memory true: gone while the store changes, written when it has."""
        if memory is None or self._state_dir is None:
            yield
            return
        try:
            drop_cache(self._state_dir, host, procedure)
        except OSError as error:
            raise HistoryError(
                msg(
                    "memory of {host} in {path}: cannot be replaced: "
                    "give this user write access to the directory ({reason})",
                    host=host,
                    path=str(self._state_dir),
                    reason=error.strerror,
                )
            ) from error
        yield
        cache(self._state_dir, None, host, procedure, jsonable(memory))


def _window(query: sa.Select[Any], column: sa.Column[Any], since: object, until: object) -> sa.Select[Any]:
    start, end = epoch(since), epoch(until)
    if start is not None:
        query = query.where(column >= start)
    if end is not None:
        query = query.where(column < end)
    return query


def _run_row(record: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {column.name: record.get(column.name) for column in schema.runs.columns}
    row["previous_run"] = name_of_run(row["previous_run"])
    for name in _RUN_TIMES:
        row[name] = epoch(row[name])
    if row["started_at"] is None:
        row["started_at"] = time.time()
    row["check_mode"] = bool(row["check_mode"])
    for name in ("run_id", "procedure", "host", "operator", "outcome", "escalated_to"):
        row[name] = None if row[name] is None else text(row[name])
    return row
