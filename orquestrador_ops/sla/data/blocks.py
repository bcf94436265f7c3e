"""Raw samples of one hour (UTC) of one host, packed into one row of the history.

Samples are written as rows of ``samples``, where the watch and the procedures look for the latest; once they are
:data:`KEEP_DAYS` old they move into blocks. A sample that comes in late, twice or out of order is merged into the block
of its hour; doing it again changes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from orquestrador.core.messages import msg

from ...core.errors import HistoryError
from ...history import schema
from ...history.packed_samples import DAY_S, HOUR_S
from ...history.store import History
from . import series as samples
from .series import INSIDE_GOOD, INSIDE_SEEN, OUTSIDE_GOOD, OUTSIDE_SEEN, Series

KEEP_DAYS = 2
# The newest rows of each host stay, however old: what is said of its state, and for how long it has been so.
KEEP_ROWS = 50
# Hours that one transaction touches: it holds up other writers for as long as it lasts.
_HOURS = 24 * 31
_COLUMNS = ("id", "at", "ok", "latency_ms", "memory_bytes", "cpu_percent")


@dataclass(frozen=True)
class Added:
    """How many samples of a call are new, how many were there, and which are of a day that is rolled up already."""

    stored: int
    duplicates: int
    refused: NDArray[np.float64]  # their instants


# -------------------------------------------------------------------- reading


def load(connection: sa.Connection, host: str, start: float, end: float) -> Series:
    """Samples of ``host`` from ``start`` up to ``end`` (epoch seconds), from rows and blocks; sorted, each once.

    Raises :class:`HistoryError` for a block that is damaged.
    """
    return load_all(connection, host, start, end)[0]


def load_all(connection: sa.Connection, host: str, start: float, end: float) -> tuple[Series, dict[float, int]]:
    """What :func:`load` finds, and by hour what its last probe reported of the errors of the day before it."""
    # Rows first: a sample that moves meanwhile is found twice rather than not at all.
    table = schema.samples
    query = _selected().where(table.c.host == host, table.c.at >= start, table.c.at < end)
    recent, said = of_rows(connection.execute(query.order_by(table.c.at, table.c.id)).all())
    parts, errors = [recent], _by_hour(recent, said)
    blocks = schema.sample_blocks
    packed = connection.execute(
        sa.select(blocks.c.start_at, blocks.c.layout, blocks.c.errors_day, blocks.c.data)
        .where(blocks.c.host == host, blocks.c.start_at > start - HOUR_S, blocks.c.start_at < end)
        .order_by(blocks.c.start_at)
    ).all()
    if packed:
        whole = _unpacked(host, packed)
        if packed[0].start_at < start or packed[-1].start_at + HOUR_S > end:
            whole = whole[(whole["at"] >= start) & (whole["at"] < end)]
        parts.append(whole)
        errors = {**{row.start_at: row.errors_day for row in packed if row.errors_day is not None}, **errors}
    # In order, which they mostly are then as a whole: sorting a year takes longer than reading it.
    known = sorted((part for part in parts if len(part)), key=lambda part: float(part["at"][0]))
    return samples.merged(*known or [samples.empty()]), errors


def _by_hour(series: Series, said: Sequence[int | None]) -> dict[float, int]:
    hours = np.floor(series["at"] / HOUR_S) * HOUR_S
    return {hour: count for hour, count in zip(hours.tolist(), said, strict=True) if count is not None}


def _unpacked(host: str, packed: Sequence[Any]) -> Series:
    """The samples of blocks, one after the other."""
    for row in packed:
        if row.layout != samples.LAYOUT or len(row.data) % samples.SAMPLE.itemsize:
            raise damaged(host, float(row.start_at))
    return samples.unpack(b"".join([row.data for row in packed]))


def damaged(host: str, start_at: float) -> HistoryError:
    """What is said of packed samples that can't be read."""
    from ...core.i18n import iso

    return HistoryError(
        msg(
            "history: the packed samples of {host} from {start_at} are damaged, or of a newer version: "
            "restore the history from a backup, or update the project",
            host=host,
            start_at=iso(start_at),
        )
    )


def _selected() -> sa.Select[Any]:
    table = schema.samples
    # As text: a value in ten thousand rows is read faster than it is made into objects.
    return sa.select(*(table.c[name] for name in _COLUMNS), sa.type_coerce(table.c.data, sa.Text()).label("data"))


def of_rows(rows: Sequence[Any]) -> tuple[Series, list[int | None]]:
    """A series of rows of ``samples`` (``data`` as text or as objects), and what each says of the errors of its day."""
    made, errors = samples.empty(len(rows)), []
    flags, latencies, disks = [], [], []
    for row in rows:
        data = row.data if isinstance(row.data, Mapping) else json.loads(row.data or "{}")
        flag, latency = _flags(row.ok, data), row.latency_ms
        public = data.get("public")
        if isinstance(public, Mapping):
            flag |= OUTSIDE_SEEN | (OUTSIDE_GOOD if public.get("ok") else 0)
            if not flag & INSIDE_SEEN:
                latency = public.get("latency_ms")
        flags.append(flag)
        latencies.append(figure(latency))
        disks.append(figure(data.get("disk_percent")))
        count = data.get("errors_day")
        errors.append(count if isinstance(count, int) and not isinstance(count, bool) else None)
    if rows:
        made["at"] = [row.at for row in rows]
        made["flags"], made["latency_ms"], made["disk_percent"] = flags, latencies, disks
        made["memory_bytes"] = [figure(row.memory_bytes) for row in rows]
        made["cpu_percent"] = [figure(row.cpu_percent) for row in rows]
    return made, errors


def figure(value: Any) -> float:
    """A number, NaN for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _flags(ok: Any, data: Mapping[str, Any]) -> int:
    """Whether a row's application was seen, and was good. Without any answer nor failure to answer it was not seen."""
    if ok:
        return INSIDE_SEEN | INSIDE_GOOD
    checks = data.get("checks")
    if not isinstance(checks, Mapping) or not checks:
        return 0
    return 0 if checks.get("http.status") == "unknown" else INSIDE_SEEN


# -------------------------------------------------------------------- writing


def add(store: History, host: str, series: Series) -> Added:
    """Merge samples of a host into its blocks; safe beside other writers. Raises :class:`HistoryError`."""
    whole = samples.normalized(series)
    stored, refused = 0, [np.empty(0)]
    hours = _split(whole)
    for first in range(0, len(hours), _HOURS):
        some = hours[first : first + _HOURS]
        new, late = store.write(lambda connection, some=some: merge(connection, host, some))  # type: ignore[misc]
        stored += new
        refused.append(late)
    late = np.concatenate(refused)
    return Added(stored, len(series) - stored - int(np.isin(series["at"], late).sum()), late)


def _split(series: Series) -> list[tuple[float, Series]]:
    """``(start of the hour, its samples)``, of a normalized series."""
    if not len(series):
        return []
    hour = np.floor(series["at"] / HOUR_S)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(hour)) + 1))
    return [(float(hour[one]) * HOUR_S, part) for one, part in zip(starts, np.split(series, starts[1:]), strict=True)]


def merge(
    connection: sa.Connection,
    host: str,
    hours: Sequence[tuple[float, Series]],
    errors: Mapping[float, int] | None = None,
) -> tuple[int, NDArray[np.float64]]:
    """Merge samples by hour into blocks, inside a transaction: how many are new, and the instants of those refused.

    ``errors``: by hour, what its last probe reported of the errors of its day.
    """
    table = schema.sample_blocks
    starts = [start for start, _ in hours]
    blank = {"host": host, "layout": samples.LAYOUT, "count": 0, "good": 0, "data": b""}
    # A writing statement first: from here on nobody else changes these blocks.
    insert_missing(connection, table, [{**blank, "start_at": start} for start in starts])
    query = sa.select(table).where(table.c.host == host, table.c.start_at.in_(starts)).with_for_update()
    held = {row.start_at: row for row in connection.execute(query).all()}
    rolled = rolled_days(connection, host, starts[0] // DAY_S * DAY_S, starts[-1] + 1, lock=True)
    stored, late, changed, unwanted = 0, [np.empty(0)], [], []
    for start, part in hours:
        before = held[start]
        known = _unpacked(host, [before])
        if start // DAY_S * DAY_S in rolled:
            late.append(part["at"])
            if not len(known):
                unwanted.append(start)
            continue
        now = samples.merged(known, part) if len(known) else part
        stored += len(now) - len(known)
        changed.append(_row(host, start, now, (errors or {}).get(start, before.errors_day)))
    if changed:
        mine = sa.and_(table.c.host == sa.bindparam("b_host"), table.c.start_at == sa.bindparam("b_start_at"))
        names = ("count", "good", "errors_day", "data")
        update = sa.update(table).where(mine).values({name: sa.bindparam(f"b_{name}") for name in names})
        connection.execute(update, changed)
    if unwanted:
        connection.execute(sa.delete(table).where(table.c.host == host, table.c.start_at.in_(unwanted)))
    return stored, np.concatenate(late)


def _row(host: str, start: float, series: Series, errors: int | None) -> dict[str, Any]:
    good = int(np.count_nonzero(series["flags"] & INSIDE_GOOD))
    figures = {"b_count": len(series), "b_good": good, "b_errors_day": errors, "b_data": samples.pack(series)}
    return {"b_host": host, "b_start_at": start, **figures}


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows whose key is not taken yet; how many there were, of one."""
    words = {"sqlite": "OR IGNORE", "mysql": "IGNORE", "mariadb": "IGNORE"}
    dialect = connection.dialect.name
    if dialect in words:
        return connection.execute(sa.insert(table).prefix_with(words[dialect]), list(rows)).rowcount
    done = 0
    for row in rows:
        mine = sa.and_(*(column == row[column.name] for column in table.primary_key))
        if connection.execute(sa.select(sa.literal(1)).where(mine)).first() is None:
            done += connection.execute(sa.insert(table), dict(row)).rowcount
    return done


def rolled_days(connection: sa.Connection, host: str, start: float, end: float, *, lock: bool = False) -> set[float]:
    """Days (their first second) that begin from ``start`` up to ``end`` and are rolled up."""
    table = schema.sample_rollups
    query = sa.select(table.c.start_at).where(table.c.host == host, table.c.start_at >= start, table.c.start_at < end)
    return set(connection.execute(query.with_for_update() if lock else query).scalars())


# -------------------------------------------------------------------- moving


def compact(store: History, now: float, *, keep_days: float = KEEP_DAYS) -> dict[str, int]:
    """Move rows that are older than ``keep_days`` into blocks, all but the newest of each host.

    Day by day, each in one transaction: rows go in the one in which their block is written. Returns ``{moved, late}``;
    ``late`` were of days that are rolled up already, for which they came too late.
    """
    before = math.floor((now - keep_days * DAY_S) / HOUR_S) * HOUR_S
    counted = {"moved": 0, "late": 0}
    for host in hosts_of(store, schema.samples):
        for start, kept in _movable(store, host, before):
            moved, late = store.write(
                lambda connection, host=host, start=start, kept=kept: _move(  # type: ignore[misc]
                    connection, host, start, min(start + DAY_S, before), kept
                )
            )
            counted["moved"] += moved
            counted["late"] += late
    return counted


def hosts_of(store: History, table: sa.Table) -> list[str]:
    """Every host of a table, along its index: there may be millions of rows."""

    def work(connection: sa.Connection) -> list[str]:
        found = []
        host = connection.execute(sa.select(sa.func.min(table.c.host))).scalar()
        while host is not None:
            found.append(str(host))
            host = connection.execute(sa.select(sa.func.min(table.c.host)).where(table.c.host > host)).scalar()
        return found

    return store.read(work)


def _movable(store: History, host: str, before: float) -> list[tuple[float, list[int]]]:
    """Days that have rows to move, each with the numbers of the rows that stay."""
    table = schema.samples
    mine = sa.and_(table.c.host == host, table.c.at < before)

    def work(connection: sa.Connection) -> list[tuple[float, list[int]]]:
        newest = sa.select(table.c.id, table.c.at).where(table.c.host == host)
        kept = [
            *connection.execute(newest.order_by(table.c.at.desc(), table.c.id.desc()).limit(KEEP_ROWS)).all(),
            *connection.execute(newest.order_by(table.c.id.desc()).limit(KEEP_ROWS)).all(),
        ]
        stay = {row.id for row in kept if row.at < before}
        days = []
        at = connection.execute(sa.select(sa.func.min(table.c.at)).where(mine)).scalar()
        while at is not None:
            start = at // DAY_S * DAY_S
            days.append((start, sorted(stay)))
            later = sa.select(sa.func.min(table.c.at)).where(mine, table.c.at >= start + DAY_S)
            at = connection.execute(later).scalar()
        return days

    return store.read(work)


def _move(connection: sa.Connection, host: str, start: float, end: float, kept: Sequence[int]) -> tuple[int, int]:
    table = schema.samples
    wanted = sa.and_(table.c.host == host, table.c.at >= start, table.c.at < end, table.c.id.not_in(kept))
    # A writing statement that changes nothing: rows that are read now are still there when they are removed.
    connection.execute(sa.update(table).where(wanted, table.c.id < 0).values(host=host))
    rows = connection.execute(_selected().where(wanted).order_by(table.c.at, table.c.id).with_for_update()).all()
    if not rows:
        return 0, 0
    series, errors = of_rows(rows)
    _, late = merge(connection, host, _split(samples.normalized(series)), _by_hour(series, errors))
    for some in _chunks([row.id for row in rows], 500):
        connection.execute(sa.delete(table).where(table.c.id.in_(some)))
    refused = int(np.isin(series["at"], late).sum())
    return len(rows) - refused, refused


def _chunks(items: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (items[first : first + size] for first in range(0, len(items), size))
