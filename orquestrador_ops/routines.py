"""What each routine expects, as data: its steps, the checks that belong to them, and when the result counts as met.

Source of the steps: the operational playbook, whose chapters are named by their slugs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from module_utils.orquestrador.messages import msg
from module_utils.orquestrador.types import Message

OK_STATUSES = frozenset({"ok", "changed"})
STEP_STATUSES = ("ok", "changed", "skipped", "warn", "unknown", "failed")  # from best to worst
_OF_CHECK = {"ok": "ok", "warn": "warn", "critical": "failed", "unknown": "unknown"}
_OF_OVERALL = {"healthy": "ok", "degraded": "warn", "critical": "failed", "unknown": "unknown"}


@dataclass(frozen=True)
class Step:
    """One step of a routine.

    ``checks`` are judged from the verdict; ``overall`` asks that the whole verdict be healthy as well; a step with
    neither is an action, whose result the playbook hands in (``step_results``). An ``optional`` step may be skipped.
    """

    id: str
    title: Message
    source: str
    checks: tuple[str, ...] = ()
    overall: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Routine:
    """A routine of the operational playbook; ``budget_s`` is the time it may take, in seconds."""

    procedure: str
    title: Message
    source: str
    budget_s: int
    steps: tuple[Step, ...]


DAILY = Routine(
    procedure="daily",
    title=msg("Daily routine"),
    source="rotina-diaria",
    budget_s=300,
    steps=(
        Step(
            "pm2_status",
            msg("Status of PM2"),
            "rotina-diaria",
            ("pm2.daemon", "pm2.online", "pm2.restarts"),
        ),
        Step(
            "health_check",
            msg("Health check"),
            "rotina-diaria",
            ("port.open", "mysql.reachable", "mysql.connections"),
            overall=True,
        ),
        Step("error_logs", msg("Error logs"), "rotina-diaria", ("logs.errors",)),
        Step(
            "api",
            msg("API reachable"),
            "rotina-diaria",
            ("http.status", "http.latency", "app.status", "app.database"),
        ),
        Step(
            "resources",
            msg("Use of resources"),
            "rotina-diaria",
            ("memory.app", "cpu.app", "host.memory", "host.disk"),
        ),
        Step("critical_files", msg("Backup of critical files"), "arquivos-criticos"),
    ),
)

BOOTSTRAP = Routine(
    procedure="bootstrap",
    title=msg("Preparation of the host"),
    source="estrutura-de-diretorios",
    budget_s=600,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("pm2_unit", msg("PM2 under its unit"), "pontos-criticos", ("pm2.daemon", "pm2.online")),
        Step("database_account", msg("Operations account of the database"), "pontos-criticos", ("mysql.reachable",)),
        Step(
            "application",
            msg("The application after the preparation"),
            "pontos-criticos",
            ("port.open", "http.status", "app.status", "app.database"),
        ),
    ),
)

BACKUP = Routine(
    procedure="backup",
    title=msg("Backup of the database"),
    source="rotina-mensal",
    budget_s=10800,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("database_backup", msg("Encrypted backup of the database"), "rotina-mensal"),
        Step("database_verify", msg("Restored and compared"), "rotina-mensal", optional=True),
        Step(
            "application",
            msg("The application after the backup"),
            "rotina-mensal",
            ("mysql.reachable", "mysql.connections", "app.database", "host.disk"),
        ),
    ),
)

VERIFY_BACKUP = Routine(
    procedure="verify_backup",
    title=msg("Proof of a backup by restoring it"),
    source="rotina-mensal",
    budget_s=7200,
    steps=(
        Step("lease", msg("Lease of the host"), "pontos-criticos"),
        Step("database_verify", msg("Restored and compared"), "rotina-mensal"),
        Step(
            "application",
            msg("The application after the proof"),
            "rotina-mensal",
            ("mysql.reachable", "mysql.connections", "app.database", "host.disk"),
        ),
    ),
)

ROUTINES: Mapping[str, Routine] = {routine.procedure: routine for routine in (DAILY, BOOTSTRAP, BACKUP, VERIFY_BACKUP)}

# Names of every procedure of the project, so that a record of any of them can be shown.
TITLES: Mapping[str, Message] = {
    "daily": DAILY.title,
    "bootstrap": BOOTSTRAP.title,
    "backup": BACKUP.title,
    "verify_backup": VERIFY_BACKUP.title,
    "weekly": msg("Weekly routine"),
    "monthly": msg("Monthly routine"),
    "quarterly": msg("Quarterly security audit"),
    "triage": msg("Emergency triage"),
    "offline": msg("Emergency: system offline"),
    "performance": msg("Emergency: degraded performance"),
    "database": msg("Emergency: database connection failed"),
    "watch": msg("Watch"),
}

# The procedure a verdict calls for: where it lives.
PLAYBOOKS: Mapping[str, str] = {
    "database": "playbooks/emergency/database.yml",
    "offline": "playbooks/emergency/offline.yml",
    "performance": "playbooks/emergency/performance.yml",
}


def routine(procedure: str) -> Routine:
    """The routine called ``procedure``; ``ValueError``, one line, when there is none."""
    try:
        return ROUTINES[procedure]
    except KeyError:
        raise ValueError(f"no routine {procedure!r}: use one of {', '.join(ROUTINES)}") from None


def conclude(
    procedure: str,
    snapshot: Mapping[str, Any] | None,
    verdict: Mapping[str, Any] | None,
    step_results: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[list[dict[str, Any]], str]:
    """Judge a run: ``(steps, outcome)``.

    ``step_results`` maps a step's id to what the playbook knows of it: the registered result of an Ansible task
    (``changed``, ``failed``, ``skipped``, ``unreachable``, ``msg``), or any of ``status`` (see ``STEP_STATUSES``),
    ``started_at``, ``ended_at``, ``evidence``, ``note``. Empty or skipped: the action was not needed, the snapshot
    has to show why. A result never hides a worse status of the step's checks.

    ``outcome`` is ``met`` only when every step is ok (or ``changed``: an action that had to do something and did it),
    ``unreachable`` when there is no snapshot, otherwise ``not_met``. Raises ``ValueError`` for an unknown procedure.
    """
    plan = routine(procedure)
    results = step_results or {}
    verdict = verdict if isinstance(verdict, Mapping) else {}
    statuses = {str(c.get("id")): str(c.get("status")) for c in verdict.get("checks") or [] if isinstance(c, Mapping)}
    steps = [_step(step, snapshot, verdict, statuses, results.get(step.id)) for step in plan.steps]
    if snapshot is None:
        return steps, "unreachable"
    may_skip = {step.id for step in plan.steps if step.optional}
    met = all(
        step["status"] in OK_STATUSES or (step["status"] == "skipped" and step["id"] in may_skip) for step in steps
    )
    return steps, "met" if met else "not_met"


def _step(
    step: Step,
    snapshot: Mapping[str, Any] | None,
    verdict: Mapping[str, Any],
    statuses: Mapping[str, str],
    result: Mapping[str, Any] | None,
) -> dict[str, Any]:
    result = result if isinstance(result, Mapping) else {}
    found = [_OF_CHECK.get(statuses.get(check, "unknown"), "unknown") for check in step.checks]
    status, note = _of_result(result)
    if status is None and not found:
        status, note = _without_action(step, snapshot, result)
    if step.overall:
        overall = _OF_OVERALL.get(str(verdict.get("overall")), "unknown")
        if overall not in OK_STATUSES and worst(found) in OK_STATUSES:
            note = note or msg("The checks of this step are fine, but the host as a whole is not healthy.")
        found.append(overall)
    if status is not None:
        found.append(status)
    return {
        "id": step.id,
        "title": step.title,
        "source": step.source,
        "status": worst(found),
        "checks": list(step.checks),
        "started_at": result.get("started_at"),
        "ended_at": result.get("ended_at"),
        "evidence": _evidence(result),
        "note": note,
    }


def _of_result(result: Mapping[str, Any]) -> tuple[str | None, Any]:
    """Status and note of an action; ``None`` when it was not needed."""
    if "status" in result:
        status = result["status"]
        return (status if status in STEP_STATUSES else "unknown"), result.get("note")
    if not result or result.get("skipped"):
        return None, None
    if result.get("unreachable"):
        return "unknown", msg("The host could not be reached: {error}", error=str(result.get("msg", "")))
    if result.get("failed"):
        if isinstance(result.get("failures"), list) and result["failures"]:
            # A module's own messages, which can be put into the operator's language; "msg" is English.
            return "failed", list(result["failures"])
        return "failed", msg("The step failed: {error}", error=str(result.get("msg", "")))
    return ("changed" if result.get("changed") else "ok"), result.get("note")


def _without_action(step: Step, snapshot: Mapping[str, Any] | None, result: Mapping[str, Any]) -> tuple[str, Message]:
    """Judge a step whose action did not happen: what was not seen to be needless was not done."""
    if step.id == "critical_files":
        return _files_of(snapshot)
    if step.id == "database_verify" and result.get("skipped"):
        return "skipped", msg("Not proven, because backup_prove is off: run verify_backup.yml before relying on it.")
    return "unknown", msg("The step did not run.")


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


def _files_of(snapshot: Mapping[str, Any] | None) -> tuple[str, Message]:
    """Judge the backup of critical files from what the probe saw, where no action reported about it."""
    files = (snapshot or {}).get("files")
    if not isinstance(files, Mapping):
        return "unknown", msg("The critical files were not inspected.")
    if files.get("missing"):
        return "failed", msg("Required files are missing: {files}", files=", ".join(map(str, files["missing"])))
    if files.get("current"):
        return "ok", msg("Every critical file has an identical copy.")
    return "failed", msg("A critical file has no current copy.")


def worst(statuses: Iterable[str]) -> str:
    """The worst of some step statuses (``STEP_STATUSES`` gives the order)."""
    return max(statuses, key=STEP_STATUSES.index)
