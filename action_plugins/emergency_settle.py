"""Settle an emergency: breaker, incident, and the people who have to know."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg
from orquestrador_ops.adapters import arguments as cases
from orquestrador_ops.core import settings
from orquestrador_ops.history import access
from orquestrador_ops.incidents import escalation, settlement


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, with whatever results there are. Fails no run: its status is one of the run's steps."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec={**cases.ARGUMENTS, **cases.PLAN_ARGUMENTS})
        kept, now = settings.of(variables, self._templar.template), time.time()
        try:
            case = cases.of(variables, arguments, now=now, check_mode=bool(self._task.check_mode))
            plan = cases.plan(variables, arguments, self._templar.template)
            tr = kept.translator()
        except ValueError as error:
            return {"failed": True, "changed": False, "msg": str(error)}
        try:
            with access.open_history(kept.state_dir, kept.history_url) as store:
                desk = escalation.Desk(store, plan, tr, now, case.run_id, arguments["limit_s"])
                # Read by name: as arguments, a result's every string would be templated again.
                results = {
                    "gate": variables.get("emergency_gate") or {},
                    "emergency": variables.get("emergency_result") or {},
                    "health": variables.get("health_result") or {},
                }
                return settlement.settle(desk, case, kept, **results).result()
        except OSError as error:
            reason = getattr(error, "message", str(error))
            note = msg("Nothing was recorded and nobody was told: {reason}", reason=reason)
            return {"changed": False, "status": "failed", "note": [note]}
