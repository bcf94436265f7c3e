"""Filters over the results of steps. The functions they wrap are loaded when a filter is used, not before."""

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


def planned_restarts(result: Any) -> int:
    """How many restarts of the application a reload's registered result says were its own."""
    from orquestrador_ops.procedures.outcome import planned_restarts as count

    return count(result)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Name and function of each."""
        return {"ended_well": ended_well, "planned_restarts": planned_restarts}
