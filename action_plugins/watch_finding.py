"""Put what the watch found, and no procedure treats, in the shape in which a procedure reports."""

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
    """``part``: ``emergency``, what the cycle decided to tell; ``health``, what it saw. As it is: no templates."""

    ARGUMENTS: ClassVar = {"part": {"type": "str", "choices": ["emergency", "health"], "required": True}}

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        finding = results.decision_for(self.variables, self.host)["finding"]
        if arguments["part"] == "health":
            return watch.merge_probes(self.result("health"))
        return dict(finding)
