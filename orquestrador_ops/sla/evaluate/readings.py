"""Metrics of a host beside its evaluated periods: its probes, its response times, its last proven backup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.i18n import epoch
from ...procedures.outcome import OK_STATUSES
from ..data import histogram
from ..data.aggregates import Aggregates
from ..data.series import INSIDE_GOOD, INSIDE_PROBED, OUTSIDE_GOOD, OUTSIDE_PROBED, Series

# Upper edges of the buckets, in seconds. The objective's 0.2 is one of them.
LATENCY_EDGES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_FLAGS = {"inside": (INSIDE_PROBED, INSIDE_GOOD), "outside": (OUTSIDE_PROBED, OUTSIDE_GOOD)}
BACKUP_STEP = "database_verify"  # of the plans: restored and compared


@dataclass(frozen=True)
class LastProbe:
    """The last probe of the application from one side."""

    at: float  # epoch seconds
    good: bool


@dataclass(frozen=True)
class Latency:
    """Response times in the buckets of :data:`LATENCY_EDGES`, in seconds."""

    below: tuple[int, ...]  # how many are below each edge
    count: int
    sum_s: float  # each as the middle of its fine bucket: right to 2.5 %


@dataclass(frozen=True)
class Reading:
    """One host; its counts are those of the current month."""

    host: str
    looks: Mapping[str, LastProbe]  # inside, outside; without probes from a side it is missing
    # (all, good) of "any", which counts for the uptime (on the host, else from outside), and of "outside"
    probes: Mapping[str, tuple[int, int]]
    latency: Latency | None = None
    backup_proven_at: float | None = None  # epoch seconds


def reading(host: str, cells: Aggregates, recent: Series, *, backup_proven_at: float | None = None) -> Reading:
    """Return the reading of ``host``: counts of the current month's ``cells``, last probes of ``recent``.

    ``recent`` samples are sorted.
    """
    looks = {}
    for name, (probed, good) in _FLAGS.items():
        indexes = np.flatnonzero(recent["flags"] & probed)
        if len(indexes):
            last = recent[indexes[-1]]
            looks[name] = LastProbe(float(last["at"]), bool(last["flags"] & good))
    probes = {"any": (int(cells.total.sum()), int(cells.good.sum()))}
    if cells.outside_total.any():
        probes["outside"] = (int(cells.outside_total.sum()), int(cells.outside_good.sum()))
    return Reading(host, looks, probes, latency(cells.latency.sum(axis=0)), backup_proven_at)


def latency(counts: NDArray[np.int64]) -> Latency | None:
    """Reduce a histogram of :mod:`..data.histogram` to the buckets that are exported; ``None`` for an empty one."""
    count = int(counts.sum())
    if not count:
        return None
    lower = np.concatenate(([0.0], histogram.EDGES))
    upper = np.concatenate((histogram.EDGES, histogram.EDGES[-1:]))  # the last bucket has no end
    return Latency(
        tuple(histogram.below(counts, edge * 1000) for edge in LATENCY_EDGES),
        count,
        float(counts @ (lower + upper)) / 2000,
    )


def backup_proven_at(runs: Iterable[Mapping[str, Any]]) -> float | None:
    """Return when a backup of the database was last restored and compared, in epoch seconds; runs in any order."""
    instants = [
        epoch(step.get("ended_at") or run.get("ended_at"))
        for run in runs
        if not run.get("check_mode")
        for step in run.get("steps") or ()
        if step.get("id") == BACKUP_STEP and step.get("status") in OK_STATUSES
    ]
    return max((at for at in instants if at is not None), default=None)
