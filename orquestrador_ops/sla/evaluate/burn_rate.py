"""Burn rates of the error budget over several windows, and what changed since the last look at them.

burn rate = (bad / all samples of a window) / (1 - objective): 1 uses up the budget exactly in its period. An alert
fires when both windows of a pair burn too fast: the long one because it is serious, the short one because it still
goes on.
Source of pairs and factors: Google's Site Reliability Workbook, chapter 5, for 30 days.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..data import series as samples
from ..data import spans
from ..data.series import Series
from ..data.spans import Spans
from ..data.timeline import seen
from .objectives import Objectives

HOUR_S = 3600
MIN_BAD_SHORT = 2  # in the short window: one lost probe never fires


@dataclass(frozen=True)
class Pair:
    """An alert: the windows in seconds, and the burn rate that is too fast."""

    name: str
    severity: str
    long_s: int
    short_s: int
    factor: float


PAIRS = (
    Pair("page-fast", "page", HOUR_S, 300, 14.4),
    Pair("page-slow", "page", 6 * HOUR_S, 1800, 6.0),
    Pair("ticket-fast", "ticket", 24 * HOUR_S, 2 * HOUR_S, 3.0),
    Pair("ticket-slow", "ticket", 72 * HOUR_S, 6 * HOUR_S, 1.0),
)
LONGEST_S = max(pair.long_s for pair in PAIRS)


def rates(series: Series, objectives: Objectives, now: float, planned: Spans = spans.NONE) -> list[dict[str, Any]]:
    """How fast the budget of uptime burns at ``now``, one of each of :data:`PAIRS`.

    ``[{name, severity, long_s, short_s, factor, long_burn, short_burn, total_long, total_short, bad_long, bad_short,
    firing}]``; a burn rate of a window without samples is ``None``. A window is what follows ``now`` less its seconds,
    up to and including ``now``, as in Prometheus. Samples of ``planned`` time are left out. ``series`` should reach
    back :data:`LONGEST_S`.
    """
    series = samples.normalized(series)
    counts, good = seen(series, "uptime")
    at = series["at"][counts]
    bad = ~good[counts]
    if len(planned):
        kept = ~spans.within(planned, at)
        at, bad = at[kept], bad[kept]
    until = int(np.searchsorted(at, now, side="right"))
    found = []
    for pair in PAIRS:
        (total_long, bad_long), (total_short, bad_short) = (
            _counted(bad[int(np.searchsorted(at, now - length, side="right")) : until])
            for length in (pair.long_s, pair.short_s)
        )
        long_burn = _burn(bad_long, total_long, objectives.uptime)
        short_burn = _burn(bad_short, total_short, objectives.uptime)
        enough = bad_long >= objectives.burn_min_bad and bad_short >= MIN_BAD_SHORT
        too_fast = all(burn is not None and burn > pair.factor for burn in (long_burn, short_burn))
        rate = {
            **vars(pair),
            "long_burn": long_burn,
            "short_burn": short_burn,
            "total_long": total_long,
            "total_short": total_short,
            "bad_long": bad_long,
            "bad_short": bad_short,
            "firing": enough and too_fast,
        }
        found.append(rate)
    return found


def transitions(
    before: Mapping[str, Any], rates: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, bool], list[dict[str, Any]]]:
    """What is firing now, by name, and what changed since ``before``, which is such a state.

    ``(state, [{name, severity, event: firing|resolved, reason}])``. An alert that nobody has data for any more stays as
    it was: silence is no recovery.
    """
    state: dict[str, bool] = {}
    events = []
    for rate in rates:
        name, was = str(rate["name"]), before.get(str(rate["name"])) is True
        silent = rate["short_burn"] is None
        state[name] = was if silent else bool(rate["firing"])
        if state[name] != was:
            event, reason = ("firing", _fires(rate)) if state[name] else ("resolved", _rests(rate))
            events.append({"name": name, "severity": rate["severity"], "event": event, "reason": reason})
    return state, events


def _counted(bad: Any) -> tuple[int, int]:
    return len(bad), int(np.count_nonzero(bad))


def _burn(bad: int, total: int, objective: float) -> float | None:
    return round(bad / total / (1 - objective), 9) if total else None


def _fires(rate: Mapping[str, Any]) -> Message:
    return msg(
        "The error budget burns {burn} times as fast as it may, above {limit}: "
        "{bad} of {total} probes of the last {window_s} were bad",
        burn=rate["long_burn"],
        bad=rate["bad_long"],
        total=rate["total_long"],
        window_s=rate["long_s"],
        limit=rate["factor"],
    )


def _rests(rate: Mapping[str, Any]) -> Message:
    return msg(
        "The error budget no longer burns too fast: {bad} of {total} probes of the last {window_s} were bad",
        bad=rate["bad_short"],
        total=rate["total_short"],
        window_s=rate["short_s"],
    )
