"""Require a private key of age, and a connection that does not leave it on the disk of the host."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters.base import ControllerAction

IDENTITY = "backup_age_identity"
_KEY = re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}")


class ActionModule(ControllerAction):
    """Sends nothing to the host. Fails in one line that never holds the value."""

    ARGUMENTS: ClassVar = {"otherwise": {"type": "str", "default": ""}}

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        problem = self._problem()
        if problem is None:
            return {"changed": False}
        return self.failed(problem + (f", or {arguments['otherwise']}" if arguments["otherwise"] else ""))

    def _problem(self) -> str | None:
        if IDENTITY not in self.variables:
            return f"{IDENTITY} is missing: keep the private key of the backups in Vault"
        try:
            value = str(self.template(self.variables[IDENTITY]))
        except AnsibleError:
            return f"{IDENTITY} can't be read: give ansible-playbook the Vault password"
        if not _KEY.fullmatch(value.strip()):
            return f"{IDENTITY} is no private key of age: give what age-keygen printed, AGE-SECRET-KEY-1…"
        # Whatever decides on it: configuration, variables of the host, kept files, the way to become another user.
        if not self._is_pipelining_enabled(module_style="new"):
            return "without pipelining Ansible would write the private key into a file on the host: switch it on"
        return None
