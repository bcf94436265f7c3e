"""Evaluate the service levels of a host from the history on the controller: see ``library/sla_evaluate.py``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

# Loaded in the controlling process, once: every forked worker inherits numpy and SQLAlchemy.
from orquestrador.sla import ARGUMENT_SPEC
from orquestrador_ops.adapters import service_levels
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.history import store  # noqa: F401
from orquestrador_ops.sla.evaluate import objectives


class ActionModule(ControllerAction):
    """Touches no host. In check mode it writes nothing."""

    ARGUMENTS = ARGUMENT_SPEC
    EXCLUSIVE = (("period", "from"), ("period", "to"))
    FAILS = (OSError, ValueError)

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        tr = self.settings.translator()
        overrides = {f"sla_{name}": value for name, value in (arguments["objectives"] or {}).items()}
        targets = objectives.from_variables({**self.variables, **overrides}, self.template)
        host = arguments["host"] or self.host
        return service_levels.evaluate(arguments, targets, self.settings, tr, host, self.check_mode)

    def failed(self, error: Any) -> dict[str, Any]:
        host = self._task.args.get("host")
        return super().failed(f"{host}: {self.in_words(error)}" if host else self.in_words(error))
