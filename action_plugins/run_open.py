"""Open a run: give it an id, a start and a deadline."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.runs import lifecycle as runs


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller; touches neither the host nor the state directory."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "procedure": {"type": "str", "required": True},
                "budget_s": {"type": "float", "required": True},
                "operator": {"type": "str"},
            }
        )
        return {
            "changed": False,
            "owner": runs.lease_owner(),
            "run": runs.open_run(
                procedure=arguments["procedure"],
                host=str(variables.get("inventory_hostname", "")),
                budget_s=arguments["budget_s"],
                operator=arguments["operator"],
                check_mode=bool(self._task.check_mode),
            ),
        }
