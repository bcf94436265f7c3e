"""Conclude a recovery: update breaker and incident, notify on-call."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg
from orquestrador_ops.adapters import arguments as plugin_arguments
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.core.errors import reason_of
from orquestrador_ops.core.host_results import ProbeResult, RecoveryResult
from orquestrador_ops.incidents import escalation, settlement


class ActionModule(ControllerAction):
    """Reads the results that exist. Never fails the task: its status is one of the run's steps."""

    ARGUMENTS: ClassVar = {**plugin_arguments.ARGUMENTS, **plugin_arguments.PLAN_ARGUMENTS}
    FAILS = (ValueError,)

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        now = time.time()
        recovery_run = plugin_arguments.recovery_of(self.variables, arguments, now=now, check_mode=self.check_mode)
        plan = plugin_arguments.escalation_plan(self.variables, arguments, self.template)
        tr = self.settings.translator()
        recovery = RecoveryResult.read(self.result("emergency"))
        probe = ProbeResult.read(self.result("health"))
        try:
            with self.open_history() as store:
                context = escalation.Desk(store, plan, tr, now, recovery_run.run_id, arguments["limit_s"])
                return settlement.settle(
                    context, recovery_run, self.settings, gate=self.result("gate"), recovery=recovery, probe=probe
                ).result()
        except OSError as error:
            reason = reason_of(error)
            note = msg("Nothing was recorded and nobody was told: {reason}", reason=reason)
            return {"changed": False, "status": "failed", "note": [note]}
