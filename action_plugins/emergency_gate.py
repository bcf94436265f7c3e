"""Ask whether the host may be touched, and put the recovery on record before it begins."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import arguments as cases
from orquestrador_ops.core import settings
from orquestrador_ops.history import access
from orquestrador_ops.incidents import settlement


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller. Never fails a run for what it decides: C(allowed) is the word."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(
            argument_spec={**cases.ARGUMENTS, "close_breaker": {"type": "bool", "default": False}}
        )
        kept = settings.of(variables, self._templar.template)
        try:
            case = cases.of(variables, arguments, now=time.time(), check_mode=bool(self._task.check_mode))
        except ValueError as error:
            return {"failed": True, "changed": False, "allowed": False, "msg": str(error)}
        try:
            with access.open_history(kept.state_dir, kept.history_url) as store:
                answer = settlement.gate(store, case, close_breaker=arguments["close_breaker"])
        except OSError as error:
            answer = settlement.unrecorded(case, getattr(error, "message", str(error)))
        return {"changed": False, **answer}
