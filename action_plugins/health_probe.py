"""Probe a host with the baseline of the last run; an unreachable host is a result, not a failure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import payload
from orquestrador_ops.adapters.host_action import ProbeAction

# Built here, in the controlling process: every forked worker inherits it.
payload.payload()


class ActionModule(ProbeAction):
    """One remote round trip."""

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return self.observe_host(arguments)
