"""Run an emergency procedure with the inventory's probe arguments and the run's remaining budget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg
from orquestrador.procedures import AUTO, MEASURED
from orquestrador_ops.adapters import emergency as emergencies
from orquestrador_ops.adapters import payload
from orquestrador_ops.adapters import probe as probe_adapter
from orquestrador_ops.adapters.host_action import HostAction

# Built here, in the controlling process: every forked worker inherits it.
payload.payload(payload.EMERGENCY)


class ActionModule(HostAction):
    """Sends one payload, as a probe does. A triage (``auto``) never fails for its diagnosis."""

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        started, run = probe_adapter.utc_now(), self.result("run").get("run")
        if "probe" not in arguments:
            arguments["probe"] = self.template(probe_adapter.from_inventory(self.variables))
        if not run:
            return self.failed(msg("the run is not open: import the entry point open of role report before"))
        arguments["budget_s"] = emergencies.remaining_budget_s(run)
        if arguments.get("procedure") in MEASURED:
            try:
                arguments["memory_samples"] = emergencies.memory_samples(self.settings, self.host)
            except OSError as error:
                # The recovery continues without it; the conclusion fails on the same history and reports it.
                self._display.warning(f"{self.host}: {error}")
        if arguments.get("procedure") != AUTO:
            return self._recover(arguments)
        try:
            result = self._recover(arguments)
        except AnsibleConnectionFailure as error:
            result = {"unreachable": True, "msg": str(error)}
        return emergencies.triage_result(result, host=self.host, started=started)

    def _recover(self, arguments: dict[str, Any]) -> dict[str, Any]:
        python = self.python()
        if python is None:
            return self.module("emergency", arguments)
        params, problem = emergencies.parameters(arguments)
        if problem is not None:
            return {**self.failed(problem), "unusable": True, "failures": []}
        limit_s = params["budget_s"] + emergencies.RESERVE_S
        result = self.run_payload(payload.EMERGENCY, python, limit_s, params=params, check_mode=self.check_mode)
        return emergencies.add_failures(result, self.host)
