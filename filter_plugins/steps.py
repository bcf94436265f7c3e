"""Filters over steps and their results. The functions they wrap are loaded when a filter is used, not before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))


def ended_well(result: Any) -> bool:
    """Return whether a step's registered result lets the steps that need it run."""
    from orquestrador_ops.procedures.outcome import ended_well as decide

    return decide(result)


def needed_result(step_id: str, procedure: str) -> str:
    """Return the registered name of the result that a step needs; empty when it needs none."""
    from orquestrador_ops.procedures.outcome import needed_result as look_up

    return look_up(step_id, procedure) if step_id else ""


def planned_restarts(result: Any) -> int:
    """Return how many restarts of the application a reload caused, from its registered result."""
    from orquestrador_ops.procedures.outcome import planned_restarts as count

    return count(result)


class FilterModule:
    """The filters of this plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return each filter's name and function."""
        return {"ended_well": ended_well, "needed_result": needed_result, "planned_restarts": planned_restarts}
