"""One emergency procedure on its host, in one go: observe, diagnose, keep evidence, act gently first, prove each step.

Everything happens on the host, in a process with a deadline of its own that a second one watches
(:mod:`..system.supervisor`): a recovery that has begun does not depend on a controller that may be gone, and never
runs on for longer than its budget. A *procedure* (:mod:`.ladders.offline` and its siblings) gives the ladder for a
diagnosis; this module climbs it.

Order: observe → diagnose → lease → evidence → rungs. Nothing is touched before the lease is had and the evidence kept,
and nothing at all when the application is well, or when another procedure is what the verdict calls for.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg, plain
from ..core.types import CHANGED, FAILED, HEALTHY, OK, RECOVERED, REFUSED, SKIPPED, UNKNOWN, WARN, Message
from ..lease import lease_file, model
from ..procedures import AUTO, EMERGENCIES
from ..system import supervisor
from ..system.identity import Owner
from .arguments import at_home
from .context import OBSERVE_S, Rung, Scene, Step
from .evidence import Record, collect
from .ladders import database, disk, offline, performance

Attempt = Callable[[Rung], bool]
Climb = Callable[[Scene, Attempt], tuple[Optional[Message], bool]]


class Ladder(NamedTuple):
    """What gives a procedure's rungs for a scene.

    One that is more than a ladder climbs it by itself: what is still wrong, and whether anything was changed.
    """

    rungs: Callable[[Scene], Iterable[Rung]]
    climb: Optional[Climb] = None


LADDERS = {
    "offline": Ladder(offline.ladder),
    "performance": Ladder(performance.ladder, performance.climb),
    "database": Ladder(database.ladder),
    "disk": Ladder(disk.ladder, disk.climb),
}
# A rung is not begun with less: there would be nothing left to prove it with.
LEAST_S = 3.0
# What the keeping of evidence may take of the budget.
EVIDENCE_S = 5.0
# After its deadline a procedure that is still there is ended by the guard; the lease lasts for so much longer as well.
GUARD_S = 3.0
LEASE_S = 10.0
# Whatever ends guard and worker at once, the host is free again within five minutes.
MAX_LEASE_S = 300.0
LEASE_WAIT_S = 5.0
# Whom to tell when the budget is used up: more of the same would not help.
OVER_BUDGET_LEVEL = "L3"
_OVER_BUDGET = msg("The time budget is used up: the application is not well yet, a person has to go on")


def called(params: dict[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    """:func:`run` as a module does it: what can't be begun is a failure in one line."""
    os.umask(0o077)
    try:
        return run(at_home(params), check_mode=check_mode)
    except OperatorError as error:
        return {"failed": True, "changed": False, "msg": plain(error.message), "failures": [error.message]}


def run(params: dict[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    """Climb the ladder of ``params["procedure"]`` until the application is proven well, or nothing is left to try.

    Returns ``{changed, outcome, diagnosis, before, steps, over_budget, failures}``: ``outcome`` is ``healthy`` (nothing
    to do), ``recovered``, ``failed`` or ``refused`` (another run's lease, or another procedure's case); ``steps`` by
    id, in order, as a routine's results have them, with ``planned_s`` and ``used_s``. :class:`OperatorError` only
    for arguments that can't be used.
    """
    owner = Owner(params["app_user"])
    watched = supervisor.watch(
        lambda tell: _work(params, check_mode, tell), limit_s=float(params["budget_s"]) + GUARD_S
    )
    if watched.complete and watched.said is not None:
        return watched.said
    result = watched.said or _Result(Scene(params, check_mode=check_mode)).of(FAILED)
    return _cut_short(params, owner, result, overdue=watched.overdue)


def _cut_short(params: dict[str, Any], owner: Owner, result: dict[str, Any], *, overdue: bool) -> dict[str, Any]:
    """What a procedure was that could not end by itself: the lease back, the record told what was going on."""
    if overdue:
        reason = msg("The procedure was stuck and was ended at its deadline: a person has to go on")
    else:
        reason = msg("The procedure was ended from outside before it was done: see who did that, and run it again")
    for entry in result["steps"].values():
        if entry["status"] == UNKNOWN:
            entry.update(status=FAILED, note=reason, evidence=entry.get("evidence") or {})
    result["diagnosis"] = result["diagnosis"] or {"alert": params["procedure"], "scenario": "unclear"}
    if overdue:
        result["diagnosis"]["level"] = OVER_BUDGET_LEVEL
    result.update(outcome=FAILED, over_budget=overdue, failures=[*result["failures"], reason])
    if "evidence" in result["steps"]:
        kept = result["steps"]["evidence"].get("evidence")
        Record(params, owner).write({**result, "evidence": kept})
    _release(owner, params, result["steps"].get("lease"))
    return result


def _work(params: dict[str, Any], check_mode: bool, tell: supervisor.Tell) -> dict[str, Any]:
    """The whole procedure; a defect of it becomes a failure of what it was doing."""
    scene = Scene(params, check_mode=check_mode)
    result = _Result(scene)
    scene.changed_step = lambda: tell(result.of(FAILED))
    try:
        return _procedure(scene, result)
    except OperatorError as error:
        return result.of(FAILED, error.message)
    except Exception as error:  # noqa: BLE001 - an operator gets a line and a record, whatever a host answers
        return result.of(FAILED, _defect(error))


def _procedure(scene: Scene, result: _Result) -> dict[str, Any]:
    params = scene.params
    found = scene.step("diagnosis", OBSERVE_S)
    scene.look()
    case = scene.diagnosis
    evidence = {name: case[name] for name in ("alert", "scenario", "severity", "level")}
    procedure = params["procedure"]
    if case["alert"] == "none":
        found.end(OK, msg("Nothing here calls for this procedure: nothing was touched"), evidence)
        return result.of(HEALTHY)
    if procedure == AUTO:
        found.end(OK, case["reasons"][0] if case["reasons"] else None, evidence)
        return result.of(REFUSED)
    if case["alert"] != procedure:
        other = msg(
            "This is a case for the procedure {procedure}, the root cause: run playbooks/emergency/{procedure}.yml",
            procedure=case["alert"],
        )
        found.end(FAILED, other, evidence)
        return result.of(REFUSED, other)
    found.end(OK, case["reasons"][0] if case["reasons"] else None, evidence)
    if scene.check_mode:
        return _foretell(scene, result)
    return _leased(scene, result)


def _leased(scene: Scene, result: _Result) -> dict[str, Any]:
    """Climb under the lease of the host."""
    params = scene.params
    taken = scene.step("lease", LEASE_WAIT_S)
    try:
        with scene.owner.at_work():
            held = lease_file.acquire(params["lease_path"], _wanted(scene), wait_s=min(LEASE_WAIT_S, scene.left()))
    except model.LeaseError as error:
        if EMERGENCIES[params["procedure"]].needs_no_room and lease_file.no_room(error):
            return _by_lock(scene, result, taken)
        return _not_had(result, taken, error)
    taken.end(OK, held["note"], {"lease": held["lease"]})
    try:
        return _climb(scene, result)
    finally:
        _release(scene.owner, params, scene.steps["lease"])


def _not_had(result: _Result, taken: Step, error: model.LeaseError) -> dict[str, Any]:
    """Without the lease nothing is touched. Only somebody who has it is a reason to stand back: all else is a fault."""
    taken.end(FAILED, error.message, {"holder": error.holder} if error.holder else {})
    return result.of(REFUSED if error.holder else FAILED, error.message)


def _wanted(scene: Scene) -> model.Request:
    params = scene.params
    return model.request(
        run_id=params["lease_run_id"],
        owner=params["lease_owner"],
        procedure=params["procedure"],
        ttl_s=min(scene.left() + LEASE_S, MAX_LEASE_S),
        preempt=params["lease_preempt"],
    )


def _by_lock(scene: Scene, result: _Result, taken: Step) -> dict[str, Any]:
    """What makes room must not need any: others are kept off by the lock of the lease, which dies with this process."""
    with contextlib.ExitStack() as stack:
        try:
            with scene.owner.at_work():
                note = stack.enter_context(lease_file.by_lock(scene.params["lease_path"], _wanted(scene)))
        except model.LeaseError as error:
            return _not_had(result, taken, error)
        taken.end(WARN, note)
        return _climb(scene, result)


def _climb(scene: Scene, result: _Result) -> dict[str, Any]:
    record = Record(scene.params, scene.owner)
    _keep_evidence(scene, record)
    climb = LADDERS[scene.params["procedure"]].climb
    if climb is not None:
        outcome, why = _climb_itself(scene, climb, result)
    else:
        outcome = RECOVERED if _any_rung(scene, result) else FAILED
        why = _why_failed(scene, result) if outcome == FAILED else None
    if outcome == FAILED and result.over_budget:
        scene.diagnosis["level"] = scene.steps["diagnosis"]["evidence"]["level"] = OVER_BUDGET_LEVEL
        last = list(scene.steps.values())[-1]
        last["note"] = [*_several(last.get("note")), _OVER_BUDGET]
    ended = result.of(outcome, why)
    record.write({**ended, "evidence": scene.steps["evidence"].get("evidence")})
    return ended


def _keep_evidence(scene: Scene, record: Record) -> None:
    """Before anything is changed. What can't be kept or collected is said, and stops no recovery."""
    kept = scene.step("evidence", EVIDENCE_S)
    try:
        evidence = collect(scene, min(EVIDENCE_S, scene.left()))
        wrong = record.write(
            {"diagnosis": scene.diagnosis, "before": {"snapshot": scene.snapshot}, "evidence": evidence}
        )
        kept.end(WARN if wrong else OK, wrong, evidence if wrong else {**evidence, "path": record.path})
    except Exception as error:  # noqa: BLE001 - see above
        kept.end(WARN, _defect(error))


def _climb_itself(scene: Scene, climb: Climb, result: _Result) -> tuple[str, Optional[Message]]:
    """The outcome, and why when it failed; what was gone before anything was touched was no recovery."""
    wrong, changed = climb(scene, lambda rung: _try(scene, rung, result))
    result.changed = result.changed or changed
    result.over_budget = scene.left() <= 0
    if wrong is None:
        return (RECOVERED if result.changed else HEALTHY), None
    return FAILED, wrong


def _any_rung(scene: Scene, result: _Result) -> bool:
    """Climb until the application is well; whether it is. A ladder may look again before it gives its next rung."""
    climbed = False
    for rung in LADDERS[scene.params["procedure"]].rungs(scene):
        climbed = True
        if scene.left() < LEAST_S:
            result.over_budget = True
            return False
        if _try(scene, rung, result):
            return True
        if rung.decisive and scene.steps[rung.id]["status"] == FAILED:
            break
    result.over_budget = scene.left() <= 0
    if not climbed:
        # Known, and for a person to mend: such a run has not met its end, whatever the checks say.
        case = scene.diagnosis
        scene.steps["diagnosis"].update(status=FAILED, note=[*case["reasons"][:1], *case["proposals"]] or None)
    return False


def _try(scene: Scene, rung: Rung, result: _Result) -> bool:
    """Act and prove; True when the application is well now."""
    given = min(rung.planned_s, scene.left())
    result.changed = result.changed or not rung.passive  # before the guard is told that it began
    step = scene.step(rung.id, rung.planned_s)
    end, cut = time.monotonic() + given, _cut(given, rung.planned_s)
    evidence: dict[str, Any] = {}
    alone: list[Message] = []
    before = scene.app.restarts()
    try:
        evidence.update(rung.act(given) or {})
        alone = evidence.pop("left_alone", [])
        wrong = _proven(scene, rung, end)
    except OperatorError as error:
        evidence.update(getattr(error, "evidence", {}))
        return _failed(result, step, [error.message, *alone, *cut(end)], evidence)
    except Exception as error:  # noqa: BLE001 - the next rung is tried, whatever happened to this one
        return _failed(result, step, [_defect(error)], evidence)
    finally:
        _count_restarts(scene, before, evidence)
    if wrong is None:
        step.end(OK if rung.passive else CHANGED, alone or None, evidence)
        if rung.partial:
            return False
        return not rung.prepares or scene.app.well(min(2.0, scene.left()), stable_s=_stable(scene)) is None
    step.end(WARN, [msg("It did not help: {reason}", reason=wrong), *alone, *cut(end)], evidence)
    result.failures.append(wrong)
    return False


def _cut(given: float, planned: float) -> Callable[[float], list[Message]]:
    """Of a rung whose end is given: that it was cut short, when it used up less than was planned for it."""

    def said(end: float) -> list[Message]:
        if given >= planned or time.monotonic() < end - 1:
            return []
        return [
            msg(
                "It was cut short: {given_s} of {planned_s} were left of the budget",
                given_s=round(given, 1),
                planned_s=planned,
            )
        ]

    return said


def _several(note: Any) -> list[Message]:
    return list(note) if isinstance(note, list) else [note] if note else []


def _failed(result: _Result, step: Step, messages: list[Message], evidence: dict[str, Any]) -> bool:
    step.end(FAILED, messages, evidence)
    result.failures.append(messages[0])
    return False


def _proven(scene: Scene, rung: Rung, end: float) -> Optional[Message]:
    """Wait for the rung's own proof, then, unless it only prepares, for the application: what is still wrong."""
    if rung.proof is not None:
        while (wrong := rung.proof()) is not None:
            if time.monotonic() >= end:
                return wrong
            time.sleep(0.2)
        if rung.prepares or rung.partial:
            return None
    return scene.app.well(max(end - time.monotonic(), 0.5), stable_s=_stable(scene))


def _stable(scene: Scene) -> float:
    return float(scene.params["stable_s"])


def _foretell(scene: Scene, result: _Result) -> dict[str, Any]:
    """Check mode: what would be done, and by whom the host is held."""
    taken = scene.step("lease", LEASE_WAIT_S)
    try:
        with scene.owner.at_work():
            taken.end(OK, lease_file.predict(scene.params["lease_path"], _wanted(scene))["note"])
    except model.LeaseError as error:
        return _not_had(result, taken, error)
    for rung in LADDERS[scene.params["procedure"]].rungs(scene):
        scene.step(rung.id, rung.planned_s).end(SKIPPED, rung.would)
        result.changed = result.changed or not rung.passive
    return result.of(FAILED, msg("Check mode: nothing was done"))


def _release(owner: Owner, params: dict[str, Any], entry: Optional[dict[str, Any]]) -> None:
    """Give the lease back; what is odd about that is noted where it was taken."""
    try:
        with owner.at_work():
            note = lease_file.release(params["lease_path"], run_id=params["lease_run_id"])["note"]
    except model.LeaseError as error:  # it expires by itself
        note = error.message
    if note and entry is not None and entry["status"] == OK:
        entry.update(status=WARN, note=note)


def _count_restarts(scene: Scene, before: dict[str, int], evidence: dict[str, Any]) -> None:
    """PM2 counts what a rung did as restarts of the application: the record says that they were ours."""
    after = scene.app.restarts()
    ours = {worker: after[worker] - count for worker, count in before.items() if after.get(worker, 0) > count}
    if ours:
        evidence["planned_restarts"] = ours
        evidence["app"] = scene.params["app_name"]


def _why_failed(scene: Scene, result: _Result) -> Message:
    if result.over_budget:
        return _OVER_BUDGET
    if result.failures:
        return result.failures[-1]
    proposals: list[Message] = scene.diagnosis["proposals"]
    return proposals[0] if proposals else msg("There is nothing that could safely be tried: a person has to look")


def _defect(error: Exception) -> Message:
    """Its class only: an exception's text may quote whatever was being read."""
    return msg("This ended by a defect ({reason}): report it, and go on by hand", reason=type(error).__name__)


class _Result:
    """What a procedure came to."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.changed = self.over_budget = False
        self.failures: list[Message] = []

    def of(self, outcome: str, failure: Optional[Message] = None) -> dict[str, Any]:
        scene = self._scene
        failures = list(self.failures) if outcome == FAILED else []
        if failure is not None and failure not in failures:
            failures.append(failure)
        return {
            "changed": self.changed,
            "outcome": outcome,
            "diagnosis": scene.diagnosis,
            "before": {"snapshot": scene.snapshot, "verdict": scene.verdict},
            "steps": scene.steps,
            "over_budget": self.over_budget,
            "failures": failures,
        }
