"""Evaluate the service levels of a host from the history on the controller: see ``library/sla_evaluate.py``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

# Loaded in the controlling process, once: every forked worker inherits numpy and SQLAlchemy.
from orquestrador.sla import ARGUMENT_SPEC
from orquestrador_ops.core import settings
from orquestrador_ops.core.i18n import Translator
from orquestrador_ops.history import access
from orquestrador_ops.history import store as history
from orquestrador_ops.history.baseline import STORE
from orquestrador_ops.sla.evaluate import measure, objectives
from orquestrador_ops.sla.report import summary


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller; touches no host. In check mode it writes nothing."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(
            argument_spec=ARGUMENT_SPEC, mutually_exclusive=[("period", "from"), ("period", "to")]
        )
        template = self._templar.template
        kept = settings.of(variables, template)
        host = arguments["host"] or str(variables.get("inventory_hostname", ""))
        tr = None
        try:
            tr = kept.translator()
            given = {f"sla_{name}": value for name, value in (arguments["objectives"] or {}).items()}
            wanted = objectives.of({**variables, **given}, template)
            now = time.time()
            period = measure.period_of(
                arguments["period"], arguments["from"], arguments["to"], now=now, timezone=kept.timezone
            )
            samples, reports = arguments["samples"], {}
            if samples is None and kept.history_url is None and not (kept.state_dir / STORE).exists():
                samples = []  # looking makes no store
            if samples is not None:
                found = measure.of_samples(samples, host, period, wanted, now)
            else:
                with access.open_history(kept.state_dir, kept.history_url) as store:
                    found = measure.of_history(store, host, period, wanted, now)
                    if arguments["report"] and not self._task.check_mode:
                        reports = self._kept(store, found, wanted, arguments, kept, tr)
        except (OSError, ValueError) as error:
            said = tr.message(getattr(error, "message", str(error))) if tr else str(error)
            return {"failed": True, "changed": False, "msg": f"{host}: {said}" if arguments["host"] else said}
        word = measure.verdict(found.document)
        return {
            "changed": bool(reports),
            "asked": arguments["period"],
            "document": found.document,
            "burn": found.document["burn"],
            "verdict": word,
            "met": {measure.MET: True, measure.MISSED: False}.get(word),
            "lines": summary.of_host([found.document], tr),
            "missed": summary.missed([found.document], tr),
            "reports": reports,
        }

    def _kept(
        self,
        store: history.History,
        found: measure.Measured,
        wanted: objectives.Objectives,
        arguments: dict[str, Any],
        kept: settings.Settings,
        tr: Translator,
    ) -> dict[str, str]:
        from orquestrador_ops.sla.report import keeping

        return keeping.keep(
            store,
            found,
            wanted,
            asked=arguments["period"],
            reports_dir=kept.state_dir / "reports",
            tr=tr,
            every_s=arguments["report_every_s"],
        )
