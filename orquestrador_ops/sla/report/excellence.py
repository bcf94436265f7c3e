"""The checklist of operational excellence, ticked from what runs proved, and the times that backups and restores took.

Source of the items: the operational playbook, chapter ``checklist-de-excelencia-operacional``. An item is ticked when
every day, week, month or quarter that is over within a period has a run that proves it; what nothing proves is open,
never ticked. Runs in check mode prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from typing import Any

from orquestrador.core.messages import msg

from ...core.i18n import epoch
from .levels import number

Run = Mapping[str, Any]
Proof = Callable[[Run], bool | None]  # whether a run proves an item; None: it has nothing to say of it

_GOOD, _BAD = ("ok", "changed"), ("failed", "warn")
# How many days make one of a cadence due, and how many a period needs to be told of it: February is a month.
DUE_DAYS = {"daily": 1.0, "weekly": 7.0, "monthly": 30.0, "quarterly": 90.0}
SHORTEST = {"daily": 0, "weekly": 7, "monthly": 28, "quarterly": 90}


@dataclass(frozen=True)
class Item:
    """One line of the checklist; without ``proof`` only people can tell."""

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


def _proven(procedures: Sequence[str], *steps: str) -> Proof:
    """Every one of ``steps`` went well in a run of one of ``procedures``.

    A run in which one of them is missing, was skipped or could not be told says nothing, unless another one failed.
    """

    def proof(run: Run) -> bool | None:
        if run.get("procedure") not in procedures:
            return None
        found = [_steps(run).get(step) for step in steps]
        if any(status in _BAD for status in found):
            return False
        return True if all(status in _GOOD for status in found) else None

    return proof


def _met(*procedures: str) -> Proof:
    """A run of one of ``procedures`` that met its expected result."""

    def proof(run: Run) -> bool | None:
        return run.get("outcome") == "met" if run.get("procedure") in procedures else None

    return proof


def _concluded(*procedures: str) -> Proof:
    """A run of one of ``procedures`` that came to its end: its report was published, whatever it says."""

    def proof(run: Run) -> bool | None:
        return run.get("outcome") in {"met", "not_met"} if run.get("procedure") in procedures else None

    return proof


CHECKLIST: Mapping[str, tuple[Item, ...]] = {
    "daily": (
        Item("health_check", msg("Health check passed"), _proven(("daily",), "health_check")),
        Item("pm2_online", msg("PM2 online"), _proven(("daily",), "pm2_status")),
        Item("logs_reviewed", msg("Logs reviewed, without critical errors"), _proven(("daily",), "error_logs")),
        Item("api", msg("API reachable with HTTP 200"), _proven(("daily",), "api")),
        # The steps that hold app.database and mysql.reachable.
        Item("database", msg("Database connected"), _proven(("daily",), "api", "health_check")),
    ),
    "weekly": (
        Item("logs_archived", msg("Logs archived"), _proven(("weekly", "archive_logs"), "logs_archive")),
        Item("cache_cleaned", msg("PM2's own logs put away"), _proven(("weekly", "archive_logs"), "pm2_flush")),
        Item("tests", msg("Test suite passed in full"), _proven(("weekly",), "app_tests")),
        Item("git", msg("Repository intact and in step with its remote"), _proven(("weekly",), "git_integrity")),
        Item("uptime_report", msg("Report of the uptime written"), _concluded("weekly", "sla")),
    ),
    "monthly": (
        Item(
            "backup",
            msg("Full backup, restored and compared"),
            _proven(("monthly",), "database_backup", "database_verify", "code_backup"),
        ),
        Item("optimized", msg("Database optimised"), _proven(("monthly",), "database_optimize")),
        Item("audited", msg("Dependencies audited"), _proven(("monthly",), "npm_audit")),
        Item("rebuilt", msg("Application rebuilt and tested"), _proven(("monthly",), "app_build", "app_tests")),
        Item("report", msg("Monthly report published"), _concluded("monthly")),
        Item("slas", msg("Service levels met")),
    ),
    "quarterly": (
        Item("security", msg("Security audit"), _met("quarterly")),
        Item("documentation", msg("Documentation reviewed")),
        Item("performance", msg("Performance evaluated"), _met("benchmark", "profile")),
        Item("improvements", msg("Improvements planned")),
        Item("training", msg("Team trained"), _met("drill", "certify")),
    ),
}
# Of which unit of the calendar a run is evidence.
_UNITS: Mapping[str, Callable[[date], tuple[int, ...]]] = {
    "daily": lambda day: (day.toordinal(),),
    "weekly": lambda day: tuple(day.isocalendar()[:2]),
    "monthly": lambda day: (day.year, day.month),
    "quarterly": lambda day: (day.year, (day.month - 1) // 3),
}


def checklist(
    runs: Iterable[Run], document: Mapping[str, Any], *, days: int, elapsed: float, zone: tzinfo
) -> list[dict[str, Any]]:
    """The groups that a period is long enough for.

    ``days`` is the period's length on the calendar, ``elapsed`` how many of them are over. Returns
    ``[{cadence, items: [{id, title, status, done, due, at}]}]``; ``status`` is ``done`` (each time it was due),
    ``partly``, ``failed`` (the last run says no) or ``open`` (nothing proves it), ``done`` and ``due`` count days,
    weeks, months or quarters, ``at`` is the instant of the last proof in seconds since the epoch.
    """
    known = [
        (when, run)
        for run in runs
        if isinstance(run, Mapping) and not run.get("check_mode") and (when := epoch(run.get("started_at"))) is not None
    ]
    known.sort(key=lambda pair: pair[0])
    groups = []
    for cadence, items in CHECKLIST.items():
        if days < SHORTEST[cadence]:
            continue
        due = max(int(elapsed / DUE_DAYS[cadence]), 1)
        judged = [
            _levels(item, document) if item.id == "slas" else _judged(item, known, cadence, due, zone) for item in items
        ]
        groups.append({"cadence": cadence, "items": judged})
    return groups


def _judged(item: Item, known: list[tuple[float, Run]], cadence: str, due: int, zone: tzinfo) -> dict[str, Any]:
    units, last, at = set(), None, None
    for when, run in known:
        said = item.proof(run) if item.proof else None
        if said is None:
            continue
        last = said
        if said:
            units.add(_UNITS[cadence](datetime.fromtimestamp(when, zone).date()))
            at = when
    done = len(units)
    if done >= due:
        status = "done"
    elif last is False:
        status = "failed"
    else:
        status = "partly" if done else "open"
    return {"id": item.id, "title": item.title, "status": status, "done": done, "due": due, "at": at}


def _levels(item: Item, document: Mapping[str, Any]) -> dict[str, Any]:
    """Service levels are proven by the figures of the period itself."""
    verdicts = [str(sla.get("verdict")) for sla in document.get("slas") or [] if isinstance(sla, Mapping)]
    if "missed" in verdicts:
        status = "failed"
    elif verdicts and all(verdict == "met" for verdict in verdicts):
        status = "done"
    else:
        status = "open"
    return {"id": item.id, "title": item.title, "status": status, "done": None, "due": None, "at": None}


# Which step made a copy or brought one back, and which of its figures is how long that took.
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
    """Backups, their proofs and restores, oldest first.

    ``[{at, title, status, seconds, stopped_s, bytes}]``: when its run began, how long the copy itself took and for how
    long the application was stopped for it, in seconds, and its size; ``None`` where nothing says so.
    """
    found = []
    for run in runs:
        if not isinstance(run, Mapping) or run.get("check_mode"):
            continue
        began, steps = epoch(run.get("started_at")), run.get("steps")
        for step in steps if isinstance(steps, list) else ():
            if not isinstance(step, Mapping) or step.get("id") not in _COPIES or began is None:
                continue
            if step.get("status") in {"skipped", "unknown"}:
                continue
            title, names = _COPIES[step["id"]]
            evidence = step.get("evidence")
            evidence = evidence if isinstance(evidence, Mapping) else {}
            copy = {
                "at": began,
                "title": title,
                "status": "done" if step.get("status") in _GOOD else "failed",
                "seconds": _first(evidence, names),
                "stopped_s": _first(evidence, ("stopped_s",)),
                "bytes": _first(evidence, _SIZES),
            }
            found.append(copy)
    return sorted(found, key=lambda row: row["at"])


def _first(evidence: Mapping[str, Any], names: Iterable[str]) -> float | None:
    for name in names:
        value = number(evidence.get(name))
        if value is not None:
            return value
    return None
