"""Probe a host and its public URL for the watch; confirm a failure with a second probe."""

from __future__ import annotations

import http.client  # noqa: F401 - asking for the public address needs it: forked workers inherit it
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.app import health_endpoint as http_health
from orquestrador_ops.adapters import payload, watching
from orquestrador_ops.adapters.host_action import ProbeAction
from orquestrador_ops.watch import cycle as watch_cycle
from orquestrador_ops.watch import decisions as watch

# Built here, in the controlling process: every forked worker inherits it.
payload.payload()


class ActionModule(ProbeAction):
    """One round trip for a healthy host, two for a failing one. Never fails for what it observed."""

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        url = str(self.template(self.variables.get("app_public_url")) or "")
        try:
            limit_s, confirm_s = (
                watch_cycle.parse_number(name, self.template(self.variables[name]))
                for name in ("watch_public_timeout_s", "watch_confirm_after_s")
            )
        except ValueError as error:
            return {**self.failed(error), "trouble": watch.UNSEEN}
        return watching.confirm_failure(
            lambda: watching.probe_both_sides(lambda: self.observe_host(arguments), http_health, url, limit_s),
            confirm_s,
        )
