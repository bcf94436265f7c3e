"""Trends: what a line says, what counts as growth, and what samples add up to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.emergency.trend import MIB, Limits, Sample, bad, fit, growth, judge

LIMITS = Limits(latency_ms=2000, cpu_percent=80, memory_bytes=500 * MIB)
finite = st.floats(-1e9, 1e9, allow_nan=False)


def sample(at: float, **changed: Any) -> Sample:
    good: dict[str, Any] = {"ok": True, "latency_ms": 10, "memory_bytes": 80 * MIB, "cpu_percent": 5}
    return Sample(at=at, **{**good, **changed})


def samples(count: int, **changed: Any) -> list[Sample]:
    return [sample(10.0 * i, **changed) for i in range(count)]


@given(slope=st.floats(-1e4, 1e4), start=st.floats(-1e6, 1e6), times=st.lists(st.integers(0, 10_000), unique=True))
def test_a_straight_line_is_found_again(slope: float, start: float, times: list[int]) -> None:
    line = fit([(1.7e9 + at, start + slope * at) for at in times])
    if len(times) < 3:
        assert line is None
        return
    assert line is not None
    assert line.slope == pytest.approx(slope, rel=1e-3, abs=1e-3)
    assert line.span_s == max(times) - min(times)


@given(st.lists(st.tuples(finite, finite), max_size=30))
def test_any_points_give_a_line_or_none(points: list[tuple[float, float]]) -> None:
    line = fit(points)
    assert line is None or 0 <= line.sure <= 1
    assert growth(points)["points"] == len(points)


def test_points_of_one_moment_are_no_line() -> None:
    assert fit([(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]) is None
    assert fit([(0.0, 0.0), (0.0, 0.0), (3.2e-160, 1.0)]) is None


@pytest.mark.parametrize(
    ("values", "growing"),
    [
        ([100, 150, 200, 250], True),
        ([100, 100, 100, 100], False),
        ([100, 105, 110, 115], False),  # a heap's own breath
        ([250, 200, 150, 100], False),
        ([80, 80, 80, 670], False),  # one jump
        ([80, 370, 670], True),
        ([100, 300, 90, 310, 100, 140], False),  # up and down, no line
    ],
)
def test_growth_is_a_line_beyond_a_heaps_breath(values: list[int], growing: bool) -> None:
    found = growth([(60.0 * i, value * MIB) for i, value in enumerate(values)])
    assert found["growing"] is growing


def test_growth_is_told_by_the_minute() -> None:
    assert growth([(30.0 * i, 50.0 * MIB * i) for i in range(5)])["growth_per_min_bytes"] == 100 * MIB


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, False),
        ({"ok": False}, True),
        ({"latency_ms": 2001}, True),
        ({"cpu_percent": 81}, True),
        ({"memory_bytes": 501 * MIB}, True),
        ({"latency_ms": None, "cpu_percent": None, "memory_bytes": None}, False),
    ],
)
def test_a_bad_sample(changed: dict[str, Any], expected: bool) -> None:
    assert bad(sample(0, **changed), LIMITS) is expected


CASES: dict[str, tuple[list[Sample], str | None]] = {
    "nothing": ([], "few"),
    "two": (samples(2), "few"),
    "good": (samples(30), None),
    "one bad of thirty": ([*samples(29), sample(290, ok=False)], None),
    "a third bad": ([*samples(20), *samples(10, latency_ms=5000)], "bad"),
    "fell ill at the end": ([*samples(9), sample(90, ok=False), sample(100, ok=False)], None),
    "started again": ([*samples(5), sample(50, started=1)], "unstable"),
    "leak": ([sample(10.0 * i, memory_bytes=(80 + 5 * i) * MIB) for i in range(30)], "leak"),
    "slow growth": ([sample(10.0 * i, memory_bytes=(80 + i / 100) * MIB) for i in range(30)], None),
}


@pytest.mark.parametrize("name", CASES)
def test_what_samples_add_up_to(name: str) -> None:
    seen, why = CASES[name]
    told = judge(seen, LIMITS)
    assert (told["why"], told["good"]) == (why, why is None)


@given(
    st.lists(
        st.builds(
            Sample,
            at=st.floats(0, 1e4),
            ok=st.booleans(),
            latency_ms=st.none() | st.floats(0, 1e5),
            memory_bytes=st.none() | st.floats(0, 1e12),
            cpu_percent=st.none() | st.floats(0, 1e4),
            started=st.integers(0, 3),
        )
    )
)
def test_any_samples_are_judged(seen: list[Sample]) -> None:
    told = judge(seen, LIMITS)
    assert told["good"] is (told["why"] is None)
    assert told["samples"] == len(seen)
    assert 0 <= told["bad_percent"] <= 100
