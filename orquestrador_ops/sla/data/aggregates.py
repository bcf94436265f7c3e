"""What was counted and measured between edges of time (days of a calendar, mostly), whatever store it came from."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import histogram
from . import series as samples
from .series import OUTSIDE_GOOD, OUTSIDE_SEEN, Series
from .timeline import seen

Counts = NDArray[np.int64]
Figures = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """``n`` cells between ``n + 1`` edges. A figure that nobody measured is NaN, its sum and count are 0."""

    edges: Figures  # seconds since the epoch, rising
    total: Counts  # samples that count for uptime: seen inside, or only outside
    good: Counts
    outside_total: Counts
    outside_good: Counts
    latency: NDArray[np.int64]  # (n, histogram.BUCKETS), of the good samples that have one
    memory_max: Figures  # bytes
    memory_sum: Figures
    memory_count: Counts
    cpu_sum: Figures  # percent
    cpu_count: Counts
    disk_max: Figures  # percent

    def __len__(self) -> int:
        return len(self.total)

    @property
    def memory_mean(self) -> Figures:
        """Bytes; NaN where nothing was measured."""
        return _mean(self.memory_sum, self.memory_count)

    @property
    def cpu_mean(self) -> Figures:
        """Percent; NaN where nothing was measured."""
        return _mean(self.cpu_sum, self.cpu_count)


_MAXIMA = ("memory_max", "disk_max")


def empty(edges: ArrayLike) -> Cells:
    """Cells of which nothing is known."""
    n = max(len(np.asarray(edges)) - 1, 0)
    figures = {field.name: np.zeros(n, np.int64) for field in fields(Cells) if field.name != "edges"}
    return Cells(
        **{
            **figures,
            "edges": np.asarray(edges, np.float64),
            "latency": np.zeros((n, histogram.BUCKETS), np.int64),
            **{name: np.full(n, np.nan) for name in _MAXIMA},
            **{name: np.zeros(n) for name in ("memory_sum", "cpu_sum")},
        }
    )


def cells(series: Series, edges: ArrayLike) -> Cells:
    """Count and measure the samples of each cell ``[edges[i], edges[i + 1])``; others are left out.

    ``edges`` rise. Figures that are none (not finite, negative) are left out, a latency of a bad sample as well: an
    error that comes quickly is not a quick answer.
    """
    made = empty(edges)
    series = samples.normalized(series)
    at = np.ascontiguousarray(series["at"])
    borders = np.searchsorted(at, made.edges, side="left")
    for number in np.flatnonzero(np.diff(borders)).tolist() if len(made) else []:
        # Cell by cell, not all at once: a day of samples stays in the processor's cache, a year of them does not.
        _fill(made, number, series[borders[number] : borders[number + 1]])
    return made


def _fill(made: Cells, number: int, part: Series) -> None:
    counts, good = seen(part, "uptime")
    made.total[number], made.good[number] = np.count_nonzero(counts), np.count_nonzero(good)
    flags = np.ascontiguousarray(part["flags"])
    outside = flags & OUTSIDE_SEEN != 0
    made.outside_total[number] = np.count_nonzero(outside)
    made.outside_good[number] = np.count_nonzero(outside & (flags & OUTSIDE_GOOD != 0))
    made.latency[number] = histogram.count(part["latency_ms"][good])
    memory, cpu, disk = (_figures(part[name]) for name in ("memory_bytes", "cpu_percent", "disk_percent"))
    made.memory_count[number], made.cpu_count[number] = len(memory), len(cpu)
    if len(memory):
        made.memory_max[number] = memory.max()
        made.memory_sum[number] = memory.sum(dtype=np.float64)
    if len(cpu):
        made.cpu_sum[number] = cpu.sum(dtype=np.float64)
    if len(disk):
        made.disk_max[number] = disk.max()


def _figures(values: NDArray[np.float32]) -> NDArray[np.float32]:
    kept: NDArray[np.float32] = values[np.isfinite(values) & (values >= 0)]
    return kept


def added(one: Cells, other: Cells) -> Cells:
    """Two counts of the same cells as one. ``ValueError`` where their edges differ."""
    if not np.array_equal(one.edges, other.edges):
        raise ValueError("cells of different edges cannot be added")
    found = {
        field.name: (np.fmax if field.name in _MAXIMA else np.add)(getattr(one, field.name), getattr(other, field.name))
        for field in fields(Cells)
        if field.name != "edges"
    }
    return Cells(edges=one.edges, **found)


def grouped(of: Cells, edges: ArrayLike) -> Cells:
    """Finer cells as coarser ones: each goes to the cell in which it begins, those beyond ``edges`` nowhere."""
    made = empty(edges)
    home = np.searchsorted(made.edges, of.edges[:-1], side="right") - 1
    kept = np.flatnonzero((home >= 0) & (home < len(made)))
    if not len(kept):
        return made
    home = home[kept]
    starts = np.flatnonzero(np.concatenate(([True], home[1:] != home[:-1])))
    for field in fields(Cells):
        if field.name != "edges":
            together = np.fmax if field.name in _MAXIMA else np.add
            values = getattr(of, field.name)[kept[0] : kept[-1] + 1]  # rising edges: no holes between
            getattr(made, field.name)[home[starts]] = together.reduceat(values, starts, axis=0)
    return made


def picked(of: Cells, wanted: NDArray[np.bool_]) -> Cells:
    """The same cells, with nothing in those that are not wanted."""
    nothing = empty(of.edges)
    found = {}
    for field in fields(Cells):
        if field.name != "edges":
            values = getattr(of, field.name)
            keep = wanted[:, np.newaxis] if values.ndim > 1 else wanted
            found[field.name] = np.where(keep, values, getattr(nothing, field.name))
    return Cells(edges=of.edges, **found)


def _mean(total: Figures, count: Counts) -> Figures:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(count > 0, total / count, np.nan))
