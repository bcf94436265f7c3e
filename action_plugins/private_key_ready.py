"""Require a private key of age, and a connection that does not leave it on the disk of the host."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg
from orquestrador.core.types import Message
from orquestrador_ops.adapters.base import ControllerAction

IDENTITY = "backup_age_identity"
_KEY = re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}")


class ActionModule(ControllerAction):
    """Sends nothing to the host. Fails in one line that never holds the key."""

    ARGUMENTS: ClassVar = {"otherwise": {"type": "str", "default": ""}}

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        problem = self._problem()
        if problem is None:
            return {"changed": False}
        if arguments["otherwise"]:
            problem = msg("{problem}, or {otherwise}", problem=problem, otherwise=arguments["otherwise"])
        return self.failed(problem)

    def _problem(self) -> Message | None:
        """Return why the key can't be used; ``None`` when it can."""
        if IDENTITY not in self.variables:
            return msg("backup_age_identity is missing: keep the private key of the backups in Vault")
        try:
            value = str(self.template(self.variables[IDENTITY]))
        except AnsibleError:
            return msg("backup_age_identity can't be read: give ansible-playbook the Vault password")
        if not _KEY.fullmatch(value.strip()):
            return msg("backup_age_identity is no private key of age: give what age-keygen printed, AGE-SECRET-KEY-1…")
        # Set by configuration, variables of the host, kept files or the become method.
        if not self._is_pipelining_enabled(module_style="new"):
            return msg("without pipelining Ansible would write the private key into a file on the host: switch it on")
        return None
