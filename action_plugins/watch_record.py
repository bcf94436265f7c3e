"""Record what a cycle of the watch saw of every host, say which are not well, and decide what is done about them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from watch_begin import cycle_of

from orquestrador_ops.core import settings
from orquestrador_ops.watch import cycle as watch_cycle
from orquestrador_ops.watch import decisions as watch


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, once for all hosts. Returns ``{todo, budgets, number, tally}``; ``todo`` is by host."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        self.validate_argument_spec(argument_spec={})
        kept = settings.of(variables, self._templar.template)
        begun = variables.get("watch_cycle") or {}
        hosts = variables["hostvars"]
        # As they are: templating what a hundred hosts said would take longer than asking them.
        seen = {
            str(host): dict(hosts.raw_get(host).get("health_result") or {"trouble": watch.UNSEEN})
            for host in variables.get("ansible_play_hosts_all") or ()
        }
        try:
            recorded = watch_cycle.record(
                cycle_of(variables, self._templar.template),
                kept,
                seen,
                number=begun.get("number"),
                started=float(begun.get("started") or 0.0),
                check_mode=bool(self._task.check_mode),
            )
        except (OSError, ValueError) as error:
            return {"failed": True, "changed": False, "msg": f"the cycle could not be recorded: {error}"}
        for line in recorded.lines:
            self._display.display(line)
        busy = {host: one for host, one in recorded.decisions.items() if one["kind"] != watch.NONE}
        todo = {host: watch_cycle.task_of(seen[host], one) for host, one in busy.items()}
        return {
            "changed": False,
            "number": recorded.number,
            "todo": todo,
            "budgets": watch_cycle.budgets(),
            "tally": watch.tally(recorded.decisions),
        }
