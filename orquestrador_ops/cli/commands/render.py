"""Render documents of :mod:`.status` as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orquestrador.core.messages import msg

from ...core import outcomes
from ...core.text import clean
from ..words import t, translated, translator

Document = dict[str, Any]

_OUTCOMES = {
    outcomes.MET: msg("expected result met"),
    outcomes.NOT_MET: msg("expected result NOT met"),
    outcomes.UNREACHABLE: msg("host could not be reached"),
    outcomes.ERROR: msg("the run failed"),
    outcomes.TIMEOUT: msg("ended at its budget"),
    outcomes.INTERRUPTED: msg("interrupted"),
}
_OVERALL = {
    outcomes.HEALTHY: msg("HEALTHY"),
    outcomes.DEGRADED: msg("DEGRADED"),
    outcomes.CRITICAL: msg("CRITICAL"),
    outcomes.UNKNOWN: msg("UNKNOWN"),
}
_BREAKER = {"open": msg("open"), "half_open": msg("open, one trial is let through"), "closed": msg("closed")}
_CYCLES = {"done": msg("done"), "skipped": msg("skipped"), "late": msg("late"), "running": msg("running")}


def _label(labels: dict[str, Any], value: Any) -> str:
    return translated(labels[value]) if value in labels else clean(value or "-", 40)


def outcome(value: Any) -> str:
    """Return an outcome in the operator's language."""
    return _label(_OUTCOMES, value)


def _at(value: Any) -> str:
    return translator().time(value)


def status(document: Document) -> Iterator[str]:
    """Yield each host with its maintenance, recovery, breakers, incidents and last runs."""
    for name, host in document["hosts"].items():
        yield f"{clean(name, 255)}  {_health(host)}"
        if host["maintenance"]:
            window = host["maintenance"]
            reason = clean(window["reason"] or "-", 200)
            yield "  " + t("in maintenance until {ends_at}: {reason}", ends_at=window["ends_at"], reason=reason)
        if host["recovering"]:
            yield "  " + t("recovery by {procedure} goes on since {started_at}", **host["recovering"])
        for entry in host["breakers"]:
            shown = entry | {"state": _label(_BREAKER, entry["state"])}
            yield "  " + t("circuit breaker of {procedure}: {state}, since {opened_at}, next trial {retry_at}", **shown)
        for entry in host["incidents"]:
            yield f"  {_incident(entry)}"
        for procedure, run in sorted(host["runs"].items(), key=lambda item: item[1]["started_at"] or "", reverse=True):
            yield f"    {clean(procedure, 64):14} {_at(run['started_at'])}  {outcome(run['outcome'])}"
    watch = document["watch"]
    if watch:
        cycle = watch | {"outcome": _label(_CYCLES, watch["outcome"]), "count": watch["hosts"] or 0}
        yield t("Last cycle of the watch: {started_at}, {outcome}, {count} hosts", **cycle)
    if not document["hosts"]:
        yield t("No host is on record yet.")


def _health(host: Document) -> str:
    if host["sampled_at"] is None:
        return t("never observed")
    overall = _label(_OVERALL, host["overall"])
    return t("{overall}, {age_s} ago ({source})", overall=overall, age_s=host["age_s"], source=host["source"])


def _incident(row: Document) -> str:
    shown = row | {"level": row["level"] or "-"}
    line = t("incident {id}: {alert}, {severity}, level {level}, since {opened_at}", **shown)
    if row["closed_at"]:
        return line + t(", over since {closed_at}", closed_at=row["closed_at"])
    if row["acknowledged_at"]:
        return line + t(", acknowledged by {who}", who=clean(row["acknowledged_by"], 80))
    return line + t(", not acknowledged")


def incidents(document: Document) -> Iterator[str]:
    """Yield incidents, a line each."""
    for row in document["incidents"]:
        yield f"{clean(row['host'], 255)}  {_incident(row)}"
    if not document["incidents"]:
        yield t("No incident.")


def incident(document: Document) -> Iterator[str]:
    """Yield one incident with all its details."""
    row = document["incident"]
    yield from incidents({"incidents": [row]})
    for title, name in ((t("Why"), "reasons"), (t("Tried"), "tried"), (t("Proposed"), "proposals")):
        for line in row.get(name) or []:
            yield f"  {title}: {clean(line, 400)}"
    for entry in row.get("timeline") or []:
        yield f"  {_at(entry['at'])}  {clean(entry['what'], 400)}"
    for sent in row.get("notifications") or []:
        reason = f": {clean(sent['reason'], 200)}" if sent["reason"] else ""
        yield f"  {_at(sent['at'])}  {sent['level']} {clean(sent['channel'], 80)} {sent['outcome']}{reason}"
    if row.get("postmortem"):
        yield "  " + t("Draft of the postmortem: {path}", path=row["postmortem"])


def acknowledgement(document: Document) -> Iterator[str]:
    """Yield the line after an acknowledgement."""
    number, who = document["incident"]["id"], clean(document["incident"]["acknowledged_by"], 80)
    yield t("Incident {number} is acknowledged by {who}: it is not escalated any further.", number=number, who=who)


def breaker(document: Document) -> Iterator[str]:
    """Yield the line after a breaker was closed."""
    if document["was_open"]:
        yield t("The circuit breaker of {procedure} on {host} is closed.", **document)
    else:
        yield t(
            "The circuit breaker of {procedure} on {host} was not open; recoveries so far no longer count.", **document
        )


def reports(document: Document) -> Iterator[str]:
    """Yield runs with the paths of their reports."""
    for run in document["reports"]:
        check = " --check" if run["check_mode"] else ""
        yield (
            f"{run['run_id']}  {clean(run['host'], 255)}  {clean(run['procedure'], 64)}{check}  "
            f"{_at(run['started_at'])}  {outcome(run['outcome'])}"
        )
        if run["reports"].get("md"):
            yield f"  {run['reports']['md']}"
    if not document["reports"]:
        yield t("No run is on record.")
