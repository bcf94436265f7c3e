"""Histograms of latencies: exact at their edges, within five percent between them, and they add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.sla.data import histogram

LATENCIES = st.lists(st.floats(min_value=0, max_value=99_999, width=32), max_size=60)


def test_edges_are_steps_of_five_percent_at_most_with_every_round_number() -> None:
    edges = histogram.EDGES
    assert np.all(np.diff(edges) > 0)
    assert (edges[1:] / edges[:-1]).max() <= 1.05 + 1e-12
    assert (edges[0], edges[-1], histogram.BUCKETS) == (1, 100_000, len(edges) + 1)
    for threshold in (1, 2, 5, 10, 50, 100, 150, 200, 250, 300, 500, 1000, 1500, 2000, 5000, 10_000, 30_000):
        assert histogram.is_edge(threshold)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -1.0, -0.001])
def test_what_is_no_latency_is_not_counted(wrong: float) -> None:
    assert histogram.count([wrong, 5.0]).sum() == 1


def test_zero_and_the_very_long_have_buckets() -> None:
    counts = histogram.count([0.0, -0.0, 0.999, 100_000, 3e38])
    assert (counts[0], counts[-1], counts.sum()) == (3, 2, 5)
    assert histogram.quantile(counts, 0.99) == 100_000


def test_an_edge_is_not_below_itself() -> None:
    counts = histogram.count([199.99, 200, 200.01])
    assert histogram.below(counts, 200) == 1
    assert histogram.below(counts, 210) == 3


def test_a_threshold_between_edges_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="no edge"):
        histogram.below(histogram.count([1.0]), 201)


@given(LATENCIES)
def test_buckets_are_those_of_a_plain_search(latencies: list[float]) -> None:
    wanted = [int(np.searchsorted(histogram.EDGES.astype(np.float32), np.float32(one), "right")) for one in latencies]
    assert histogram.buckets(latencies).tolist() == wanted


def test_buckets_are_right_on_and_beside_every_edge() -> None:
    edges = histogram.EDGES.astype(np.float32)
    assert histogram.buckets(edges).tolist() == list(range(1, len(edges) + 1))
    assert histogram.buckets(np.nextafter(edges, np.float32(0))).tolist() == list(range(len(edges)))


@given(LATENCIES, LATENCIES, st.sampled_from(histogram.EDGES.tolist()))
def test_counts_add_up_and_tell_what_lies_below(one: list[float], other: list[float], threshold: float) -> None:
    counts = histogram.count(one) + histogram.count(other)
    assert np.array_equal(counts, histogram.count([*one, *other]))
    assert histogram.below(counts, threshold) == sum(np.float32(x) < np.float32(threshold) for x in [*one, *other])


@given(LATENCIES.filter(bool), st.floats(min_value=0, max_value=1))
def test_a_quantile_is_that_of_the_sorted_list_within_five_percent(latencies: list[float], q: float) -> None:
    true = sorted(latencies)[max(math.ceil(round(q * len(latencies), 6)), 1) - 1]
    found = histogram.quantile(histogram.count(latencies), q)
    assert found is not None
    assert true <= found * (1 + 1e-6)
    assert found <= max(true * 1.0501, 1)


def test_no_latency_no_quantile() -> None:
    assert histogram.quantile(histogram.count([]), 0.5) is None
