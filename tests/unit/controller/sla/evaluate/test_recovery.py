"""Incidents as a timeline tells of them, and the rows of the table that are about them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.sla.data import spans
from orquestrador_ops.sla.data.spans import NONE, Timeline
from orquestrador_ops.sla.evaluate import recovery

Pairs = Iterable[tuple[float, float]]
STRETCHES = st.lists(st.tuples(st.integers(0, 990), st.integers(1, 50)).map(lambda one: (one[0], sum(one))), max_size=9)


def line(down: Pairs, unknown: Pairs = (), end: float = 1000.0) -> Timeline:
    bad = spans.cut(spans.of(down), 0, end)
    return Timeline(0.0, end, bad, spans.difference(spans.cut(spans.of(unknown), 0, end), bad))


def test_stretches_between_which_nobody_looked_are_one_incident() -> None:
    (one,) = recovery.incidents(line([(10, 20), (50, 60)], [(20, 50)]), NONE)
    assert (one.from_at, one.to_at, one.seconds, one.best_seconds, one.worst_seconds) == (10, 60, 20, 10, 50)
    assert len(recovery.incidents(line([(10, 20), (50, 60)]), NONE)) == 2


def test_one_that_nobody_saw_end_has_no_end_and_no_worst() -> None:
    (one,) = recovery.incidents(line([(990, 1000)]), NONE)
    assert (one.to_at, one.worst_seconds, one.best_seconds) == (None, None, 10)


def test_planned_time_is_taken_off() -> None:
    whole, part = recovery.incidents(line([(10, 20), (50, 80)]), spans.of([(5, 25), (70, 90)]))
    assert whole.planned
    assert not part.planned
    assert (part.unplanned_seconds, part.unplanned_worst_seconds) == (20, 20)


@given(STRETCHES, STRETCHES, STRETCHES)
def test_whatever_a_timeline_tells(down: list[Pairs], unknown: list[Pairs], planned: list[Pairs]) -> None:
    told = line(down, unknown)  # type: ignore[arg-type]
    found = recovery.incidents(told, spans.of(planned))  # type: ignore[arg-type]
    assert sum(one.seconds for one in found) == told.down.seconds
    assert all(one.from_at < one.last_at for one in found)
    for one in found:
        assert one.unplanned_seconds <= one.seconds
        assert one.worst_seconds is None or one.best_seconds <= one.seconds <= one.worst_seconds


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([{"id": 1, "opened_at": 5, "closed_at": 12}], 1),
        ([{"id": 1, "opened_at": 5}, {"id": 2, "opened_at": 15}, {"id": 3, "opened_at": 14}], 3),
        ([{"id": 1, "opened_at": 5, "closed_at": 9}], None),
        ([{"id": 1, "opened_at": 21}], None),
        ([{"id": 1, "opened_at": 15, "procedure": "sla_burn"}], None),
        ([{"id": 1, "opened_at": "nonsense"}, {}, {"id": 2, "opened_at": None}], None),
    ],
)
def test_the_row_that_was_open_meanwhile_is_about_it(rows: list[dict[str, object]], found: int | None) -> None:
    (one,) = recovery.incidents(line([(10, 20)]), NONE)
    row = recovery.Records(rows, 1000.0).about(one)
    assert row.get("id") == found
    assert recovery.as_dict(one, row, counted=True)["id"] == found
