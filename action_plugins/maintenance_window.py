"""Open or close a maintenance window, or say what is open."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg
from orquestrador_ops.core import settings
from orquestrador_ops.history import access
from orquestrador_ops.incidents import maintenance
from orquestrador_ops.runs import lifecycle as runs


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller; touches nothing on the host. What it refuses is left to the conclusion of the run."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "state": {"type": "str", "choices": ["", "open", "close"], "default": ""},
                "reason": {"type": "str", "default": ""},
                "until": {"type": "str", "default": ""},
                "max_h": {"type": "float", "default": 24},
            }
        )
        kept, now = settings.of(variables, self._templar.template), time.time()
        host, check_mode = str(variables.get("inventory_hostname", "")), bool(self._task.check_mode)
        run = dict((variables.get("report_run") or {}).get("run") or {})
        try:
            with access.open_history(kept.state_dir, kept.history_url) as store:
                if arguments["state"] == "open":
                    window = maintenance.begin(
                        store,
                        host=host,
                        reason=arguments["reason"],
                        ends_at=maintenance.until(arguments["until"], now, kept.translator()),
                        operator=str(run.get("operator") or runs.operator_name()),
                        max_h=arguments["max_h"],
                        now=now,
                        run_id=run.get("run_id"),
                        check_mode=check_mode,
                    )
                    return self._said(True, [maintenance.described(window)], [window])
                if arguments["state"] == "close":
                    closed = maintenance.end(store, host, now, check_mode=check_mode)
                    note = [msg("Closed: {what}", what=maintenance.described(one)) for one in closed]
                    return self._said(bool(closed), note or [msg("No maintenance window is open")], [])
                found = maintenance.open_windows(store, host, now)
                note = [maintenance.described(one) for one in found]
                return self._said(False, note or [msg("No maintenance window is open")], found)
        except maintenance.WindowError as error:
            return {"changed": False, "status": "failed", "note": [error.message], "windows": []}
        except OSError as error:
            return {"changed": False, "status": "failed", "note": [getattr(error, "message", str(error))]}
        except ValueError as error:
            return {"changed": False, "failed": True, "msg": str(error)}

    def _said(self, changed: bool, note: list[Any], windows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"changed": changed, "note": note, "windows": windows, "evidence": {"windows": windows}}
