"""Close a cycle of the watch that had something to do: put down how it ended; fail when a host is not well."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.core import settings
from orquestrador_ops.watch import cycle as watch_cycle
from orquestrador_ops.watch import decisions as watch


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, once for all hosts, whatever became of their procedures."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        self.validate_argument_spec(argument_spec={})
        kept = settings.of(variables, self._templar.template)
        seen = variables.get("watch_seen") or {}
        todo: dict[str, Any] = seen.get("todo") or {}
        hosts = variables["hostvars"]
        ended = {host: watch.ended(one, hosts.raw_get(host)) for host, one in todo.items()}
        try:
            tr = kept.translator()
            if not self._task.check_mode and seen.get("number") is not None:
                watch_cycle.finish(kept, seen["number"], ended)
        except (OSError, ValueError) as error:
            return {"failed": True, "changed": False, "msg": f"the cycle could not be recorded: {error}"}
        for line in watch_cycle.last_lines(ended, tr):
            self._display.display(line)
        bad = sorted(host for host, how in ended.items() if how in watch.NOT_WELL)
        result: dict[str, Any] = {"changed": False, "ended": ended}
        if bad:
            shown = ", ".join(bad[: watch_cycle.MAX_LINES])
            result.update(failed=True, msg=f"watch: {len(bad)} of {len(todo)} hosts are not well: {shown}")
        return result
