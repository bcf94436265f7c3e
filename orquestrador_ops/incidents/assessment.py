"""What the results of an emergency come to: pure, and with nothing assumed about what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message
from orquestrador.procedures import SEVERITIES

from ..core import outcomes
from ..core.i18n import epoch
from ..procedures.catalog import EMERGENCIES, PROCEDURES
from ..reports.labels import STEP_WORDS
from .breaker import Limits
from .store import entry

BROKEN = "broken"
_TRIED = (outcomes.CHANGED, outcomes.FAILED, outcomes.WARN)
_LOOKING = frozenset(step.id for one in EMERGENCIES.values() for step in one.steps if step.looks)


@dataclass(frozen=True)
class Case:
    """One run of an emergency: who, where, what, and by whom it was started."""

    host: str
    procedure: str
    run_id: str
    operator: str
    automatic: bool
    limits: Limits
    now: float
    check_mode: bool = False
    started_at: float | None = None
    waits: bool = False  # nobody is to be told yet of what somebody who has the lease may be about to mend


@dataclass(frozen=True)
class Finding:
    """What the results of a run come to."""

    symptom: str  # healthy | broken | unreachable | unknown
    recovery: str | None  # recovered | failed | nothing; None: it was not let through
    alert: str
    severity: str
    scenario: str
    level: str | None = None
    reasons: list[Message] = field(default_factory=list)
    proposals: list[Message] = field(default_factory=list)
    tried: list[Message] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)  # entries of the timeline
    over_budget: bool = False
    holder: Mapping[str, Any] | None = None  # whose lease held the procedure back
    found_bad: bool = False  # the procedure's own first look
    acted_at: float | None = None  # when something was first done

    def facts(self) -> dict[str, Any]:
        """What of it an incident keeps."""
        names = ("scenario", "reasons", "proposals", "tried", "found_bad")
        return {name: getattr(self, name) for name in names}


def read(case: Case, gate: Mapping[str, Any], emergency: Mapping[str, Any], health: Mapping[str, Any]) -> Finding:
    """What gate, procedure and the look afterwards say together; any of them may be missing or have failed."""
    diagnosis = _mapping(emergency.get("diagnosis"))
    verdict = _mapping(health.get("verdict"))
    symptom = _symptom(emergency, health, verdict)
    alert = next(
        (str(one) for one in (diagnosis.get("alert"), verdict.get("procedure")) if one and one != "none"),
        case.procedure,
    )
    if symptom == outcomes.UNREACHABLE:
        alert = "offline"
    severity = str(diagnosis.get("severity") or "none")
    tried, steps, acted_at = _tried(case, emergency)
    reasons = _messages(diagnosis.get("reasons")) or _messages(verdict.get("reasons"))
    proposals = _messages(diagnosis.get("proposals"))
    # A step that nothing could be done in says what is proposed: that is no evidence.
    failures = _once(one for one in _messages(emergency.get("failures")) if one not in proposals)
    if emergency.get("failed") and not failures and emergency.get("msg"):
        failures = [msg("The procedure failed: {error}", error=str(emergency["msg"])[:500])]
    if symptom == outcomes.UNREACHABLE:
        reasons = _messages([health.get("failure")]) or [msg("The host can't be reached")]
    return Finding(
        symptom=symptom,
        recovery=_recovery(gate, emergency, symptom),
        alert=alert,
        severity=severity if severity != "none" else SEVERITIES.get(alert, "high"),
        scenario=outcomes.UNREACHABLE if symptom == outcomes.UNREACHABLE else str(diagnosis.get("scenario") or ""),
        level=diagnosis.get("level"),
        reasons=reasons + failures,
        proposals=proposals,
        tried=tried,
        steps=steps,
        over_budget=bool(emergency.get("over_budget")),
        found_bad=diagnosis.get("alert") not in (None, "none"),
        acted_at=acted_at,
        # Not of one that was refused because it is another procedure's case.
        holder=holder_of(emergency),
    )


def holder_of(emergency: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Who has the lease that a procedure was refused, as ``lease.public`` says it."""
    taken = _mapping(_mapping(emergency.get("steps")).get("lease"))
    holder = _mapping(_mapping(taken.get("evidence")).get("holder"))
    return holder if holder and emergency.get("outcome") == outcomes.REFUSED else None


def _symptom(emergency: Mapping[str, Any], health: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    if health.get("outcome") == outcomes.UNREACHABLE or health.get("unreachable"):
        return outcomes.UNREACHABLE
    overall, procedure = str(verdict.get("overall") or outcomes.UNKNOWN), str(verdict.get("procedure") or "none")
    outcome = emergency.get("outcome")
    if procedure != "none" or (overall == outcomes.CRITICAL and not _was_bad(verdict, proven=outcome in _PROVEN)):
        return BROKEN
    if outcome == outcomes.FAILED:
        # One look may fall between two crashes, or into a quiet moment of a slow application.
        lasting = _mapping(emergency.get("diagnosis")).get("alert") == "performance"
        return outcomes.HEALTHY if overall == outcomes.HEALTHY and not lasting else BROKEN
    # Something that could not be observed beside them does not take back what these say.
    return (
        outcomes.HEALTHY
        if overall != outcomes.UNKNOWN or _ids(verdict, outcomes.OK).issuperset(_ANSWERS)
        else outcomes.UNKNOWN
    )


# Ends of a procedure that looked itself, for a while, and found nothing wrong any more.
_PROVEN = (outcomes.HEALTHY, outcomes.RECOVERED)


def _was_bad(verdict: Mapping[str, Any], *, proven: bool) -> bool:
    """Whether all that is critical tells of the past: logged errors, and crashes where a procedure saw no more."""
    critical = _ids(verdict, outcomes.CRITICAL)
    return bool(critical) and critical <= ({"logs.errors", "pm2.restarts"} if proven else {"logs.errors"})


# The application answers as it should: what a sample of the history counts as good, too.
_ANSWERS = ("http.status", "app.status", "app.database")


def _ids(verdict: Mapping[str, Any], status: str) -> set[str]:
    checks = verdict.get("checks")
    listed = [_mapping(one) for one in checks] if isinstance(checks, list) else []
    return {str(one.get("id")) for one in listed if one.get("status") == status}


def _recovery(gate: Mapping[str, Any], emergency: Mapping[str, Any], symptom: str) -> str | None:
    if not gate.get("allowed"):
        return None
    if not emergency or emergency.get("skipped") or emergency.get("outcome") in (outcomes.HEALTHY, outcomes.REFUSED):
        return outcomes.NOTHING
    if emergency.get("unreachable"):
        # What was unreachable before and after was most likely never touched.
        return outcomes.NOTHING if symptom == outcomes.UNREACHABLE else outcomes.FAILED
    if "changed" in emergency and not emergency["changed"] and emergency.get("outcome") == outcomes.FAILED:
        return outcomes.NOTHING  # what nothing could be done about was not tried in vain
    recovered = emergency.get("outcome") == outcomes.RECOVERED and symptom == outcomes.HEALTHY
    return outcomes.RECOVERED if recovered else outcomes.FAILED


def _once(found: Iterable[Message]) -> list[Message]:
    """Each message once: three rungs of a ladder may fail for the same reason."""
    kept: list[Message] = []
    for one in found:
        if one not in kept:
            kept.append(one)
    return kept


def _tried(case: Case, emergency: Mapping[str, Any]) -> tuple[list[Message], list[dict[str, Any]], float | None]:
    """What was done, as text and as entries of the timeline, and since when; steps that only looked are left out."""
    tried, entries, begun = [], [], []
    # In the order of time: on its way here an object lost that of its names.
    steps = sorted(_mapping(emergency.get("steps")).items(), key=lambda item: str(_mapping(item[1]).get("ended_at")))
    for name, step in steps:
        if name in _LOOKING or not isinstance(step, Mapping) or step.get("status") not in _TRIED:
            continue
        notes = _messages(step.get("note"))
        status = STEP_WORDS.get(str(step.get("status")), STEP_WORDS[outcomes.UNKNOWN])
        text = msg("{step}: {status}", step=_title(case, str(name)), status=status)
        if notes:
            text = msg("{step}: {note}", step=_title(case, str(name)), note=notes[0])
        ended_at = epoch(step.get("ended_at")) or case.now
        tried.append(text)
        entries.append(entry(text, ended_at))
        begun.append(epoch(step.get("started_at")) or ended_at)
    return tried, entries, min(begun, default=None)


def _title(case: Case, step: str) -> Message | str:
    plan = PROCEDURES.get(case.procedure)
    return next((one.title for one in plan.steps if one.id == step), step) if plan else step


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _messages(value: Any) -> list[Any]:
    several = value if isinstance(value, list) else [value]
    return [one for one in several if one]
