"""Open or close a maintenance window, or say what is open."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.incidents import maintenance
from orquestrador_ops.runs import lifecycle as runs


class ActionModule(ControllerAction):
    """Touches nothing on the host. What it refuses is left to the conclusion of the run."""

    ARGUMENTS: ClassVar = {
        "state": {"type": "str", "choices": ["", "open", "close"], "default": ""},
        "reason": {"type": "str", "default": ""},
        "until": {"type": "str", "default": ""},
        "max_h": {"type": "float", "default": 24},
    }
    FAILS = (ValueError,)

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        run = dict(self.result("run").get("run") or {})
        operator = str(run.get("operator") or runs.operator_name())
        try:
            with self.open_history() as store:
                changed, note, windows = maintenance.asked(
                    store,
                    self.host,
                    arguments,
                    tr=self.settings.translator,
                    operator=operator,
                    run_id=run.get("run_id"),
                    check_mode=self.check_mode,
                )
        except maintenance.WindowError as error:
            return {"changed": False, "status": "failed", "note": [error.message], "windows": []}
        except OSError as error:
            return {"changed": False, "status": "failed", "note": [getattr(error, "message", str(error))]}
        return {"changed": changed, "note": note, "windows": windows, "evidence": {"windows": windows}}
