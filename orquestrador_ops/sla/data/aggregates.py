"""Counts and figures per interval of time, mostly the days of a calendar, from samples of any store."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import histogram
from . import series as samples
from .series import OUTSIDE_GOOD, OUTSIDE_PROBED, Series
from .timeline import observed

Counts = NDArray[np.int64]
Figures = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Aggregates:
    """Counts and figures of ``n`` cells between ``n + 1`` edges; a missing figure is NaN, its sum and count are 0."""

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


def empty(edges: ArrayLike) -> Aggregates:
    """Return cells without any sample."""
    n = max(len(np.asarray(edges)) - 1, 0)
    figures = {field.name: np.zeros(n, np.int64) for field in fields(Aggregates) if field.name != "edges"}
    return Aggregates(
        **{
            **figures,
            "edges": np.asarray(edges, np.float64),
            "latency": np.zeros((n, histogram.BUCKETS), np.int64),
            **{name: np.full(n, np.nan) for name in _MAXIMA},
            **{name: np.zeros(n) for name in ("memory_sum", "cpu_sum")},
        }
    )


def aggregate(series: Series, edges: ArrayLike) -> Aggregates:
    """Count and measure the samples of each cell ``[edges[i], edges[i + 1])``; leave others out.

    ``edges`` rise. Figures that are not finite or negative are left out, latencies of bad samples as well: an
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


def _fill(made: Aggregates, number: int, part: Series) -> None:
    counts, good = observed(part, "uptime")
    made.total[number], made.good[number] = np.count_nonzero(counts), np.count_nonzero(good)
    flags = np.ascontiguousarray(part["flags"])
    outside = flags & OUTSIDE_PROBED != 0
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
    valid: NDArray[np.float32] = values[np.isfinite(values) & (values >= 0)]
    return valid


def combine(first: Aggregates, second: Aggregates) -> Aggregates:
    """Return the sums of two aggregates of the same cells. Raises ``ValueError`` when their edges differ."""
    if not np.array_equal(first.edges, second.edges):
        raise ValueError("cells of different edges cannot be added")
    figures = {
        field.name: _operator(field.name)(getattr(first, field.name), getattr(second, field.name))
        for field in fields(Aggregates)
        if field.name != "edges"
    }
    return Aggregates(edges=first.edges, **figures)


def regroup(finer: Aggregates, edges: ArrayLike) -> Aggregates:
    """Sum finer cells into those between ``edges``: each into the one it begins in; drop those beyond them."""
    made = empty(edges)
    home = np.searchsorted(made.edges, finer.edges[:-1], side="right") - 1
    inside = np.flatnonzero((home >= 0) & (home < len(made)))
    if not len(inside):
        return made
    home = home[inside]
    starts = np.flatnonzero(np.concatenate(([True], home[1:] != home[:-1])))
    for field in fields(Aggregates):
        if field.name != "edges":
            together = _operator(field.name)
            values = getattr(finer, field.name)[inside[0] : inside[-1] + 1]  # rising edges: no holes between
            getattr(made, field.name)[home[starts]] = together.reduceat(values, starts, axis=0)
    return made


def select(source: Aggregates, keep: NDArray[np.bool_]) -> Aggregates:
    """Return the same cells, emptied where ``keep`` is false."""
    nothing = empty(source.edges)
    figures = {}
    for field in fields(Aggregates):
        if field.name != "edges":
            values = getattr(source, field.name)
            mask = keep[:, np.newaxis] if values.ndim > 1 else keep
            figures[field.name] = np.where(mask, values, getattr(nothing, field.name))
    return Aggregates(edges=source.edges, **figures)


def _operator(field: str) -> np.ufunc:
    return np.fmax if field in _MAXIMA else np.add


def _mean(total: Figures, count: Counts) -> Figures:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(count > 0, total / count, np.nan))
