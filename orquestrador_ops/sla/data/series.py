"""Samples as arrays: one row per instant, sorted, without duplicates.

A series is an array of :data:`SAMPLE`; missing figures are NaN. Being *probed* and being *good* are separate flags:
the probe of an unreachable host proves nothing about its application, nor does a missing one from outside.
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

# The application was probed on its host, and the answer was good; the same from outside, at its public address.
INSIDE_PROBED, INSIDE_GOOD, OUTSIDE_PROBED, OUTSIDE_GOOD = 1, 2, 4, 8

Series = NDArray[Any]

LAYOUT = 1  # of a packed series; counts up when SAMPLE changes

_FIGURE_NAMES = ("latency_ms", "memory_bytes", "cpu_percent", "disk_percent")


def empty(count: int = 0) -> Series:
    """Return ``count`` blank samples: at the epoch, not probed."""
    series = np.zeros(count, SAMPLE)
    for name in _FIGURE_NAMES:
        series[name] = np.nan
    return series


def normalized(series: Series) -> Series:
    """Return a series sorted by time, one sample per instant.

    Several samples of one instant become the worst of them: probed if any was, good if all that were probed are, and
    the largest of each figure. Instants that are not finite are left out.
    """
    if ordered(series["at"]):
        return series
    rows: Series = series[np.isfinite(series["at"])]
    if len(rows) < 2:
        return rows
    if not np.all(rows["at"][1:] >= rows["at"][:-1]):
        rows = rows[np.argsort(rows["at"], kind="stable")]
    first = np.concatenate(([True], rows["at"][1:] != rows["at"][:-1]))
    if first.all():
        return rows
    starts = np.flatnonzero(first)
    result: Series = rows[starts].copy()
    for name in _FIGURE_NAMES:
        result[name] = np.fmax.reduceat(rows[name], starts)
    flags = rows["flags"]
    probed = np.bitwise_or.reduceat(flags, starts) & (INSIDE_PROBED | OUTSIDE_PROBED)
    good = np.zeros_like(probed)
    for probed_flag, good_flag in ((INSIDE_PROBED, INSIDE_GOOD), (OUTSIDE_PROBED, OUTSIDE_GOOD)):
        # A sample that was not probed is no vote: it must not turn a good one bad.
        vote = np.where(flags & probed_flag, flags & good_flag, good_flag).astype(np.uint8)
        good |= np.bitwise_and.reduceat(vote, starts)
        good[(probed & probed_flag) == 0] &= ~np.uint8(good_flag)
    result["flags"] = probed | good
    return result


def ordered(at: NDArray[np.float64]) -> bool:
    """Return whether instants rise strictly and are finite, as in a normalized series."""
    instants = np.ascontiguousarray(at)
    if not len(instants):
        return True
    return bool(np.isfinite(instants[[0, -1]]).all() and np.all(instants[1:] > instants[:-1]))


def merged(*parts: Series) -> Series:
    """Return several series as one."""
    return normalized(np.concatenate(parts)) if parts else empty()


def pack(series: Series) -> bytes:
    """Return a series as bytes of layout :data:`LAYOUT`."""
    return series.tobytes()


def unpack(data: bytes) -> Series:
    """Return a series from the bytes of :func:`pack`. Raises ``ValueError`` for others."""
    return np.frombuffer(data, SAMPLE)
