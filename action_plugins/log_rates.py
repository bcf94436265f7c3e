"""Count requests and errors in the logs of a host, and keep what was counted and where the reading stopped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import plain
from orquestrador_ops.core import settings
from orquestrador_ops.core.errors import HistoryError
from orquestrador_ops.history import access
from orquestrador_ops.sla.data import log_counts

PROCEDURE = "log_rates"


class ActionModule(ActionBase):  # type: ignore[misc]
    """The module on the host between a look at the history and a note in it; in check mode nothing is noted.

    Counts are noted before the memory: a controller that is killed in between has the same lines counted again, into
    the same hours.
    """

    TRANSFERS_FILES = True
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        host = str(variables.get("inventory_hostname", ""))
        kept = settings.of(variables, self._templar.template)
        try:
            with access.open_history(kept.state_dir, kept.history_url) as store:
                if not arguments.get("memory") and not arguments.get("since"):
                    arguments["memory"] = store.recall(host, PROCEDURE)
                result: dict[str, Any] = self._execute_module(
                    module_name="log_rates", module_args=arguments, task_vars=variables
                )
                memory = result.pop("memory", None)
                if memory is None or self._task.check_mode:
                    return {**result, "recorded": 0}
                recorded = log_counts.record(store, host, result.get("rates") or [])
                # A period of its own says nothing of where the next call has to go on.
                if not arguments.get("since"):
                    store.remember(host, PROCEDURE, memory)
        except HistoryError as error:
            return {"failed": True, "msg": plain(error.message), "failures": [error.message]}
        return {**result, "recorded": recorded}
