"""What follows from the service levels of all hosts: one line each, alerts, roll-ups, metrics."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "module_utils"))

from orquestrador_ops.adapters import arguments as cases
from orquestrador_ops.core import settings, text
from orquestrador_ops.history import access
from orquestrador_ops.history.baseline import STORE
from orquestrador_ops.incidents import escalation
from orquestrador_ops.sla import settle
from orquestrador_ops.sla.evaluate import measure, objectives
from orquestrador_ops.sla.report import summary

ARGUMENTS: dict[str, dict[str, Any]] = {
    **cases.PLAN_ARGUMENTS,
    "raw_days": {"type": "int", "default": 90},
    "fine_days": {"type": "int", "default": 400},
    "textfile": {"type": "path", "default": ""},
    "enforce": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):  # type: ignore[misc]
    """Runs on the controller, once for all hosts of the play. In check mode it writes nothing and tells nobody."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        variables = task_vars or {}
        _, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        template = self._templar.template
        kept, hosts = settings.of(variables, template), variables["hostvars"]
        # As they are: templating every text of every document would take longer than evaluating them.
        known = {str(host): hosts.raw_get(host) for host in variables.get("ansible_play_hosts_all") or ()}
        found = {host: _documents(one) for host, one in known.items()}
        tr = None
        try:
            tr = kept.translator()
            outcome = self._settle(kept, arguments, found, variables, known)
        except (OSError, ValueError) as error:
            said = tr.message(getattr(error, "message", str(error))) if tr else str(error)
            return {"failed": True, "changed": False, "msg": f"sla: {said}"}
        for host, documents in found.items():
            unread = settle.unread(known[host].get("logs_rates_result"))
            notes = [f"  {tr.message(note)}" for note in [*outcome.notes.get(host, []), *([unread] if unread else [])]]
            for line in [*summary.of_host(documents, tr), *notes]:
                self._display.display(text.clean(line, 400))
        for note in settle.described(outcome):
            self._display.display(tr.message(note))
        missed = {host: line for host, documents in found.items() if (line := summary.missed(documents, tr))}
        result: dict[str, Any] = {
            "changed": bool(outcome.opened or outcome.closed or outcome.textfile or any(outcome.rolled_up.values())),
            "opened": outcome.opened,
            "closed": outcome.closed,
            "failed_channels": sorted(outcome.failed_channels),
            "rolled_up": outcome.rolled_up,
            "missed": missed,
        }
        if arguments["enforce"] and missed:
            result.update(failed=True, msg="; ".join(f"{host}: {line}" for host, line in missed.items()))
        return result

    def _settle(
        self,
        kept: settings.Settings,
        arguments: dict[str, Any],
        found: dict[str, list[dict[str, Any]]],
        variables: dict[str, Any],
        known: dict[str, Any],
    ) -> settle.Outcome:
        plan = cases.plan(variables, arguments, self._templar.template)
        # Objectives are each host's own, and so are the templates that they may be.
        wanted = {host: objectives.of(one, self._templar.template) for host, one in known.items()}
        if self._task.check_mode and kept.history_url is None and not (kept.state_dir / STORE).exists():
            return settle.Outcome()
        with access.open_history(kept.state_dir, kept.history_url) as store:
            if self._task.check_mode:
                return settle.would(store, found)
            desk = escalation.Desk(store, plan, kept.translator(), time.time(), limit_s=arguments["limit_s"])
            return settle.settle(
                desk,
                found,
                wanted,
                raw_days=arguments["raw_days"],
                fine_days=arguments["fine_days"],
                textfile=Path(arguments["textfile"]) if arguments["textfile"] else None,
                timezone=kept.timezone,
            )


def _documents(variables: Any) -> list[dict[str, Any]]:
    """What was evaluated for a host, one document for each period."""
    results = (variables.get("sla_result") or {}).get("results") or []
    return [measure.called(one["document"], one.get("asked")) for one in results if one.get("document")]
