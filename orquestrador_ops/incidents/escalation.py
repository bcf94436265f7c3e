"""Who is told of an incident, and when it goes on to the next level.

The matrix is data: levels in their order, each with the time in which somebody has to acknowledge and the channels by
which its people are told. So are the rules that say which level a finding calls for. Addresses of channels are secrets
and are asked for only when there is something to send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..core.i18n import Translator, epoch
from ..history import schema
from . import maintenance, notify
from . import store as incidents
from .matrix import ChannelsError, Level, Plan
from .message import Wording
from .store import Incident

if TYPE_CHECKING:
    from ..history.store import History

ONGOING, RECOVERED = "open", "recovered"  # what a message tells; it is told once for each level
SENT, FAILED, SENDING = "sent", "failed", "sending"
# Longer than a channel may take: whoever was sending by then was killed.
SENDING_S = 60.0
# How soon a channel that failed is tried again by a watcher, and for how long people hear of what is over.
RETRY_S = 60.0
RETRY_RECOVERED_S = 86400.0


# -------------------------------------------------------------------- telling


@dataclass
class Told:
    """What came of telling: labels of channels by outcome, and what an operator has to know."""

    sent: list[str] = field(default_factory=list)
    failed: dict[str, Message] = field(default_factory=dict)
    notes: list[Message] = field(default_factory=list)

    def add(self, other: Told) -> None:
        """Take in what came of telling somebody else."""
        self.sent += other.sent
        self.failed |= other.failed
        self.notes += [note for note in other.notes if note not in self.notes]


@dataclass(frozen=True)
class Desk:
    """What telling needs: the store, the plan, the words, the run that tells and the present moment."""

    store: History
    plan: Plan
    tr: Translator
    now: float
    run_id: str | None = None
    limit_s: float = notify.LIMIT_S


def tell(desk: Desk, incident: Incident, level: Level, state: str = ONGOING, *, patient: bool = False) -> Told:
    """Tell the people of a level what an incident is, or that it is over: once, by each of their channels.

    A channel that failed is tried again whenever this is called; with ``patient`` not within a minute. Never raises
    for what a channel does.
    """
    result = Told()
    if not level.channels:
        if level is not desk.plan.levels[0]:  # that of the automatic, which tells nobody
            result.notes.append(
                msg("Nobody was told: level {level} has no channels (escalation_matrix)", level=level.level)
            )
        return result
    try:
        targets = _targets(desk, level, result.notes)
    except ChannelsError as error:
        result.notes.append(error.message)
        return result
    claimed = _claim(desk, incident, level, state, list(targets), patient=patient)
    if not claimed:
        return result
    wording = Wording(incident, level, desk.tr, over=state == RECOVERED)
    tone = "success" if state == RECOVERED else "failure" if incident["severity"] == "critical" else "warning"
    reasons = notify.deliver(
        {name: targets[name] for name in claimed}, wording.title(), wording.body(), tone=tone, limit_s=desk.limit_s
    )
    _record(desk, {claimed[name]: reason for name, reason in reasons.items()})
    result.sent = [name for name in claimed if reasons[name] is None]
    result.failed = {name: reason for name, reason in reasons.items() if reason is not None}
    _note(desk, incident, level, state, result)
    return result


def _targets(desk: Desk, level: Level, notes: list[Message]) -> dict[str, str]:
    """Addresses of a level by their labels; what is missing goes into ``notes``. Raises :class:`ChannelsError`."""
    known = desk.plan.channels()
    if not known:
        notes.append(msg("Nobody was told: no channels are configured (escalation_channels)"))
    targets: dict[str, str] = {}
    for name in level.channels:
        if not known.get(name) and known:
            whose = {"name": name, "level": level.level}
            notes.append(msg("Channel {name} of level {level} has no address in escalation_channels", **whose))
        for number, address in enumerate(known.get(name, []), 1):
            targets[f"{notify.kind(address)}:{name}" + (f"#{number}" if number > 1 else "")] = address
    return targets


def _note(desk: Desk, incident: Incident, level: Level, state: str, result: Told) -> None:
    entries = []
    if result.sent:
        told: dict[str, Any] = {"level": level.level, "name": level.title, "channels": ", ".join(result.sent)}
        text = msg("Told level {level} ({name}) that it is over, by {channels}", **told)
        entries.append(msg("Told level {level} ({name}) by {channels}", **told) if state == ONGOING else text)
    entries += [could_not(name, reason) for name, reason in result.failed.items()]
    result.notes += entries
    incidents.change(
        desk.store,
        incident["id"],
        at=desk.now,
        entries=[incidents.entry(text, desk.now, once=True) for text in entries],
    )


def could_not(name: str, reason: Message) -> Message:
    """That a channel failed."""
    return msg("Channel {channel} failed: {reason}; it is tried again", channel=name, reason=reason)


def _claim(
    desk: Desk, incident: Incident, level: Level, state: str, labels: list[str], *, patient: bool
) -> dict[str, int]:
    """Labels that nobody has told yet, or is telling just now, with the row that says that this run does."""
    table, host = schema.notifications, incident["host"]

    def work(connection: sa.Connection) -> dict[str, int]:
        # Writing first keeps another controller from telling the same.
        mine = schema.incidents.c.id == incident["id"]
        connection.execute(sa.update(schema.incidents).where(mine).values(host=host))
        claimed = {}
        for label in labels:
            key = f"{incident['id']}:{level.level}:{state}:{label}"[:255]
            rows = connection.execute(sa.select(table.c.outcome, table.c.at).where(table.c.key == key)).all()
            ages = [(outcome, abs(desk.now - at)) for outcome, at in rows]
            busy = any(outcome == SENDING and age < SENDING_S for outcome, age in ages)
            recent = patient and any(outcome == FAILED and age < RETRY_S for outcome, age in ages)
            if busy or recent or any(outcome == SENT for outcome, _ in ages):
                continue
            row = {
                "incident_id": incident["id"],
                "host": host,
                "at": desk.now,
                "level": level.level,
                "channel": label[:255],
                "outcome": SENDING,
                "key": key,
                "run_id": desk.run_id,
            }
            done = connection.execute(sa.insert(table).values(row))
            claimed[label] = int(done.inserted_primary_key[0])  # type: ignore[index]
        return claimed

    return desk.store.write(work)


def _record(desk: Desk, reasons: Mapping[int, Message | None]) -> None:
    table = schema.notifications

    def work(connection: sa.Connection) -> None:
        for row_id, reason in reasons.items():
            values = {"outcome": SENT, "reason": None}
            if reason is not None:
                values = {"outcome": FAILED, "reason": desk.tr.message(reason)}
            connection.execute(sa.update(table).where(table.c.id == row_id).values(values))

    desk.store.write(work)


# -------------------------------------------------------------------- going up


def raise_to(desk: Desk, incident: Incident, level: Level, why: Message) -> Incident:
    """Put an incident on a level; who acknowledged it is not waited for again. A lower level changes nothing."""
    if desk.plan.rank(level.level) <= desk.plan.rank(incident["level"]):
        return incident
    waits = incident["acknowledged_at"] is None and desk.plan.next(level.level) is not None
    return incidents.change(
        desk.store,
        incident["id"],
        at=desk.now,
        entries=[incidents.entry(why, desk.now)],
        level=level.level,
        escalated_to=f"{level.level} {level.name}"[:255],
        next_at=desk.now + level.respond_within_s if waits else None,
    )


def due(store: History, now: float) -> list[Incident]:
    """Open incidents that nobody acknowledged in time, oldest first; none of a host in maintenance."""
    table = schema.incidents
    query = (
        sa.select(table.c.id)
        .where(table.c.closed_at.is_(None), table.c.acknowledged_at.is_(None), table.c.next_at <= now)
        .order_by(table.c.opened_at, table.c.id)
    )
    found = [incidents.get(store, one) for one in store.read(lambda link: link.execute(query).scalars().all())]
    return [one for one in found if one is not None and maintenance.active(store, one["host"], now) is None]


def overdue(desk: Desk, incident: Incident) -> Incident:
    """The incident on its next level, if the time to acknowledge this one is over; else as it is."""
    level, next_at = desk.plan.of(incident["level"]), epoch(incident["next_at"])
    following = desk.plan.next(incident["level"])
    if next_at is None or following is None or incident["acknowledged_at"] is not None:
        return incident
    if level is not None and next_at > desk.now + level.respond_within_s + SENDING_S:
        # Written before a clock jumped back: the time begins anew.
        return incidents.change(desk.store, incident["id"], at=desk.now, next_at=desk.now + level.respond_within_s)
    if next_at > desk.now:
        return incident
    if level is not None and not _was_asked(desk, incident, level):
        # Because of maintenance, say: the time to answer begins when somebody is told.
        return incidents.change(desk.store, incident["id"], at=desk.now, next_at=desk.now + level.respond_within_s)
    why = msg(
        "Not acknowledged in time: it goes to level {level} ({name})", level=following.level, name=following.title
    )
    return raise_to(desk, incident, following, why)


def _was_asked(desk: Desk, incident: Incident, level: Level) -> bool:
    """Whether it was tried to tell a level, or there is nobody to tell there."""
    if any(one["level"] == level.level for one in incidents.told(desk.store, incident["id"])):
        return True
    try:
        return not _targets(desk, level, [])
    except ChannelsError:
        return False


def climb(desk: Desk, hosts: Iterable[str] | None = None) -> Told:
    """One round over what is open: who did not answer is passed over, and channels that failed are tried again.

    For a watcher, in each of its cycles; ``hosts`` narrows it. What is over and could not be told is told as well.
    """
    result = Told()
    wanted = None if hosts is None else set(hosts)
    for incident in reversed(incidents.listed(desk.store, limit=1000)):
        if wanted is not None and incident["host"] not in wanted:
            continue
        if maintenance.active(desk.store, incident["host"], desk.now) is not None:
            continue
        current = overdue(desk, incident)
        level = desk.plan.of(current["level"])
        if level is not None:
            result.add(tell(desk, current, level, patient=True))
    for incident, levels in _untold(desk):
        if wanted is None or incident["host"] in wanted:
            for level in levels:
                result.add(tell(desk, incident, level, RECOVERED, patient=True))
    return result


def tell_over(desk: Desk, incident: Incident) -> Told:
    """Tell everybody who was told of an incident that it is over."""
    result = Told()
    for level in _levels_told(desk, incident["id"]):
        result.add(tell(desk, incident, level, RECOVERED))
    return result


def was_told(desk: Desk, incident: Incident) -> bool:
    """Whether anybody was told of it."""
    return bool(_levels_told(desk, incident["id"]))


def _levels_told(desk: Desk, incident_id: int) -> list[Level]:
    told = {one["level"] for one in incidents.told(desk.store, incident_id) if one["outcome"] == SENT}
    return [level for level in desk.plan.levels if level.level in told]


def _untold(desk: Desk) -> list[tuple[Incident, list[Level]]]:
    """What is over since a day at most and failed to be told."""
    table = schema.notifications
    failed = sa.and_(table.c.outcome == FAILED, table.c.key.like(f"%:{RECOVERED}:%"))
    query = sa.select(table.c.incident_id).distinct().where(failed, table.c.at > desk.now - RETRY_RECOVERED_S)
    found = []
    for one in desk.store.read(lambda connection: connection.execute(query).scalars().all()):
        incident = incidents.get(desk.store, one)
        if incident is not None and incident["closed_at"] is not None:
            found.append((incident, _levels_told(desk, one)))
    return found
