"""Return a problem that no procedure treats as the result of a procedure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import results
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.watch import decisions as watch


class ActionModule(ControllerAction):
    """``part``: ``emergency``, the problem to report; ``health``, the merged probes. Untemplated."""

    ARGUMENTS: ClassVar = {"part": {"type": "str", "choices": ["emergency", "health"], "required": True}}

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        finding = results.decision_for(self.variables, self.host)["finding"]
        if arguments["part"] == "health":
            return watch.merge_probes(self.result("health"))
        return dict(finding)
