"""What is on record, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orquestrador.core.messages import msg

from ...core import outcomes
from ...core.text import clean
from ..words import said, t, translator

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


def _word(words: dict[str, Any], value: Any) -> str:
    return said(words[value]) if value in words else clean(value or "-", 40)


def outcome(value: Any) -> str:
    """An outcome in the operator's language."""
    return _word(_OUTCOMES, value)


def _at(value: Any) -> str:
    return translator().time(value)


def status(document: Document) -> Iterator[str]:
    """Hosts with what has to be known of each."""
    for name, host in document["hosts"].items():
        yield f"{clean(name, 255)}  {_sampled(host)}"
        if host["maintenance"]:
            window = host["maintenance"]
            reason = clean(window["reason"] or "-", 200)
            yield "  " + t("in maintenance until {ends_at}: {reason}", ends_at=window["ends_at"], reason=reason)
        if host["recovering"]:
            yield "  " + t("recovery by {procedure} goes on since {started_at}", **host["recovering"])
        for one in host["breakers"]:
            shown = one | {"state": _word(_BREAKER, one["state"])}
            yield "  " + t("circuit breaker of {procedure}: {state}, since {opened_at}, next trial {retry_at}", **shown)
        for one in host["incidents"]:
            yield f"  {_incident(one)}"
        for procedure, run in sorted(host["runs"].items(), key=lambda item: item[1]["started_at"] or "", reverse=True):
            yield f"    {clean(procedure, 64):14} {_at(run['started_at'])}  {outcome(run['outcome'])}"
    watch = document["watch"]
    if watch:
        cycle = watch | {"outcome": _word(_CYCLES, watch["outcome"]), "count": watch["hosts"] or 0}
        yield t("Last cycle of the watch: {started_at}, {outcome}, {count} hosts", **cycle)
    if not document["hosts"]:
        yield t("No host is on record yet.")


def _sampled(host: Document) -> str:
    if host["sampled_at"] is None:
        return t("never observed")
    overall = _word(_OVERALL, host["overall"])
    return t("{overall}, {age_s} ago ({source})", overall=overall, age_s=host["age_s"], source=host["source"])


def _incident(one: Document) -> str:
    shown = one | {"level": one["level"] or "-"}
    line = t("incident {id}: {alert}, {severity}, level {level}, since {opened_at}", **shown)
    if one["closed_at"]:
        return line + t(", over since {closed_at}", closed_at=one["closed_at"])
    if one["acknowledged_at"]:
        return line + t(", acknowledged by {who}", who=clean(one["acknowledged_by"], 80))
    return line + t(", not acknowledged")


def incidents(document: Document) -> Iterator[str]:
    """Incidents, a line each."""
    for one in document["incidents"]:
        yield f"{clean(one['host'], 255)}  {_incident(one)}"
    if not document["incidents"]:
        yield t("No incident.")


def incident(document: Document) -> Iterator[str]:
    """One incident with all that is known of it."""
    one = document["incident"]
    yield from incidents({"incidents": [one]})
    for title, name in ((t("Why"), "reasons"), (t("Tried"), "tried"), (t("Proposed"), "proposals")):
        for line in one.get(name) or []:
            yield f"  {title}: {clean(line, 400)}"
    for entry in one.get("timeline") or []:
        yield f"  {_at(entry['at'])}  {clean(entry['what'], 400)}"
    for sent in one.get("notifications") or []:
        reason = f": {clean(sent['reason'], 200)}" if sent["reason"] else ""
        yield f"  {_at(sent['at'])}  {sent['level']} {clean(sent['channel'], 80)} {sent['outcome']}{reason}"
    if one.get("postmortem"):
        yield "  " + t("Draft of the postmortem: {path}", path=one["postmortem"])


def acknowledged(document: Document) -> Iterator[str]:
    """Said after an acknowledgement."""
    number, who = document["incident"]["id"], clean(document["incident"]["acknowledged_by"], 80)
    yield t(
        "Incident {number} is acknowledged by {who}: it goes to no further level by itself.", number=number, who=who
    )


def breaker(document: Document) -> Iterator[str]:
    """Said after a breaker was closed."""
    if document["was_open"]:
        yield t("The circuit breaker of {procedure} on {host} is closed.", **document)
    else:
        yield t(
            "The circuit breaker of {procedure} on {host} was not open; recoveries so far no longer count.", **document
        )


def reports(document: Document) -> Iterator[str]:
    """Runs with where their reports lie."""
    for one in document["reports"]:
        check = " --check" if one["check_mode"] else ""
        yield (
            f"{one['run_id']}  {clean(one['host'], 255)}  {clean(one['procedure'], 64)}{check}  "
            f"{_at(one['started_at'])}  {outcome(one['outcome'])}"
        )
        if one["reports"].get("md"):
            yield f"  {one['reports']['md']}"
    if not document["reports"]:
        yield t("No run is on record.")
