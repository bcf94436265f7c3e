"""What follows from the service levels of all hosts: one line each, alerts, roll-ups, metrics."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import arguments as cases
from orquestrador_ops.adapters import results
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.incidents import escalation
from orquestrador_ops.sla import publish
from orquestrador_ops.sla.evaluate import objectives


class ActionModule(ControllerAction):
    """Runs once for all hosts of the play. In check mode it writes nothing and tells nobody."""

    ARGUMENTS: ClassVar = {
        **cases.PLAN_ARGUMENTS,
        "raw_days": {"type": "int", "default": 90},
        "fine_days": {"type": "int", "default": 400},
        "textfile": {"type": "path", "default": ""},
        "enforce": {"type": "bool", "default": False},
    }
    FAILS = (OSError, ValueError)
    FAILURE = "sla: {error}"

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        known, tr = self.hosts(), self.settings.translator()
        found = {host: publish.documents_of(results.of(one, "sla")) for host, one in known.items()}
        plan = cases.plan(self.variables, arguments, self.template)
        # Objectives are each host's own, and so are the templates that they may be.
        wanted = {host: objectives.from_variables(one, self.template) for host, one in known.items()}
        if self.check_mode and self.no_history:
            outcome = publish.Outcome()
        else:
            with self.open_history() as store:
                desk = escalation.Desk(store, plan, tr, time.time(), limit_s=arguments["limit_s"])
                if self.check_mode:
                    outcome = publish.preview(store, found)
                else:
                    outcome = publish.publish(desk, found, wanted, arguments, self.settings.timezone)
        logs = {host: results.of(one, "log_rates") for host, one in known.items()}
        self.show(publish.lines(outcome, found, logs, tr))
        return publish.result(outcome, found, tr, enforce=arguments["enforce"])

    def failed(self, error: Any) -> dict[str, Any]:
        return super().failed(self.in_words(error))
