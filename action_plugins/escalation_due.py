"""Escalate open incidents that were not acknowledged in time."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import arguments as plugin_arguments
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.incidents import escalation


class ActionModule(ControllerAction):
    """Runs once for all hosts of the play."""

    ARGUMENTS = plugin_arguments.PLAN_ARGUMENTS
    FAILS = (OSError, ValueError)

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        now = time.time()
        hosts = [str(host) for host in self.variables.get("ansible_play_hosts_all") or []]
        plan = plugin_arguments.escalation_plan(self.variables, arguments, self.template)
        with self.open_history() as store:
            overdue = [incident["id"] for incident in escalation.due(store, now) if incident["host"] in hosts]
            if self.check_mode:
                return {"changed": False, "due": overdue, "told": [], "failed_channels": [], "note": []}
            context = escalation.Desk(store, plan, self.settings.translator(), now, limit_s=arguments["limit_s"])
            report = escalation.climb(context, hosts)
        failed = sorted(report.failed)
        return {"changed": False, "due": overdue, "told": report.sent, "failed_channels": failed, "note": report.notes}
