"""What the steps of a run left as evidence, laid out for people: figures with their units, tables, output of programs.

A step's evidence is plain JSON that its module returned. Endings of names give units, as in messages; names that
:data:`LABELS` knows are put into the operator's language, others are shown as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg

from ..core.text import clean

if TYPE_CHECKING:
    from ..core.i18n import Translator

Block = dict[str, Any]

MAX_ROWS = 60
MAX_LISTED = 20
MAX_OUTPUT = 200
# Shown elsewhere: the checklist names who held the lease; the files of the daily routine have a table of their own.
_HIDDEN = {"lease"}
_HIDDEN_STEPS = {"critical_files"}

LABELS: Mapping[str, Mapping[str, Any]] = {
    "active": msg("Active"),
    "address": msg("Address"),
    "after": msg("Afterwards"),
    "after_bytes": msg("Size afterwards"),
    "after_s": msg("After"),
    "age": msg("Age"),
    "age_s": msg("Age of the backup"),
    "ahead": msg("From the future"),
    "alert": msg("Alert"),
    "allowed": msg("Allowed"),
    "app": msg("Application"),
    "app_bytes": msg("Of the application"),
    "app_max_bytes": msg("Heaviest worker"),
    "app_percent": msg("Of the application"),
    "archive": msg("Archive"),
    "archive_bytes": msg("Size of the archive"),
    "archives": msg("Archives read"),
    "archives_removed": msg("Old archives removed"),
    "at": msg("At"),
    "available_bytes": msg("Available"),
    "bad": msg("Bad samples"),
    "bad_percent": msg("Bad"),
    "before": msg("Before"),
    "before_bytes": msg("Size before"),
    "behind": msg("Commits behind"),
    "blocker": msg("Session that holds it"),
    "blocker_command": msg("Holder's command"),
    "blocker_host": msg("Holder's host"),
    "blocker_s": msg("Held for"),
    "blocker_user": msg("Holder"),
    "blocking_query": msg("Holder's statement"),
    "branch": msg("Branch"),
    "bytes_dump": msg("Size of the dump"),
    "bytes_file": msg("Size of the file"),
    "cause": msg("Cause"),
    "changed": msg("Changed"),
    "changed_files": msg("Files changed last"),
    "command": msg("Command"),
    "commit": msg("Commit"),
    "commits": msg("Last commits"),
    "connected": msg("Connected"),
    "copies": msg("Copies"),
    "count": msg("Count"),
    "cpu": msg("Processor"),
    "cpu_max_percent": msg("Processor at most"),
    "cpu_median_percent": msg("Processor, median"),
    "cpu_percent": msg("Processor"),
    "current": msg("Installed"),
    "daemon": msg("Daemon"),
    "daemon_ended": msg("Daemon that hung, ended"),
    "daemon_pid": msg("Process of the daemon"),
    "damaged": msg("Damaged"),
    "db": msg("Database"),
    "deleted": msg("Deleted"),
    "directories": msg("Directories"),
    "disk": msg("Disks"),
    "dist_bytes": msg("Size of the build"),
    "duration_s": msg("Duration"),
    "enabled": msg("Enabled"),
    "ended": msg("Ended processes"),
    "engine": msg("Engine"),
    "errors": msg("Errors"),
    "errors_seen": msg("Last kinds of error"),
    "events": msg("Events"),
    "exit_code": msg("Exit status"),
    "exit_status": msg("Exit status"),
    "expected": msg("Expected"),
    "expected_s": msg("Expected more than"),
    "failed": msg("Failed"),
    "failures": msg("Failed requests"),
    "file_bytes": msg("Size of the file"),
    "files": msg("Files"),
    "first_at": msg("First"),
    "fixed": msg("Repaired"),
    "free_after_bytes": msg("Free space inside afterwards"),
    "free_before_bytes": msg("Free space inside before"),
    "free_bytes": msg("Free"),
    "freed_bytes": msg("Freed"),
    "good": msg("Good trend"),
    "good_at": msg("Good since"),
    "growing": msg("Grows for good"),
    "grown_bytes": msg("Grown by"),
    "growth_per_min_bytes": msg("Growth a minute"),
    "hash": msg("Hash"),
    "holders": msg("Who holds the connections"),
    "host": msg("Host"),
    "id": msg("Backup"),
    "inodes_used_percent": msg("Inodes used"),
    "inspector_closed": msg("Inspector closed"),
    "interval_s": msg("Measured over"),
    "kept": msg("Kept"),
    "kind": msg("Kind"),
    "last_at": msg("Last"),
    "last_lines": msg("Last lines"),
    "latency_max_ms": msg("Response time at most"),
    "latency_median_ms": msg("Response time, median"),
    "latency_ms": msg("Response time"),
    "latest": msg("Newest"),
    "left": msg("Left in place"),
    "level": msg("Level"),
    "limit_in_s": msg("At its limit in"),
    "line": msg("Line"),
    "lines": msg("Lines"),
    "lines_put_back": msg("Lines put back"),
    "links": msg("Links"),
    "listeners": msg("Who listens on the port"),
    "load": msg("Loaded"),
    "local": msg("On this host"),
    "log_bytes": msg("Size of the logs"),
    "login": msg("The application's account"),
    "longest_gap_s": msg("Longest gap"),
    "longest_s": msg("Longest"),
    "major": msg("Major versions"),
    "max_used": msg("Most ever"),
    "memory": msg("Memory"),
    "memory_bytes": msg("Memory"),
    "method": msg("Method"),
    "minor": msg("Minor versions"),
    "mode": msg("Mode"),
    "name": msg("Name"),
    "new_pid": msg("New process"),
    "not_told": msg("Not told"),
    "now": msg("Now"),
    "object": msg("Object"),
    "of_app": msg("Of the application"),
    "ok": msg("Answered well"),
    "old_pid": msg("Old process"),
    "optimized": msg("Tables optimised"),
    "orphans": msg("Processes left by a PM2 that is gone, ended"),
    "other": msg("Others"),
    "outdated": msg("Packages behind"),
    "packages": msg("Packages"),
    "passed": msg("Passed"),
    "patch": msg("Patches"),
    "path": msg("Path"),
    "percent": msg("Of the host"),
    "pid": msg("Process"),
    "pids": msg("Processes"),
    "places": msg("Places"),
    "planned_restart_at": msg("Planned restart"),
    "planned_restarts": msg("Planned restarts"),
    "pm2": msg("PM2"),
    "pm_id": msg("Worker"),
    "points": msg("Points"),
    "port": msg("Port"),
    "process": msg("Process state"),
    "processes": msg("Heaviest processes"),
    "proven_s": msg("Proven after"),
    "queries": msg("Statements that run long"),
    "query": msg("Statement"),
    "read_only": msg("Set read-only by"),
    "ready_s": msg("Ready after"),
    "reason": msg("Reason"),
    "reclaimed_bytes": msg("Reclaimed"),
    "remote_heard_s": msg("Last heard of the remote"),
    "removed": msg("Removed"),
    "removed_bytes": msg("Removed"),
    "repaired": msg("Put right first"),
    "report": msg("Report"),
    "repository": msg("Is a repository"),
    "requests": msg("Requests"),
    "restarts": msg("Restarts"),
    "restore_s": msg("Time to restore (RTO)"),
    "result": msg("Result"),
    "rolled_back": msg("Rolled back"),
    "rows": msg("Rows"),
    "rss_bytes": msg("Memory"),
    "running": msg("Running"),
    "said": msg("Answer"),
    "sample": msg("Sample"),
    "samples": msg("Samples"),
    "saved": msg("Saved"),
    "scenario": msg("Scenario"),
    "seconds": msg("Seconds"),
    "service": msg("Service"),
    "sessions": msg("Sessions of the database"),
    "severity": msg("Severity"),
    "sha256": msg("SHA-256"),
    "sha256_after": msg("SHA-256 afterwards"),
    "sha256_before": msg("SHA-256 before"),
    "similar": msg("Similar name"),
    "since_at": msg("Since"),
    "size_bytes": msg("Size"),
    "skipped": msg("Passed over"),
    "source_bytes": msg("Size of the source"),
    "span_s": msg("Over"),
    "start_error": msg("Why it does not start"),
    "started": msg("Started by itself"),
    "stashes": msg("Stashes"),
    "state": msg("State"),
    "status": msg("State"),
    "sub": msg("State in detail"),
    "subject": msg("Subject"),
    "sure": msg("Certainty (r²)"),
    "swap_total_bytes": msg("Swap"),
    "swap_used_bytes": msg("Swap used"),
    "table": msg("Table"),
    "tables": msg("Tables"),
    "threads": msg("Database connections"),
    "to": msg("Back to"),
    "took_s": msg("Duration"),
    "total": msg("Total"),
    "total_bytes": msg("Total"),
    "trend": msg("Trend"),
    "type": msg("Type"),
    "uncommitted": msg("Uncommitted"),
    "uncommitted_paths": msg("Uncommitted files"),
    "unit": msg("Service"),
    "unpushed": msg("Not pushed"),
    "unreachable_by": msg("Unreachable by"),
    "unstable": msg("Changed while it was read"),
    "unstable_restarts": msg("Unstable restarts"),
    "until_at": msg("Until"),
    "untracked": msg("Untracked"),
    "untracked_paths": msg("Untracked files"),
    "upstream": msg("Upstream"),
    "uptime_before_s": msg("Uptime before"),
    "uptime_s": msg("Uptime"),
    "used_bytes": msg("Used"),
    "used_percent": msg("Used"),
    "used_s": msg("Used"),
    "user": msg("User"),
    "verified": msg("Verified"),
    "waited_s": msg("Waited"),
    "waiter": msg("Session that waits"),
    "waiter_user": msg("Who waits"),
    "waiting_query": msg("Statement that waits"),
    "waits": msg("Who waits for whom"),
    "wanted": msg("Wanted"),
    "was": msg("Was"),
    "way_back": msg("Way back kept"),
    "whole": msg("Complete"),
    "why": msg("Why"),
    "workers": msg("Workers"),
    "workers_restarted": msg("Workers restarted"),
}
# Names that do not end with their unit.
_UNITS = {"bytes_dump": "_bytes", "bytes_file": "_bytes", "at": "_at"}
_OUTPUT = {"output", "last_lines"}


def block(name: str, title: str, **parts: Any) -> Block:
    """A piece of a report: ``{id, title, paragraphs, facts, items, tables, output}``.

    ``facts`` are ``{label, value}``, ``items`` ``{done: bool | None, text}``, ``tables`` as in the view, ``output``
    lines of a program.
    """
    return {"id": name, "title": title, "paragraphs": [], "facts": [], "items": [], "tables": [], "output": [], **parts}


def blocks(steps: list[Mapping[str, Any]], titles: list[str], tr: Translator) -> list[Block]:
    """A block for every step that left something worth showing; ``titles`` are the steps' own, in their order."""
    found = []
    for step, title in zip(steps, titles, strict=True):
        evidence = step.get("evidence")
        if step.get("id") in _HIDDEN_STEPS or not isinstance(evidence, Mapping):
            continue
        shown = of(str(step.get("id")), title, evidence, tr)
        if shown["facts"] or shown["tables"] or shown["output"]:
            found.append(shown)
    return found


def of(name: str, title: str, evidence: Mapping[str, Any], tr: Translator) -> Block:
    """The evidence of one step as a block."""
    shown = block(name, title)
    for key, value in evidence.items():
        if key not in _HIDDEN:
            _add(shown, str(key), value, tr)
    return shown


def label(key: str, tr: Translator) -> str:
    """What a figure is called."""
    return tr.message(LABELS[key]) if key in LABELS else clean(key)


def text(key: str, value: Any, tr: Translator) -> str:
    """A figure with its unit; a message in words; a list of plain values in one line."""
    if isinstance(value, Mapping) and "text" in value:
        return clean(tr.message(value))
    if isinstance(value, list | tuple):
        shown = [text(key, item, tr) for item in value[:MAX_LISTED]]
        if len(value) > MAX_LISTED:
            shown.append(tr.t("{count} more in the JSON report", count=len(value) - MAX_LISTED))
        return ", ".join(shown) or "–"
    return clean(tr.value(_UNITS.get(key, key), value))


def output(value: Any) -> list[str]:
    """The last lines of a program's output, each of them printable."""
    lines = value if isinstance(value, list | tuple) else str(value).split("\n")
    return [clean(line) for line in lines][-MAX_OUTPUT:]


def _add(shown: Block, key: str, value: Any, tr: Translator) -> None:
    if value is None or value in ("", [], {}):
        return
    if key in _OUTPUT:
        shown["output"] = output(value)
    elif isinstance(value, Mapping) and "text" not in value:
        if all(isinstance(inner, Mapping) for inner in value.values()):
            rows: list[Mapping[str, Any]] = [{"name": inner_key, **inner} for inner_key, inner in value.items()]
            shown["tables"].append(_table(shown["id"], key, rows, tr))
        else:
            shown["facts"].extend(_flat(key, value, tr))
    elif isinstance(value, list | tuple) and all(isinstance(row, Mapping) and "text" not in row for row in value):
        shown["tables"].append(_table(shown["id"], key, list(value), tr))
    else:
        shown["facts"].append({"label": label(key, tr), "value": text(key, value, tr)})


def _flat(key: str, value: Mapping[str, Any], tr: Translator) -> Iterator[dict[str, str]]:
    for inner_key, inner in value.items():
        if inner is None or isinstance(inner, Mapping):
            continue  # deeper than people read: the JSON report has it
        name = f"{label(key, tr)}: {label(str(inner_key), tr)}"
        yield {"label": name, "value": text(str(inner_key), inner, tr)}


def _table(owner: str, key: str, rows: list[Mapping[str, Any]], tr: Translator) -> dict[str, Any]:
    columns = list(dict.fromkeys(str(name) for row in rows[:MAX_ROWS] for name in row))
    title = label(key, tr)
    if len(rows) > MAX_ROWS:
        title = tr.t("{title} ({shown} of {count})", title=title, shown=MAX_ROWS, count=len(rows))
    return {
        "id": f"{owner}-{key}",
        "title": title,
        "columns": [label(column, tr) for column in columns],
        "rows": [
            ["–" if row.get(column) is None else text(column, row[column], tr) for column in columns]
            for row in rows[:MAX_ROWS]
        ],
    }
