"""Observe a host: hand over what is remembered of the last run, and survive a host that cannot be reached."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import payload
from orquestrador_ops.adapters import probe as observation
from orquestrador_ops.core import settings
from orquestrador_ops.history import access
from orquestrador_ops.runs import lifecycle as runs

# Built here, in the controlling process: every forked worker inherits it.
payload.payload()

# Options of the controller's half; everything else goes to the host as it is.
OWN_OPTIONS = ("inventory", "procedure")


class ActionModule(ActionBase):  # type: ignore[misc]
    """One remote round trip. Never fails for what it observed, an unreachable host included: the conclusion does."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        own = {name: arguments.pop(name, None) for name in OWN_OPTIONS}
        host, procedure = str(variables.get("inventory_hostname", "")), own["procedure"]
        if own["inventory"]:
            # Two dozen arguments of a line each would be as many templates to compile for every host, and most values
            # are plain: only those that are templates cost anything here.
            arguments = {**self._templar.template(observation.from_inventory(variables)), **arguments}
            procedure = procedure or self._templar.template(variables.get("health_procedure"))
        if procedure:
            kept = settings.of(variables, self._templar.template)
            try:
                arguments["memory"] = access.recall(kept.state_dir, kept.history_url, host, str(procedure))
            except OSError as error:
                # Observing goes on as on a first run; the conclusion will fail on the same history and say so.
                self._display.warning(f"{host}: {error}")
        started = observation.utc_now()
        try:
            result = self._observe(arguments, variables)
        except AnsibleConnectionFailure as error:
            result = {"unreachable": True, "msg": str(error)}
        except AnsibleError as error:
            # Without a password for sudo, say, nothing ran at all: a run that is concluded and reported like any other.
            said = " ".join(str(error).split())
            result = {"failed": True, "msg": said, "module_stderr": said}
        # A routine that opens no run beforehand has its identity from here: what changes the host needs one to take
        # the lease with.
        identity = {"run_id": runs.new_run_id(datetime.fromisoformat(started)), "owner": runs.lease_owner()}
        return {**observation.settle(result, host=host, started=started), **identity}

    def _observe(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        python = self._python(variables)
        if python is None:
            module: dict[str, Any] = self._execute_module(
                module_name="health_probe", module_args=arguments, task_vars=variables
            )
            return module
        params, problem = observation.parameters(arguments)
        if problem is not None:
            return {"failed": True, "unusable": True, "msg": problem}
        percent = observation.cpu_percent(params)
        answer = self._run_payload(payload.PROBE, python, params["timeout"], params=params, cpu_percent=percent)
        return observation.judged(params, answer)

    def _python(self, variables: dict[str, Any]) -> str | None:
        """The host's Python where code can be carried to it; ``None`` where only Ansible's own way works."""
        python = str(
            variables.get("ansible_python_interpreter")
            or C.config.get_config_value("INTERPRETER_PYTHON", variables=variables)
        )
        if not python.startswith("/") or self._task.delegate_to or not self._is_pipelining_enabled("new"):
            return None
        return python

    def _run_payload(self, function: payload.Function, python: str, timeout_s: float, **given: Any) -> dict[str, Any]:
        """What the function of the host package answered over there."""
        command = payload.command(python, timeout_s)
        sent = payload.request(function, **given)
        return payload.reply(function, self._low_level_execute_command(command, in_data=sent))
