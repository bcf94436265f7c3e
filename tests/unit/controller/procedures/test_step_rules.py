"""Steps judged from what the probe saw, where no action reported about them."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador_ops.procedures import step_rules

FACTS: dict[str, Any] = {"health_uptime_min_days": 7}
TAKEN = "2026-01-10T12:00:00+00:00"


@pytest.mark.parametrize(
    ("seen", "status"),
    [(None, "unknown"), ({"missing": [".env"], "current": True}, "failed"), ({"current": True}, "ok"), ({}, "failed")],
)
def test_critical_files(seen: Any, status: str) -> None:
    found = step_rules.files({"files": seen}, {})
    assert found[0] == status
    assert (found[1]["args"] == {"files": ".env"}) is bool(seen and seen.get("missing"))


@pytest.mark.parametrize(
    ("days_up", "planned", "status"),
    [
        (7.1, None, "ok"),
        (2, None, "warn"),
        (2, "2026-01-08T12:00:00+00:00", "ok"),
        (2, "2026-01-08T12:50:00+00:00", "ok"),  # recorded when its run had ended
        (2, "2026-01-08T13:10:00+00:00", "warn"),
        (2, "2026-01-08T11:50:00+00:00", "warn"),  # something restarted it afterwards
    ],
)
def test_uptime_is_short_for_a_planned_restart_or_for_a_reason(
    days_up: float, planned: str | None, status: str
) -> None:
    snapshot = {"taken_at": TAKEN, "pm2": {"app": {"uptime_s": days_up * 86400}}}
    found = step_rules.uptime(snapshot, {**FACTS, "planned_restart_at": planned})
    assert found[0] == status
    assert found[2]["expected_s"] == 7 * 86400


@pytest.mark.parametrize("days", [True, "x", None, "inf"])
def test_uptime_without_a_limit_is_not_judged(days: Any) -> None:
    found = step_rules.uptime({"pm2": {"app": {"uptime_s": 9e9}}}, {"health_uptime_min_days": days})
    assert found[0] == "unknown"
    assert "health_uptime_min_days" in found[1]["text"]


@pytest.mark.parametrize("snapshot", [None, {}, {"pm2": None}, {"pm2": {"app": {"uptime_s": None}}}])
def test_uptime_that_nobody_saw_is_unknown(snapshot: Any) -> None:
    assert step_rules.uptime(snapshot, FACTS)[0] == "unknown"
