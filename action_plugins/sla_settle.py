"""Publish the service levels of all hosts: one line each, alerts, roll-ups, metrics."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg
from orquestrador_ops.adapters import arguments as plugin_arguments
from orquestrador_ops.adapters import results
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.incidents import escalation
from orquestrador_ops.sla import publish
from orquestrador_ops.sla.evaluate import objectives


class ActionModule(ControllerAction):
    """Runs once for all hosts of the play. In check mode it writes and notifies nothing."""

    ARGUMENTS: ClassVar = {
        **plugin_arguments.PLAN_ARGUMENTS,
        "raw_days": {"type": "int", "default": 90},
        "fine_days": {"type": "int", "default": 400},
        "textfile": {"type": "path", "default": ""},
        "enforce": {"type": "bool", "default": False},
    }
    FAILS = (OSError, ValueError)
    FAILURE = msg("service levels: {error}")

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        hosts, tr = self.hosts(), self.settings.translator()
        documents = {
            host: publish.documents_of(results.registered(variables, "sla")) for host, variables in hosts.items()
        }
        plan = plugin_arguments.escalation_plan(self.variables, arguments, self.template)
        # Objectives and their templates are evaluated for each host.
        targets = {host: objectives.from_variables(variables, self.template) for host, variables in hosts.items()}
        if self.check_mode and self.no_history:
            outcome = publish.Outcome()
        else:
            with self.open_history() as store:
                context = escalation.Desk(store, plan, tr, time.time(), limit_s=arguments["limit_s"])
                if self.check_mode:
                    outcome = publish.preview(store, documents)
                else:
                    outcome = publish.publish(context, documents, targets, arguments, self.settings.timezone)
        logs = {host: results.registered(variables, "log_rates") for host, variables in hosts.items()}
        self.show(publish.lines(outcome, documents, logs, tr))
        return publish.result(outcome, documents, tr, enforce=arguments["enforce"])

    def failed(self, error: Any) -> dict[str, Any]:
        return super().failed(self.in_words(error))
