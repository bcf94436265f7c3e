"""Filters over steps and their results. The functions they wrap are loaded when a filter is used, not before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))


def ended_well(result: Any) -> bool:
    """Whether the registered result of a step lets another be built upon it."""
    from orquestrador_ops.procedures.outcome import ended_well as decide

    return decide(result)


def needed_result(step_id: str, procedure: str) -> str:
    """The name under which the step that this one needs registers its result; empty where it needs none."""
    from orquestrador_ops.procedures.outcome import needed_result as look_up

    return look_up(step_id, procedure) if step_id else ""


def planned_restarts(result: Any) -> int:
    """How many restarts of the application a reload's registered result says were its own."""
    from orquestrador_ops.procedures.outcome import planned_restarts as count

    return count(result)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {"ended_well": ended_well, "needed_result": needed_result, "planned_restarts": planned_restarts}
