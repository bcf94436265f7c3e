"""The circuit breaker: so many recoveries of a host by a procedure in so long, and then nobody touches the host.

A recovery counts from the moment it is begun, so that one whose controller was killed counts as well; one that found
nothing to do does not. An open breaker lets nobody through until its cool-down is over; then one trial, whose end
closes it or opens it anew. Arithmetic first, and it is pure; below it the store.

Instants are seconds since the epoch. One that lies in the future was written before a clock jumped back: it is taken
for now, and never waited for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ..core.i18n import iso
from ..core.outcomes import FAILED, NOTHING, RECOVERED
from ..history import schema

if TYPE_CHECKING:
    from ..history.store import History

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"
SKEW_S = 60.0  # what clocks of two controllers may differ by
_MOMENTS = ("opened_at", "trial_at", "closed_at")


@dataclass(frozen=True)
class Limits:
    """How many recoveries in how long open a breaker, and for how long."""

    max_recoveries: int = 3
    window_s: float = 3600.0
    cooldown_s: float = 3600.0


@dataclass(frozen=True)
class Breaker:
    """What a breaker is now. ``retry_at``: when the next trial may be let through, of one that is not closed."""

    state: str  # closed | open | half_open
    recoveries: int  # begun within the window
    limit: int
    opened_at: float | None = None
    retry_at: float | None = None

    def shown(self) -> dict[str, Any]:
        """As JSON, times in ISO 8601."""
        return {
            "state": self.state,
            "recoveries": self.recoveries,
            "limit": self.limit,
            "opened_at": iso(self.opened_at),
            "retry_at": iso(self.retry_at),
        }


# -------------------------------------------------------------------- arithmetic


def judge(row: Mapping[str, Any], recoveries: Iterable[Mapping[str, Any]], limits: Limits, now: float) -> Breaker:
    """What the breaker of ``row`` is, from the recoveries ``{started_at, outcome}`` of its host and procedure.

    One whose limit is reached is open from now on; who asks because a host is to be touched keeps that.
    """
    counted = count(row, recoveries, limits, now)
    opened, trial = _past(row.get("opened_at"), now), _past(row.get("trial_at"), now)
    if opened is not None:
        # A trial that never came to an end is one that failed: the next follows its own cool-down.
        retry = (opened if trial is None else trial) + limits.cooldown_s
        return Breaker(HALF_OPEN if now >= retry else OPEN, counted, limits.max_recoveries, opened, retry)
    if counted >= limits.max_recoveries:
        return Breaker(OPEN, counted, limits.max_recoveries, now, now + limits.cooldown_s)
    return Breaker(CLOSED, counted, limits.max_recoveries)


def count(row: Mapping[str, Any], recoveries: Iterable[Mapping[str, Any]], limits: Limits, now: float) -> int:
    """Recoveries that were begun within the window and since the breaker was closed last."""
    since = max(now - limits.window_s, _past(row.get("closed_at"), now) or 0.0)
    return sum(since < one["started_at"] <= now + SKEW_S and one.get("outcome") != NOTHING for one in recoveries)


def _past(at: float | None, now: float) -> float | None:
    return None if at is None else min(at, now)


# -------------------------------------------------------------------- store


class BreakerStore:
    """The breaker of one host and procedure on record, at one moment."""

    def __init__(self, history: History, host: str, procedure: str, limits: Limits, now: float) -> None:
        self._history, self._limits, self._now = history, limits, now
        self._key = {"host": host, "procedure": procedure}
        table = schema.breakers
        self._mine = sa.and_(table.c.host == host, table.c.procedure == procedure)

    def look(self) -> Breaker:
        """What the breaker is, without changing anything."""

        def work(connection: sa.Connection) -> Breaker:
            row = connection.execute(sa.select(schema.breakers).where(self._mine)).mappings().first()
            return judge(dict(row or {}), self._recent(connection), self._limits, self._now)

        return self._history.read(work)

    def enter(self, run_id: str, *, automatic: bool, closed_by: str | None = None) -> tuple[Breaker, bool]:
        """Let a run through, or not: what the breaker is, and whether the run may act, which is then on record.

        Of runs that ask at once, as many are let through as there are recoveries left, and one as the trial.
        ``closed_by`` closes the breaker before.
        """

        def work(connection: sa.Connection) -> tuple[Breaker, bool]:
            row = self._hold(connection)
            if closed_by is not None:
                row |= _closed(self._now, closed_by)
            others = [one for one in self._recent(connection) if one["run_id"] != run_id]
            found = judge(row, others, self._limits, self._now)
            if found.state == OPEN:
                row["opened_at"] = found.opened_at
            elif found.state == HALF_OPEN:
                row["trial_at"] = self._now
            self._keep(connection, row)
            if found.state != OPEN:
                begun = {**self._key, "run_id": run_id, "started_at": self._now, "ended_at": None, "outcome": None}
                begun |= {"automatic": automatic, "trial": found.state == HALF_OPEN}
                self._history.upsert(connection, schema.recoveries, begun, ("run_id",))
            return found, found.state != OPEN

        return self._history.write(work)

    def settle(self, run_id: str, outcome: str) -> tuple[Breaker, bool]:
        """How a run ended that was let through: what the breaker is now, and whether this opened it.

        ``outcome``: ``recovered``, ``failed`` or ``nothing``, which is that nothing had to be done, or could be begun.
        A run that was not let through changes nothing, and so does settling again.
        """
        table, now = schema.recoveries, self._now

        def work(connection: sa.Connection) -> tuple[Breaker, bool]:
            row = self._hold(connection)
            mine = sa.and_(table.c.run_id == run_id, table.c.ended_at.is_(None))
            trial = connection.execute(sa.select(table.c.trial).where(mine)).scalar()
            was_open = row["opened_at"] is not None and not trial
            if trial is not None:
                connection.execute(sa.update(table).where(mine).values(ended_at=now, outcome=outcome))
            recent = self._recent(connection)
            if trial and row["opened_at"] is not None:
                if outcome == RECOVERED:
                    row |= _closed(now, "trial")
                else:  # a trial that found nothing to do is given back
                    row |= {"trial_at": None} if outcome == NOTHING else {"trial_at": None, "opened_at": now}
            elif trial is not None and outcome == FAILED and self._exhausted(row, recent):
                row["opened_at"] = row["opened_at"] or now
            self._keep(connection, row)
            opened = row["opened_at"] is not None and not was_open and trial is not None and outcome == FAILED
            return judge(row, recent, self._limits, now), opened

        return self._history.write(work)

    def close(self, by: str) -> bool:
        """Close it by hand: recoveries begun before no longer count. Whether there was one to close."""

        def work(connection: sa.Connection) -> bool:
            row = self._hold(connection)
            self._keep(connection, row | _closed(self._now, by))
            return row["opened_at"] is not None

        return self._history.write(work)

    def _hold(self, connection: sa.Connection) -> dict[str, Any]:
        """The row, which nobody else can write until the transaction ends; made when there is none."""
        table = schema.breakers
        # Writing first is what takes the lock; reading first would let two runs see the same count.
        if connection.execute(sa.update(table).where(self._mine).values(host=self._key["host"])).rowcount == 0:
            connection.execute(sa.insert(table), self._key)
        row = dict(connection.execute(sa.select(table).where(self._mine)).mappings().one())
        return {**row, **{name: self._now for name in _MOMENTS if (row[name] or 0.0) > self._now + SKEW_S}}

    def _keep(self, connection: sa.Connection, row: Mapping[str, Any]) -> None:
        new = {name: row[name] for name in (*_MOMENTS, "closed_by")}
        connection.execute(sa.update(schema.breakers).where(self._mine).values(new))

    def _exhausted(self, row: Mapping[str, Any], recent: Iterable[Mapping[str, Any]]) -> bool:
        return count(row, recent, self._limits, self._now) >= self._limits.max_recoveries

    def _recent(self, connection: sa.Connection) -> list[dict[str, Any]]:
        return _recent(connection, self._key, self._limits, self._now)


def not_closed(history: History, limits: Limits, now: float, host: str | None = None) -> list[dict[str, Any]]:
    """Breakers that are open, or wait for their trial: ``{host, procedure, state, recoveries, …}``."""
    table = schema.breakers
    query = sa.select(table).where(table.c.opened_at.is_not(None)).order_by(table.c.host, table.c.procedure)
    if host is not None:
        query = query.where(table.c.host == host)

    def work(connection: sa.Connection) -> list[dict[str, Any]]:
        found = []
        for row in connection.execute(query).mappings():
            key = {"host": row["host"], "procedure": row["procedure"]}
            found.append({**key, **judge(dict(row), _recent(connection, key, limits, now), limits, now).shown()})
        return found

    return history.read(work)


def _recent(connection: sa.Connection, key: Mapping[str, str], limits: Limits, now: float) -> list[dict[str, Any]]:
    table = schema.recoveries
    query = sa.select(table.c.started_at, table.c.outcome, table.c.run_id).where(
        table.c.host == key["host"], table.c.procedure == key["procedure"], table.c.started_at > now - limits.window_s
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _closed(now: float, by: str) -> dict[str, Any]:
    return {"opened_at": None, "trial_at": None, "closed_at": now, "closed_by": by}
