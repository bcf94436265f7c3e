"""An emergency procedure: hand over the inventory's probe arguments and what is left of the run's budget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import emergency as emergencies
from orquestrador_ops.adapters import payload
from orquestrador_ops.adapters import probe as observation
from orquestrador_ops.core import settings

# Built here, in the controlling process: every forked worker inherits it.
payload.payload(payload.EMERGENCY)
PROBE = action_loader.get("health_probe", class_only=True)

AUTO = "auto"
# Procedures that ask how memory went.
OF_MEMORY = ("performance", AUTO)


class ActionModule(PROBE):  # type: ignore[misc, valid-type]
    """One remote round trip, carried as a probe is. What it only looks at (``auto``) never fails for what it saw."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        ActionBase.run(self, tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        host, started = str(variables.get("inventory_hostname", "")), observation.utc_now()
        run = dict(variables.get("report_run") or {}).get("run")
        if "probe" not in arguments:
            arguments["probe"] = self._templar.template(observation.from_inventory(variables))
        if not run:
            return {"failed": True, "changed": False, "msg": "an emergency procedure needs an open run: report/open"}
        arguments["budget_s"] = emergencies.left_of(run)
        if arguments.get("procedure") in OF_MEMORY:
            try:
                kept = settings.of(variables, self._templar.template)
                arguments["memory_samples"] = emergencies.memory_samples(kept, host)
            except OSError as error:
                # Recovering goes on without; the conclusion fails on the same history and says so.
                self._display.warning(f"{host}: {error}")
        if arguments.get("procedure") != AUTO:
            return self._asked(arguments, variables)
        try:
            result = self._asked(arguments, variables)
        except AnsibleConnectionFailure as error:
            result = {"unreachable": True, "msg": str(error)}
        return emergencies.triaged(result, host=host, started=started)

    def _asked(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        python = self._python(variables)
        if python is None:
            module: dict[str, Any] = self._execute_module(
                module_name="emergency", module_args=arguments, task_vars=variables
            )
            return module
        params, problem = emergencies.parameters(arguments)
        if problem is not None:
            return {"failed": True, "changed": False, "unusable": True, "msg": problem, "failures": []}
        check_mode = bool(self._task.check_mode)
        limit_s = params["budget_s"] + emergencies.RESERVE_S
        result: dict[str, Any] = self._run_payload(
            payload.EMERGENCY, python, limit_s, params=params, check_mode=check_mode
        )
        if "module_stderr" in result:
            host = str(variables.get("inventory_hostname", ""))
            result["failures"] = [observation.why_not(result, host, str(result["msg"]))]
        return result
