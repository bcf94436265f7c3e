"""Days that are rolled up tell what their samples told."""

from __future__ import annotations

import sqlite3
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orquestrador_ops.core.errors import HistoryError
from orquestrador_ops.history import schema
from orquestrador_ops.history.store import History
from orquestrador_ops.sla.data import blocks, rollups, series
from orquestrador_ops.sla.data import store as stores
from orquestrador_ops.sla.data.store import roll_up
from orquestrador_ops.watch import store as watch_store
from tests.unit.controller.sla import known
from tests.unit.controller.sla.data.test_blocks import look, rows
from tests.unit.controller.sla.filled import DAY, HOUR, MONDAY, document, made, rounded
from tests.unit.fakes.histories import Opener
from tests.unit.fakes.records import record_planned_restart

LATER = MONDAY + 200 * DAY  # all of the samples are older than 90 days by then
ANCIENT = MONDAY + 500 * DAY


def packed_days(store: History) -> list[tuple[float, int, int]]:
    table = schema.sample_rollups
    query = sa.select(table.c.start_at, table.c.resolution_s, table.c["count"]).order_by(table.c.start_at)
    return [tuple(row) for row in store.read(lambda connection: connection.execute(query).all())]


def test_month_tells_the_same_raw_fine_and_coarse(opener: Opener) -> None:
    month = known.month(60.0)
    now = month.period.end
    with opener() as store:
        stores.write_series(store, "web", month.series, "x")
        for window in month.windows:
            store.write(
                lambda connection, window=window: connection.execute(
                    sa.insert(schema.maintenance_windows), {"host": "web", **window}
                )
            )
        for at in month.restarts:
            record_planned_restart(store, "web", "app", at=at)
        zone = "America/Sao_Paulo"
        raw = document(store, "web", month.period.start, month.period.end, now, zone)
        weeks = [(month.period.start + 7 * DAY * n, month.period.start + 7 * DAY * (n + 1)) for n in range(4)]
        raw_weeks = [document(store, "web", *week, now, zone) for week in weeks]
        assert {name: raw["seconds"][name] for name in ("down", "planned_down", "unknown")} == {
            name: month.expected[name] for name in ("down", "planned_down", "unknown")
        }
        done = roll_up(store, now + 100 * DAY)
        assert done["days_rolled"] == len(packed_days(store)) == 32, "of UTC, which is not the operator's day"
        assert rows(store, schema.sample_blocks) == 0, "the month ends at three of UTC"
        fine = document(store, "web", month.period.start, month.period.end, now, zone)
        assert rounded(fine) == rounded(raw)
        assert [rounded(document(store, "web", *week, now, zone)) for week in weeks] == rounded(raw_weeks)
        assert {name: roll_up(store, now + 100 * DAY)[name] for name in done} == dict.fromkeys(done, 0)
        assert roll_up(store, now + 500 * DAY)["days_coarsened"] == 32
        assert {resolution for _, resolution, _ in packed_days(store)} == {3600}
        assert rounded(document(store, "web", month.period.start, month.period.end, now, zone)) == rounded(raw)


def test_resolution_is_that_of_the_coarsest_day(store: History) -> None:
    stores.write_series(store, "web", made(MONDAY, 3 * 1440), "x")
    found = []
    for now in (MONDAY + 3 * DAY, MONDAY + 92 * DAY, MONDAY + 402 * DAY, ANCIENT):
        roll_up(store, now)
        facts = stores.facts(
            store, "web", known.periods.between(MONDAY, MONDAY + 3 * DAY, now=now, timezone="UTC"), now, gap_s=300.0
        )
        found.append((facts.resolution_s, {resolution for _, resolution, _ in packed_days(store)}))
    assert found == [(0, set()), (300, {300}), (3600, {300, 3600}), (3600, {3600})]


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    lost=st.lists(st.tuples(st.floats(0, 4), st.floats(0.001, 0.5)), max_size=6),
    step=st.sampled_from([37.0, 61.0, 600.0]),
)
def test_any_history_tells_the_same_rolled_up(store: History, seed: int, lost: Any, step: float) -> None:
    host = f"{seed}-{step}-{hash(str(lost))}"
    whole = made(MONDAY - 3 * HOUR, int(4 * DAY / step), step, seed=seed, bad=0.1)
    for begin, length in lost:
        at = whole["at"] - MONDAY
        whole = whole[(at < begin * DAY) | (at > (begin + length) * DAY)]
    stores.write_series(store, host, whole, "x")
    periods = [(MONDAY, MONDAY + 4 * DAY), (MONDAY + DAY, MONDAY + 2 * DAY), (MONDAY + 5 * HOUR, MONDAY + 2.25 * DAY)]
    before = [document(store, host, *one, LATER) for one in periods]
    roll_up(store, MONDAY + 92 * DAY)
    part = [document(store, host, *one, LATER) for one in periods]
    roll_up(store, ANCIENT)
    after = [document(store, host, *one, LATER) for one in periods]
    assert rounded(part) == rounded(before), "half of it is raw"
    assert rounded(after) == rounded(before)


def test_samples_of_a_day_that_is_rolled_up_are_refused_and_told(opener: Opener) -> None:
    with opener() as store:
        stores.write_series(store, "web", made(MONDAY, 1440), "x")
        roll_up(store, LATER)
        before = document(store, "web", MONDAY, MONDAY + DAY, LATER)
        late = made(MONDAY - HOUR, 120, 61.0)
        added = blocks.add(store, "web", late)
        inside = late["at"] >= MONDAY
        assert added.refused.tolist() == late["at"][inside].tolist()
        assert added.stored == int((~inside).sum())
        assert added.duplicates == 0
        assert document(store, "web", MONDAY, MONDAY + DAY, LATER) == before
        watch_store.record(store, [look(MONDAY + 7.0 + number, False) for number in range(60)], {})
        assert document(store, "web", MONDAY, MONDAY + DAY, LATER) == before
        assert roll_up(store, LATER)["late"] == 60 - blocks.KEEP_ROWS


def test_day_between_two_that_are_rolled_up_can_still_come(store: History) -> None:
    stores.write_series(store, "web", made(MONDAY, 1440), "x")
    stores.write_series(store, "web", made(MONDAY + 2 * DAY, 1440), "x")
    roll_up(store, LATER)
    assert rows(store, schema.sample_blocks) == 2, "the last hour of each holds into the day after"
    assert stores.write_series(store, "web", made(MONDAY + DAY, 1440), "x") == 1440
    before = document(store, "web", MONDAY, MONDAY + 3 * DAY, LATER)
    assert before["seconds"]["unknown"] == 0
    assert roll_up(store, LATER)["days_rolled"] == 1
    assert rounded(document(store, "web", MONDAY, MONDAY + 3 * DAY, LATER)) == rounded(before)


def test_interrupted_day_stays_raw(store: History, monkeypatch: pytest.MonkeyPatch) -> None:
    stores.write_series(store, "web", made(MONDAY, 3 * 1440), "x")
    before = document(store, "web", MONDAY, MONDAY + 3 * DAY, LATER)
    real, calls = rollups.packed, []

    def killed(day: rollups.Day) -> bytes:
        calls.append(day.start)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(day)

    monkeypatch.setattr(rollups, "packed", killed)
    with pytest.raises(KeyboardInterrupt):
        roll_up(store, LATER)
    assert [day for day, _, _ in packed_days(store)] == [MONDAY]
    assert rounded(document(store, "web", MONDAY, MONDAY + 3 * DAY, LATER)) == rounded(before)
    assert roll_up(store, LATER)["days_rolled"] == 2
    assert rounded(document(store, "web", MONDAY, MONDAY + 3 * DAY, LATER)) == rounded(before)


def test_rows_that_stay_are_not_counted_twice(store: History) -> None:
    for number in range(100):
        watch_store.record(store, [look(MONDAY + 600.0 * number, number % 9 != 0)], {})
    before = document(store, "web", MONDAY, MONDAY + DAY, LATER), store.tally("web", MONDAY)
    roll_up(store, LATER)
    assert rows(store) == blocks.KEEP_ROWS
    after = document(store, "web", MONDAY, MONDAY + DAY, LATER), store.tally("web", MONDAY)
    assert rounded(after) == rounded(before)
    assert store.tally("web", MONDAY)["probes"] == 100


def test_errors_of_the_day_outlive_their_samples(store: History) -> None:
    for number in range(300):
        watch_store.record(store, [look(MONDAY + 600.0 * number)], {})

    def told(now: float) -> dict[str, int]:
        period = known.periods.between(MONDAY, MONDAY + 2 * DAY, now=now, timezone="UTC")
        return dict(stores.facts(store, "web", period, now, gap_s=300.0).log_errors)

    raw = told(LATER)
    assert raw == {"2026-06-01": 3, "2026-06-02": 3}
    blocks.compact(store, MONDAY + 10 * DAY)
    assert told(LATER) == raw
    roll_up(store, LATER)
    assert told(LATER) == raw
    roll_up(store, ANCIENT)
    assert told(LATER) == raw


def test_rolled_up_day_is_small(store: History) -> None:
    stores.write_series(store, "web", made(MONDAY, 8640, 10.0), "x")
    raw = 8640 * series.SAMPLE.itemsize
    roll_up(store, LATER)
    query = sa.select(sa.func.length(schema.sample_rollups.c.data))
    assert store.read(lambda connection: connection.execute(query).scalar()) < raw / 3
    roll_up(store, ANCIENT)
    assert store.read(lambda connection: connection.execute(query).scalar()) < raw / 12


@pytest.mark.parametrize("change", ["data = substr(data, 2)", "layout = 99", "data = x''"])
def test_damaged_day_is_told(store: History, change: str) -> None:
    stores.write_series(store, "web", made(MONDAY, 1440), "x")
    roll_up(store, LATER)
    with sqlite3.connect(str(store.name)) as other:
        other.execute(f"UPDATE sample_rollups SET {change}")
    with pytest.raises(HistoryError, match="packed samples of web"):
        document(store, "web", MONDAY, MONDAY + DAY, LATER)


def test_part_of_a_cell_goes_where_the_cell_begins(store: History) -> None:
    stores.write_series(store, "web", made(MONDAY, 8640, 10.0, bad=0.0), "x")
    roll_up(store, LATER)
    facts = stores.facts(
        store, "web", known.periods.between(MONDAY + 90, MONDAY + 630, now=LATER, timezone="UTC"), LATER, gap_s=300.0
    )
    assert facts.cells.total.tolist() == [60], "the cells that begin at 300 and 600"
    assert np.sum(facts.cells.latency) == 60
