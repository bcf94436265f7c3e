"""All that the history knows of a period, from rows, packed hours and rolled-up days at once."""

from __future__ import annotations

import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from orquestrador_ops.core.errors import HistoryError
from orquestrador_ops.history import schema
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History
from orquestrador_ops.incidents import maintenance
from orquestrador_ops.incidents import store as incidents
from orquestrador_ops.sla.data import periods
from orquestrador_ops.sla.data import store as stores
from orquestrador_ops.sla.evaluate.evaluate import evaluate
from orquestrador_ops.sla.evaluate.objectives import Objectives
from orquestrador_ops.watch import store as watch_store
from tests.unit import children
from tests.unit.controller.sla import known
from tests.unit.controller.sla.data.test_blocks import look
from tests.unit.controller.sla.filled import ALL_GOOD, DAY, HOUR, MONDAY, document, made, rounded
from tests.unit.fakes.histories import Opener
from tests.unit.fakes.records import record_planned_restart

NOW = MONDAY + 5 * DAY


def facts(store: History, start: float, end: float, now: float, zone: str = "UTC", gap_s: float = 300.0) -> Any:
    return stores.facts(store, "web", periods.between(start, end, now=now, timezone=zone), now, gap_s=gap_s)


def test_year_whose_figures_are_known(store: History) -> None:
    year = known.year(60.0)
    stores.write_series(store, "web", year.series, "x")
    for window in year.windows:
        row = {"host": "web", **window}
        store.write(lambda connection, row=row: connection.execute(sa.insert(schema.maintenance_windows), row))
    found = stores.facts(store, "web", year.period, year.now, gap_s=known.GAP_S)
    wanted = known.facts(year)
    assert rounded(evaluate(found, Objectives())) == rounded({**evaluate(wanted, Objectives()), "host": "web"})
    seconds = evaluate(found, Objectives())["seconds"]
    assert {name: seconds[name] for name in ("down", "planned_down", "unknown")} == {
        name: year.expected[name] for name in ("down", "planned_down", "unknown")
    }


def test_rows_blocks_and_rolled_up_days_are_one_history(opener: Opener) -> None:
    whole = made(MONDAY, 5 * 288, 300.0)
    with opener() as store:
        stores.write_series(store, "web", whole, "x")
        expected = document(store, "web", MONDAY, NOW, NOW)
    assert expected["seconds"]["unknown"] == 0
    with opener() as store:
        stores.roll_up(store, MONDAY + 92 * DAY)  # two days
        assert rounded(document(store, "web", MONDAY, NOW, NOW)) == rounded(expected)
        watch_store.record(store, [look(NOW - 60.0)], {})
        found = document(store, "web", MONDAY, NOW, NOW)
        assert sum(day["total"] for day in found["days"]) == 1441


def test_empty_history_is_unknown_and_gives_no_number(opener: Opener) -> None:
    with opener() as store:
        found = document(store, "web", MONDAY, NOW, NOW)
        assert stores.hosts(store) == []
    told = {(one["value"], one["verdict"]) for one in found["slas"] if one["id"] != "recovery"}
    assert told == {(None, "no_data")}
    assert found["seconds"]["unknown"] == 5 * DAY


def test_nothing_after_now_counts(store: History) -> None:
    stores.write_series(store, "web", made(MONDAY, 2 * 1440), "x")
    now = MONDAY + DAY + 30 * 60
    found = stores.facts(store, "web", periods.parse("2026-06", now=now, timezone="UTC"), now, gap_s=300.0)
    assert found.cells.edges.tolist() == [MONDAY, MONDAY + DAY, now]
    assert found.cells.total.tolist() == [1440, 30]
    assert found.timelines["uptime"].end == now


def test_failure_across_the_border_is_whole(store: History) -> None:
    whole = made(MONDAY - 2 * DAY, 4 * 1440, bad=0.0)
    at = whole["at"]
    whole["flags"] = ALL_GOOD
    begun, over = MONDAY - 26 * HOUR, MONDAY + 20 * 60
    whole["flags"][(at >= begun) & (at < over)] = 1
    whole = whole[(at < MONDAY - 2 * HOUR) | (at > MONDAY - HOUR)]
    stores.write_series(store, "web", whole, "x")
    for days in (0, 91, 500):
        if days:
            stores.roll_up(store, MONDAY + DAY + days * DAY)
        after = facts(store, MONDAY, MONDAY + DAY, NOW).timelines["uptime"]
        assert (after.start, after.end) == (begun, MONDAY + DAY)
        before = facts(store, MONDAY - DAY, MONDAY, NOW).timelines["uptime"]
        assert (before.start, before.end) == (begun, over + 1)
        (incident,) = document(store, "web", MONDAY - DAY, MONDAY, NOW)["incidents"]
        assert incident["worst_seconds"] == over - begun


def test_gap_at_the_border_is_no_failure(store: History) -> None:
    stores.write_series(store, "web", made(MONDAY - DAY, 600, bad=0.0), "x")
    line = facts(store, MONDAY, MONDAY + DAY, NOW).timelines["uptime"]
    assert (line.start, line.end) == (MONDAY, MONDAY + DAY)


@pytest.mark.parametrize(("flags", "wanted"), [(1 | 2, None), (1 | 2 | 4 | 8, 0.0), (4, 300.0)])
def test_availability_only_where_it_was_asked_from_outside(store: History, flags: int, wanted: float | None) -> None:
    one = made(MONDAY, 5)
    one["flags"] = flags
    stores.write_series(store, "web", one, "x")
    for now in (NOW, MONDAY + 200 * DAY):
        stores.roll_up(store, now)
        line = facts(store, MONDAY, MONDAY + 300, NOW).timelines["availability"]
        assert (None if line is None else line.down.seconds) == wanted


def test_what_else_is_on_record_of_a_period(opener: Opener) -> None:
    with opener() as store:
        window = maintenance.begin(
            store, host="web", reason="disks", ends_at=MONDAY + HOUR, operator="me", max_h=9, now=MONDAY - 10
        )
        maintenance.begin(store, host="web", reason="later", ends_at=NOW + HOUR, operator="me", max_h=9, now=NOW + 1)
        assert window
        for at in (MONDAY - 30, MONDAY + 5, NOW + DAY):
            record_planned_restart(store, "web", "app", at=at)
        incidents.report(store, host="web", alert="offline", severity="critical", at=MONDAY + 60)
        counts = {"host": "web", "source": "access", "seconds": 3600.0, "requests": 5_000_000_000, "errors": 2}
        store.write(
            lambda connection: connection.execute(
                sa.insert(schema.log_counts), [{**counts, "start_at": MONDAY + HOUR}, {**counts, "start_at": NOW}]
            )
        )
        run = {
            "run_id": "r",
            "procedure": "backup",
            "host": "web",
            "started_at": MONDAY + 5,
            "outcome": "met",
            "steps": [{"id": "database_backup", "status": "ok"}],
        }
        store.record_run(run)
        store.record_run({**run, "run_id": "c", "check_mode": True})
        found = facts(store, MONDAY, NOW, NOW)
    assert [one["reason"] for one in found.windows] == ["disks"]
    assert found.restarts == [MONDAY - 30, MONDAY + 5]
    assert [one["procedure"] for one in found.incidents] == ["offline"]
    assert list(found.log_counts) == [
        {"start_at": MONDAY + HOUR, "seconds": 3600, "requests": 5_000_000_000, "errors": 2}
    ]
    assert [(one["procedure"], one["steps"][0]["status"]) for one in found.runs] == [("backup", "ok")]


# ------------------------------------------------------------------ stores that are none


def test_corrupt_file_is_one_line(tmp_path: Path) -> None:
    with open_history(tmp_path) as store:
        stores.write_series(store, "web", made(MONDAY, 20_000), "x")
        path = Path(str(store.name))
    data = bytearray(path.read_bytes())
    for page in range(8 * 4096, len(data), 4096):
        data[page : page + 64] = b"\xff" * 64
    path.write_bytes(data)
    with pytest.raises(HistoryError, match="damaged") as error, open_history(tmp_path) as store:
        facts(store, MONDAY, NOW, NOW)
    assert "\n" not in str(error.value)


def test_newer_schema_is_one_line(tmp_path: Path) -> None:
    open_history(tmp_path).close()
    with sqlite3.connect(tmp_path / "history.sqlite3") as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(HistoryError, match=r"its schema 9999 is newer than this version knows \(0003\)"):
        open_history(tmp_path)


def test_store_of_the_version_before_is_migrated(tmp_path: Path) -> None:
    with open_history(tmp_path) as store:
        watch_store.record(store, [look(MONDAY)], {})
    with sqlite3.connect(tmp_path / "history.sqlite3") as other:
        for table in ("sample_blocks", "sample_rollups", "log_counts"):
            other.execute(f"DROP TABLE {table}")
        other.execute("UPDATE alembic_version SET version_num = '0002'")
    with open_history(tmp_path) as store:
        assert stores.write_series(store, "web", made(MONDAY + 60, 10), "x") == 10
        assert facts(store, MONDAY, NOW, NOW).cells.total.tolist() == [11, 0, 0, 0, 0]


def test_full_disk_is_one_line_and_leaves_the_store_whole(tmp_path: Path) -> None:
    whole = made(MONDAY, 100)
    with open_history(tmp_path) as store:
        stores.write_series(store, "web", whole, "x")
    limit = (tmp_path / "history.sqlite3").stat().st_size + 500_000
    done = subprocess.run(
        children.command("overfill_store", tmp_path, limit),
        cwd=children.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 1), done.stderr
    assert "the disk is full" in done.stdout
    with open_history(tmp_path) as store:
        assert np.array_equal(stores.series(store, "web", 0, NOW), whole)


def test_month_fits_into_memory(tmp_path: Path) -> None:
    with open_history(tmp_path) as store:
        stores.write_series(store, "web", made(MONDAY, 30 * 8640, 10.0), "x")
    done = subprocess.run(
        children.command("evaluate_month", tmp_path, MONDAY + 30 * DAY),
        cwd=children.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert 10 < int(done.stdout) / 1024 < 150
