"""What the results of an emergency come to: pure, and with nothing assumed about what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message
from orquestrador.procedures import SEVERITIES

from ..core import outcomes
from ..core.host_results import NONE, ProbeResult, RecoveryResult, Verdict, messages
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


def read(case: Case, gate: Mapping[str, Any], recovery: RecoveryResult, probe: ProbeResult) -> Finding:
    """What gate, procedure and the look afterwards say together; any of them may be missing or have failed."""
    diagnosis, verdict = recovery.diagnosis, probe.judged
    symptom = _symptom(recovery, probe)
    called = (one for one in (diagnosis.alert, verdict.procedure) if one not in (None, NONE))
    alert = "offline" if symptom == outcomes.UNREACHABLE else next(called, None) or case.procedure
    tried, steps, acted_at = _tried(case, recovery)
    reasons = diagnosis.reasons or verdict.reasons
    # A step that nothing could be done in says what is proposed: that is no evidence.
    failures = _once(one for one in recovery.failures if one not in diagnosis.proposals)
    if recovery.failed and not failures and recovery.said:
        failures = [msg("The procedure failed: {error}", error=recovery.said[:500])]
    if symptom == outcomes.UNREACHABLE:
        reasons = messages(probe.failure) or [msg("The host can't be reached")]
    return Finding(
        symptom=symptom,
        recovery=_recovery(gate, recovery, symptom),
        alert=alert,
        severity=diagnosis.severity if diagnosis.severity != NONE else SEVERITIES.get(alert, "high"),
        scenario=outcomes.UNREACHABLE if symptom == outcomes.UNREACHABLE else diagnosis.scenario,
        level=diagnosis.level,
        reasons=reasons + failures,
        proposals=diagnosis.proposals,
        tried=tried,
        steps=steps,
        over_budget=recovery.over_budget,
        found_bad=diagnosis.alert not in (None, NONE),
        acted_at=acted_at,
        holder=recovery.holder,
    )


def _symptom(recovery: RecoveryResult, probe: ProbeResult) -> str:
    verdict, outcome = probe.judged, recovery.outcome
    if probe.outcome == outcomes.UNREACHABLE:
        return outcomes.UNREACHABLE
    if verdict.procedure != NONE:
        return BROKEN
    if verdict.overall == outcomes.CRITICAL and not _was_bad(verdict, proven=outcome in _PROVEN):
        return BROKEN
    if outcome == outcomes.FAILED:
        # One look may fall between two crashes, or into a quiet moment of a slow application.
        lasting = recovery.diagnosis.alert == "performance"
        return outcomes.HEALTHY if verdict.overall == outcomes.HEALTHY and not lasting else BROKEN
    # Something that could not be observed beside them does not take back what these say.
    return (
        outcomes.HEALTHY
        if verdict.overall != outcomes.UNKNOWN or verdict.ids(outcomes.OK).issuperset(_ANSWERS)
        else outcomes.UNKNOWN
    )


# Ends of a procedure that looked itself, for a while, and found nothing wrong any more.
_PROVEN = (outcomes.HEALTHY, outcomes.RECOVERED)


def _was_bad(verdict: Verdict, *, proven: bool) -> bool:
    """Whether all that is critical tells of the past: logged errors, and crashes where a procedure saw no more."""
    critical = verdict.ids(outcomes.CRITICAL)
    return bool(critical) and critical <= ({"logs.errors", "pm2.restarts"} if proven else {"logs.errors"})


# The application answers as it should: what a sample of the history counts as good, too.
_ANSWERS = ("http.status", "app.status", "app.database")


def _recovery(gate: Mapping[str, Any], recovery: RecoveryResult, symptom: str) -> str | None:
    if not gate.get("allowed"):
        return None
    if not recovery.ran or recovery.outcome in (outcomes.HEALTHY, outcomes.REFUSED):
        return outcomes.NOTHING
    if recovery.unreachable:
        # What was unreachable before and after was most likely never touched.
        return outcomes.NOTHING if symptom == outcomes.UNREACHABLE else outcomes.FAILED
    if recovery.changed is False and recovery.outcome == outcomes.FAILED:
        return outcomes.NOTHING  # what nothing could be done about was not tried in vain
    recovered = recovery.outcome == outcomes.RECOVERED and symptom == outcomes.HEALTHY
    return outcomes.RECOVERED if recovered else outcomes.FAILED


def _once(found: Iterable[Message]) -> list[Message]:
    """Each message once: three rungs of a ladder may fail for the same reason."""
    kept: list[Message] = []
    for one in found:
        if one not in kept:
            kept.append(one)
    return kept


def _tried(case: Case, recovery: RecoveryResult) -> tuple[list[Message], list[dict[str, Any]], float | None]:
    """What was done, as text and as entries of the timeline, and since when; steps that only looked are left out."""
    tried, entries, begun = [], [], []
    # In the order of time: on its way here an object lost that of its names.
    steps = sorted(recovery.steps.items(), key=lambda item: str(item[1].get("ended_at")))
    for name, step in steps:
        if name in _LOOKING or step.get("status") not in _TRIED:
            continue
        notes = messages(step.get("note"))
        status = STEP_WORDS.get(str(step.get("status")), STEP_WORDS[outcomes.UNKNOWN])
        text = msg("{step}: {status}", step=_title(case, name), status=status)
        if notes:
            text = msg("{step}: {note}", step=_title(case, name), note=notes[0])
        ended_at = epoch(step.get("ended_at")) or case.now
        tried.append(text)
        entries.append(entry(text, ended_at))
        begun.append(epoch(step.get("started_at")) or ended_at)
    return tried, entries, min(begun, default=None)


def _title(case: Case, step: str) -> Message | str:
    plan = PROCEDURES.get(case.procedure)
    return next((one.title for one in plan.steps if one.id == step), step) if plan else step
