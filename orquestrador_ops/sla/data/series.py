"""Samples as arrays: one row per instant, sorted, whatever came in twice or in another order.

A series is an array of :data:`SAMPLE`; missing figures are NaN. What was *seen* and what was *good* are told apart,
because an unreachable host says nothing of its application, and an address nobody asked says nothing of the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIELDS = [
    ("at", "<f8"),  # seconds since the epoch, UTC
    ("latency_ms", "<f4"),
    ("memory_bytes", "<f4"),
    ("cpu_percent", "<f4"),
    ("disk_percent", "<f4"),
    ("flags", "u1"),
]
SAMPLE = np.dtype(_FIELDS)

# The application was asked on its host, and answered as it should; the same for its address for users.
INSIDE_SEEN, INSIDE_GOOD, OUTSIDE_SEEN, OUTSIDE_GOOD = 1, 2, 4, 8

Series = NDArray[Any]

LAYOUT = 1  # of a packed series; counts up when SAMPLE changes

_FIGURES = ("latency_ms", "memory_bytes", "cpu_percent", "disk_percent")


def empty(count: int = 0) -> Series:
    """``count`` samples of the epoch, of which nothing is known."""
    made = np.zeros(count, SAMPLE)
    for name in _FIGURES:
        made[name] = np.nan
    return made


def normalized(series: Series) -> Series:
    """Sorted by time, one sample per instant.

    Of several of one instant the worst counts: seen if any saw it, good if all that saw it say so, the largest of each
    figure. Instants that are no finite number are left out.
    """
    if ordered(series["at"]):
        return series
    kept: Series = series[np.isfinite(series["at"])]
    if len(kept) < 2:
        return kept
    if not np.all(kept["at"][1:] >= kept["at"][:-1]):
        kept = kept[np.argsort(kept["at"], kind="stable")]
    first = np.concatenate(([True], kept["at"][1:] != kept["at"][:-1]))
    if first.all():
        return kept
    starts = np.flatnonzero(first)
    merged: Series = kept[starts].copy()
    for name in _FIGURES:
        merged[name] = np.fmax.reduceat(kept[name], starts)
    flags = kept["flags"]
    seen = np.bitwise_or.reduceat(flags, starts) & (INSIDE_SEEN | OUTSIDE_SEEN)
    good = np.zeros_like(seen)
    for was_seen, was_good in ((INSIDE_SEEN, INSIDE_GOOD), (OUTSIDE_SEEN, OUTSIDE_GOOD)):
        # Not seen says nothing: it does not make the others' word worse.
        word = np.where(flags & was_seen, flags & was_good, was_good).astype(np.uint8)
        good |= np.bitwise_and.reduceat(word, starts)
        good[(seen & was_seen) == 0] &= ~np.uint8(was_good)
    merged["flags"] = seen | good
    return merged


def ordered(at: NDArray[np.float64]) -> bool:
    """Whether instants rise strictly and are finite, as those of a normalized series do."""
    instants = np.ascontiguousarray(at)
    if not len(instants):
        return True
    return bool(np.isfinite(instants[[0, -1]]).all() and np.all(instants[1:] > instants[:-1]))


def merged(*parts: Series) -> Series:
    """Several series as one."""
    return normalized(np.concatenate(parts)) if parts else empty()


def pack(series: Series) -> bytes:
    """Bytes for :func:`unpack`, of layout :data:`LAYOUT`."""
    return series.tobytes()


def unpack(data: bytes) -> Series:
    """A series from :func:`pack`. ``ValueError`` for bytes that are none."""
    return np.frombuffer(data, SAMPLE)
