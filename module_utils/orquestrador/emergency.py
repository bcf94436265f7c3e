"""One emergency procedure on its host, in one go: observe, diagnose, keep evidence, act gently first, prove each step.

Everything happens on the host, in one process with a deadline of its own: a recovery that has begun does not depend on
a controller that may be gone, and never runs on for longer than its budget. A *procedure* (``emergency_offline`` and
its siblings) gives the ladder for a diagnosis; this module climbs it.

Order: observe → diagnose → lease → evidence → rungs. Nothing is touched before the lease is had and the evidence kept,
and nothing at all when the application is well, or when another procedure is what the verdict calls for.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable, Optional

from . import emergency_database, emergency_evidence, emergency_offline, emergency_performance, lease
from .backup_clients import BackupError
from .emergency_scene import OBSERVE_S, Rung, Scene
from .messages import msg
from .types import Message

# By procedure, what gives the rungs for a scene.
LADDERS: dict[str, Callable[[Scene], list[Rung]]] = {
    "offline": emergency_offline.ladder,
    "performance": emergency_performance.ladder,
    "database": emergency_database.ladder,
}
HEALTHY, RECOVERED, FAILED, REFUSED = "healthy", "recovered", "failed", "refused"
# A rung is not begun with less: there would be nothing left to prove it with.
LEAST_S = 3.0
# What the keeping of evidence may take of the budget.
EVIDENCE_S = 5.0


def run(params: dict[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    """Climb the ladder of ``params["procedure"]`` until the application is proven well, or nothing is left to try.

    Returns ``{changed, outcome, diagnosis, before, steps, over_budget, failures}``: ``outcome`` is ``healthy`` (nothing
    to do), ``recovered``, ``failed`` or ``refused`` (another run's lease, or another procedure's case); ``steps`` by
    id, in order, as a routine's results have them, with ``planned_s`` and ``used_s``. Raises :class:`BackupError` only
    for arguments that can't be used.
    """
    scene = Scene(params, check_mode=check_mode)
    result = _Result(scene)
    found = scene.step("diagnosis", OBSERVE_S)
    scene.look()
    case = scene.diagnosis
    evidence = {name: case[name] for name in ("alert", "scenario", "severity", "level")}
    procedure = params["procedure"]
    if case["alert"] == "none":
        found.end("ok", msg("Nothing here calls for this procedure: nothing was touched"), evidence)
        return result.of(HEALTHY)
    note = case["reasons"][0] if case["reasons"] else None
    if case["alert"] != procedure:
        other = msg(
            "This is a case for the procedure {procedure}, the root cause: run playbooks/emergency/{procedure}.yml",
            procedure=case["alert"],
        )
        found.end("failed", other, evidence)
        return result.of(REFUSED, other)
    found.end("ok", note, evidence)
    if check_mode:
        return _foretell(scene, result)
    taken = scene.step("lease", 5.0)
    options = {name: params[f"lease_{name}"] for name in ("path", "run_id", "owner", "preempt")}
    wanted = lease.request(
        run_id=options["run_id"], owner=options["owner"], procedure=procedure, ttl_s=max(scene.left(), 1.0),
        preempt=options["preempt"],
    )  # fmt: skip
    try:
        with scene.owner.at_work():
            held = lease.acquire(options["path"], wanted)
    except lease.LeaseError as error:
        taken.end("failed", error.message, {"holder": error.holder} if error.holder else {})
        return result.of(REFUSED, error.message)
    taken.end("ok", held["note"], {"lease": held["lease"]})
    try:
        return _climb(scene, result)
    finally:
        _give_back(scene, options["path"], options["run_id"])


def _climb(scene: Scene, result: _Result) -> dict[str, Any]:
    kept = scene.step("evidence", EVIDENCE_S)
    try:
        evidence = emergency_evidence.collect(scene, min(EVIDENCE_S, scene.left()))
        with scene.owner.at_work():
            evidence["path"] = _keep(scene, evidence)
        kept.end("ok", None, evidence)
    except OSError as error:
        kept.end("warn", msg("The evidence could not be kept on the host: {reason}", reason=str(error.strerror)))
    for rung in LADDERS[scene.params["procedure"]](scene):
        if scene.left() < LEAST_S:
            result.over_budget = True
            break
        if _try(scene, rung, result):
            return result.of(RECOVERED)
        if rung.decisive and scene.steps[rung.id]["status"] == "failed":
            break
    if scene.left() <= 0:
        result.over_budget = True
    return result.of(FAILED, _why_failed(scene, result))


def _try(scene: Scene, rung: Rung, result: _Result) -> bool:
    """Act and prove; True when the application is well now."""
    given = min(rung.planned_s, scene.left())
    step = scene.step(rung.id, rung.planned_s)
    end = time.monotonic() + given
    evidence: dict[str, Any] = {}
    before = _restarts(scene)
    try:
        result.changed = True
        evidence = rung.act(given) or {}
    except BackupError as error:
        step.end("failed", error.message, evidence)
        result.failures.append(error.message)
        return False
    finally:
        _count_restarts(scene, before, evidence)
    wrong = rung.proof or (lambda: None)
    reason = wrong()
    while reason is not None and time.monotonic() < min(end, time.monotonic() + scene.left()):
        time.sleep(0.2)
        reason = wrong()
    if reason is None:
        reason = scene.app.well(max(end - time.monotonic(), 1.0), stable_s=float(scene.params["stable_s"]))
    if reason is None:
        step.end("changed", None, evidence)
        return True
    step.end("warn", msg("It did not help: {reason}", reason=reason), evidence)
    result.failures.append(reason)
    return False


def _foretell(scene: Scene, result: _Result) -> dict[str, Any]:
    """Check mode: what would be done, and by whom the host is held."""
    taken = scene.step("lease", 5.0)
    params = scene.params
    wanted = lease.request(
        run_id=params["lease_run_id"], owner=params["lease_owner"], procedure=params["procedure"],
        ttl_s=max(scene.left(), 1.0), preempt=params["lease_preempt"],
    )  # fmt: skip
    with scene.owner.at_work():
        taken.end("ok", lease.predict(params["lease_path"], wanted)["note"])
    for rung in LADDERS[scene.params["procedure"]](scene):
        scene.step(rung.id, rung.planned_s).end("skipped", rung.would)
        result.changed = True
    return result.of(FAILED, msg("Check mode: nothing was done"))


def _give_back(scene: Scene, path: str, run_id: str) -> None:
    entry = scene.steps["lease"]
    try:
        with scene.owner.at_work():
            given = lease.release(path, run_id=run_id)
        if given["note"]:
            entry.update(status="warn", note=given["note"])
    except lease.LeaseError as error:  # it expires by itself
        entry.update(status="warn", note=error.message)


def _restarts(scene: Scene) -> dict[str, int]:
    return scene.app.restarts()


def _count_restarts(scene: Scene, before: dict[str, int], evidence: dict[str, Any]) -> None:
    """PM2 counts what a rung did as restarts of the application: the record says that they were ours."""
    after = scene.app.restarts()
    ours = {worker: after[worker] - count for worker, count in before.items() if after.get(worker, 0) > count}
    if ours:
        evidence["planned_restarts"] = ours
        evidence["app"] = scene.params["app_name"]


def _why_failed(scene: Scene, result: _Result) -> Message:
    if result.over_budget:
        return msg("The time budget is used up: the application is not well yet, a person has to go on")
    if result.failures:
        return result.failures[-1]
    proposals: list[Message] = scene.diagnosis["proposals"]
    return proposals[0] if proposals else msg("There is nothing that could safely be tried: a person has to look")


def _keep(scene: Scene, evidence: dict[str, Any]) -> str:
    """Write the evidence beside the lease on the host, for the case that nobody is left to receive it."""
    directory = os.path.join(os.path.dirname(scene.params["lease_path"]), "emergencies")
    os.makedirs(directory, mode=0o700, exist_ok=True)
    path = os.path.join(directory, f"{scene.params['lease_run_id']}.json")
    whole = {"diagnosis": scene.diagnosis, "evidence": evidence, "snapshot": scene.snapshot}
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(whole, file)
    for old in sorted(os.listdir(directory))[: -int(scene.params["evidence_keep"])]:
        if old.endswith(".json"):
            os.unlink(os.path.join(directory, old))
    return path


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
