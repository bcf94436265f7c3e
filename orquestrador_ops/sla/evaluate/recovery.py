"""Incidents of a timeline, from the first bad sample to the first good one, and their rows of the incidents table."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.i18n import epoch, iso
from ..data import spans
from ..data.spans import Spans, Timeline

# Alerts on service levels are consequences of an incident of the application, not incidents themselves.
_ABOUT_LEVELS = "sla"


@dataclass(frozen=True)
class Incident:
    """Instants in seconds since the epoch, lengths in seconds.

    ``to_at`` is the first good sample after it, ``None`` if there is none yet. ``seconds`` is the time it is known
    to have been down: with missing samples it may have lasted from ``best_seconds`` to ``worst_seconds``, ``None``
    for an unknown end. ``unplanned_*`` are the same without planned time.
    """

    from_at: float
    last_at: float  # until then, at least
    to_at: float | None
    seconds: float
    best_seconds: float
    worst_seconds: float | None
    unplanned_seconds: float
    unplanned_best_seconds: float
    unplanned_worst_seconds: float | None

    @property
    def planned(self) -> bool:
        """Whether all its bad samples lie in planned time."""
        return self.unplanned_seconds <= 0


def incidents(timeline: Timeline, planned: Spans) -> list[Incident]:
    """Return the incidents of a timeline, oldest first.

    Down times with only unknown time between them are one incident: no good sample proves that it was over.
    """
    down = timeline.down
    if not len(down):
        return []
    gap_end = _gap_after(timeline.unknown, down.end)  # where the gap right after a stretch ends; NaN without one
    first = np.flatnonzero(np.concatenate(([True], gap_end[:-1] != down.start[1:])))
    last = np.append(first[1:] - 1, len(down) - 1)
    from_at, last_at = down.start[first], down.end[last]
    to_at = np.where(np.isnan(gap_end[last]), last_at, gap_end[last])
    to_at[to_at >= timeline.end] = np.nan  # nothing good was seen after it
    bare = spans.difference(down, planned)
    until = np.where(np.isnan(to_at), last_at, to_at)
    worst = to_at - from_at
    columns = (
        from_at,
        last_at,
        to_at,
        _between(down, from_at, last_at),
        np.maximum.reduceat(down.end - down.start, first),
        worst,
        _between(bare, from_at, last_at),
        _longest(bare, from_at, last_at),
        np.maximum(worst - _between(planned, from_at, until), 0),
    )
    rows = zip(*(_numbers_or_none(column) for column in columns), strict=True)
    return [Incident(*row) for row in rows]


def _numbers_or_none(figures: NDArray[np.float64]) -> list[Any]:
    """Return plain numbers to the microsecond, ``None`` for NaN."""
    return [None if math.isnan(value) else value for value in np.round(figures, 6).tolist()]


def _gap_after(unknown: Spans, at: NDArray[np.float64]) -> NDArray[np.float64]:
    index = np.searchsorted(unknown.start, at, side="left")
    inside = np.minimum(index, max(len(unknown) - 1, 0))
    if not len(unknown):
        return np.full(len(at), np.nan)
    return np.where((index < len(unknown)) & (unknown.start[inside] == at), unknown.end[inside], np.nan)


def _between(of: Spans, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the seconds of the spans within each of some disjoint, sorted intervals."""
    edges = np.column_stack((start, end)).ravel()
    return spans.seconds_between(of, edges)[::2]


def _longest(of: Spans, start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the longest of the spans within each of some disjoint, sorted intervals, 0 without any."""
    longest = np.zeros(len(start))
    target = np.searchsorted(start, of.start, side="right") - 1
    inside = (target >= 0) & (of.start < end[np.maximum(target, 0)])
    np.maximum.at(longest, target[inside], (of.end - of.start)[inside])
    return longest


_Row = tuple[float, float | None, Mapping[str, Any]]  # opened, closed, the row


class Records:
    """Rows of the incidents table, matched with incidents of a timeline."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], now: float) -> None:
        sorted_rows: list[_Row] = [
            (opened, epoch(row.get("closed_at")), row)
            for row in rows
            if (opened := epoch(row.get("opened_at"))) is not None
            and not str(row.get("procedure") or "").startswith(_ABOUT_LEVELS)
        ]
        self._rows: list[_Row] = sorted(sorted_rows, key=lambda row: row[0])
        self._opened = [opened for opened, _, _ in self._rows]
        self._now = now

    def about(self, incident: Incident) -> Mapping[str, Any]:
        """Return the row that was open during the incident: the first one opened after it began, else the last before.

        ``{}`` if there is none.
        """
        after = bisect_left(self._opened, incident.from_at)
        end = self._now if incident.to_at is None else incident.to_at
        if after < len(self._rows) and self._opened[after] <= end:
            return self._rows[after][2]
        before = (
            row for _, closed, row in reversed(self._rows[:after]) if closed is None or closed >= incident.from_at
        )
        return next(before, {})


def as_dict(incident: Incident, row: Mapping[str, Any], *, counted: bool) -> dict[str, Any]:
    """Return the document's entry of an incident and its row; ``counted``: for the period's recovery time."""
    return {
        "from": iso(incident.from_at),
        "to": iso(incident.to_at),
        "seconds": incident.seconds,
        "best_seconds": incident.best_seconds,
        "worst_seconds": incident.worst_seconds,
        "unplanned_seconds": incident.unplanned_seconds,
        "planned": incident.planned,
        "counted": counted,
        "detected_at": iso(epoch(row.get("opened_at"))),
        "acknowledged_at": iso(epoch(row.get("acknowledged_at"))),
        "acted_at": iso(epoch(row.get("acted_at"))),
        "procedure": row.get("procedure"),
        "id": row.get("id"),
    }
