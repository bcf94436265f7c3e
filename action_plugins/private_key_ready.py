"""Require a private key of age, and a connection that does not leave it on the disk of the host."""

from __future__ import annotations

import re
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

IDENTITY = "backup_age_identity"
_KEY = re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}")


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller and sends nothing. Fails in one line that never holds the value."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(argument_spec={"otherwise": {"type": "str", "default": ""}})
        otherwise = f", or {arguments['otherwise']}" if arguments["otherwise"] else ""
        problem = self._problem(task_vars or {})
        if problem is not None:
            return {"failed": True, "changed": False, "msg": problem + otherwise}
        # Whatever decides on it: configuration, variables of the host, kept files, the way to become another user.
        if not self._is_pipelining_enabled(module_style="new"):
            return {
                "failed": True,
                "changed": False,
                "msg": "without pipelining Ansible would write the private key into a file on the host: switch it on"
                + otherwise,
            }
        return {"changed": False}

    def _problem(self, variables: dict[str, Any]) -> str | None:
        if IDENTITY not in variables:
            return f"{IDENTITY} is missing: keep the private key of the backups in Vault"
        try:
            value = str(self._templar.template(variables[IDENTITY]))
        except AnsibleError:
            return f"{IDENTITY} can't be read: give ansible-playbook the Vault password"
        if not _KEY.fullmatch(value.strip()):
            return f"{IDENTITY} is no private key of age: give what age-keygen printed, AGE-SECRET-KEY-1…"
        return None
