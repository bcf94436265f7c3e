"""Observe a host: hand the module what is remembered of the last run, and survive a host that cannot be reached."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orquestrador_ops import memory, observation

# Options of the controller's half; everything else goes to the module as it is.
OWN_OPTIONS = ("procedure", "state_dir", "history_url")


class ActionModule(ActionBase):  # type: ignore[misc]
    """One remote round trip. Never fails for what it observed, an unreachable host included: the conclusion does."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        own = {name: arguments.pop(name, None) for name in OWN_OPTIONS}
        host = str(variables.get("inventory_hostname", ""))
        if own["procedure"]:
            state = Path(str(own["state_dir"]))
            try:
                arguments["memory"] = memory.recall(state, own["history_url"] or None, host, str(own["procedure"]))
            except OSError as error:
                # Observing goes on as on a first run; the conclusion will fail on the same history and say so.
                self._display.warning(f"{host}: {error}")
        started = observation.utc_now()
        try:
            result = self._execute_module(module_name="health_probe", module_args=arguments, task_vars=variables)
        except AnsibleConnectionFailure as error:
            result = {"unreachable": True, "msg": str(error)}
        return observation.settle(result, host=host, started=started)
