"""Conclude a run: judge, record, report and show the checklist."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.color import ANSIBLE_COLOR

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orquestrador_ops import runs

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
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "procedure": {"type": "str", "required": True},
                "budget_s": {"type": "float", "required": True},
                "run": {"type": "dict"},
                "results": {"type": "dict", "default": {}},
                "state_dir": {"type": "path", "required": True},
                "history_url": {"type": "str", "no_log": True},
                "locale": {"type": "str", "default": "pt_BR"},
                "timezone": {"type": "str", "default": "America/Sao_Paulo"},
            }
        )
        # Read directly: passing the snapshot as an argument would template every string of it again.
        probe = dict(variables.get("health_result") or {})
        # A routine that only observes needs no identity before it is over, and no task to give it one.
        run = arguments["run"] or runs.open_run(
            procedure=arguments["procedure"],
            host=str(variables.get("inventory_hostname", "")),
            budget_s=arguments["budget_s"],
            operator=None,
            check_mode=bool(self._task.check_mode),
            started_at=probe.get("started_at"),
        )
        try:
            conclusion = runs.conclude(
                run,
                probe,
                arguments["results"],
                state_dir=Path(arguments["state_dir"]).resolve(),
                history_url=arguments["history_url"] or None,
                locale=arguments["locale"],
                timezone=arguments["timezone"],
                colour=bool(ANSIBLE_COLOR),
                width=WIDTH,
                encoding=ENCODING,
            )
        except ValueError as error:
            return {"failed": True, "changed": False, "msg": str(error)}
        self._display.display(conclusion.checklist)
        result: dict[str, Any] = {
            "changed": False,
            "outcome": conclusion.record["outcome"],
            "reports": conclusion.reports,
        }
        if not conclusion.met:
            result.update(failed=True, msg=runs.failure_line(conclusion))
        return result
