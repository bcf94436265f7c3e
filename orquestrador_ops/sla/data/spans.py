"""Sets of time spans, such as down, unknown or planned time: half open, sorted, disjoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Instants = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Spans:
    """``[start, end)`` each, in seconds since the epoch; sorted, disjoint, none empty, none touching the next."""

    start: Instants
    end: Instants

    def __len__(self) -> int:
        return len(self.start)

    @property
    def seconds(self) -> float:
        """The total length."""
        return float(np.sum(self.end - self.start))

    def pairs(self) -> list[tuple[float, float]]:
        """Return starts and ends as plain numbers."""
        return list(zip(self.start.tolist(), self.end.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Timeline:
    """States from ``start`` to ``end``: ``down``, ``unknown`` (no probe), and up for the remaining time.

    ``down`` and ``unknown`` lie within, and do not overlap.
    """

    start: float
    end: float
    down: Spans
    unknown: Spans


def of(pairs: Iterable[tuple[float, float]]) -> Spans:
    """Return spans from pairs in any order, which may overlap or touch; empty and non-finite ones are left out.

    A pair that ends before it begins is empty.
    """
    bounds = np.array(list(pairs), np.float64).reshape(-1, 2)
    bounds = bounds[np.isfinite(bounds).all(axis=1) & (bounds[:, 1] > bounds[:, 0])]
    bounds = bounds[np.argsort(bounds[:, 0], kind="stable")]
    return joined(bounds[:, 0], np.maximum.accumulate(bounds[:, 1])) if len(bounds) else NONE


def joined(start: Instants, end: Instants) -> Spans:
    """Return spans from starts and ends that both rise: those that overlap or touch become one."""
    if not len(start):
        return Spans(np.empty(0), np.empty(0))
    separate = start[1:] > end[:-1]
    return Spans(start[np.concatenate(([True], separate))], end[np.concatenate((separate, [True]))])


def within(spans: Spans, at: Instants) -> Mask:
    """Return a mask of the instants that lie in a span."""
    if not len(spans):
        return np.zeros(np.shape(at), bool)
    before = np.searchsorted(spans.start, at, side="right") - 1
    return np.asarray((before >= 0) & (at < spans.end[before]))


def union(first: Spans, second: Spans) -> Spans:
    """Return the time in either."""
    return _combined(first, second, True, True, True)


def intersection(first: Spans, second: Spans) -> Spans:
    """Return the time in both."""
    return _combined(first, second, True, False, False)


def difference(first: Spans, second: Spans) -> Spans:
    """Return the time in ``first`` and not in ``second``."""
    return _combined(first, second, False, True, False)


def _combined(a: Spans, b: Spans, keep_both: bool, only_a: bool, only_b: bool) -> Spans:
    """Return the time in both, only in ``a``, only in ``b``, as selected."""
    points = np.unique(np.concatenate((a.start, a.end, b.start, b.end)))
    if len(points) < 2:
        return NONE
    left = points[:-1]
    in_a, in_b = within(a, left), within(b, left)
    selected = (keep_both & in_a & in_b) | (only_a & in_a & ~in_b) | (only_b & in_b & ~in_a)
    return joined(left[selected], points[1:][selected])


def cut(spans: Spans, start: float, end: float) -> Spans:
    """Return the parts of the spans within ``[start, end)``."""
    first, last = np.searchsorted(spans.end, start, side="right"), np.searchsorted(spans.start, end, side="left")
    if last <= first:
        return NONE
    return Spans(np.maximum(spans.start[first:last], start), np.minimum(spans.end[first:last], end))


def seconds_between(spans: Spans, edges: Instants) -> NDArray[np.float64]:
    """Return the seconds of the spans in each of the ``n`` cells between ``n + 1`` rising edges; shape ``(n,)``."""
    if not len(spans):
        return np.zeros(max(len(edges) - 1, 0))
    until = np.concatenate(([0.0], np.cumsum(spans.end - spans.start)))  # of all spans before the i-th
    before = np.searchsorted(spans.start, edges, side="right")
    last = np.maximum(before - 1, 0)
    inside = np.clip(edges, spans.start[last], spans.end[last]) - spans.start[last]
    total = np.where(before > 0, until[last] + inside, 0.0)
    return np.asarray(np.diff(total))


NONE = Spans(np.empty(0), np.empty(0))
