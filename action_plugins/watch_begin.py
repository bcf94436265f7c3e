"""Begin a cycle of the watch, unless it is late or another one is under way."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.core import settings
from orquestrador_ops.runs import lifecycle as runs
from orquestrador_ops.watch import cycle as watch_cycle
from orquestrador_ops.watch import decisions as watch


def cycle_of(variables: dict[str, Any], template: Any) -> watch_cycle.Cycle:
    """What a cycle is of, from the variables of the host that speaks for all."""
    return watch_cycle.Cycle(
        sources=tuple(map(str, variables.get("ansible_inventory_sources") or ())),
        hosts=tuple(map(str, variables.get("ansible_play_hosts_all") or ())),
        owner=runs.lease_owner(),
        budget_s=runs.budget_of(template(variables["report_budget_s"])),
        late_s=watch_cycle.number("watch_late_s", template(variables["watch_late_s"])),
        patience=int(
            watch_cycle.number("watch_unreachable_cycles", template(variables["watch_unreachable_cycles"]), 1)
        ),
    )


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, once. Returns ``{outcome, skip, number, started}``."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        self.validate_argument_spec(argument_spec={})
        kept = settings.of(variables, self._templar.template)
        started = time.time()
        try:
            tr = kept.translator()
            cycle = cycle_of(variables, self._templar.template)
            outcome, why, number = watch_cycle.begin(
                cycle,
                kept,
                pid=os.getppid(),  # the controlling process: this one ends with the task
                due=self._templar.template(variables.get("watch_due")),
                check_mode=bool(self._task.check_mode),
            )
        except (OSError, ValueError) as error:
            return {"failed": True, "changed": False, "msg": f"the cycle could not begin: {error}"}
        if why is not None:
            self._display.display(tr.message(why))
        skip = outcome != watch.RUNNING
        return {"changed": False, "outcome": outcome, "skip": skip, "number": number, "started": started}
