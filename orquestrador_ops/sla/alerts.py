"""Error budgets that burn: an incident for each burn rate that fires, people told by the matrix, and its end.

An alert is one of the rates of :mod:`.evaluate.burn_rate` of one host. What fired already is remembered with the
procedure ``sla``: an incident is opened once and closed when its rate has fallen, whatever the state of the host
meanwhile.
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

PROCEDURE = "sla"  # under which its state is remembered
PAGE, TICKET = "page", "ticket"
_SEVERITIES = {PAGE: "high", TICKET: "medium"}
# Conditions of the rules of escalation.
CONDITIONS = {PAGE: "sla_page", TICKET: "sla_ticket"}

_PROPOSALS = (
    msg("See what is down or slow now: runbook status, then playbooks/emergency/triage.yml"),
    msg("See what burned the budget: runbook sla --period 7d names the incidents"),
)


@dataclass
class Settled:
    """What came of the burn rates of one host."""

    state: dict[str, Any]
    notes: list[Message] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    told: Told = field(default_factory=Told)


def would(store: History, host: str, rates: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> list[Message]:
    """What :func:`settle` would open and close; nothing is written."""
    state, _ = burn.transitions(before, rates)
    known, firing = _open(store, host), [incidents.SERVICE_LEVEL + name for name, fires in state.items() if fires]
    opened = [msg("Would open an incident: {alert}", alert=_title(name)) for name in firing if name not in known]
    return opened + [
        msg("Would close incident {number}", number=one["id"]) for name, one in known.items() if name not in firing
    ]


def settle(desk: Desk, host: str, rates: Sequence[Mapping[str, Any]], before: Mapping[str, Any]) -> Settled:
    """Open, bring up to date and close the incidents of a host's burn rates, and tell who has to know.

    ``before`` is the state of the last time, ``{}`` at first. Raises ``HistoryError``.
    """
    state, events = burn.transitions(before, rates)
    done = Settled(dict(state))
    reasons = {incidents.SERVICE_LEVEL + str(event["name"]): event["reason"] for event in events}
    known, quiet = _open(desk.store, host), maintenance.active(desk.store, host, desk.now) is not None
    # By the state, not by the rates: one that nobody has probes for any more fires on.
    firing = {incidents.SERVICE_LEVEL + str(rate["name"]): rate for rate in rates if state[str(rate["name"])]}
    for name, rate in firing.items():
        _burns(desk, host, name, rate, reasons.get(name), done, quiet=quiet)
    for name, incident in known.items():
        if name not in firing:
            _over(desk, incident, reasons.get(name), done)
    done.notes += done.told.notes
    return done


def _title(alert: str) -> Message | str:
    found: Message | str = ALERTS.get(alert, alert)
    return found


def _open(store: History, host: str) -> dict[str, Incident]:
    """Open incidents of burn rates, by alert."""
    found = incidents.listed(store, host=host)
    return {one["alert"]: one for one in found if str(one["alert"]).startswith(incidents.SERVICE_LEVEL)}


def _burns(
    desk: Desk, host: str, alert: str, rate: Mapping[str, Any], why: Message | None, done: Settled, *, quiet: bool
) -> None:
    severity = str(rate["severity"])
    reason = why or burned(rate)
    incident, new = incidents.report(
        desk.store,
        host=host,
        alert=alert,
        severity=_SEVERITIES.get(severity, "medium"),
        at=desk.now,
        run_id=desk.run_id,
        facts={"reasons": [reason], "proposals": list(_PROPOSALS)},
        entries=[entry(reason, desk.now)] if why else [],
    )
    level = desk.plan.called_for([CONDITIONS.get(severity, "")])
    rises = msg("Goes to level {level} ({name})", level=level.level, name=level.title)
    incident = escalation.raise_to(desk, incident, level, rises)
    if severity == TICKET and incident["next_at"] is not None:
        # A ticket waits for office hours: it goes to nobody else by itself.
        incident = incidents.change(desk.store, incident["id"], at=desk.now, next_at=None)
    if new:
        done.opened.append(incident["id"])
        done.notes.append(msg("Incident {number} opened: {alert}", number=incident["id"], alert=_title(alert)))
    current = desk.plan.of(incident["level"])
    if quiet:
        if new:
            done.notes.append(msg("The host is in maintenance: nobody is told before it is over"))
    elif current is not None:
        done.told.add(escalation.tell(desk, incident, current))


def _over(desk: Desk, incident: Incident, why: Message | None, done: Settled) -> None:
    ended = why or msg("The error budget no longer burns at this rate")
    closed = incidents.close(desk.store, incident["id"], at=desk.now, entries=[entry(ended, desk.now)])
    done.closed.append(closed["id"])
    lasted = incidents.lasted_s(closed, desk.now)
    done.notes.append(msg("Incident {number} is over after {lasted_s}", number=closed["id"], lasted_s=lasted))
    done.told.add(escalation.tell_over(desk, closed))


def burned(rate: Mapping[str, Any]) -> Message:
    """How fast a budget burns, in one line."""
    return msg(
        "The error budget burns {long_burn} times as fast as it may within {long_s} and {short_burn} times within "
        "{short_s} (limit {factor}; {bad_long} bad probes)",
        **{name: rate[name] for name in ("long_burn", "long_s", "short_burn", "short_s", "factor", "bad_long")},
    )


def lines_of(documents: Iterable[Mapping[str, Any]]) -> list[Message]:
    """What burns at this moment, a line for each rate that fires."""
    return [burned(rate) for document in documents for rate in document.get("burn") or [] if rate["firing"]]
