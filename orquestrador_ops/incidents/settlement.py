"""The two ends of an emergency on the controller: whether the host may be touched, and what follows from how it went.

:func:`gate` asks breaker and maintenance and puts the recovery on record before it begins. :func:`settle` makes of the
results an incident that is opened, brought up to date or closed, a breaker that knows the end, and people who are told.
Nothing in here knows Ansible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..core.outcomes import FAILED, HEALTHY, NOTHING, RECOVERED, UNKNOWN
from . import breaker, escalation, maintenance, postmortem
from . import store as incidents
from .assessment import Case, Finding, read
from .breaker import Breaker, BreakerStore
from .escalation import Desk, Told
from .message import ALERTS
from .store import Incident, entry

if TYPE_CHECKING:
    from ..core.host_results import ProbeResult, RecoveryResult
    from ..core.settings import Settings
    from ..history.store import History

__all__ = ["Case", "Finding", "Settled", "gate", "read", "settle", "unrecorded"]

# What a finding calls for besides its scenario: the rules of escalation know these names.
BREAKER_OPEN, OVER_BUDGET, PERSISTS = "breaker_open", "over_budget", "performance_persists"


# -------------------------------------------------------------------- before


def gate(store: History, case: Case, *, close_breaker: bool = False) -> dict[str, Any]:
    """Whether the run may act: ``{allowed, automatic, reason, breaker, maintenance, incident_id}``, and as a step.

    Who is let through is on record as having begun. In check mode nothing is written: it says what would be.
    """
    circuit = _circuit(store, case)
    window = maintenance.active(store, case.host, case.now)
    known = incidents.listed(store, host=case.host)
    mine = next((one["id"] for one in known if one["alert"] == case.procedure), None)
    answer: dict[str, Any] = {"automatic": case.automatic, "maintenance": window, "incident_id": mine, "reason": None}
    if window is not None and case.automatic:
        found = circuit.look()
        reason = msg(
            "In maintenance until {ends_at} ({reason}): the watcher stands back",
            ends_at=window["ends_at"],
            reason=window["reason"],
        )
        return _as_step({**answer, "allowed": False, "reason": reason, "breaker": found.shown()})
    if case.check_mode:
        found = circuit.look()
        allowed = close_breaker or found.state != breaker.OPEN
    else:
        closed_by = case.operator if close_breaker else None
        found, allowed = circuit.enter(case.run_id, automatic=case.automatic, closed_by=closed_by)
    answer |= {"allowed": allowed, "breaker": found.shown()}
    if not allowed:
        answer["reason"] = _open(case, found)
    return _as_step(answer)


def _circuit(store: History, case: Case) -> BreakerStore:
    return BreakerStore(store, case.host, case.procedure, case.limits, case.now)


def _as_step(answer: dict[str, Any]) -> dict[str, Any]:
    note = answer["reason"]
    window = answer["maintenance"]
    if note is None and window is not None:
        note = msg(
            "In maintenance until {ends_at} ({reason}): that stops nobody by hand",
            ends_at=window["ends_at"],
            reason=window["reason"],
        )
    status = "ok" if answer["allowed"] and answer["reason"] is None else "warn"
    return {**answer, "status": status, "note": note, "evidence": {"breaker": answer["breaker"]}}


def unrecorded(case: Case, reason: Message | str) -> dict[str, Any]:
    """The gate's answer when the history can't be asked: a person may act, the watcher, whom nothing stops, may not."""
    text = msg("The history does not answer, so that recoveries can't be counted: {reason}", reason=reason)
    empty = Breaker(breaker.CLOSED, 0, case.limits.max_recoveries).shown()
    return _as_step(
        {
            "allowed": not case.automatic,
            "automatic": case.automatic,
            "reason": text,
            "breaker": {**empty, "state": "unknown"},
            "maintenance": None,
            "incident_id": None,
        }
    )


def _open(case: Case, found: Breaker) -> Message:
    return msg(
        "The circuit breaker of {procedure} is open after {count} recoveries within {window_s}: nothing is touched. "
        "One trial is let through from {retry_at} on; -e close_breaker=true closes it at once",
        procedure=case.procedure,
        count=found.recoveries,
        window_s=case.limits.window_s,
        retry_at=found.shown()["retry_at"],
    )


# -------------------------------------------------------------------- after


@dataclass
class Settled:
    """What came of settling, for the step ``escalation`` of the run's record."""

    finding: Finding
    breaker: dict[str, Any]
    status: str = "ok"
    notes: list[Message] = field(default_factory=list)
    incident: Incident | None = None
    closed: list[int] = field(default_factory=list)
    postmortems: list[str] = field(default_factory=list)
    told: Told = field(default_factory=Told)

    def result(self) -> dict[str, Any]:
        """As a registered result."""
        incident = self.incident or {}
        return {
            "changed": False,
            "status": self.status,
            "note": self.notes,
            "symptom": self.finding.symptom,
            "alert": self.finding.alert,
            "recovery": self.finding.recovery,
            "incident_id": incident.get("id"),
            "level": incident.get("level"),
            # Of a run after which the host is well nobody has to go on.
            "escalated_to": incident.get("escalated_to") if self.finding.symptom != HEALTHY else None,
            "closed": self.closed,
            "postmortems": self.postmortems,
            "told": self.told.sent,
            "failed_channels": sorted(self.told.failed),
            "breaker": self.breaker,
            "evidence": {
                "incident": incident.get("id"),
                "level": incident.get("level"),
                "told": self.told.sent,
                "failed_channels": sorted(self.told.failed),
                "breaker": self.breaker,
                "closed": self.closed,
                "postmortems": self.postmortems,
            },
        }


def settle(
    desk: Desk,
    case: Case,
    kept: Settings,
    *,
    gate: Mapping[str, Any],
    recovery: RecoveryResult,
    probe: ProbeResult,
) -> Settled:
    """Record how it ended, open or close what is to be, and tell who has to know.

    In check mode nothing is written and nobody is told; the notes say what would be. Raises
    :class:`orquestrador_ops.core.errors.HistoryError`.
    """
    circuit, finding = _circuit(desk.store, case), read(case, gate, recovery, probe)
    if case.check_mode:
        return Settled(finding, circuit.look().shown(), notes=_would(desk, case, finding))
    found, opened = circuit.settle(case.run_id, finding.recovery or NOTHING)
    done = Settled(finding, found.shown())
    window = maintenance.active(desk.store, case.host, case.now)
    if finding.symptom == HEALTHY:
        _over(desk, case, kept, done)
    elif finding.symptom == UNKNOWN:
        done.notes.append(msg("Nothing proves that the host is well, or that it is not: incidents stay as they are"))
    elif window is not None and case.automatic:
        done.notes.append(msg("In maintenance until {ends_at}: told to nobody", ends_at=window["ends_at"]))
    else:
        _wrong(desk, case, done, found, opened=opened, quiet=window is not None)
    done.notes += done.told.notes
    if done.told.failed:
        done.status = "warn"
    elif done.status == "ok" and (done.told.sent or done.closed or done.incident):
        done.status = "changed"
    if not done.notes:
        done.notes.append(msg("Nobody had to be told"))
    return done


def _wrong(desk: Desk, case: Case, done: Settled, found: Breaker, *, opened: bool, quiet: bool) -> None:
    """The host is not well: an incident, its level, and who is told."""
    finding = done.finding
    incident, new = _reported(desk, case, finding)
    number = incident["id"]
    opening, going_on = msg("Incident {number} opened", number=number), msg("Incident {number} goes on", number=number)
    done.notes.append(opening if new else going_on)
    if finding.holder is not None:
        done.notes.append(_held(finding.holder))
    if finding.holder is not None and case.waits:
        done.notes.append(msg("People are told once it has lasted for watch_unreachable_cycles cycles"))
        done.incident = incident
        return
    conditions = [name for name in (finding.scenario,) if name]
    if found.state == breaker.OPEN:
        conditions.append(BREAKER_OPEN)
    if finding.over_budget:
        conditions.append(OVER_BUDGET)
    if finding.alert == "performance" and finding.recovery == FAILED:
        conditions.append(PERSISTS)
    level = desk.plan.called_for(conditions, finding.level)
    why = msg("Goes to level {level} ({name})", level=level.level, name=level.title)
    if found.state == breaker.OPEN:
        _add(desk, incident, [_open(case, found)])
        if opened:
            done.notes.append(_open(case, found))
    incident = escalation.raise_to(desk, incident, level, why)
    incident = escalation.overdue(desk, incident)
    current = desk.plan.of(incident["level"])
    if quiet:
        done.notes.append(msg("The host is in maintenance: nobody is told before it is over"))
    elif current is not None:
        done.told.add(escalation.tell(desk, incident, current))
    done.incident = incidents.get(desk.store, number)


def _held(holder: Mapping[str, Any]) -> Message:
    return msg(
        "Run {run_id} ({procedure}, {owner}) has the lease until {expires_at}, longer while it is at work: nothing was"
        " touched",
        **{name: holder.get(name) for name in ("run_id", "procedure", "owner", "expires_at")},
    )


def _reported(desk: Desk, case: Case, finding: Finding) -> tuple[Incident, bool]:
    return incidents.report(
        desk.store,
        host=case.host,
        alert=finding.alert,
        severity=finding.severity,
        at=case.now,
        run_id=case.run_id,
        detected_at=case.started_at,
        acted_at=finding.acted_at,
        facts=finding.facts(),
        entries=[*_detected(case, finding), *finding.steps],
    )


def _detected(case: Case, finding: Finding) -> list[dict[str, Any]]:
    who = msg("the watcher") if case.automatic else case.operator
    alert = ALERTS.get(finding.alert, finding.alert)
    text = msg("Found by {who}: {alert}", who=who, alert=alert)
    if finding.scenario:
        text = msg("Found by {who}: {alert} ({scenario})", who=who, alert=alert, scenario=finding.scenario)
    return [entry(text, case.started_at or case.now, once=True)]


def _add(desk: Desk, incident: Incident, texts: Iterable[Message]) -> None:
    incidents.change(
        desk.store, incident["id"], at=desk.now, entries=[entry(text, desk.now, once=True) for text in texts]
    )


def _over(desk: Desk, case: Case, kept: Settings, done: Settled) -> None:
    """The host is well: what was open is over, and what this run healed itself is on record."""
    finding = done.finding
    if finding.recovery == RECOVERED:
        made, new = _reported(desk, case, finding)
        if new:
            incidents.change(desk.store, made["id"], at=case.now, level=desk.plan.levels[0].level)
    known = incidents.of_state(incidents.listed(desk.store, host=case.host))
    for one in known:
        end = msg("Recovery proven")
        if finding.recovery == RECOVERED:
            end = msg("Recovery proven, by {procedure}", procedure=case.procedure)
        closed = incidents.close(desk.store, one["id"], at=case.now, entries=[entry(end, case.now)])
        told = escalation.tell_over(desk, closed)
        if not escalation.was_told(desk, closed) and closed["level"] == desk.plan.levels[0].level:
            told = escalation.tell(desk, closed, desk.plan.levels[0], escalation.RECOVERED)
        done.told.add(told)
        done.closed.append(closed["id"])
        lasted_s = incidents.lasted_s(closed, case.now)
        done.notes.append(msg("Incident {number} is over after {lasted_s}", number=closed["id"], lasted_s=lasted_s))
        done.incident = incidents.get(desk.store, closed["id"])
        try:
            path = postmortem.write(desk.store, done.incident or closed, kept, desk.tr)
            done.postmortems.append(path)
        except OSError as error:
            done.status = "warn"
            done.notes.append(msg("The draft of the postmortem could not be written: {reason}", reason=str(error)))


def _would(desk: Desk, case: Case, finding: Finding) -> list[Message]:
    """What settling would do."""
    known = incidents.of_state(incidents.listed(desk.store, host=case.host))
    if finding.symptom == HEALTHY:
        return [msg("Would close incident {number}", number=one["id"]) for one in known] or [
            msg("Nobody had to be told")
        ]
    if finding.symptom == UNKNOWN:
        return [msg("Nobody would be told")]
    mine = next((one for one in known if one["alert"] == finding.alert), None)
    level = desk.plan.called_for([finding.scenario], finding.level)
    if mine is not None:
        return [msg("Would bring incident {number} up to date", number=mine["id"])]
    return [msg("Would open an incident and tell level {level} ({name})", level=level.level, name=level.title)]
