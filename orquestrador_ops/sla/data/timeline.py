"""From samples to timelines: a sample holds until the next one, and no longer than the allowed gap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from . import series as samples
from . import spans
from .series import INSIDE_GOOD, INSIDE_PROBED, OUTSIDE_GOOD, OUTSIDE_PROBED, Series
from .spans import Spans, Timeline

__all__ = ["Kind", "Timeline", "clip", "join", "observed", "timeline"]

Kind = Literal["uptime", "availability"]

# By the flags of a sample: whether it counts for uptime, and whether it is good. The probe on the host counts;
# without it, the one from outside does.
_FLAGS = np.arange(256, dtype=np.uint8)
_COUNTS = {
    "uptime": (_FLAGS & (INSIDE_PROBED | OUTSIDE_PROBED)) != 0,
    "availability": (_FLAGS & OUTSIDE_PROBED) != 0,
}
_GOOD = {
    "uptime": np.where(_FLAGS & INSIDE_PROBED, _FLAGS & INSIDE_GOOD, _FLAGS & OUTSIDE_GOOD) != 0,
    "availability": (_FLAGS & OUTSIDE_GOOD) != 0,
}


def observed(series: Series, kind: Kind) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks of the samples that count for ``kind``, and of the good ones."""
    flags = np.ascontiguousarray(series["flags"])
    counts = _COUNTS[kind][flags]
    return counts, _GOOD[kind][flags] & counts


def timeline(series: Series, kind: Kind, start: float, end: float, gap_s: float) -> Timeline:
    """Return the states from ``start`` to ``end`` (epoch seconds; ``end`` is never later than now).

    A sample holds until the next one of its kind, at most ``gap_s`` seconds. ``series`` in any order; it should reach
    back to ``start - gap_s``, because the state at ``start`` is that of the last sample before it.
    """
    if not end > start:
        return Timeline(start, start, spans.NONE, spans.NONE)
    series = samples.normalized(series)
    at = np.ascontiguousarray(series["at"])
    first, last = np.searchsorted(at, start - gap_s, side="left"), np.searchsorted(at, end, side="left")
    counts, good = observed(series[first:last], kind)
    at = at[first:last]
    if not counts.all():
        at, good = at[counts], good[counts]
    if not len(at):
        return Timeline(start, end, spans.NONE, spans.of([(start, end)]))
    held = np.minimum(at + gap_s, np.concatenate((at[1:], [np.inf])))
    return Timeline(start, end, _down(at, held, good, start, end), _unknown(at, held, start, end))


def _down(
    at: NDArray[np.float64], held: NDArray[np.float64], good: NDArray[np.bool_], start: float, end: float
) -> Spans:
    bad = np.flatnonzero(~good)
    down = spans.joined(at[bad], held[bad])
    return spans.cut(down, start, end)


def _unknown(at: NDArray[np.float64], held: NDArray[np.float64], start: float, end: float) -> Spans:
    lost = np.flatnonzero(held[:-1] < at[1:])
    from_at = np.concatenate(([-np.inf], held[:-1][lost], held[-1:]))
    to_at = np.concatenate((at[:1], at[1:][lost], [np.inf]))
    return spans.cut(Spans(from_at, to_at), start, end)


def clip(timeline: Timeline, start: float, end: float) -> Timeline:
    """Return a timeline from ``start`` to ``end``; time beyond its own borders is unknown."""
    if not end > start:
        return Timeline(start, start, spans.NONE, spans.NONE)
    beyond = spans.of([(start, min(timeline.start, end)), (max(timeline.end, start), end)])
    unknown = spans.cut(timeline.unknown, start, end)
    return Timeline(
        start, end, spans.cut(timeline.down, start, end), spans.union(unknown, beyond) if len(beyond) else unknown
    )


def join(parts: Sequence[Timeline]) -> Timeline:
    """Join timelines that do not overlap, in any order; the time between them is unknown.

    Raises ``ValueError`` for none at all, and for parts that overlap.
    """
    if not parts:
        raise ValueError("no timeline to join")
    ordered = sorted(parts, key=lambda part: (part.start, part.end))
    for before, after in pairwise(ordered):
        if after.start < before.end:
            raise ValueError(f"timelines overlap: one ends at {before.end}, the next begins at {after.start}")
    down = spans.joined(
        np.concatenate([part.down.start for part in ordered]), np.concatenate([part.down.end for part in ordered])
    )
    unknown = spans.joined(
        np.concatenate([part.unknown.start for part in ordered]),
        np.concatenate([part.unknown.end for part in ordered]),
    )
    holes = spans.of((before.end, after.start) for before, after in pairwise(ordered))
    if len(holes):
        unknown = spans.union(unknown, holes)
    return Timeline(ordered[0].start, ordered[-1].end, down, unknown)
