"""What the controller's half of an emergency procedure works out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .runs import utc_now

# Of the budget, for the second look from outside, the record and the message to whoever has to know.
RESERVE_S = 10.0
LEAST_S = 5.0


def left_of(run: Mapping[str, Any]) -> float:
    """Seconds of a run's budget that its host may use from now; never less than a few, never negative."""
    deadline = datetime.fromisoformat(str(run["deadline"]))
    left = (deadline - utc_now()).total_seconds() - RESERVE_S
    return round(max(left, LEAST_S), 1)
