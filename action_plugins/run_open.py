"""Open a run: give it an id, a start and a deadline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.runs import lifecycle as runs


class ActionModule(ControllerAction):
    """Touches neither the host nor the state directory."""

    ARGUMENTS: ClassVar = {
        "procedure": {"type": "str", "required": True},
        "budget_s": {"type": "float", "required": True},
        "operator": {"type": "str"},
    }

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        run = runs.open_run(**arguments, host=self.host, check_mode=self.check_mode)
        return {"changed": False, "owner": runs.lease_owner(), "run": run}
