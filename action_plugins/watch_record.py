"""Record the probes of a watch cycle, list unhealthy hosts and decide what to do about each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg
from orquestrador_ops.adapters import results, watching
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.watch import cycle as watch_cycle
from orquestrador_ops.watch import decisions as watch


class ActionModule(ControllerAction):
    """Runs once for all hosts. Returns ``{todo, budgets, number, tally}``; ``todo`` is by host."""

    ARGUMENTS: ClassVar = {}
    FAILS = (OSError, ValueError)
    FAILURE = msg("the cycle could not be recorded: {error}")

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        cycle = self.result("cycle")
        observed = {
            host: watch.HostObservation.read(results.registered(variables, "health"))
            for host, variables in self.hosts().items()
        }
        recorded = watch_cycle.record(
            watching.cycle_from_variables(self.variables, self.template),
            self.settings,
            observed,
            number=cycle.get("number"),
            started=float(cycle.get("started") or 0.0),
            check_mode=self.check_mode,
        )
        self.show(recorded.lines)
        busy = {host: decision for host, decision in recorded.decisions.items() if decision["kind"] != watch.NONE}
        return {
            "changed": False,
            "number": recorded.number,
            "todo": {host: watch_cycle.with_finding(observed[host], decision) for host, decision in busy.items()},
            "budgets": watch_cycle.budgets(),
            "tally": watch.count_states(recorded.decisions),
        }
