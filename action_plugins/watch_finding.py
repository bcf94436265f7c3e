"""Put what the watch found, and no procedure treats, in the shape in which a procedure reports."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller. Returns what the cycle decided to tell of this host, as ``emergency_result``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        self.validate_argument_spec(argument_spec={})
        todo = (variables.get("watch_seen") or {}).get("todo") or {}
        # As it is: hosts' words are no templates.
        return dict(todo[str(variables["inventory_hostname"])]["finding"])
