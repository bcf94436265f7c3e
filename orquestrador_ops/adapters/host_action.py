"""Base classes of action plugins that run a payload on a host."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ..history import access
from ..runs import lifecycle as runs
from . import payload
from . import probe as probe_adapter
from .base import ControllerAction, Result

# Options for the controller; all others are sent to the host.
OWN_OPTIONS = ("inventory", "procedure")


class HostAction(ControllerAction):
    """A task that runs a payload in one round trip, or the module in Ansible's own way."""

    _requires_connection = True

    def python(self) -> str | None:
        """Return the host's Python when a payload can be sent; ``None`` when only a module can run."""
        python = str(
            self.variables.get("ansible_python_interpreter")
            or constants.config.get_config_value("INTERPRETER_PYTHON", variables=self.variables)
        )
        if not python.startswith("/") or self._task.delegate_to or not self._is_pipelining_enabled("new"):
            return None
        return python

    def run_payload(self, function: payload.Function, python: str, timeout_s: float, **arguments: Any) -> Result:
        """Run a function of the host package on the host and return its result."""
        command = payload.command(python, timeout_s)
        sent = payload.request(function, **arguments)
        return payload.reply(function, self._low_level_execute_command(command, in_data=sent))


class ProbeAction(HostAction):
    """Observes a host. Never fails for what it observed, an unreachable host included: the conclusion does."""

    def observe_host(self, arguments: dict[str, Any]) -> Result:
        """Probe the host with the baseline of the last run; an unreachable host is a result."""
        inventory, procedure = (arguments.get(name) for name in OWN_OPTIONS)
        arguments = {name: value for name, value in arguments.items() if name not in OWN_OPTIONS}
        if inventory:
            # Two dozen arguments of a line each would be as many templates to compile for every host, and most values
            # are plain: only those that are templates cost anything here.
            arguments = {**self.template(probe_adapter.from_inventory(self.variables)), **arguments}
            procedure = procedure or self.template(self.variables.get("health_procedure"))
        if procedure:
            settings = self.settings
            try:
                arguments["memory"] = access.recall(settings.state_dir, settings.history_url, self.host, str(procedure))
            except OSError as error:
                # The probe continues as on a first run; the conclusion fails on the same history and reports it.
                self._display.warning(f"{self.host}: {error}")
        started = probe_adapter.utc_now()
        try:
            result = self._observe(arguments)
        except AnsibleConnectionFailure as error:
            result = {"unreachable": True, "msg": str(error)}
        except AnsibleError as error:
            # Nothing ran, e.g. without a sudo password: the run is concluded and reported like any other.
            message = " ".join(str(error).split())
            result = {"failed": True, "msg": message, "module_stderr": message}
        # A routine that opens no run gets its identity here: tasks that change the host need one for the lease.
        identity = {"run_id": runs.new_run_id(datetime.fromisoformat(started)), "owner": runs.lease_owner()}
        return {**probe_adapter.normalize_result(result, host=self.host, started=started), **identity}

    def _observe(self, arguments: dict[str, Any]) -> Result:
        python = self.python()
        if python is None:
            return self.module("health_probe", arguments)
        params, problem = probe_adapter.parameters(arguments)
        if problem is not None:
            return {"failed": True, "unusable": True, "msg": problem}
        percent = probe_adapter.cpu_percent(params)
        reply = self.run_payload(payload.PROBE, python, params["timeout"], params=params, cpu_percent=percent)
        return probe_adapter.add_verdict(params, reply)
