"""Put what the watch found, and no procedure treats, in the shape in which a procedure reports."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.watch import decisions as watch


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller. ``part``: ``emergency``, what the cycle decided to tell; ``health``, what it saw."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        spec = {"part": {"type": "str", "choices": ["emergency", "health"], "required": True}}
        _, arguments = self.validate_argument_spec(argument_spec=spec)
        todo = (variables.get("watch_seen") or {}).get("todo") or {}
        # As it is: hosts' words are no templates.
        finding = todo[str(variables["inventory_hostname"])]["finding"]
        if arguments["part"] == "health":
            return watch.as_one_look(variables.get("health_result") or {})
        return dict(finding)
