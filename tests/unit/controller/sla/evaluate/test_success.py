"""The success metrics of a period: what has no evidence is unknown, never met."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador_ops.sla.data import spans
from orquestrador_ops.sla.data.facts import Facts
from orquestrador_ops.sla.evaluate import success
from tests.unit.controller.sla import known

WEEKS = [("2026-10-05T10:00", "ok"), ("2026-10-12T10:00", "ok")]


def judged(*runs: dict[str, Any], outages: tuple[known.Stretch, ...] = (), **more: Any) -> dict[str, dict[str, Any]]:
    """The metrics by their ids, of two weeks that are over."""
    now = known.at("2026-11-22T12:00")
    period = known.periods.between("2026-10-05", "2026-10-19", now=now, timezone=known.ZONE)
    plan = known.Plan(outages=outages, runs=runs, **more)
    told: Facts = known.facts(known.built(period, now, 300.0, plan))
    uptime = told.timelines["uptime"]
    assert uptime is not None
    found = success.metrics(told, uptime, told.cells, spans.NONE, 0.999)
    return {one["id"]: one for several in found.values() for one in several}


def test_a_fortnight_in_which_all_went_well() -> None:
    steps = {"app_tests": "ok", "database_backup": "changed", "npm_audit": "ok", "npm_outdated": "ok"}
    found = judged(*(known.run("weekly", begin, 60.0, **steps) for begin, _ in WEEKS))
    assert {name: one["status"] for name, one in found.items()} == {
        "no_unplanned_downtime": "met",
        "health_checks": "met",
        "error_log": "met",
        "uptime": "met",
        "tests": "met",
        "backup": "met",
        "uptime_sla": "met",
        "dependencies": "met",
        "documentation": "unknown",
    }
    assert found["tests"]["observed"]["args"] == {"met": 2, "total": 2}


@pytest.mark.parametrize(
    ("second", "status"),
    [("ok", "met"), ("failed", "missed"), ("skipped", "unknown"), ("unknown", "unknown"), ("\x1b", "missed")],
)
def test_the_last_time_of_each_week_counts(second: str, status: str) -> None:
    first = [known.run("weekly", "2026-10-05T10:00", 60.0, app_tests=one) for one in ("failed",)]
    again = known.run("weekly", "2026-10-06T10:00", 60.0, app_tests="ok")
    later = known.run("weekly", "2026-10-12T10:00", 60.0, app_tests=second)
    assert judged(*first, again, later)["tests"]["status"] == status


def test_what_was_done_in_check_mode_was_not_done() -> None:
    runs = [{**known.run("weekly", begin, 60.0, app_tests="ok"), "check_mode": True} for begin, _ in WEEKS]
    assert judged(*runs)["tests"] | {"title": None} == {
        "id": "tests",
        "title": None,
        "status": "unknown",
        "observed": None,
    }


def test_an_outage_misses_its_day_and_a_gap_leaves_one_unknown() -> None:
    found = judged(outages=(("2026-10-07T10:00", 3600.0),), gaps=(("2026-10-09T10:00", 7200.0),))
    assert found["no_unplanned_downtime"]["status"] == "missed"
    assert found["no_unplanned_downtime"]["observed"]["args"] == {"met": 12, "total": 14}
    assert found["uptime"]["status"] == "missed"
