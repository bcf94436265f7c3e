"""What was counted and measured between edges of time (days of a calendar, mostly), whatever store it came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Figures = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """``n`` cells between ``n + 1`` edges. Counts are of samples; a figure that nobody measured is NaN."""

    edges: Figures
    total: Counts  # seen inside
    good: Counts
    outside_total: Counts
    outside_good: Counts
    latency: NDArray[np.int64]  # (n, histogram.BUCKETS)
    memory_max: Figures  # bytes
    memory_mean: Figures
    cpu_mean: Figures  # percent
    disk_max: Figures  # percent
