"""Planned time and the edges between which samples are counted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orquestrador_ops.sla.data import facts, spans
from orquestrador_ops.sla.data.periods import Period, parse

DAY = 86400.0
START = 1_780_272_000.0  # 2026-06-01T00:00:00Z


@pytest.mark.parametrize(
    ("window", "found"),
    [
        ({"starts_at": 10, "ends_at": 20}, (10, 20)),
        ({"starts_at": 10, "ends_at": 20, "ended_at": 15}, (10, 15)),
        ({"starts_at": "1970-01-01T00:00:10Z", "ends_at": 20}, (10, 20)),
        ({"starts_at": 20, "ends_at": 20}, None),
        ({"starts_at": 20, "ends_at": 10}, None),
        ({"starts_at": "soon", "ends_at": 20}, None),
        ({}, None),
    ],
)
def test_a_window_without_times_is_none(window: dict[str, Any], found: tuple[float, float] | None) -> None:
    assert facts.bounds(window) == found


def test_planned_time_is_that_of_windows_and_around_restarts() -> None:
    windows = [{"starts_at": 10, "ends_at": 20}, {"starts_at": None}, {"starts_at": 18, "ends_at": 25}]
    assert facts.planned(windows, [100.0], 5.0).pairs() == [(10, 25), (95, 105)]
    assert len(facts.planned([], [], 5.0)) == 0


def test_a_day_is_cut_into_hours_of_utc_and_a_month_into_days() -> None:
    day = parse("2026-06-01", now=START + DAY, timezone="Asia/Kolkata")  # half an hour beside the hours of UTC
    cut = facts.hour_edges(day, day.end)
    assert (cut[0], cut[-1], len(cut)) == (day.start, day.end, 26)
    assert np.all(cut[1:-1] % 3600 == 0)
    month = parse("2026-06", now=START + DAY, timezone="UTC")
    assert len(facts.hour_edges(month, month.end)) == 0
    assert facts.day_edges(month, START + 1.5 * DAY).tolist() == [START, START + DAY, START + 1.5 * DAY]


def test_edges_rise_and_have_those_of_planned_time_within_the_period() -> None:
    period = Period("between", START, START + 10 * DAY, "UTC")
    cut = facts.edges(period, START + 2 * DAY, spans.of([(START - 5, START + 7), (START + DAY - 1, START + 9 * DAY)]))
    assert cut.tolist() == [START, START + 7, START + DAY - 1, START + DAY, START + 2 * DAY]
    assert facts.edges(period, START, spans.of([])).tolist() == [START]
