"""Alerts on error budgets: open an incident for each burn rate that fires, escalate it, close it when it has fallen.

An alert is one of the rates of :mod:`.evaluate.burn_rate` of one host. The history stores which rates fire in the
baseline of the procedure ``sla``: an incident is opened once, and closed when its rate has fallen, whatever the state
of the host meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..incidents import escalation, maintenance
from ..incidents import store as incidents
from ..incidents.escalation import Desk, Told
from ..incidents.message import ALERTS
from ..incidents.store import Incident, entry
from .evaluate import burn_rate as burn

if TYPE_CHECKING:
    from ..history.store import History

PROCEDURE = "sla"  # of the baseline with the state of the alerts
PAGE, TICKET = "page", "ticket"
Rate = Mapping[str, Any]  # of :func:`.burn_rate.rates`
_SEVERITIES = {PAGE: "high", TICKET: "medium"}
# Conditions of the rules of escalation.
CONDITIONS = {PAGE: "sla_page", TICKET: "sla_ticket"}

_PROPOSALS = (
    msg("See what is down or slow now: runbook status, then playbooks/emergency/triage.yml"),
    msg("Find out what used the budget: runbook sla --period 7d lists the incidents"),
)


@dataclass
class AlertResult:
    """Changes of the incidents of one host's burn rates."""

    state: dict[str, Any]
    notes: list[Message] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    delivery: Told = field(default_factory=Told)


def preview(store: History, host: str, rates: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> list[Message]:
    """Return what :func:`update` would open and close; write nothing."""
    state, _ = burn.transitions(before, rates)
    firing = [incidents.SERVICE_LEVEL + name for name, fires in state.items() if fires]
    open_ones = _open_incidents(store, host)
    opened = [msg("Would open an incident: {alert}", alert=_title(name)) for name in firing if name not in open_ones]
    closed = [incident["id"] for name, incident in open_ones.items() if name not in firing]
    return opened + [msg("Would close incident {number}", number=number) for number in closed]


def update(context: Desk, host: str, rates: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> AlertResult:
    """Open, update and close the incidents of a host's burn rates, and notify the on-call people.

    ``before`` is the state of the last call, ``{}`` at first. Raises ``HistoryError``.
    """
    state, events = burn.transitions(before, rates)
    result = AlertResult(dict(state))
    reasons = {incidents.SERVICE_LEVEL + str(event["name"]): event["reason"] for event in events}
    open_ones = _open_incidents(context.store, host)
    quiet = maintenance.active(context.store, host, context.now) is not None
    # By the state, not by the rates: a firing rate without recent probes goes on firing.
    firing = {incidents.SERVICE_LEVEL + str(rate["name"]): rate for rate in rates if state[str(rate["name"])]}
    for name, rate in firing.items():
        _report_burn(context, host, name, rate, reasons.get(name), result, quiet)
    for name, incident in open_ones.items():
        if name not in firing:
            _close_incident(context, incident, reasons.get(name), result)
    result.notes += result.delivery.notes
    return result


def _title(alert: str) -> Message | str:
    title: Message | str = ALERTS.get(alert, alert)
    return title


def _open_incidents(store: History, host: str) -> dict[str, Incident]:
    """Open incidents of burn rates, by alert."""
    rows = incidents.listed(store, host=host)
    return {row["alert"]: row for row in rows if str(row["alert"]).startswith(incidents.SERVICE_LEVEL)}


def _report_burn(
    context: Desk, host: str, alert: str, rate: Rate, change: Message | None, result: AlertResult, quiet: bool
) -> None:
    severity = str(rate["severity"])
    reason = change or describe_burn(rate)
    incident, new = incidents.report(
        context.store,
        host=host,
        alert=alert,
        severity=_SEVERITIES.get(severity, "medium"),
        at=context.now,
        run_id=context.run_id,
        facts={"reasons": [reason], "proposals": list(_PROPOSALS)},
        entries=[entry(reason, context.now)] if change else [],
    )
    level = context.plan.called_for([CONDITIONS.get(severity, "")])
    rises = msg("Goes to level {level} ({name})", level=level.level, name=level.title)
    incident = escalation.raise_to(context, incident, level, rises)
    if severity == TICKET and incident["next_at"] is not None:
        # A ticket waits for office hours: it is not escalated further.
        incident = incidents.change(context.store, incident["id"], at=context.now, next_at=None)
    if new:
        result.opened.append(incident["id"])
        result.notes.append(msg("Incident {number} opened: {alert}", number=incident["id"], alert=_title(alert)))
    current = context.plan.of(incident["level"])
    if quiet:
        if new:
            result.notes.append(msg("The host is in maintenance: notifications wait until it is over"))
    elif current is not None:
        result.delivery.add(escalation.tell(context, incident, current))


def _close_incident(context: Desk, incident: Incident, change: Message | None, result: AlertResult) -> None:
    reason = change or msg("The error budget no longer burns at this rate")
    closed = incidents.close(context.store, incident["id"], at=context.now, entries=[entry(reason, context.now)])
    result.closed.append(closed["id"])
    duration = incidents.lasted_s(closed, context.now)
    result.notes.append(msg("Incident {number} is over after {lasted_s}", number=closed["id"], lasted_s=duration))
    result.delivery.add(escalation.tell_over(context, closed))


def describe_burn(rate: Mapping[str, Any]) -> Message:
    """Return in one line how fast a budget burns."""
    return msg(
        "The error budget burns at {long_burn} times the allowed rate over {long_s} and at {short_burn} times over "
        "{short_s} (limit {factor}; {bad_long} bad probes)",
        **{name: rate[name] for name in ("long_burn", "long_s", "short_burn", "short_s", "factor", "bad_long")},
    )


def firing_messages(documents: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Return a line for each rate that fires."""
    return [describe_burn(rate) for document in documents for rate in document.get("burn") or [] if rate["firing"]]
