"""One round over the incidents that are open: who did not answer in time is passed over."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import arguments as cases
from orquestrador_ops.core import settings
from orquestrador_ops.history import access
from orquestrador_ops.incidents import escalation


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, once for all hosts of the play."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec=cases.PLAN_ARGUMENTS)
        kept, now = settings.of(variables, self._templar.template), time.time()
        hosts = [str(host) for host in variables.get("ansible_play_hosts_all") or []]
        try:
            plan = cases.plan(variables, arguments, self._templar.template)
            with access.open_history(kept.state_dir, kept.history_url) as store:
                waiting = [one["id"] for one in escalation.due(store, now) if one["host"] in hosts]
                if self._task.check_mode:
                    return {"changed": False, "due": waiting, "told": [], "failed_channels": [], "note": []}
                desk = escalation.Desk(store, plan, kept.translator(), now, limit_s=arguments["limit_s"])
                told = escalation.climb(desk, hosts)
        except (OSError, ValueError) as error:
            return {"failed": True, "changed": False, "msg": str(error)}
        return {
            "changed": False,
            "due": waiting,
            "told": told.sent,
            "failed_channels": sorted(told.failed),
            "note": told.notes,
        }
