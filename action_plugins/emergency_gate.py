"""Check maintenance window and circuit breaker, and record the recovery before it starts."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import arguments as plugin_arguments
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.core.errors import reason_of
from orquestrador_ops.incidents import settlement


class ActionModule(ControllerAction):
    """Never fails the task for a refusal; read ``allowed`` in the result."""

    ARGUMENTS: ClassVar = {**plugin_arguments.ARGUMENTS, "close_breaker": {"type": "bool", "default": False}}
    FAILS = (ValueError,)

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        recovery = plugin_arguments.recovery_of(self.variables, arguments, now=time.time(), check_mode=self.check_mode)
        try:
            with self.open_history() as store:
                answer = settlement.gate(store, recovery, close_breaker=arguments["close_breaker"])
        except OSError as error:
            answer = settlement.unrecorded(recovery, reason_of(error))
        return {"changed": False, **answer}

    def failed(self, error: object) -> dict[str, Any]:
        return {**super().failed(error), "allowed": False}
