"""The application is slow, or heavy: name what is heavy, act only while it still is, and observe what becomes of it.

The order is the playbook's: resources, the heavy process, slow queries, then a reload or a restart, then the
observation. What a restart does not mend is told at once, without one; what is gone at the second look is left alone;
and what was restarted counts as recovered only when minutes of samples show a good *trend*.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Optional

from ...app import health_endpoint, heap_snapshot, reload
from ...app.dist import DeployError, Dist
from ...core.errors import OperatorError
from ...core.messages import msg
from ...core.types import FAILED, OK, UNKNOWN, WARN, Message
from ...health.expectations import limits_of
from ...system.isolate import apart
from ..clues.load import heavy
from ..context import EmergencyError, Rung, Scene
from ..diagnosis.diagnose import diagnose
from ..diagnosis.performance import NOT_ITS_OWN
from . import observation

# The alert has to be there still, this much later: a burst of requests is nobody's emergency.
SECOND_LOOK_S = 5.0
RELOAD_S, RESTART_S, SNAPSHOT_S = 60.0, 30.0, 60.0
CLUSTER = "cluster"
# What is left of the budget when the observation ends.
AFTER_S = 3.0

Attempt = Callable[[Rung], bool]


def ladder(scene: Scene) -> list[Rung]:
    """The rungs for the scene's diagnosis; none for what no restart mends."""
    if scene.diagnosis["scenario"] in NOT_ITS_OWN:
        return []
    restart = Rung(
        "restart", RESTART_S, lambda seconds: _restart(scene, seconds), msg("PM2 would restart the application")
    )
    if (scene.snapshot.get("pm2") or {}).get("app", {}).get("mode") != CLUSTER:
        return [restart]
    would = msg("The application would be reloaded, worker by worker, and restarted if that fails")
    return [Rung("reload", RELOAD_S, lambda seconds: _reload(scene, seconds), would), restart]


def climb(scene: Scene, attempt: Attempt) -> tuple[Optional[Message], bool]:
    """All of the procedure between the evidence and the end: ``(what is still wrong, False)``.

    ``attempt`` acts by a rung, proves that the application is well and records both.
    """
    return _climb(scene, attempt), False  # what is changed is changed by attempts


def _climb(scene: Scene, attempt: Attempt) -> Optional[Message]:
    _tell(scene)
    rungs = ladder(scene)
    if not rungs:
        proposals: list[Message] = scene.diagnosis["proposals"]
        scene.step("remedy", 0.0).end(FAILED, proposals[0])
        return proposals[0]
    gone = _second_look(scene)
    if gone is not None:
        return None if gone else _other(scene)
    rate_before = (scene.clues.get("memory_trend") or {}).get("growth_per_min_bytes")
    if scene.params["heap_snapshot"]:
        _keep_heap(scene)
    _leave_logs(scene)
    for rung in rungs:
        if scene.left() < AFTER_S:
            return msg("The time budget is used up: the application is not well yet, a person has to go on")
        if attempt(rung):
            break
    else:
        return msg("Neither reload nor restart brought the application back to its figures")
    return _observe(scene, rate_before)


def _tell(scene: Scene) -> None:
    """The playbook's first three steps, from what was seen already: what there is, who is heavy, which queries wait."""
    resources = scene.snapshot.get("resources") or {}
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    scene.step("resources", 5.0).end(
        OK,
        msg(
            "The application takes {app_percent} of a processor and {app_bytes}; of the host's {count} processors"
            " {host_percent} are busy, of its memory {memory_percent} is used",
            app_percent=cpu.get("app_percent"),
            app_bytes=memory.get("app_max_bytes"),
            count=cpu.get("count"),
            host_percent=cpu.get("percent"),
            memory_percent=memory.get("used_percent"),
        ),
        {"memory": memory, "cpu": cpu, "load": resources.get("load"), "disk": resources.get("disk")},
    )
    heaviest = scene.step("heaviest", 5.0)
    # What a database that waits makes slow is no reason to look for who is busy before: it is one of the steps, though.
    load = scene.clues.get("load") or heavy(scene.snapshot)
    rows = load.get("processes") or []
    if rows:
        by_memory = scene.diagnosis["scenario"] in ("memory", "leak")
        top = max(rows, key=lambda row: float(row["rss_bytes" if by_memory else "cpu_percent"]))
        heaviest.end(OK, _whose(top), {"processes": rows})
    else:
        heaviest.end(UNKNOWN, msg("The processes of the host could not be compared"))
    _tell_queries(scene)


def _whose(row: dict[str, Any]) -> Message:
    args = {"pid": str(row["pid"]), "used_percent": row["cpu_percent"], "used_bytes": row["rss_bytes"]}
    if row["kind"] == "application":
        return msg("The heaviest process is the application's own, {pid}: {used_percent}, {used_bytes}", **args)
    if row["kind"] == "database":
        return msg("The heaviest process is the database's, {pid}: {used_percent}, {used_bytes}", **args)
    return msg(
        "The heaviest process is {command}, {pid} of {user}, which is not the application: {used_percent},"
        " {used_bytes}",
        command=row["command"],
        user=str(row["user"]),
        **args,
    )


def _tell_queries(scene: Scene) -> None:
    database = scene.snapshot.get("database") or {}
    step, slow = scene.step("queries", 5.0), database.get("slow") or []
    evidence = {"queries": slow, "waits": scene.clues.get("waits") or [], "threads": database.get("threads")}
    if not database.get("reachable"):
        step.end(UNKNOWN, msg("The database could not be asked for its queries"), evidence)
    elif slow:
        oldest = max(float(query.get("seconds") or 0) for query in slow)
        count = len(slow)
        step.end(WARN, msg("{count} slow queries, the oldest for {oldest_s}", count=count, oldest_s=oldest), evidence)
    else:
        step.end(OK, msg("No slow query"), evidence)


def _second_look(scene: Scene) -> Optional[bool]:
    """``None``: it still is the case. ``True``: it is gone. ``False``: by now it is another procedure's."""
    step = scene.step("second_look", SECOND_LOOK_S + 3)
    time.sleep(min(SECOND_LOOK_S, max(scene.left() - AFTER_S, 0.0)))
    snapshot, verdict = scene.observe()
    case = diagnose(snapshot, verdict, scene.clues)
    evidence = {"alert": case["alert"], "scenario": case["scenario"]}
    if case["alert"] == scene.params["procedure"]:
        step.end(OK, msg("It still is the case {wait_s} later", wait_s=SECOND_LOOK_S), evidence)
        return None
    if case["alert"] == "none":
        step.end(OK, msg("It was over {wait_s} later: nothing was restarted", wait_s=SECOND_LOOK_S), evidence)
        return True
    scene.diagnosis = case
    step.end(FAILED, case["reasons"][0] if case["reasons"] else None, evidence)
    return False


def _other(scene: Scene) -> Message:
    return msg(
        "This is a case for the procedure {procedure}, the root cause: run playbooks/emergency/{procedure}.yml",
        procedure=scene.diagnosis["alert"],
    )


def _leave_logs(scene: Scene) -> None:
    """The playbook flushes PM2's logs here. That destroys them, and a log's size slows nothing down."""
    scene.step("flush", 0.0).end(
        OK, msg("PM2's logs are left as they are: flushing them makes nothing quicker and destroys evidence")
    )


def _keep_heap(scene: Scene) -> None:
    """A heap snapshot of the heaviest process, before it is restarted and there is nothing left to look at."""
    step = scene.step("heap_snapshot", SNAPSHOT_S)
    seconds = min(SNAPSHOT_S, scene.left() - RESTART_S - AFTER_S)
    processes = [
        (p.get("memory_bytes") or 0, p["pid"])
        for p in (scene.snapshot.get("pm2") or {}).get("processes") or []
        if p.get("name") == scene.params["app_name"] and p.get("pid")
    ]
    if not processes or seconds < 5:
        step.end(WARN, msg("There was no process, or no time, to take a heap snapshot of"))
        return
    weight, pid = max(processes)
    directory = heap_snapshot.directory_of(scene.params["lease_path"])
    try:
        kept = apart(
            scene.owner,
            lambda: heap_snapshot.take(pid, directory, scene.params["lease_run_id"], weight, seconds - 1),
            seconds,
        )
    except OperatorError as error:
        step.end(WARN, error.message)
        return
    note = msg(
        "Heap snapshot of process {pid}: {path}, {size_bytes}",
        pid=str(pid),
        path=kept["path"],
        size_bytes=kept["size_bytes"],
    )
    step.end(OK, note, kept)


def _restart(scene: Scene, seconds: float) -> None:
    scene.app.restart(seconds)


def _reload(scene: Scene, seconds: float) -> dict[str, Any]:
    """Worker by worker, each proven, so that no request is lost."""
    params, limits = scene.params, limits_of(scene.params["expectations"])
    url = health_endpoint.usable(params["app_health_url"])
    if url is None:
        raise EmergencyError(msg("app_health_url is no address to prove a reload by: correct it in the inventory"))
    options = reload.Options(
        home=params["pm2_home"].rstrip("/"),
        command=params["pm2_command"],
        app=params["app_name"],
        url=url,
        dist=Dist(params["dist"], params["build_state_dir"]),
        ready_timeout_s=min(20.0, seconds),
        stable_s=float(params["stable_s"]),
        rate=10.0,
        status_expected=str(limits["status_expected"]),
        database_expected=str(limits["database_expected"]),
    )

    def work() -> dict[str, Any]:
        try:
            done = reload.reload(options, check_mode=False)
        except DeployError as error:
            raise OperatorError(error.failures[0]) from None
        kept = ("requests", "failures", "longest_gap_s", "workers")
        return {name: done["evidence"][name] for name in kept}

    return apart(scene.owner, work, seconds)


def _observe(scene: Scene, rate_before: Optional[float]) -> Optional[Message]:
    wanted = float(scene.params["observe_s"])
    seconds = min(wanted, max(scene.left() - AFTER_S, 0.0))
    step = scene.step("observed", wanted)
    seen = observation.observe(scene, seconds)
    note = observation.told(seen, rate_before)
    step.end(OK if seen["good"] else FAILED, note, seen)
    if seen["good"]:
        return None
    # It was restarted and is not well: nothing that an operator could repeat.
    scene.diagnosis = {**scene.diagnosis, "level": "L3", "persistent": True}
    return note
