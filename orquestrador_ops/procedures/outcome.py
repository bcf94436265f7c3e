"""How the steps of a procedure (:mod:`.catalog`) are judged, and when its result counts as met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..core import outcomes
from .catalog import PROCEDURES
from .descriptor import Procedure, Step
from .step_rules import Facts

OK_STATUSES = frozenset({outcomes.OK, outcomes.CHANGED})
_OF_CHECK = {
    outcomes.OK: outcomes.OK,
    outcomes.WARN: outcomes.WARN,
    outcomes.CRITICAL: outcomes.FAILED,
    outcomes.UNKNOWN: outcomes.UNKNOWN,
}
_OF_OVERALL = {
    outcomes.HEALTHY: outcomes.OK,
    outcomes.DEGRADED: outcomes.WARN,
    outcomes.CRITICAL: outcomes.FAILED,
    outcomes.UNKNOWN: outcomes.UNKNOWN,
}


def named(procedure: str) -> Procedure:
    """The procedure of that name; ``ValueError``, one line, when there is none that has steps."""
    known = {name: plan for name, plan in PROCEDURES.items() if plan.steps}
    if procedure not in known:
        raise ValueError(f"no procedure {procedure!r}: use one of {', '.join(known)}")
    return known[procedure]


def observes(procedure: str) -> bool:
    """Whether a run of the procedure looks at the host; one that does not has nothing to say of it."""
    plan = PROCEDURES.get(procedure)
    return plan is None or plan.observes


def judged(procedure: str) -> tuple[str, ...]:
    """Variables of the inventory that the procedure's steps are judged by; empty where none is."""
    plan = PROCEDURES.get(procedure)
    return tuple(name for step in plan.steps for name in step.variables) if plan else ()


def results(procedure: str, registered: Mapping[str, Any]) -> dict[str, Any]:
    """By step, what its task registered, as :func:`conclude` wants it; empty where it did not run."""
    return {step.id: registered.get(step.result) or {} for step in named(procedure).steps if step.result}


def needed_result(step_id: str, procedure: str) -> str:
    """The name under which the step that this one needs registers its result; empty where it needs none.

    Raises ``ValueError``, one line, for a step that the procedure does not have.
    """
    steps = {step.id: step for step in named(procedure).steps}
    if step_id not in steps:
        raise ValueError(f"{procedure} has no step {step_id!r}: use one of {', '.join(steps)}")
    needed = steps[step_id].needs
    return steps[needed].result if needed else ""


def conclude(
    procedure: str,
    snapshot: Mapping[str, Any] | None,
    verdict: Mapping[str, Any] | None,
    step_results: Mapping[str, Mapping[str, Any]] | None = None,
    facts: Facts | None = None,
) -> tuple[list[dict[str, Any]], str]:
    """Judge a run: ``(steps, outcome)``.

    ``step_results`` maps a step's id to what the playbook knows of it: the registered result of an Ansible task
    (``changed``, ``failed``, ``skipped``, ``unreachable``, ``msg``), or any of ``status`` (see ``OF_STEP``),
    ``started_at``, ``ended_at``, ``evidence``, ``note``. Empty or skipped: the action was not needed, the snapshot
    has to show why. A result never hides a worse status of the step's checks. ``facts`` are what a step's ``judge``
    needs besides the snapshot.

    ``outcome`` is ``met`` only when every step is ok (or ``changed``: an action that had to do something and did it),
    ``unreachable`` when there is no snapshot, otherwise ``not_met``. Raises ``ValueError`` for an unknown procedure.
    """
    plan = named(procedure)
    reported = spread(step_results or {})
    verdict = verdict if isinstance(verdict, Mapping) else {}
    statuses = {str(c.get("id")): str(c.get("status")) for c in verdict.get("checks") or [] if isinstance(c, Mapping)}
    steps = [
        _step(plan, step, snapshot, verdict, statuses, reported.get(step.id), facts or {})
        for step in plan.steps
        if not step.optional or reported.get(step.id)
    ]
    if snapshot is None and plan.observes:
        return steps, outcomes.UNREACHABLE
    may_skip = {step.id for step in plan.steps if step.unwanted}
    met = all(
        step["status"] in OK_STATUSES or (step["status"] == outcomes.SKIPPED and step["id"] in may_skip)
        for step in steps
        if not plan.proof or step["id"] in plan.proof
    )
    return steps, outcomes.MET if met else outcomes.NOT_MET


def _step(
    plan: Procedure,
    step: Step,
    snapshot: Mapping[str, Any] | None,
    verdict: Mapping[str, Any],
    statuses: Mapping[str, str],
    result: Mapping[str, Any] | None,
    facts: Facts,
) -> dict[str, Any]:
    result = result if isinstance(result, Mapping) else {}
    found = [_OF_CHECK.get(statuses.get(check, outcomes.UNKNOWN), outcomes.UNKNOWN) for check in step.checks]
    status, note = _of_result(result)
    evidence = _evidence(result)
    if status is None and step.judge is not None:
        status, note, evidence = step.judge(snapshot, facts)
    elif status is None and step.unwanted is not None and result.get("skipped"):
        status, note = outcomes.SKIPPED, step.unwanted
    elif status is None and not found:
        status, note = outcomes.UNKNOWN, _why_not_run(plan, step)
    if step.overall:
        overall = _OF_OVERALL.get(str(verdict.get("overall")), outcomes.UNKNOWN)
        if overall not in OK_STATUSES and worst(found) in OK_STATUSES:
            note = note or msg("The checks of this step are fine, but the host as a whole is not healthy.")
        found.append(overall)
    if status is not None:
        found.append(status)
    return {
        "id": step.id,
        "title": step.title,
        "source": step.source or plan.source,
        "status": worst(found),
        "checks": list(step.checks),
        "started_at": result.get("started_at"),
        "ended_at": result.get("ended_at"),
        "evidence": evidence,
        "note": note,
        **{name: result[name] for name in ("planned_s", "used_s") if name in result},
    }


def ended_well(result: Any) -> bool:
    """Whether a step's result (as in :func:`conclude`) lets another step be built upon it; one that never ran does not.

    What calls for attention does not stop a routine; what failed, or is not known, does.
    """
    status, _ = _of_result(result) if isinstance(result, Mapping) else (None, None)
    return status in (OK_STATUSES | {outcomes.SKIPPED, outcomes.WARN})


def spread(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Results of steps; one that stands for several (``steps`` by id, as an emergency gives) becomes those."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, result in results.items():
        several = result.get("steps") if isinstance(result, Mapping) else None
        found.update(several if isinstance(several, Mapping) else {name: result})
    return found


def planned_restarts(result: Any) -> int:
    """How many restarts a step's result, or those of its ``steps``, say were its own; 0 for one that never ran."""
    several = result.get("steps") if isinstance(result, Mapping) else None
    if isinstance(several, Mapping):
        return sum(planned_restarts(step) for step in several.values())
    evidence = result.get("evidence") if isinstance(result, Mapping) else None
    counts = evidence.get("planned_restarts") if isinstance(evidence, Mapping) else None
    return sum(counts.values()) if isinstance(counts, Mapping) else 0


def _why_not_run(plan: Procedure, step: Step) -> Message:
    needed = next((one.title for one in plan.steps if one.id == step.needs), None)
    if needed is None:
        return msg("The step did not run.")
    return msg('The step did not run: it needs "{step}" to have ended well.', step=needed)


def _of_result(result: Mapping[str, Any]) -> tuple[str | None, Any]:
    """Status and note of an action; ``None`` when it was not needed."""
    if "status" in result:
        status = result["status"]
        return (status if status in outcomes.OF_STEP else outcomes.UNKNOWN), result.get("note")
    if not result or result.get("skipped"):
        return None, None
    if result.get("unreachable"):
        return outcomes.UNKNOWN, msg("The host could not be reached: {error}", error=str(result.get("msg", "")))
    if result.get("failed"):
        if isinstance(result.get("failures"), list) and result["failures"]:
            # A module's own messages, which can be put into the operator's language; "msg" is English.
            return outcomes.FAILED, list(result["failures"])
        return outcomes.FAILED, msg("The step failed: {error}", error=str(result.get("msg", "")))
    return (outcomes.CHANGED if result.get("changed") else outcomes.OK), result.get("note")


def _evidence(result: Mapping[str, Any]) -> dict[str, Any]:
    """What an action leaves in the record: its own evidence, or files written, the lease it had, who else had it."""
    evidence = result.get("evidence")
    if isinstance(evidence, Mapping):
        return dict(evidence)
    found: dict[str, Any] = {"files": result["files"]} if isinstance(result.get("files"), list) else {}
    for name in ("lease", "holder"):
        if isinstance(result.get(name), Mapping):
            found[name] = dict(result[name])
    return found


def worst(statuses: Iterable[str]) -> str:
    """The worst of some step statuses (``OF_STEP`` gives the order)."""
    return max(statuses, key=outcomes.OF_STEP.index)
