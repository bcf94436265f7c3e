"""Record runs that were ended before their conclusion, and open an incident for one that hung."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.i18n import epoch
from ...core.outcomes import FAILED, TIMEOUT
from ...history.access import open_history
from ...history.store import History
from ...incidents import breaker
from ...incidents import store as incidents
from ...runs import lifecycle
from .. import queries
from .execute import Result, unconcluded

# Of a run that hung, until the next run applies the inventory's own matrix.
LEVEL, RESPOND_WITHIN_S, SEVERITY, SCENARIO = "L2", 900.0, "high", "over_budget"


def history(state_dir: Path) -> History:
    """Open the history of a state directory, or the store of ``OPS_HISTORY_URL``."""
    return open_history(state_dir, os.environ.get("OPS_HISTORY_URL") or None)


def record(result: Result) -> list[Message]:
    """Record a run that was ended early, for every host without an outcome; return the problems.

    The outcome is ``timeout`` or ``interrupted``; a run that hung is an incident as well.
    """
    unconcluded_hosts = unconcluded(result)
    if not unconcluded_hosts:
        return []
    problems: list[Message] = []
    try:
        with history(result.request.state_dir) as store:
            for name, host in unconcluded_hosts.items():
                run = _record(result, name, host.run or {})
                store.record_run(run)
                host.run, host.outcome = run, result.status
                _close_recovery(store, result, name, run["run_id"], time.time())
                if result.status == TIMEOUT and not result.request.check:
                    _report_hung(store, result, name, run["run_id"])
    except OSError as error:
        reason: Any = getattr(error, "message", str(error))
        problems.append(msg("The history could not be written: {reason}", reason=reason))
    return problems


def _record(result: Result, host: str, run: dict[str, Any]) -> dict[str, Any]:
    task = result.events.tasks[-1] if result.events.tasks else None
    note = msg("The run was ended during this task.")
    step: dict[str, Any] = {
        "id": "ended",
        "title": task.name if task else result.request.procedure,
        "source": None,
        "status": FAILED,
        "checks": [],
        "started_at": None,
        "ended_at": result.ended_at or lifecycle.utc_now().isoformat(),
        "evidence": {"ended_on_hosts": None if result.leftovers is None else vars(result.leftovers)},
        "note": note,
    }
    return {
        "run_id": f"{result.id}-{host}"[:64],
        "procedure": result.request.procedure,
        "operator": lifecycle.operator_name(),
        "check_mode": result.request.check,
        "started_at": result.started_at,
        "budget_s": result.request.budget_s,
        **{name: value for name, value in run.items() if value is not None},
        "host": host,
        "ended_at": result.ended_at or lifecycle.utc_now().isoformat(),
        "outcome": result.status,
        "steps": [step],
    }


def _close_recovery(store: History, result: Result, host: str, run_id: str, now: float) -> None:
    """Record a recovery of this run as failed: nothing proved that it helped."""
    procedure = result.request.procedure
    if (host, procedure) in queries.recovered(store):
        breaker.BreakerStore(store, host, procedure, breaker.Limits(), now).settle(run_id, FAILED)


def _report_hung(store: History, result: Result, host: str, run_id: str) -> None:
    """Open an incident for a run that hung. The next run notifies: channels are not known here."""
    request, now = result.request, time.time()
    reason = msg(
        "{procedure} was ended {used_s} after its start, its budget is {budget_s}; last task: {task}",
        procedure=request.procedure,
        used_s=result.seconds,
        budget_s=request.budget_s,
        task=result.events.tasks[-1].name if result.events.tasks else request.procedure,
    )
    incident, _ = incidents.report(
        store,
        host=host,
        alert=request.procedure,
        severity=SEVERITY,
        at=now,
        run_id=run_id,
        detected_at=epoch(result.started_at),
        facts={
            "scenario": SCENARIO,
            "reasons": [reason],
            "proposals": [msg("Read the artifacts of the run: {path}", path=str(result.artifacts))],
        },
        entries=[incidents.entry(reason, now)],
    )
    if incident["level"] is None:
        waits_until = now + RESPOND_WITHIN_S
        incidents.change(store, incident["id"], at=now, level=LEVEL, escalated_to=LEVEL, next_at=waits_until)
