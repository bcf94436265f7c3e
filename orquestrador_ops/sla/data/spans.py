"""Stretches of time: when it was down, when nobody looked, when it was planned. Half open, sorted, disjoint."""

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
        """How long all of them are."""
        return float(np.sum(self.end - self.start))

    def pairs(self) -> list[tuple[float, float]]:
        """Starts and ends as plain numbers."""
        return list(zip(self.start.tolist(), self.end.tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Timeline:
    """What is known of one thing from ``start`` to ``end``: it was down, or nobody looked; else it was up.

    ``down`` and ``unknown`` lie within, and apart from each other.
    """

    start: float
    end: float
    down: Spans
    unknown: Spans


def of(pairs: Iterable[tuple[float, float]]) -> Spans:
    """Spans from pairs in any order, which may overlap or touch; empty ones and those of no finite time are left out.

    A pair that ends before it begins is empty.
    """
    given = np.array(list(pairs), np.float64).reshape(-1, 2)
    given = given[np.isfinite(given).all(axis=1) & (given[:, 1] > given[:, 0])]
    given = given[np.argsort(given[:, 0], kind="stable")]
    return joined(given[:, 0], np.maximum.accumulate(given[:, 1])) if len(given) else NONE


def joined(start: Instants, end: Instants) -> Spans:
    """Spans from starts and ends that both rise: those that overlap or touch become one."""
    if not len(start):
        return Spans(np.empty(0), np.empty(0))
    apart = start[1:] > end[:-1]
    return Spans(start[np.concatenate(([True], apart))], end[np.concatenate((apart, [True]))])


def within(spans: Spans, at: Instants) -> Mask:
    """Which of the instants lie in a span."""
    if not len(spans):
        return np.zeros(np.shape(at), bool)
    before = np.searchsorted(spans.start, at, side="right") - 1
    return np.asarray((before >= 0) & (at < spans.end[before]))


def union(one: Spans, other: Spans) -> Spans:
    """What is in either."""
    return _combined(one, other, True, True, True)


def intersection(one: Spans, other: Spans) -> Spans:
    """What is in both."""
    return _combined(one, other, True, False, False)


def difference(one: Spans, other: Spans) -> Spans:
    """What is in ``one`` and not in ``other``."""
    return _combined(one, other, False, True, False)


def _combined(one: Spans, other: Spans, both: bool, first: bool, second: bool) -> Spans:
    """What is in both, only in the first, only in the second, whichever is wanted."""
    points = np.unique(np.concatenate((one.start, one.end, other.start, other.end)))
    if len(points) < 2:
        return NONE
    left = points[:-1]
    in_one, in_other = within(one, left), within(other, left)
    kept = (both & in_one & in_other) | (first & in_one & ~in_other) | (second & in_other & ~in_one)
    return joined(left[kept], points[1:][kept])


def cut(spans: Spans, start: float, end: float) -> Spans:
    """What of the spans lies in ``[start, end)``."""
    first, last = np.searchsorted(spans.end, start, side="right"), np.searchsorted(spans.start, end, side="left")
    if last <= first:
        return NONE
    return Spans(np.maximum(spans.start[first:last], start), np.minimum(spans.end[first:last], end))


def seconds_between(spans: Spans, edges: Instants) -> NDArray[np.float64]:
    """Seconds of the spans in each of the ``n`` cells between ``n + 1`` rising edges; shape ``(n,)``."""
    if not len(spans):
        return np.zeros(max(len(edges) - 1, 0))
    until = np.concatenate(([0.0], np.cumsum(spans.end - spans.start)))  # of all spans before the i-th
    before = np.searchsorted(spans.start, edges, side="right")
    last = np.maximum(before - 1, 0)
    inside = np.clip(edges, spans.start[last], spans.end[last]) - spans.start[last]
    total = np.where(before > 0, until[last] + inside, 0.0)
    return np.asarray(np.diff(total))


NONE = Spans(np.empty(0), np.empty(0))
