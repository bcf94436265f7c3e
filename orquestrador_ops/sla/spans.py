"""Stretches of time: when it was down, when nobody looked, when it was planned. Half open, sorted, disjoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Instants = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Spans:
    """``[start, end)`` each, in seconds since the epoch; sorted, disjoint, none empty."""

    start: Instants
    end: Instants

    def __len__(self) -> int:
        return len(self.start)

    @property
    def seconds(self) -> float:
        """How long all of them are."""
        return float(np.sum(self.end - self.start))


def of(pairs: Iterable[tuple[float, float]]) -> Spans:
    """Spans from pairs in any order, which may overlap or touch; empty ones are left out."""
    raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Timeline:
    """What is known of one thing from ``start`` to ``end``: it was down, or nobody looked; else it was up."""

    start: float
    end: float
    down: Spans
    unknown: Spans
