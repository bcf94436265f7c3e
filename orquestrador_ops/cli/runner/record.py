"""What is kept of a run that was ended before it could conclude itself, and who hears of it."""

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
from ...runs import lifecycle as runs
from .. import queries as records
from .execute import Result, unconcluded

# Of a run that did not end by itself, until the inventory's own matrix takes over at the next occasion.
LEVEL, RESPOND_WITHIN_S, SEVERITY, SCENARIO = "L2", 900.0, "high", "over_budget"


def history(state_dir: Path) -> History:
    """The history of a state directory; ``OPS_HISTORY_URL`` names another store, as ``ops_history_url`` does."""
    return open_history(state_dir, os.environ.get("OPS_HISTORY_URL") or None)


def record(result: Result) -> list[Message]:
    """Record a run that was ended, once for every host that it did not conclude on; what could not be recorded.

    The outcome is ``timeout`` or ``interrupted``; a run that hung is an incident as well.
    """
    open_ones = unconcluded(result)
    if not open_ones:
        return []
    problems: list[Message] = []
    try:
        with history(result.request.state_dir) as store:
            for name, host in open_ones.items():
                run = _record(result, name, host.run or {})
                store.record_run(run)
                host.run, host.outcome = run, result.status
                _settle_recovery(store, result, name, run["run_id"], time.time())
                if result.status == TIMEOUT and not result.request.check:
                    _hung(store, result, name, run["run_id"])
    except OSError as error:
        reason: Any = getattr(error, "message", str(error))
        problems.append(msg("The history could not be written: {reason}", reason=reason))
    return problems


def _record(result: Result, host: str, run: dict[str, Any]) -> dict[str, Any]:
    task = result.tally.tasks[-1] if result.tally.tasks else None
    note = msg("The run was ended while it was at this.")
    step: dict[str, Any] = {
        "id": "ended",
        "title": task.name if task else result.request.procedure,
        "source": None,
        "status": FAILED,
        "checks": [],
        "started_at": None,
        "ended_at": result.ended_at or runs.utc_now().isoformat(),
        "evidence": {"ended_on_hosts": None if result.rest is None else vars(result.rest)},
        "note": note,
    }
    return {
        "run_id": f"{result.id}-{host}"[:64],
        "procedure": result.request.procedure,
        "operator": runs.operator_name(),
        "check_mode": result.request.check,
        "started_at": result.started_at,
        "budget_s": result.request.budget_s,
        **{name: value for name, value in run.items() if value is not None},
        "host": host,
        "ended_at": result.ended_at or runs.utc_now().isoformat(),
        "outcome": result.status,
        "steps": [step],
    }


def _settle_recovery(store: History, result: Result, host: str, run_id: str, now: float) -> None:
    """What was let through as a recovery has failed: nobody proved that it helped."""
    procedure = result.request.procedure
    if (host, procedure) in records.recovered(store):
        breaker.BreakerStore(store, host, procedure, breaker.Limits(), now).settle(run_id, FAILED)


def _hung(store: History, result: Result, host: str, run_id: str) -> None:
    """An incident. Nobody is told from here, where no channels are known: the next occasion does that."""
    asked, now = result.request, time.time()
    reason = msg(
        "{procedure} was ended {used_s} after its start, its budget is {budget_s}; it was at: {task}",
        procedure=asked.procedure,
        used_s=result.seconds,
        budget_s=asked.budget_s,
        task=result.tally.tasks[-1].name if result.tally.tasks else asked.procedure,
    )
    incident, _ = incidents.report(
        store,
        host=host,
        alert=asked.procedure,
        severity=SEVERITY,
        at=now,
        run_id=run_id,
        detected_at=epoch(result.started_at),
        facts={
            "scenario": SCENARIO,
            "reasons": [reason],
            "proposals": [msg("Look at what the run left: {path}", path=str(result.artifacts))],
        },
        entries=[incidents.entry(reason, now)],
    )
    if incident["level"] is None:
        waits_until = now + RESPOND_WITHIN_S
        incidents.change(store, incident["id"], at=now, level=LEVEL, escalated_to=LEVEL, next_at=waits_until)
