"""Samples and plans as hypothesis makes them up, and the arithmetic done second by second to compare with."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import strategies as st

from orquestrador_ops.sla.data import series as samples
from orquestrador_ops.sla.data.series import INSIDE_GOOD, INSIDE_PROBED, OUTSIDE_GOOD, OUTSIDE_PROBED, Series

START, END, GAP_S = 1000, 1300, 40

# What a look can say: (inside, outside), each good, bad or not taken.
FLAGS = [
    inside | outside
    for inside in (0, INSIDE_PROBED, INSIDE_PROBED | INSIDE_GOOD)
    for outside in (0, OUTSIDE_PROBED, OUTSIDE_PROBED | OUTSIDE_GOOD)
]
LATENCY = st.one_of(st.none(), st.sampled_from([0.0, 5.0, 199.9, 200.0, 950.0, -1.0, float("inf"), float("nan")]))
Sample = tuple[int, int, float | None]
SAMPLES = st.lists(st.tuples(st.integers(START - 60, END + 60), st.sampled_from(FLAGS), LATENCY), max_size=40)
STRETCH = st.tuples(st.integers(START - 50, END + 50), st.integers(0, 300)).map(lambda pair: (pair[0], sum(pair)))
STRETCHES = st.lists(STRETCH, max_size=6)


def series(given: Iterable[Sample]) -> Series:
    """As they come, in any order and any number of times."""
    rows = list(given)
    made = samples.empty(len(rows))
    made["at"] = [at for at, _, _ in rows]
    made["flags"] = [flags for _, flags, _ in rows]
    made["latency_ms"] = [np.nan if latency is None else latency for _, _, latency in rows]
    return made


def states(given: Iterable[Sample], kind: str, start: int, end: int, gap_s: int) -> list[str]:
    """``up``, ``down`` or ``unknown`` of every second, looked up one by one."""
    said: dict[int, bool] = {}
    together: dict[int, list[int]] = {}
    for at, flags, _ in given:
        together.setdefault(at, []).append(flags)
    for at, several in together.items():
        inside = [bool(flags & INSIDE_GOOD) for flags in several if flags & INSIDE_PROBED]
        outside = [bool(flags & OUTSIDE_GOOD) for flags in several if flags & OUTSIDE_PROBED]
        chosen = outside if kind == "availability" else inside or outside
        if chosen:
            said[at] = all(chosen)
    found = []
    for second in range(start, end):
        last = max((at for at in said if at <= second), default=None)
        if last is None or second - last >= gap_s:
            found.append("unknown")
        else:
            found.append("up" if said[last] else "down")
    return found
