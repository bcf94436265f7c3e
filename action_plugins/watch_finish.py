"""Close a watch cycle that acted: record the outcomes; fail when a host is not healthy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg
from orquestrador_ops.adapters import watching
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.watch import cycle as watch_cycle
from orquestrador_ops.watch import decisions as watch


class ActionModule(ControllerAction):
    """Runs once for all hosts, also after failed procedures."""

    ARGUMENTS: ClassVar = {}
    FAILS = (OSError, ValueError)
    FAILURE = msg("the cycle could not be recorded: {error}")

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        recorded, hosts = self.result("seen"), self.variables["hostvars"]
        todo = recorded.get("todo") or {}
        outcomes = {host: watching.outcome_of(decision, hosts.raw_get(host)) for host, decision in todo.items()}
        tr = self.settings.translator()
        if not self.check_mode and recorded.get("number") is not None:
            watch_cycle.finish(self.settings, recorded["number"], outcomes)
        self.show(watch_cycle.final_lines(outcomes, tr))
        unwell = sorted(host for host, outcome in outcomes.items() if outcome in watch.NOT_WELL)
        result = {"changed": False, "ended": outcomes}
        if unwell:
            shown = ", ".join(unwell[: watch_cycle.MAX_LINES])
            failure = msg(
                "watch: {count} of {total} hosts are unhealthy: {hosts}",
                count=len(unwell),
                total=len(todo),
                hosts=shown,
            )
            result.update(self.failed(failure))
        return result
