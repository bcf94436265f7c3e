"""Counts of requests in the history: the last one of an hour is the one that counts."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador_ops.history.store import History
from orquestrador_ops.sla.data import log_counts, periods
from orquestrador_ops.sla.data import store as stores
from orquestrador_ops.sla.evaluate.evaluate import evaluate
from orquestrador_ops.sla.evaluate.objectives import Objectives
from tests.unit.controller.sla.filled import HOUR, MONDAY
from tests.unit.fakes.histories import Opener


def row(hours: int, requests: int, errors: int, **more: Any) -> dict[str, Any]:
    return {"start_at": MONDAY + hours * HOUR, "seconds": 3600, "requests": requests, "errors": errors, **more}


def test_an_hour_that_goes_on_is_replaced(opener: Opener) -> None:
    with opener() as store:
        assert log_counts.record(store, "web", [row(0, 100, 1, failed=1), row(1, 10, 0)]) == 2
        assert log_counts.record(store, "web", [row(1, 50, 2), row(2, 0, 0)]) == 2
        assert log_counts.record(store, "other", [row(1, 7, 7)]) == 1
        assert log_counts.record(store, "web", []) == 0
    with opener() as store:
        assert log_counts.read(store, "web", MONDAY, MONDAY + 2 * HOUR) == [
            {"start_at": MONDAY, "seconds": 3600.0, "requests": 100, "errors": 1},
            {"start_at": MONDAY + HOUR, "seconds": 3600.0, "requests": 50, "errors": 2},
        ]
        assert log_counts.read(store, "nobody", 0, MONDAY * 2) == []


@pytest.mark.parametrize(("errors", "met"), [(3, True), (4, False)])
def test_the_error_rate_comes_from_them(store: History, errors: int, met: bool) -> None:
    log_counts.record(store, "web", [row(hour, 1000 if hour else 0, errors if hour == 3 else 0) for hour in range(4)])
    now = MONDAY + 4 * HOUR
    period = periods.between(MONDAY, now, now=now, timezone="UTC")
    levels = evaluate(stores.facts(store, "web", period, now, gap_s=300.0), Objectives())["slas"]
    found = next(level for level in levels if level["id"] == "error_rate")
    assert (found["measured_by"], found["total"], found["good"]) == ("logs", 3000, 3000 - errors)
    assert found["value"] == pytest.approx(errors / 3000)
    assert found["coverage"] == 1.0
    assert found["met"] is met
