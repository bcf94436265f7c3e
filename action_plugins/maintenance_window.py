"""Open, close or list maintenance windows of a host."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador.core.messages import msg
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.core.errors import reason_of
from orquestrador_ops.incidents import maintenance
from orquestrador_ops.runs import lifecycle as runs


class ActionModule(ControllerAction):
    """Changes nothing on the host. A refusal is a status; the run's conclusion fails for it."""

    ARGUMENTS: ClassVar = {
        "state": {"type": "str", "choices": ["", "open", "close"], "default": ""},
        "reason": {"type": "str", "default": ""},
        "until": {"type": "str", "default": ""},
        "max_h": {"type": "float", "default": 24},
    }
    FAILS = (ValueError,)

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            with self.open_history() as store:
                changed, note, windows = self._apply(store, arguments.pop("state"), arguments.pop("until"), arguments)
        except maintenance.WindowError as error:
            return {"changed": False, "status": "failed", "note": [error.message], "windows": []}
        except OSError as error:
            return {"changed": False, "status": "failed", "note": [reason_of(error)]}
        note = note or [msg("No maintenance window is open")]
        return {"changed": changed, "note": note, "windows": windows, "evidence": {"windows": windows}}

    def _apply(self, store: Any, state: str, until: str, window: dict[str, Any]) -> tuple[bool, list[Any], list[Any]]:
        now, run = time.time(), dict(self.result("run").get("run") or {})
        if state == "open":
            window["ends_at"] = maintenance.until(until, now, self.settings.translator())
            window.update(operator=str(run.get("operator") or runs.operator_name()), run_id=run.get("run_id"))
            opened = maintenance.begin(store, host=self.host, now=now, check_mode=self.check_mode, **window)
            return True, [maintenance.described(opened)], [opened]
        if state == "close":
            closed = maintenance.end(store, self.host, now, check_mode=self.check_mode)
            return bool(closed), [msg("Closed: {what}", what=maintenance.described(entry)) for entry in closed], []
        windows = maintenance.open_windows(store, self.host, now)
        return False, [maintenance.described(entry) for entry in windows], windows
