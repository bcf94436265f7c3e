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
from .series import INSIDE_GOOD, INSIDE_PROBED, OUTSIDE_GOOD, OUTSIDE_PROBED, Series

KEEP_DAYS = 2
# The newest rows of each host stay, however old: reports read its state, and for how long it has lasted, from them.
KEEP_ROWS = 50
# Hours per transaction: other writers wait while it lasts.
_HOURS = 24 * 31
_COLUMNS = ("id", "at", "ok", "latency_ms", "memory_bytes", "cpu_percent")


@dataclass(frozen=True)
class AddResult:
    """Counts of new and of known samples of a call, and the samples refused because their day is rolled up already."""

    stored: int
    duplicates: int
    refused: NDArray[np.float64]  # their instants


# -------------------------------------------------------------------- reading


def load(connection: sa.Connection, host: str, start: float, end: float) -> Series:
    """Return samples of ``host`` from ``start`` up to ``end`` (epoch seconds) of rows and blocks; sorted, each once.

    Raises :class:`HistoryError` for a block that is damaged.
    """
    return load_all(connection, host, start, end)[0]


def load_all(connection: sa.Connection, host: str, start: float, end: float) -> tuple[Series, dict[float, int]]:
    """Return the samples of :func:`load`, and for each hour the errors of the last 24 h that its last probe counted."""
    # Rows first: a sample that moves meanwhile is found twice rather than not at all.
    table = schema.samples
    query = _sample_query().where(table.c.host == host, table.c.at >= start, table.c.at < end)
    recent, error_counts = series_from_rows(connection.execute(query.order_by(table.c.at, table.c.id)).all())
    parts, errors = [recent], _errors_by_hour(recent, error_counts)
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
    # Parts in order are mostly in order as a whole: sorting a year takes longer than reading it.
    filled = sorted((part for part in parts if len(part)), key=lambda part: float(part["at"][0]))
    return samples.merged(*filled or [samples.empty()]), errors


def _errors_by_hour(series: Series, error_counts: Sequence[int | None]) -> dict[float, int]:
    hours = np.floor(series["at"] / HOUR_S) * HOUR_S
    return {hour: count for hour, count in zip(hours.tolist(), error_counts, strict=True) if count is not None}


def _unpacked(host: str, packed: Sequence[Any]) -> Series:
    """Return the samples of blocks, one after the other; raises ``HistoryError`` for a damaged one."""
    for row in packed:
        if row.layout != samples.LAYOUT or len(row.data) % samples.SAMPLE.itemsize:
            raise damaged_block(host, float(row.start_at))
    return samples.unpack(b"".join([row.data for row in packed]))


def damaged_block(host: str, start_at: float) -> HistoryError:
    """Return the error for packed samples that can't be read."""
    from ...core.i18n import iso

    return HistoryError(
        msg(
            "history: the packed samples of {host} from {start_at} are damaged, or of a newer version: "
            "restore the history from a backup, or update the project",
            host=host,
            start_at=iso(start_at),
        )
    )


def _sample_query() -> sa.Select[Any]:
    table = schema.samples
    # As text: searching it for one value is faster than parsing ten thousand JSON objects.
    return sa.select(*(table.c[name] for name in _COLUMNS), sa.type_coerce(table.c.data, sa.Text()).label("data"))


def series_from_rows(rows: Sequence[Any]) -> tuple[Series, list[int | None]]:
    """Convert rows of ``samples`` (``data`` as text or objects) into a series, and the error count of each."""
    series, errors = samples.empty(len(rows)), []
    flags, latencies, disks = [], [], []
    for row in rows:
        data = row.data if isinstance(row.data, Mapping) else json.loads(row.data or "{}")
        flags_of_row, latency = _probe_flags(row.ok, data), row.latency_ms
        public = data.get("public")
        if isinstance(public, Mapping):
            flags_of_row |= OUTSIDE_PROBED | (OUTSIDE_GOOD if public.get("ok") else 0)
            if not flags_of_row & INSIDE_PROBED:
                latency = public.get("latency_ms")
        flags.append(flags_of_row)
        latencies.append(number_or_nan(latency))
        disks.append(number_or_nan(data.get("disk_percent")))
        count = data.get("errors_day")
        errors.append(count if isinstance(count, int) and not isinstance(count, bool) else None)
    if rows:
        series["at"] = [row.at for row in rows]
        series["flags"], series["latency_ms"], series["disk_percent"] = flags, latencies, disks
        series["memory_bytes"] = [number_or_nan(row.memory_bytes) for row in rows]
        series["cpu_percent"] = [number_or_nan(row.cpu_percent) for row in rows]
    return series, errors


def number_or_nan(value: Any) -> float:
    """Return a number as float, NaN for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _probe_flags(ok: Any, data: Mapping[str, Any]) -> int:
    """Return flags: whether the application was probed on its host, and was good; 0 without an answer or a failure."""
    if ok:
        return INSIDE_PROBED | INSIDE_GOOD
    checks = data.get("checks")
    if not isinstance(checks, Mapping) or not checks:
        return 0
    return 0 if checks.get("http.status") == "unknown" else INSIDE_PROBED


# -------------------------------------------------------------------- writing


def add(store: History, host: str, series: Series) -> AddResult:
    """Merge samples of a host into its blocks; safe with concurrent writers. Raises :class:`HistoryError`."""
    whole = samples.normalized(series)
    stored, refused = 0, [np.empty(0)]
    hours = _split(whole)
    for first in range(0, len(hours), _HOURS):
        some = hours[first : first + _HOURS]
        new, late = store.write(lambda connection, some=some: merge(connection, host, some))  # type: ignore[misc]
        stored += new
        refused.append(late)
    late = np.concatenate(refused)
    return AddResult(stored, len(series) - stored - int(np.isin(series["at"], late).sum()), late)


def _split(series: Series) -> list[tuple[float, Series]]:
    """Split a normalized series into ``(start of the hour, its samples)``."""
    if not len(series):
        return []
    hour = np.floor(series["at"] / HOUR_S)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(hour)) + 1))
    return [(float(hour[at]) * HOUR_S, part) for at, part in zip(starts, np.split(series, starts[1:]), strict=True)]


def merge(
    connection: sa.Connection,
    host: str,
    hours: Sequence[tuple[float, Series]],
    errors: Mapping[float, int] | None = None,
) -> tuple[int, NDArray[np.float64]]:
    """Merge samples by hour into blocks, inside a transaction; return the number of new ones, and refused instants.

    ``errors``: by hour, the errors of the last 24 hours that its last probe counted.
    """
    table = schema.sample_blocks
    starts = [start for start, _ in hours]
    blank = {"host": host, "layout": samples.LAYOUT, "count": 0, "good": 0, "data": b""}
    # A writing statement first: from here on nobody else changes these blocks.
    insert_missing(connection, table, [{**blank, "start_at": start} for start in starts])
    query = sa.select(table).where(table.c.host == host, table.c.start_at.in_(starts)).with_for_update()
    stored_blocks = {row.start_at: row for row in connection.execute(query).all()}
    rolled = rolled_days(connection, host, starts[0] // DAY_S * DAY_S, starts[-1] + 1, lock=True)
    new_count, refused, changed, emptied = 0, [np.empty(0)], [], []
    for start, part in hours:
        before = stored_blocks[start]
        stored_series = _unpacked(host, [before])
        if start // DAY_S * DAY_S in rolled:
            refused.append(part["at"])
            if not len(stored_series):
                emptied.append(start)
            continue
        combined = samples.merged(stored_series, part) if len(stored_series) else part
        new_count += len(combined) - len(stored_series)
        changed.append(_row(host, start, combined, (errors or {}).get(start, before.errors_day)))
    if changed:
        key = sa.and_(table.c.host == sa.bindparam("b_host"), table.c.start_at == sa.bindparam("b_start_at"))
        names = ("count", "good", "errors_day", "data")
        update = sa.update(table).where(key).values({name: sa.bindparam(f"b_{name}") for name in names})
        connection.execute(update, changed)
    if emptied:
        connection.execute(sa.delete(table).where(table.c.host == host, table.c.start_at.in_(emptied)))
    return new_count, np.concatenate(refused)


def _row(host: str, start: float, series: Series, errors: int | None) -> dict[str, Any]:
    good = int(np.count_nonzero(series["flags"] & INSIDE_GOOD))
    figures = {"b_count": len(series), "b_good": good, "b_errors_day": errors, "b_data": samples.pack(series)}
    return {"b_host": host, "b_start_at": start, **figures}


def insert_missing(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert rows with keys that are not taken yet; for a single row, return how many were inserted."""
    prefixes = {"sqlite": "OR IGNORE", "mysql": "IGNORE", "mariadb": "IGNORE"}
    dialect = connection.dialect.name
    if dialect in prefixes:
        return connection.execute(sa.insert(table).prefix_with(prefixes[dialect]), list(rows)).rowcount
    inserted = 0
    for row in rows:
        key = sa.and_(*(column == row[column.name] for column in table.primary_key))
        if connection.execute(sa.select(sa.literal(1)).where(key)).first() is None:
            inserted += connection.execute(sa.insert(table), dict(row)).rowcount
    return inserted


def rolled_days(connection: sa.Connection, host: str, start: float, end: float, *, lock: bool = False) -> set[float]:
    """Return rolled-up days (their first second) that begin from ``start`` up to ``end``."""
    table = schema.sample_rollups
    query = sa.select(table.c.start_at).where(table.c.host == host, table.c.start_at >= start, table.c.start_at < end)
    return set(connection.execute(query.with_for_update() if lock else query).scalars())


# -------------------------------------------------------------------- moving


def compact(store: History, now: float, *, keep_days: float = KEEP_DAYS) -> dict[str, int]:
    """Move rows that are older than ``keep_days`` into blocks, all but the newest of each host.

    Each day is one transaction, which removes its rows and writes their blocks. Returns ``{moved, late}``;
    ``late`` belong to days that are rolled up already, and are removed only.
    """
    before = math.floor((now - keep_days * DAY_S) / HOUR_S) * HOUR_S
    counts = {"moved": 0, "late": 0}
    for host in hosts_of(store, schema.samples):
        for start, retained_ids in _movable(store, host, before):
            moved, late = store.write(
                lambda connection, host=host, start=start, retained_ids=retained_ids: _move(  # type: ignore[misc]
                    connection, host, start, min(start + DAY_S, before), retained_ids
                )
            )
            counts["moved"] += moved
            counts["late"] += late
    return counts


def hosts_of(store: History, table: sa.Table) -> list[str]:
    """Return every host of a table, along its index: there may be millions of rows."""

    def work(connection: sa.Connection) -> list[str]:
        hosts = []
        host = connection.execute(sa.select(sa.func.min(table.c.host))).scalar()
        while host is not None:
            hosts.append(str(host))
            host = connection.execute(sa.select(sa.func.min(table.c.host)).where(table.c.host > host)).scalar()
        return hosts

    return store.read(work)


def _movable(store: History, host: str, before: float) -> list[tuple[float, list[int]]]:
    """Return days with rows to move, each with the ids of the rows that stay."""
    table = schema.samples
    old_rows = sa.and_(table.c.host == host, table.c.at < before)

    def work(connection: sa.Connection) -> list[tuple[float, list[int]]]:
        newest = sa.select(table.c.id, table.c.at).where(table.c.host == host)
        newest_rows = [
            *connection.execute(newest.order_by(table.c.at.desc(), table.c.id.desc()).limit(KEEP_ROWS)).all(),
            *connection.execute(newest.order_by(table.c.id.desc()).limit(KEEP_ROWS)).all(),
        ]
        retained_ids = {row.id for row in newest_rows if row.at < before}
        days = []
        at = connection.execute(sa.select(sa.func.min(table.c.at)).where(old_rows)).scalar()
        while at is not None:
            start = at // DAY_S * DAY_S
            days.append((start, sorted(retained_ids)))
            later = sa.select(sa.func.min(table.c.at)).where(old_rows, table.c.at >= start + DAY_S)
            at = connection.execute(later).scalar()
        return days

    return store.read(work)


def _move(connection: sa.Connection, host: str, start: float, end: float, retained: Sequence[int]) -> tuple[int, int]:
    table = schema.samples
    movable = sa.and_(table.c.host == host, table.c.at >= start, table.c.at < end, table.c.id.not_in(retained))
    # A writing statement that changes nothing: rows that are read now are still there when they are removed.
    connection.execute(sa.update(table).where(movable, table.c.id < 0).values(host=host))
    rows = connection.execute(_sample_query().where(movable).order_by(table.c.at, table.c.id).with_for_update()).all()
    if not rows:
        return 0, 0
    series, errors = series_from_rows(rows)
    _, late = merge(connection, host, _split(samples.normalized(series)), _errors_by_hour(series, errors))
    for ids in _chunks([row.id for row in rows], 500):
        connection.execute(sa.delete(table).where(table.c.id.in_(ids)))
    refused = int(np.isin(series["at"], late).sum())
    return len(rows) - refused, refused


def _chunks(items: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (items[first : first + size] for first in range(0, len(items), size))
