"""Count requests and errors in a host's logs; store the counts and the read offsets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.core.errors import HistoryError
from orquestrador_ops.sla.data import log_counts

PROCEDURE = "log_rates"


class ActionModule(ControllerAction):
    """Reads the offsets, runs the module and stores its counts; in check mode nothing is stored.

    Counts are stored before the offsets: when the controller is killed in between, the same lines are counted again,
    into the same hours.
    """

    TRANSFERS_FILES = True
    _requires_connection = True
    FAILS = (HistoryError,)

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        with self.open_history() as store:
            if not arguments.get("memory") and not arguments.get("since"):
                arguments["memory"] = store.recall(self.host, PROCEDURE)
            result = self.module("log_rates", arguments)
            memory = result.pop("memory", None)
            if memory is None or self.check_mode:
                return {**result, "recorded": 0}
            recorded = log_counts.record(store, self.host, result.get("rates") or [])
            # A period of its own does not move the offset of the next call.
            if not arguments.get("since"):
                store.remember(self.host, PROCEDURE, memory)
        return {**result, "recorded": recorded}

    def failed(self, error: Any) -> dict[str, Any]:
        return {**super().failed(error), "failures": error.failures}
