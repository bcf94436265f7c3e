"""Samples packed by the hour: what is written is found again, once, whoever wrote it in which order."""

from __future__ import annotations

import multiprocessing
import sqlite3
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orquestrador_ops.cli import queries
from orquestrador_ops.core.errors import HistoryError
from orquestrador_ops.history import packed_samples as packed
from orquestrador_ops.history import schema
from orquestrador_ops.history.store import History
from orquestrador_ops.sla.data import blocks, series
from orquestrador_ops.sla.data import store as stores
from orquestrador_ops.watch import store as watch_store
from tests.unit.controller.sla.filled import DAY, HOUR, MONDAY, made
from tests.unit.fakes.histories import Opener

NOW = MONDAY + 10 * DAY


def rows(store: History, table: sa.Table = schema.samples) -> int:
    return int(
        store.read(lambda connection: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()) or 0
    )


def look(at: float, ok: bool = True, **more: Any) -> tuple[str, Any, Any, dict[str, Any]]:
    status = "ok" if ok else "critical"
    snapshot = {
        "taken_at": datetime.fromtimestamp(at, UTC).isoformat(),
        "http": {"status": 200 if ok else 500, "latency_median_ms": 12.5},
        "pm2": {"app": {"memory_bytes": 91_231_232, "cpu_percent": 1.5}},
        "resources": {"disk": [{"used_percent": 41.5}, {"used_percent": 60.25}]},
        "logs": {"errors_day": 3},
    }
    checks = [{"id": name, "status": status} for name in ("http.status", "app.status", "app.database")]
    return "web", snapshot, {"overall": "healthy" if ok else "critical", "checks": checks}, more


def test_layout_read_without_numpy_is_that_of_a_series() -> None:
    assert packed.RECORD.size == series.SAMPLE.itemsize
    assert packed.LAYOUT == series.LAYOUT
    flags = (packed.INSIDE_GOOD, packed.OUTSIDE_PROBED, packed.OUTSIDE_GOOD)
    assert flags == (series.INSIDE_GOOD, series.OUTSIDE_PROBED, series.OUTSIDE_GOOD)
    one = made(MONDAY, 3)
    assert [record[0] for record in packed.RECORD.iter_unpack(series.pack(one))] == one["at"].tolist()


def test_what_was_written_is_read_again(opener: Opener) -> None:
    whole = made(MONDAY + 1234.5, 5000)
    with opener() as store:
        assert stores.write_series(store, "web", whole, "x") == 5000
        assert stores.write_series(store, "other", whole[:7], "x") == 7
    with opener() as store:
        assert stores.hosts(store) == ["other", "web"]
        assert np.array_equal(stores.series(store, "web", 0, NOW), whole)
        part = stores.series(store, "web", MONDAY + DAY, MONDAY + DAY + 90)
        assert part["at"].tolist() == [at for at in whole["at"] if MONDAY + DAY <= at < MONDAY + DAY + 90]
        assert len(stores.series(store, "nobody", 0, NOW)) == 0


def test_late_duplicate_and_shuffled_samples_are_merged(opener: Opener) -> None:
    whole = made(MONDAY, 600, 30.0)
    shuffled = np.random.default_rng(3).permutation(whole)
    with opener() as store:
        assert stores.write_series(store, "web", whole[::2], "x") == 300
        assert stores.write_series(store, "web", np.concatenate((shuffled, shuffled[:50])), "x") == 300
        before = rows(store, schema.sample_blocks)
        assert stores.write_series(store, "web", shuffled, "x") == 0
        assert np.array_equal(stores.series(store, "web", 0, NOW), whole)
        assert rows(store, schema.sample_blocks) == before == 5
        added = blocks.add(store, "web", np.concatenate((shuffled, shuffled)))
        assert (added.stored, added.duplicates, len(added.refused)) == (0, 1200, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 400), max_size=5), seed=st.integers(0, 1000))
def test_parts_in_any_order_are_the_whole(store: History, cuts: list[int], seed: int) -> None:
    host = f"h-{seed}-{cuts}"
    whole = made(MONDAY, 400, 47.0)
    parts = np.split(np.random.default_rng(seed).permutation(whole), sorted(cuts))
    assert sum(stores.write_series(store, host, part, "x") for part in parts) == 400
    assert np.array_equal(stores.series(store, host, 0, NOW), whole)


def test_rows_become_blocks_and_say_the_same(opener: Opener) -> None:
    instants = [MONDAY + 600.0 * number for number in range(6 * 24 * 3)]
    with opener() as store:
        for number, at in enumerate(instants):
            outside = {"public": {"ok": number % 5 != 0, "latency_ms": 3.0}}
            watch_store.record(store, [look(at, number % 7 != 0, **outside)], {})
        before = stores.series(store, "web", 0, NOW)
        told = (
            store.tally("web", MONDAY),
            store.tally("web", MONDAY + 1.5 * HOUR),
            watch_store.last_problems(store, "web", 5),
        )
        listed = store.samples("web")
        assert blocks.compact(store, NOW) == {"moved": len(instants) - blocks.KEEP_ROWS, "late": 0}
        assert blocks.compact(store, NOW) == {"moved": 0, "late": 0}
        assert rows(store) == blocks.KEEP_ROWS
        assert np.array_equal(stores.series(store, "web", 0, NOW), before)
        assert told == (
            store.tally("web", MONDAY),
            store.tally("web", MONDAY + 1.5 * HOUR),
            watch_store.last_problems(store, "web", 5),
        )
        assert told[0]["probes"] == len(instants)
        assert told[0]["probes_good"] == sum(number % 7 != 0 for number in range(len(instants)))
        same = ("at", "ok", "latency_ms", "memory_bytes", "cpu_percent")
        assert [[row[name] for name in same] for row in store.samples("web")] == [
            [row[name] for name in same] for row in listed
        ]
        assert [row["at"] for row in store.samples("web", since=instants[5], until=instants[9])] == instants[5:9]
        assert len(store.samples("web", limit=10)) == 10
        assert store.samples("web")[0]["data"] == {"disk_percent": 60.25, "public": {"ok": False}}
        assert queries.last_samples(store)["web"]["epoch"] == instants[-1]
        query = sa.select(schema.sample_blocks.c.errors_day).distinct()
        assert store.read(lambda connection: connection.execute(query).scalars().all()) == [3]


def test_recent_rows_stay_rows(store: History) -> None:
    for number in range(200):
        watch_store.record(store, [look(NOW - 600.0 * number)], {})
    assert blocks.compact(store, NOW)["moved"] == 0, "two days are 288 looks"


@pytest.mark.parametrize(
    ("ok", "checks", "public", "flags"),
    [
        (True, {}, None, 1 | 2),
        (False, {"http.status": "critical"}, None, 1),
        (False, {"app.database": "critical"}, {"ok": True}, 1 | 4 | 8),
        (False, {"app.database": "unknown"}, None, 1),  # it answered, and did not say that it reaches its database
        (False, {"http.status": "unknown", "app.status": "unknown"}, None, 0),
        (False, {}, None, 0),  # nobody reached the host
        (False, {}, {"ok": False, "latency_ms": None}, 4),
        (False, {}, {"ok": True, "latency_ms": 7.0}, 4 | 8),
    ],
)
def test_what_a_row_says_was_seen(ok: bool, checks: dict[str, str], public: Any, flags: int) -> None:
    data = {"checks": checks, "errors_day": None, **({"public": public} if public else {})}
    row = sa.util.immutabledict(
        ok=ok, at=1.0, latency_ms=5.0 if ok else None, memory_bytes=None, cpu_percent=None, data=data
    )
    (sample,), errors = blocks.series_from_rows([type("Row", (), row)])
    assert sample["flags"] == flags
    assert errors == [None]
    assert np.array_equal(sample["latency_ms"], 5.0 if ok else 7.0 if flags == 12 else np.nan, equal_nan=True)


def _write(opener_args: tuple[str | None, str], part: int) -> None:
    from pathlib import Path

    from orquestrador_ops.history.access import open_history

    url, state = opener_args
    whole = made(MONDAY, 2000, 10.0)
    with open_history(Path(state), url) as store:
        for first in range(0, 2000, 200):
            stores.write_series(store, "web", whole[first + part : first + 200 : 4], "x")
            watch_store.record(store, [look(MONDAY + DAY + first + part)], {})
        blocks.compact(store, NOW)


def test_writers_side_by_side_lose_nothing(request: pytest.FixtureRequest, tmp_path: Any, opener: Opener) -> None:
    opener().close()
    url = request.getfixturevalue("mysql_url") if "mysql" in request.node.name else None
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=((url, str(tmp_path / "state")), part)) for part in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    with opener() as store:
        assert np.array_equal(stores.series(store, "web", 0, MONDAY + DAY), made(MONDAY, 2000, 10.0))
        assert len(stores.series(store, "web", MONDAY + DAY, NOW)) == 40
        assert store.tally("web", 0)["probes"] == 2040


def test_hour_of_a_fast_probe_fits_into_a_block(opener: Opener) -> None:
    whole = made(MONDAY, 36_000, 0.1)  # 900 KB: more than MySQL's BLOB holds
    with opener() as store:
        assert stores.write_series(store, "web", whole, "x") == 36_000
        assert np.array_equal(stores.series(store, "web", 0, NOW), whole)


@pytest.mark.parametrize("change", ["data = substr(data, 2)", "layout = 99"])
def test_damaged_block_is_told_and_gives_no_number(store: History, change: str) -> None:
    stores.write_series(store, "web", made(MONDAY, 100), "x")
    with sqlite3.connect(str(store.name)) as other:
        other.execute(f"UPDATE sample_blocks SET {change} WHERE start_at = {MONDAY}")
    with pytest.raises(HistoryError, match=r"packed samples of web from 2026-06-01T00:00:00\+00:00 are damaged"):
        stores.series(store, "web", 0, NOW)
