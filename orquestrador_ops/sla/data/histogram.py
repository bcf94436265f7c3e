"""Latencies as counts per bucket: unlike percentiles, histograms of parts add up to that of the whole."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.int64]

# In hundredths, from 1 to 10: steps of 5 % where they are coarsest, and all round numbers, so that a threshold is one.
_DECADE = np.concatenate((np.arange(100, 200, 5), np.arange(200, 500, 10), np.arange(500, 1000, 25)))
_DECADES = 5
# Upper borders of all buckets but the last, in ms; a bucket is [below, above). 1 ms … 100 s.
EDGES: NDArray[np.float64] = np.append(
    np.concatenate([_DECADE * 10**power / 100 for power in range(_DECADES)]), 10.0**_DECADES
)
BUCKETS = len(EDGES) + 1


def buckets(latencies: ArrayLike) -> NDArray[np.int64]:
    """Return the bucket of each latency in ms; negative and non-finite ones are left out."""
    values = np.asarray(latencies, np.float32)
    values = values[np.isfinite(values) & (values >= 0)] + np.float32(0)  # -0.0 becomes 0.0
    below = _BUCKET[values.view(np.uint32) >> _SHIFT]
    return np.asarray(below + (values >= _NEXT[below]), np.int64)


def count(latencies: ArrayLike) -> Counts:
    """Count latencies in ms per bucket, shape ``(BUCKETS,)``; negative and non-finite ones are left out."""
    return np.bincount(buckets(latencies), minlength=BUCKETS)


def quantile(counts: Counts, q: float) -> float | None:
    """Return the ``q`` quantile of latencies in ms: the upper edge of its bucket, at most 5 % too high.

    Below 1 ms it is 1, above 100 s it is 100 s. ``None`` where nothing was counted.
    """
    total = int(np.sum(counts))
    if not total:
        return None
    rank = max(math.ceil(round(q * total, 6)), 1)  # rounded: 0.95 x 100 must not become the 96th
    bucket = int(np.searchsorted(np.cumsum(counts), rank))
    return float(EDGES[min(bucket, len(EDGES) - 1)])


def is_edge(threshold_ms: float) -> bool:
    """Return whether a threshold is a bucket's edge, so that latencies below it are counted exactly."""
    return bool(np.any(threshold_ms == EDGES))


def below(counts: Counts, threshold_ms: float) -> int:
    """Return how many are below the threshold. Raises ``ValueError`` for one that is no edge."""
    if not is_edge(threshold_ms):
        raise ValueError(f"{threshold_ms} ms is no edge of the histogram")
    return int(np.sum(counts[: int(np.searchsorted(EDGES, threshold_ms)) + 1]))


# Samples are stored in single precision, so edges are as well: a latency of 1.05 ms is not below the edge 1.05.
_SINGLE = EDGES.astype(np.float32)
# Millions of latencies are looked up by their upper bits, in steps of less than 1 %: between two
# steps there is one edge at most.
_SHIFT = np.uint32(16)
_STEPS = (np.arange(0x7F80, dtype=np.uint32) << _SHIFT).view(np.float32)  # all that are finite and not negative
_BUCKET = np.searchsorted(_SINGLE, _STEPS, side="right").astype(np.uint16)
_NEXT = np.append(_SINGLE, np.float32(np.inf))
