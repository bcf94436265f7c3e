"""Conclude a run: judge, record, report and show the checklist."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar

from ansible.utils.color import ANSIBLE_COLOR

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg, plain
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.core.host_results import ProbeResult
from orquestrador_ops.procedures import outcome
from orquestrador_ops.runs import lifecycle as runs

# Read in the controlling process, where this is loaded: a forked worker has no terminal.
TERMINAL: dict[str, Any] = {
    "colour": bool(ANSIBLE_COLOR),
    "width": shutil.get_terminal_size((100, 24)).columns,
    "encoding": sys.stdout.encoding,
}


class ActionModule(ControllerAction):
    """Fails the host when the expected results were not met or could not be recorded."""

    ARGUMENTS: ClassVar = {}
    FAILS = (KeyError, ValueError)
    FAILURE = msg("the run could not be concluded: {error}")

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        probe = ProbeResult.read(self.result("health") or self.result("triage"))
        run = self.result("run").get("run") or self._opened(probe)
        results = outcome.results(run["procedure"], self.variables)
        facts = {name: self.template(self.variables[name]) for name in runs.judged_by(run) if name in self.variables}
        conclusion = runs.conclude(run, probe, results, self.settings, facts=facts, **TERMINAL)
        self.show([conclusion.checklist])
        result = {"changed": False, "outcome": conclusion.record["outcome"], "reports": conclusion.reports}
        if not conclusion.met:
            failures = runs.failure_messages(conclusion)
            result.update(failed=True, msg=" - ".join(map(plain, failures)), failures=failures)
        return result

    def _opened(self, probe: ProbeResult) -> runs.RunDict:
        """Open the run of a routine that only observes and had no task to open it."""
        return runs.open_run(
            procedure=str(self.template(self.variables["report_procedure"])),
            host=self.host,
            budget_s=runs.budget_of(self.template(self.variables["report_budget_s"])),
            operator=None,
            check_mode=self.check_mode,
            started_at=probe.started_at,
            run_id=probe.run_id,
        )
