"""Start a watch cycle, unless it is late or another one is running."""

from __future__ import annotations

import os
import sys
import time
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
    """Runs once for all hosts. Returns ``{outcome, skip, number, started}``."""

    ARGUMENTS: ClassVar = {}
    FAILS = (OSError, ValueError)
    FAILURE = msg("the cycle could not start: {error}")

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        started, tr = time.time(), self.settings.translator()
        outcome, reason, number = watch_cycle.begin(
            watching.cycle_from_variables(self.variables, self.template),
            self.settings,
            pid=os.getppid(),  # the controlling process: this one ends with the task
            due=self.template(self.variables.get("watch_due")),
            check_mode=self.check_mode,
        )
        if reason is not None:
            self.show([tr.message(reason)])
        skip = outcome != watch.RUNNING
        return {"changed": False, "outcome": outcome, "skip": skip, "number": number, "started": started}
