"""From samples to time: what was seen holds until the next look, and no longer than the gap that is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from . import series as samples
from . import spans
from .series import INSIDE_GOOD, INSIDE_SEEN, OUTSIDE_GOOD, OUTSIDE_SEEN, Series
from .spans import Spans, Timeline

__all__ = ["Kind", "Timeline", "clip", "join", "seen", "timeline"]

Kind = Literal["uptime", "availability"]

# By the flags of a sample: whether it says anything of uptime, and whether that is good. The look on the host counts;
# where it was not taken, the one from outside does.
_FLAGS = np.arange(256, dtype=np.uint8)
_COUNTS = {
    "uptime": (_FLAGS & (INSIDE_SEEN | OUTSIDE_SEEN)) != 0,
    "availability": (_FLAGS & OUTSIDE_SEEN) != 0,
}
_GOOD = {
    "uptime": np.where(_FLAGS & INSIDE_SEEN, _FLAGS & INSIDE_GOOD, _FLAGS & OUTSIDE_GOOD) != 0,
    "availability": (_FLAGS & OUTSIDE_GOOD) != 0,
}


def seen(series: Series, kind: Kind) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which samples say anything of ``kind``, and which are good; both of the series' length."""
    flags = np.ascontiguousarray(series["flags"])
    counts = _COUNTS[kind][flags]
    return counts, _GOOD[kind][flags] & counts


def timeline(series: Series, kind: Kind, start: float, end: float, gap_s: float) -> Timeline:
    """What samples say of the time from ``start`` to ``end`` (epoch seconds; ``end`` is never later than now).

    A sample holds until the next one of its kind, at most ``gap_s`` seconds. ``series`` in any order; it should reach
    back to ``start - gap_s``, because the state at ``start`` is that of the last sample before it.
    """
    if not end > start:
        return Timeline(start, start, spans.NONE, spans.NONE)
    series = samples.normalized(series)
    at = np.ascontiguousarray(series["at"])
    first, last = np.searchsorted(at, start - gap_s, side="left"), np.searchsorted(at, end, side="left")
    counts, good = seen(series[first:last], kind)
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
    found = spans.joined(at[bad], held[bad])
    return spans.cut(found, start, end)


def _unknown(at: NDArray[np.float64], held: NDArray[np.float64], start: float, end: float) -> Spans:
    lost = np.flatnonzero(held[:-1] < at[1:])
    from_at = np.concatenate(([-np.inf], held[:-1][lost], held[-1:]))
    to_at = np.concatenate((at[:1], at[1:][lost], [np.inf]))
    return spans.cut(Spans(from_at, to_at), start, end)


def clip(of: Timeline, start: float, end: float) -> Timeline:
    """What of it lies from ``start`` to ``end``; of what lies beyond its own borders nothing is known."""
    if not end > start:
        return Timeline(start, start, spans.NONE, spans.NONE)
    beyond = spans.of([(start, min(of.start, end)), (max(of.end, start), end)])
    unknown = spans.cut(of.unknown, start, end)
    return Timeline(
        start, end, spans.cut(of.down, start, end), spans.union(unknown, beyond) if len(beyond) else unknown
    )


def join(parts: Sequence[Timeline]) -> Timeline:
    """Timelines of stretches that follow each other, in any order, as one; between them nothing is known.

    Raises ``ValueError`` for none at all, and for parts that overlap.
    """
    if not parts:
        raise ValueError("no timeline to join")
    ordered = sorted(parts, key=lambda part: (part.start, part.end))
    for one, after in pairwise(ordered):
        if after.start < one.end:
            raise ValueError(f"timelines overlap: one ends at {one.end}, the next begins at {after.start}")
    down = spans.joined(
        np.concatenate([part.down.start for part in ordered]), np.concatenate([part.down.end for part in ordered])
    )
    unknown = spans.joined(
        np.concatenate([part.unknown.start for part in ordered]),
        np.concatenate([part.unknown.end for part in ordered]),
    )
    holes = spans.of((one.end, after.start) for one, after in pairwise(ordered))
    if len(holes):
        unknown = spans.union(unknown, holes)
    return Timeline(ordered[0].start, ordered[-1].end, down, unknown)
