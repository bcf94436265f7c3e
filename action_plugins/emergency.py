"""An emergency procedure: hand over the inventory's probe arguments and what is left of the run's budget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orquestrador_ops import emergencies, observation


class ActionModule(ActionBase):  # type: ignore[misc]
    """One remote round trip, the module ``emergency``."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        run = dict(variables.get("report_run") or {}).get("run")
        if "probe" not in arguments:
            arguments["probe"] = self._templar.template(observation.from_inventory(variables))
        if not run:
            return {"failed": True, "changed": False, "msg": "an emergency procedure needs an open run: report/open"}
        arguments["budget_s"] = emergencies.left_of(run)
        result: dict[str, Any] = self._execute_module(
            module_name="emergency", module_args=arguments, task_vars=variables
        )
        return result
