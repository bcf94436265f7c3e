"""The checklist of operational excellence, ticked by proofs of runs, and the durations of backups and restores.

Source of the items: the operational playbook, chapter ``checklist-de-excelencia-operacional``. An item is ticked when
every day, week, month or quarter that is over within a period has a run that proves it; without proof it is open,
never ticked. Runs in check mode prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

from orquestrador.core.messages import msg

from ...core.i18n import epoch
from .cards import number

Run = Mapping[str, Any]
Proof = Callable[[Run], bool | None]  # whether a run proves an item; None: it is not about it

_GOOD, _BAD = ("ok", "changed"), ("failed", "warn")
# Days until an item of a cadence is due, and days of the shortest period that shows it: February is a month.
DUE_DAYS = {"daily": 1.0, "weekly": 7.0, "monthly": 30.0, "quarterly": 90.0}
SHORTEST = {"daily": 0, "weekly": 7, "monthly": 28, "quarterly": 90}


@dataclass(frozen=True)
class Item:
    """One line of the checklist; without ``proof`` only people can tick it."""

    id: str
    title: Any
    proof: Proof | None = None


def _steps(run: Run) -> dict[str, str]:
    steps = run.get("steps")
    return {
        str(step.get("id")): str(step.get("status"))
        for step in (steps if isinstance(steps, list) else [])
        if isinstance(step, Mapping)
    }


def _steps_passed(procedures: Sequence[str], *steps: str) -> Proof:
    """Return a proof that all ``steps`` passed in a run of one of ``procedures``.

    A run in which one of them is missing, skipped or unknown proves nothing, unless another one failed.
    """

    def proof(run: Run) -> bool | None:
        if run.get("procedure") not in procedures:
            return None
        statuses = [_steps(run).get(step) for step in steps]
        if any(status in _BAD for status in statuses):
            return False
        return True if all(status in _GOOD for status in statuses) else None

    return proof


def _run_met(*procedures: str) -> Proof:
    """Return a proof that a run of one of ``procedures`` met its expected result."""

    def proof(run: Run) -> bool | None:
        return run.get("outcome") == "met" if run.get("procedure") in procedures else None

    return proof


def _run_concluded(*procedures: str) -> Proof:
    """Return a proof that a run of one of ``procedures`` was concluded: its report was published, met or not."""

    def proof(run: Run) -> bool | None:
        return run.get("outcome") in {"met", "not_met"} if run.get("procedure") in procedures else None

    return proof


CHECKLIST: Mapping[str, tuple[Item, ...]] = {
    "daily": (
        Item("health_check", msg("Health check passed"), _steps_passed(("daily",), "health_check")),
        Item("pm2_online", msg("PM2 online"), _steps_passed(("daily",), "pm2_status")),
        Item("logs_reviewed", msg("Logs reviewed, without critical errors"), _steps_passed(("daily",), "error_logs")),
        Item("api", msg("API reachable with HTTP 200"), _steps_passed(("daily",), "api")),
        # The steps that hold app.database and mysql.reachable.
        Item("database", msg("Database connected"), _steps_passed(("daily",), "api", "health_check")),
    ),
    "weekly": (
        Item("logs_archived", msg("Logs archived"), _steps_passed(("weekly", "archive_logs"), "logs_archive")),
        Item("cache_cleaned", msg("PM2's own logs put away"), _steps_passed(("weekly", "archive_logs"), "pm2_flush")),
        Item("tests", msg("Test suite passed in full"), _steps_passed(("weekly",), "app_tests")),
        Item("git", msg("Repository intact and in step with its remote"), _steps_passed(("weekly",), "git_integrity")),
        Item("uptime_report", msg("Report of the uptime written"), _run_concluded("weekly", "sla")),
    ),
    "monthly": (
        Item(
            "backup",
            msg("Full backup, restored and compared"),
            _steps_passed(("monthly",), "database_backup", "database_verify", "code_backup"),
        ),
        Item("optimized", msg("Database optimised"), _steps_passed(("monthly",), "database_optimize")),
        Item("audited", msg("Dependencies audited"), _steps_passed(("monthly",), "npm_audit")),
        Item("rebuilt", msg("Application rebuilt and tested"), _steps_passed(("monthly",), "app_build", "app_tests")),
        Item("report", msg("Monthly report published"), _run_concluded("monthly")),
        Item("slas", msg("Service levels met")),
    ),
    "quarterly": (
        Item("security", msg("Security audit"), _run_met("quarterly")),
        Item("documentation", msg("Documentation reviewed")),
        Item("performance", msg("Performance evaluated"), _run_met("benchmark", "profile")),
        Item("improvements", msg("Improvements planned")),
        Item("training", msg("Team trained"), _run_met("drill", "certify")),
    ),
}
# The unit of the calendar that a run is evidence for.
_UNITS: Mapping[str, Callable[[date], tuple[int, ...]]] = {
    "daily": lambda day: (day.toordinal(),),
    "weekly": lambda day: tuple(day.isocalendar()[:2]),
    "monthly": lambda day: (day.year, day.month),
    "quarterly": lambda day: (day.year, (day.month - 1) // 3),
}


def checklist(
    runs: Iterable[Run], document: Mapping[str, Any], *, days: int, elapsed: float, zone: tzinfo
) -> list[dict[str, Any]]:
    """Return the groups that a period is long enough for.

    ``days`` is the period's length on the calendar, ``elapsed`` how many of them are over. Returns
    ``[{cadence, items: [{id, title, status, done, due, at}]}]``; ``status`` is ``done`` (each time it was due),
    ``partly``, ``failed`` (the last run failed it) or ``open`` (no proof), ``done`` and ``due`` count days,
    weeks, months or quarters, ``at`` is the instant of the last proof in seconds since the epoch.
    """
    dated = [
        (when, run)
        for run in runs
        if isinstance(run, Mapping) and not run.get("check_mode") and (when := epoch(run.get("started_at"))) is not None
    ]
    dated.sort(key=lambda pair: pair[0])
    groups = []
    for cadence, items in CHECKLIST.items():
        if days < SHORTEST[cadence]:
            continue
        due = max(int(elapsed / DUE_DAYS[cadence]), 1)
        entries = [
            _levels_item(item, document) if item.id == "slas" else _item(item, dated, cadence, due, zone)
            for item in items
        ]
        groups.append({"cadence": cadence, "items": entries})
    return groups


def _item(item: Item, dated: list[tuple[float, Run]], cadence: str, due: int, zone: tzinfo) -> dict[str, Any]:
    units, last_proof, proven_at = set(), None, None
    for when, run in dated:
        proven = item.proof(run) if item.proof else None
        if proven is None:
            continue
        last_proof = proven
        if proven:
            units.add(_UNITS[cadence](datetime.fromtimestamp(when, zone).date()))
            proven_at = when
    count = len(units)
    if count >= due:
        status = "done"
    elif last_proof is False:
        status = "failed"
    else:
        status = "partly" if count else "open"
    return {"id": item.id, "title": item.title, "status": status, "done": count, "due": due, "at": proven_at}


def _levels_item(item: Item, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of the service levels, which the period's own figures prove."""
    verdicts = [str(sla.get("verdict")) for sla in document.get("slas") or [] if isinstance(sla, Mapping)]
    if "missed" in verdicts:
        status = "failed"
    elif verdicts and all(verdict == "met" for verdict in verdicts):
        status = "done"
    else:
        status = "open"
    return {"id": item.id, "title": item.title, "status": status, "done": None, "due": None, "at": None}


# Steps that back up or restore, their titles, and the evidence that is their duration.
_COPIES: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "database_backup": (msg("Backup of the database"), ("duration_s",)),
    "database_verify": (msg("Restore of the database, to prove a backup"), ("restore_s", "duration_s")),
    "code_backup": (msg("Backup of the application's directory"), ("took_s", "duration_s")),
    "code_verify": (msg("Proof of a backup of the application's directory"), ("duration_s",)),
    "database_restore": (msg("Restore of the database over production"), ("restore_s",)),
    "files_restore": (msg("Restore of files over production"), ("duration_s",)),
}
_SIZES = ("bytes_file", "file_bytes", "bytes_dump", "source_bytes")


def copies(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return backups, their proofs and restores, oldest first.

    ``[{at, title, status, seconds, stopped_s, bytes}]``: when its run began, how long the copy itself took, how
    long the application was stopped for it, in seconds, and its size; ``None`` for a missing figure.
    """
    rows = []
    for run in runs:
        if not isinstance(run, Mapping) or run.get("check_mode"):
            continue
        started_at, steps = epoch(run.get("started_at")), run.get("steps")
        for step in steps if isinstance(steps, list) else ():
            if not isinstance(step, Mapping) or step.get("id") not in _COPIES or started_at is None:
                continue
            if step.get("status") in {"skipped", "unknown"}:
                continue
            title, names = _COPIES[step["id"]]
            evidence = step.get("evidence")
            evidence = evidence if isinstance(evidence, Mapping) else {}
            row = {
                "at": started_at,
                "title": title,
                "status": "done" if step.get("status") in _GOOD else "failed",
                "seconds": _first_number(evidence, names),
                "stopped_s": _first_number(evidence, ("stopped_s",)),
                "bytes": _first_number(evidence, _SIZES),
            }
            rows.append(row)
    return sorted(rows, key=lambda row: row["at"])


def _first_number(evidence: Mapping[str, Any], names: Iterable[str]) -> float | None:
    for name in names:
        value = number(evidence.get(name))
        if value is not None:
            return value
    return None
