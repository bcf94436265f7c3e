"""An emergency procedure: hand over the inventory's probe arguments and what is left of the run's budget."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orquestrador_ops import emergencies, observation, settings

AUTO = "auto"
# Procedures that ask how memory went.
OF_MEMORY = ("performance", AUTO)


class ActionModule(ActionBase):  # type: ignore[misc]
    """One remote round trip, the module ``emergency``. What it only looks at (``auto``) never fails for what it saw."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
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
        result: dict[str, Any] = self._execute_module(
            module_name="emergency", module_args=arguments, task_vars=variables
        )
        return result
