"""The sections of the monthly report, in the order of the operational playbook, from what the run measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.text import clean
from . import evidence
from .evidence import Block, block
from .labels import check_word, overall_word

if TYPE_CHECKING:
    from ..core.i18n import Translator

_GOOD = {"ok", "changed"}
# Steps that do something to the host, as opposed to those that look.
_ACTIONS = (
    "database_backup",
    "database_verify",
    "code_backup",
    "database_optimize",
    "npm_audit",
    "app_build",
    "pm2_reload",
    "backup_retention",
    "backup_copy",
)
TEST_LINES = 20


def monthly(
    record: Mapping[str, Any],
    snapshot: Mapping[str, Any],
    verdict: Mapping[str, Any],
    steps: list[dict[str, Any]],
    tr: Translator,
) -> list[Block]:
    """Uptime, health, tests, error logs of seven days, actions taken, next actions; ``steps`` as in the view."""
    left = {str(step.get("id")): step.get("evidence") or {} for step in record.get("steps") or []}
    shown = {step["id"]: step for step in steps}
    return [
        _uptime(record, snapshot, left, tr),
        _health(verdict, tr),
        _tests(left, shown, tr),
        _errors(left, shown, tr),
        _actions(shown, tr),
        _next(left, verdict, shown, tr),
    ]


def _uptime(record: Mapping[str, Any], snapshot: Mapping[str, Any], left: Mapping[str, Any], tr: Translator) -> Block:
    processes = (snapshot.get("pm2") or {}).get("processes") or []
    rows = [
        [
            clean(process.get("name")),
            tr.value("", process.get("pid")),
            clean(process.get("status")),
            tr.value("uptime_s", process.get("uptime_s")),
            tr.value("", process.get("restarts")),
        ]
        for process in processes
        if isinstance(process, Mapping)
    ]
    columns = [tr.t("Name"), "PID", tr.t("Status"), tr.t("Uptime"), tr.t("Restarts")]
    table = {"id": "uptime-processes", "title": tr.t("PM2 processes"), "columns": columns, "rows": rows}
    words = []
    # Taken before this run's own reload, which makes the uptimes of the table begin anew.
    before = (left.get("pm2_reload") or {}).get("uptime_before_s")
    if before is not None:
        words.append(tr.t("Uptime before the restart of this run: {uptime_s}.", uptime_s=before))
    period = record.get("period")
    if isinstance(period, Mapping) and period.get("probes"):
        words.append(
            tr.t(
                "Probes on record since {since_at}: {probes}, of which {good} good ({good_percent}). "
                "Times without a probe are not known to be good.",
                since_at=period.get("since_at"),
                probes=period["probes"],
                good=period["probes_good"],
                good_percent=100.0 * period["probes_good"] / period["probes"],
            )
        )
    else:
        words.append(tr.t("No probes of the period are on record: the uptime of the month is not known."))
    return block("uptime", tr.t("Uptime"), paragraphs=words, tables=[table] if rows else [])


def _health(verdict: Mapping[str, Any], tr: Translator) -> Block:
    rows = [
        [
            check_word(check, tr),
            clean(tr.message(check.get("title"))),
            clean(tr.message(check.get("observed"))),
            clean(tr.message(check.get("expected"))),
        ]
        for check in verdict.get("checks") or []
        if isinstance(check, Mapping)
    ]
    columns = [tr.t("Status"), tr.t("Check"), tr.t("Observed"), tr.t("Expected")]
    return block(
        "health",
        tr.t("State of health"),
        paragraphs=[overall_word(verdict, tr)],
        tables=[{"id": "health-checks", "title": tr.t("Checks"), "columns": columns, "rows": rows}] if rows else [],
    )


def _tests(left: Mapping[str, Any], shown: Mapping[str, Any], tr: Translator) -> Block:
    found, step = left.get("app_tests") or {}, shown.get("app_tests")
    words = [f"{step['word']}: {step['note']}" if step["note"] else step["word"]] if step else []
    return block(
        "tests",
        tr.t("Tests"),
        paragraphs=words or [tr.t("The tests were not run.")],
        output=evidence.output(found.get("output") or [])[-TEST_LINES:],
    )


def _errors(left: Mapping[str, Any], shown: Mapping[str, Any], tr: Translator) -> Block:
    found, step = left.get("log_errors") or {}, shown.get("log_errors")
    words = [step["note"]] if step and step["note"] else []
    whole = evidence.of("log-errors", "", {"events": found.get("events") or []}, tr)
    if not words:
        words = [tr.t("The error logs of the last seven days were not counted.")]
    return block("error-logs", tr.t("Error logs (last 7 days)"), paragraphs=words, tables=whole["tables"])


def _actions(shown: Mapping[str, Any], tr: Translator) -> Block:
    items = []
    for name in _ACTIONS:
        step = shown.get(name)
        if step is not None:
            said = f"{step['title']}: {step['word']}"
            items.append(
                {"done": step["status"] in _GOOD, "text": f"{said} – {step['note']}" if step["note"] else said}
            )
    return block("actions", tr.t("Actions taken"), items=items)


def _next(left: Mapping[str, Any], verdict: Mapping[str, Any], shown: Mapping[str, Any], tr: Translator) -> Block:
    items = [
        {"done": False, "text": f"{step['title']}: {step['note'] or step['word']}"}
        for step in shown.values()
        if step["tone"] != "good" and step["status"] != "skipped"
    ]
    for check in verdict.get("checks") or []:
        if isinstance(check, Mapping) and check.get("status") not in (None, "ok") and check.get("hint"):
            title, hint = clean(tr.message(check.get("title"))), clean(tr.message(check["hint"]))
            items.append({"done": False, "text": f"{title}: {hint}"})
    return block("next", tr.t("Next actions"), items=[*items, *_standing(left, verdict, tr)])


def _standing(left: Mapping[str, Any], verdict: Mapping[str, Any], tr: Translator) -> list[dict[str, Any]]:
    """What the playbook has looked at every month: ticked where the figures leave nothing to do."""
    items = []
    errors = (left.get("log_errors") or {}).get("errors")
    if errors is None:
        items.append({"done": False, "text": tr.t("Review the error logs: they were not counted")})
    else:
        items.append({"done": errors == 0, "text": tr.t("Review the error logs: {count} events", count=errors)})
    audit = left.get("npm_audit") or {}
    counts = audit.get("after") or audit.get("before")
    if isinstance(counts, Mapping):
        total = sum(count for count in counts.values() if isinstance(count, int))
        said = tr.t("Plan updates of dependencies: {count} known vulnerabilities", count=total)
        items.append({"done": total == 0, "text": said})
    else:
        items.append({"done": False, "text": tr.t("Plan updates of dependencies: vulnerabilities are not known")})
    for check in verdict.get("checks") or []:
        if isinstance(check, Mapping) and check.get("id") == "http.latency":
            observed = clean(tr.message(check.get("observed")))
            text = tr.t("Review performance and optimisations: {observed}", observed=observed)
            items.append({"done": check.get("status") == "ok", "text": text})
    return items
