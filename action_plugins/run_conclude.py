"""Conclude a run: judge, record, report and show the checklist."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.color import ANSIBLE_COLOR

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.core import settings
from orquestrador_ops.runs import lifecycle as runs

# Asked in the controlling process, where this is loaded: a forked worker has no terminal.
ENCODING = sys.stdout.encoding
WIDTH = shutil.get_terminal_size((100, 24)).columns


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller. Fails the host when the expected results were not met or could not be recorded."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec={"results": {"type": "dict", "default": {}}})
        template = self._templar.template
        kept = settings.of(variables, template)
        # Read by name: as arguments, a snapshot's every string would be templated again.
        probe = dict(variables.get("health_result") or variables.get("emergency_triage") or {})
        opened = dict(variables.get("report_run") or {}).get("run")
        try:
            # A routine that only observes needs no identity before it is over, and no task to give it one.
            run = opened or runs.open_run(
                procedure=str(template(variables["report_procedure"])),
                host=str(variables.get("inventory_hostname", "")),
                budget_s=runs.budget_of(template(variables["report_budget_s"])),
                operator=None,
                check_mode=bool(self._task.check_mode),
                started_at=probe.get("started_at"),
                run_id=probe.get("run_id"),
            )
            conclusion = runs.conclude(
                run,
                probe,
                {step: variables.get(name) or {} for step, name in arguments["results"].items()},
                kept,
                facts={name: template(variables[name]) for name in runs.judged_by(run) if name in variables},
                colour=bool(ANSIBLE_COLOR),
                width=WIDTH,
                encoding=ENCODING,
            )
        except (KeyError, ValueError) as error:
            return {"failed": True, "changed": False, "msg": f"the run could not be concluded: {error}"}
        self._display.display(conclusion.checklist)
        result: dict[str, Any] = {
            "changed": False,
            "outcome": conclusion.record["outcome"],
            "reports": conclusion.reports,
        }
        if not conclusion.met:
            result.update(failed=True, msg=runs.failure_line(conclusion))
        return result
