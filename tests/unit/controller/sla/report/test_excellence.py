"""What ticks the checklist of excellence, and how long backups and restores took."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.procedures.catalog import PROCEDURES
from orquestrador_ops.sla.report import excellence

DAY = 86400.0
START = datetime(2026, 11, 1, tzinfo=UTC).timestamp()  # a Sunday
DAILY = {"pm2_status": "ok", "health_check": "ok", "error_logs": "ok", "api": "ok"}
WEEKLY = {"logs_archive": "changed", "pm2_flush": "ok", "app_tests": "ok", "git_integrity": "ok"}
MONTHLY = {
    "database_backup": "changed",
    "database_verify": "ok",
    "code_backup": "changed",
    "database_optimize": "ok",
    "npm_audit": "ok",
    "app_build": "changed",
    "app_tests": "ok",
}


def run(procedure: str, day: float, outcome: str = "met", **steps: str) -> dict[str, Any]:
    found = [{"id": name, "status": status, "evidence": {}} for name, status in steps.items()]
    return {"procedure": procedure, "started_at": START + day * DAY, "outcome": outcome, "steps": found}


def told(runs: list[Any], days: int, elapsed: float | None = None, **document: Any) -> dict[str, dict[str, Any]]:
    """Items by their ids."""
    over = days if elapsed is None else elapsed
    groups = excellence.checklist(runs, document, days=days, elapsed=over, zone=UTC)
    return {item["id"]: item for group in groups for item in group["items"]}


@pytest.mark.parametrize(
    ("days", "cadences"),
    [
        (1, ["daily"]),
        (7, ["daily", "weekly"]),
        (28, ["daily", "weekly", "monthly"]),
        (31, ["daily", "weekly", "monthly"]),
        (92, ["daily", "weekly", "monthly", "quarterly"]),
        (365, ["daily", "weekly", "monthly", "quarterly"]),
    ],
)
def test_a_period_is_told_of_what_it_is_long_enough_for(days: int, cadences: list[str]) -> None:
    found = excellence.checklist([], {}, days=days, elapsed=days, zone=UTC)
    assert [group["cadence"] for group in found] == cadences
    assert {item["status"] for group in found for item in group["items"]} == {"open"}


def test_every_day_needs_its_proof() -> None:
    runs = [run("daily", day + 0.5, **DAILY) for day in range(7)]
    assert (told(runs, 7)["health_check"]["status"], told(runs, 7)["health_check"]["done"]) == ("done", 7)
    assert told(runs[:-1], 7)["health_check"]["status"] == "partly"
    assert told(runs[:-1], 7, elapsed=6)["health_check"]["status"] == "done"  # the seventh is not over yet
    twice = [*runs[:6], run("daily", 5.9, **DAILY)]
    assert told(twice, 7)["health_check"]["status"] == "partly"


@pytest.mark.parametrize(
    ("steps", "item", "status"),
    [
        ({**DAILY, "api": "failed"}, "api", "failed"),
        ({**DAILY, "api": "failed"}, "database", "failed"),
        ({**DAILY, "api": "failed"}, "pm2_online", "done"),
        ({**DAILY, "error_logs": "warn"}, "logs_reviewed", "failed"),
        ({**DAILY, "health_check": "unknown"}, "health_check", "open"),
        ({**DAILY, "health_check": "unknown", "api": "failed"}, "database", "failed"),
        ({"api": "ok"}, "database", "open"),
        ({"other": "ok"}, "health_check", "open"),
        ({}, "database", "open"),
    ],
)
def test_a_day_is_ticked_by_the_steps_of_its_routine(steps: dict[str, str], item: str, status: str) -> None:
    assert told([run("daily", 0.5, "not_met", **steps)], 1)[item]["status"] == status


def test_weeks_months_and_quarters() -> None:
    weekly = [run("weekly", 5 + 7 * week, **WEEKLY) for week in range(4)]
    monthly = [run("monthly", 5, "not_met", **MONTHLY)]
    met = [{"verdict": "met"}] * 5
    found = told([*weekly, *monthly], 30, slas=met)
    ticked = {name for name, item in found.items() if item["status"] == "done"}
    assert ticked == {
        "logs_archived",
        "cache_cleaned",
        "tests",
        "git",
        "uptime_report",
        "backup",
        "optimized",
        "audited",
        "rebuilt",
        "report",
        "slas",
    }
    assert found["tests"]["due"] == 4
    assert told(weekly[:3], 30)["tests"]["status"] == "partly"
    year = [run("quarterly", 80 + 91 * quarter) for quarter in range(4)]
    assert told(year, 365)["security"] | {"title": 0, "at": 0} == {
        "id": "security",
        "title": 0,
        "status": "done",
        "done": 4,
        "due": 4,
        "at": 0,
    }
    assert told(year, 365)["documentation"]["status"] == "open"


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        (["met", "met"], "done"),
        (["met", "missed"], "failed"),
        (["met", "unproven"], "open"),
        (["no_data"], "open"),
        ([], "open"),
    ],
)
def test_service_levels_are_ticked_by_their_verdicts(verdicts: list[str], status: str) -> None:
    slas = [{"verdict": verdict} for verdict in verdicts]
    assert told([], 30, slas=slas)["slas"]["status"] == status


def test_the_last_word_counts_where_it_was_done_at_times() -> None:
    good, bad = {**WEEKLY}, {**WEEKLY, "app_tests": "failed"}
    assert told([run("weekly", 5, **good), run("weekly", 12, **bad)], 30)["tests"]["status"] == "failed"
    assert told([run("weekly", 5, **bad), run("weekly", 12, **good)], 30)["tests"]["status"] == "partly"
    assert told([run("weekly", 5, **bad), run("weekly", 6, **good)], 7)["tests"]["status"] == "done"


def test_a_rehearsal_and_a_broken_record_prove_nothing() -> None:
    rehearsed = {**run("daily", 0.5, **DAILY), "check_mode": True}
    undated = {**run("daily", 0.5, **DAILY), "started_at": None}
    for runs in ([rehearsed], [undated], [None], [{"procedure": "daily", "started_at": START, "steps": None}]):
        assert told(runs, 1)["health_check"]["status"] == "open"
        assert excellence.copies(runs) == []


def test_the_steps_that_prove_an_item_exist() -> None:
    known = {step.id for one in PROCEDURES.values() for step in one.steps}
    named = {*DAILY, *WEEKLY, *MONTHLY, *(name for name in excellence._COPIES if name != "code_verify")}
    assert named <= known
    assert "code_verify" in known


@given(st.lists(st.tuples(st.floats(0, 6.99), st.booleans()), max_size=20), st.floats(0, 6.99))
def test_one_more_proof_never_takes_a_tick_away(days: list[tuple[float, bool]], more: float) -> None:
    order = ["open", "failed", "partly", "done"]
    runs = [run("daily", day, **{**DAILY, "api": "ok" if good else "failed"}) for day, good in days]
    before, after = told(runs, 7)["api"], told([*runs, run("daily", more, **DAILY)], 7)["api"]
    assert after["done"] >= before["done"]
    if before["status"] != "partly":
        assert order.index(after["status"]) >= order.index(before["status"])
    assert told(list(reversed(runs)), 7)["api"]["done"] == before["done"]


def test_copies_are_told_with_their_times() -> None:
    backup = run("backup", 1, database_backup="changed", database_verify="ok", application="ok")
    backup["steps"][0]["evidence"] = {"duration_s": 184.2, "bytes_file": 316_247, "bytes_dump": 1_993_751}
    backup["steps"][1]["evidence"] = {"restore_s": 2.5, "duration_s": 21.4}
    restore = run("restore", 0, "not_met", database_restore="failed")
    restore["steps"][0]["evidence"] = {"restore_s": 2.37, "stopped_s": 6.559, "bytes_dump": 1_992_651}
    skipped = run("backup", 2, database_backup="changed", database_verify="skipped")
    found = excellence.copies([backup, restore, skipped])
    assert [(row["at"], row["status"], row["seconds"], row["stopped_s"], row["bytes"]) for row in found] == [
        (START, "failed", 2.37, 6.559, 1_992_651),
        (START + DAY, "done", 184.2, None, 316_247),
        (START + DAY, "done", 2.5, None, None),
        (START + 2 * DAY, "done", None, None, None),
    ]
