"""Spans, timelines and cells against the same arithmetic done second by second."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.sla.data import cells as counting
from orquestrador_ops.sla.data import series as samples
from orquestrador_ops.sla.data import spans
from orquestrador_ops.sla.data.cells import Cells
from orquestrador_ops.sla.data.series import INSIDE_GOOD, INSIDE_SEEN, OUTSIDE_GOOD, OUTSIDE_SEEN
from orquestrador_ops.sla.data.spans import Spans, Timeline
from orquestrador_ops.sla.data.timeline import clip, join, timeline
from tests.unit.controller.sla.strategies import END, GAP_S, SAMPLES, START, STRETCHES, Sample, series, states

KINDS = st.sampled_from(["uptime", "availability"])


def seconds_of(found: Spans) -> set[int]:
    return {second for start, end in found.pairs() for second in range(int(start), int(end))}


def same(one: Timeline, other: Timeline) -> bool:
    return (one.start, one.end, one.down.pairs(), one.unknown.pairs()) == (
        other.start,
        other.end,
        other.down.pairs(),
        other.unknown.pairs(),
    )


def valid(found: Spans) -> bool:
    return bool(np.all(found.end > found.start) and np.all(found.start[1:] > found.end[:-1]))


# -------------------------------------------------------------------- spans


@given(STRETCHES, STRETCHES)
def test_spans_are_sets_of_seconds(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    a, b = spans.of(one), spans.of(other)
    seconds_a, seconds_b = ({s for x, y in of for s in range(x, y)} for of in (one, other))
    assert (seconds_of(a), a.seconds) == (seconds_a, len(seconds_a))
    for found, wanted in (
        (spans.union(a, b), seconds_a | seconds_b),
        (spans.intersection(a, b), seconds_a & seconds_b),
        (spans.difference(a, b), seconds_a - seconds_b),
        (spans.cut(a, START, END), seconds_a & set(range(START, END))),
    ):
        assert valid(found)
        assert seconds_of(found) == wanted
    edges = np.array([START, START + 7, START + 8, END - 200, END])
    wanted_per_cell = [len(seconds_a & set(range(int(x), int(y)))) for x, y in pairwise(edges)]
    assert spans.seconds_between(a, edges).tolist() == wanted_per_cell
    asked = np.arange(START, END, 13.0)
    assert spans.within(a, asked).tolist() == [int(second) in seconds_a for second in asked]


def test_pairs_that_are_no_stretch_are_left_out() -> None:
    nan, inf = float("nan"), float("inf")
    assert spans.of([(5, 5), (9, 3), (nan, 4), (1, inf), (2, 3)]).pairs() == [(2, 3)]
    assert len(spans.of([])) == 0


# -------------------------------------------------------------------- timelines


@given(SAMPLES, KINDS, st.integers(1, 90))
def test_a_timeline_is_what_every_second_says(given_: list[Sample], kind: str, gap_s: int) -> None:
    found = timeline(series(given_), kind, START, END, gap_s)  # type: ignore[arg-type]
    wanted = states(given_, kind, START, END, gap_s)
    assert valid(found.down)
    assert valid(found.unknown)
    down, unknown = seconds_of(found.down), seconds_of(found.unknown)
    assert ["down" if s in down else "unknown" if s in unknown else "up" for s in range(START, END)] == wanted


@given(SAMPLES, KINDS, st.randoms(use_true_random=False))
def test_merged_split_or_shuffled_samples_say_the_same(given_: list[Sample], kind: str, shuffle: random.Random) -> None:
    whole = timeline(series(given_), kind, START, END, GAP_S)  # type: ignore[arg-type]
    again = [*given_, *given_[::2]]
    shuffle.shuffle(again)
    cut = shuffle.randint(0, len(again))
    merged = samples.merged(series(again[:cut]), series(again[cut:]))
    assert same(timeline(merged, kind, START, END, GAP_S), whole)  # type: ignore[arg-type]
    assert same(timeline(series(again), kind, START, END, GAP_S), whole)  # type: ignore[arg-type]


@given(SAMPLES, KINDS, st.lists(st.integers(START, END), max_size=5))
def test_a_timeline_clipped_and_joined_is_the_whole(given_: list[Sample], kind: str, cuts: list[int]) -> None:
    made = series(given_)
    whole = timeline(made, kind, START, END, GAP_S)  # type: ignore[arg-type]
    edges = sorted({START, *cuts, END})
    pairs = list(pairwise(edges))
    assert same(join([clip(whole, start, end) for start, end in pairs][::-1]), whole)
    apart = [timeline(made, kind, start, end, GAP_S) for start, end in pairs]  # type: ignore[arg-type]
    assert same(join(apart), whole)


def test_of_time_beyond_a_timeline_nothing_is_known() -> None:
    up = Timeline(10, 20, spans.of([(12, 13)]), spans.NONE)
    beyond = clip(up, 0, 30)
    assert (beyond.down.pairs(), beyond.unknown.pairs()) == ([(12, 13)], [(0, 10), (20, 30)])
    assert clip(up, 30, 40).unknown.pairs() == [(30, 40)]
    hole = join([Timeline(0, 5, spans.NONE, spans.NONE), Timeline(8, 9, spans.NONE, spans.of([(8, 9)]))])
    assert (hole.start, hole.end, hole.unknown.pairs()) == (0, 9, [(5, 9)])
    with pytest.raises(ValueError, match="overlap"):
        join([up, Timeline(19, 25, spans.NONE, spans.NONE)])
    with pytest.raises(ValueError, match="no timeline"):
        join([])


def test_one_sample_holds_as_long_as_the_gap() -> None:
    good = INSIDE_SEEN | INSIDE_GOOD
    assert timeline(series([(START, good, None)]), "uptime", START, END, GAP_S).unknown.pairs() == [
        (START + GAP_S, END)
    ]
    before = timeline(series([(START - 10, 1, None)]), "uptime", START, END, GAP_S)
    assert before.down.pairs() == [(START, START + GAP_S - 10)]
    assert timeline(series([(START - GAP_S, good, None)]), "uptime", START, END, GAP_S).unknown.pairs() == [
        (START, END)
    ]
    # The next one in exactly the allowed time leaves no gap.
    two = series([(START, good, None), (START + GAP_S, good, None)])
    assert not len(timeline(two, "uptime", START, START + GAP_S + 1, GAP_S).unknown)
    assert timeline(two, "uptime", START, START + GAP_S, GAP_S - 1).unknown.pairs() == [
        (START + GAP_S - 1, START + GAP_S)
    ]


@pytest.mark.parametrize("at", [float("nan"), float("inf"), float("-inf")])
def test_a_sample_of_no_time_is_none(at: float) -> None:
    made = series([(START, 3, None), (START + 30, 1, None), (START + 60, 3, None)])
    wrong = made.copy()[:1]
    wrong["at"] = at
    whole = timeline(made, "uptime", START, START + 90, GAP_S)
    assert same(timeline(np.concatenate((wrong, made)), "uptime", START, START + 90, GAP_S), whole)
    assert same(timeline(np.concatenate((made, wrong)), "uptime", START, START + 90, GAP_S), whole)


def test_an_empty_stretch_has_an_empty_timeline() -> None:
    for start, end in ((START, START), (END, START)):
        found = timeline(series([(START, 1, None)]), "uptime", start, end, GAP_S)
        assert (found.start, found.end, len(found.down), len(found.unknown)) == (start, start, 0, 0)


def test_half_a_million_flapping_samples_are_read_at_once() -> None:
    made = samples.empty(500_000)
    made["at"] = np.arange(500_000)
    made["flags"] = np.where(np.arange(500_000) % 2, 3, 1)
    assert len(timeline(made, "uptime", 0, 500_000, 10).down) == 250_000


# -------------------------------------------------------------------- cells


def counted(given_: list[Sample], edges: list[int]) -> Cells:
    return counting.cells(series(given_), edges)


def equal(one: Cells, other: Cells) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in vars(one))


EDGES = [START, START + 100, START + 101, END - 50, END]


@given(SAMPLES)
def test_cells_count_what_a_loop_counts(given_: list[Sample]) -> None:
    found = counted(given_, EDGES)
    once = samples.normalized(series(given_))
    for number, (start, end) in enumerate(pairwise(EDGES)):
        rows = [row for row in once.tolist() if start <= row[0] < end]
        inside = [bool(row[5] & INSIDE_GOOD) for row in rows if row[5] & INSIDE_SEEN]
        only_outside = [
            bool(row[5] & OUTSIDE_GOOD) for row in rows if row[5] & OUTSIDE_SEEN and not row[5] & INSIDE_SEEN
        ]
        both = inside + only_outside
        assert (found.total[number], found.good[number]) == (len(both), sum(both))
        outside = [bool(row[5] & OUTSIDE_GOOD) for row in rows if row[5] & OUTSIDE_SEEN]
        assert (found.outside_total[number], found.outside_good[number]) == (len(outside), sum(outside))
        good = [row for row in rows if row[5] & (INSIDE_GOOD if row[5] & INSIDE_SEEN else OUTSIDE_GOOD)]
        assert found.latency[number].sum() == sum(0 <= row[1] < float("inf") for row in good)


@given(SAMPLES, st.lists(st.integers(START, END), max_size=5))
def test_finer_cells_grouped_are_the_coarser_ones(given_: list[Sample], cuts: list[int]) -> None:
    finer = counted(given_, sorted({*EDGES, *cuts}))
    assert equal(counting.grouped(finer, EDGES), counted(given_, EDGES))


@given(st.lists(st.tuples(st.integers(START, END), st.sampled_from([1, 3]), st.just(5.0)), unique_by=lambda s: s[0]))
def test_cells_of_parts_add_up(given_: list[Sample]) -> None:
    one, other = counted(given_[::2], EDGES), counted(given_[1::2], EDGES)
    assert equal(counting.added(one, other), counted(given_, EDGES))


def test_figures_are_the_largest_and_the_mean_of_what_was_measured() -> None:
    made = series([(START + number, 3, None) for number in range(6)])
    made["memory_bytes"] = [1e6, 3e6, np.nan, -1, np.inf, 2e6]
    made["cpu_percent"] = [np.nan] * 6
    made["disk_percent"] = [50, 52, 51, np.nan, np.nan, np.nan]
    found = counting.cells(made, [START, START + 3, START + 6, START + 9])
    assert found.memory_max.tolist()[:2] == [3e6, 2e6]
    assert found.memory_mean.tolist()[:2] == [2e6, 2e6]
    assert found.disk_max.tolist()[0] == 52
    assert np.isnan([*found.cpu_mean, found.memory_max[2], found.memory_mean[2], found.disk_max[1]]).all()


def test_cells_of_other_edges_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="edges"):
        counting.added(counting.empty([0, 1]), counting.empty([0, 2]))
    assert len(counting.empty([])) == 0
