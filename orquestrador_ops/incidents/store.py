"""Incidents: what is wrong with a host, since when, who was told, who has taken it on, and how it ended.

An incident is one alert of one host for as long as it is open. Its timeline is kept in ``data.timeline`` as
``[{at, what: Message}]``. Incidents leave this module with times in ISO 8601, as runs leave the history.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..core.i18n import epoch, iso
from ..history import schema

if TYPE_CHECKING:
    from ..history.store import History

Incident = dict[str, Any]

MAX_TIMELINE = 200
# Of a timeline that grows beyond its limit, as many entries of its beginning stay.
_BEGINNING = 50
# Alerts of a service level begin like this. They say how fast an error budget burns, which is no state of a host: no
# look at it proves them over.
SERVICE_LEVEL = "sla:"
_TIMES = ("opened_at", "acted_at", "closed_at", "next_at", "acknowledged_at", "updated_at")
# What of an incident's data is the latest word; the timeline is only added to.
_LATEST = ("scenario", "reasons", "proposals", "tried")


class IncidentError(OperatorError, ValueError):
    """What was asked of an incident can't be done."""


def key_of(host: str, alert: str) -> str:
    """What makes an incident the same one while it is open."""
    return f"{alert}:{host}"[:255]


def entry(what: Message, at: float, *, once: bool = False) -> dict[str, Any]:
    """An entry of a timeline; ``once``: not again while the incident lasts."""
    return {"at": iso(at), "what": what, **({"once": True} if once else {})}


# -------------------------------------------------------------------- reading


def get(store: History, incident_id: int) -> Incident | None:
    """The incident of this number."""
    found = _select(store, schema.incidents.c.id == int(incident_id), limit=1)
    return found[0] if found else None


def listed(store: History, *, host: str | None = None, closed: bool = False, limit: int = 100) -> list[Incident]:
    """Open incidents, newest first; ``closed`` adds those that are over."""
    table = schema.incidents
    wanted: list[sa.ColumnElement[bool]] = [sa.true()]
    if host is not None:
        wanted.append(table.c.host == host)
    if not closed:
        wanted.append(table.c.closed_at.is_(None))
    return _select(store, sa.and_(*wanted), limit=limit)


def of_state(found: Iterable[Incident]) -> list[Incident]:
    """Those that are about the state of a host, which a look at it can prove to be over."""
    return [one for one in found if not str(one["alert"]).startswith(SERVICE_LEVEL)]


def told(store: History, incident_id: int) -> list[dict[str, Any]]:
    """Attempts to tell people of an incident, oldest first: ``{at, level, channel, outcome, reason, run_id}``."""
    table = schema.notifications
    query = sa.select(table).where(table.c.incident_id == incident_id).order_by(table.c.at, table.c.id)
    rows = store.read(lambda connection: connection.execute(query).mappings().all())
    return [
        {"at": iso(row["at"]), **{name: row[name] for name in ("level", "channel", "outcome", "reason", "run_id")}}
        for row in rows
    ]


def _select(store: History, condition: sa.ColumnElement[bool], limit: int) -> list[Incident]:
    table = schema.incidents
    query = sa.select(table).where(condition).order_by(table.c.opened_at.desc(), table.c.id.desc()).limit(limit)
    return [_shown(dict(row)) for row in store.read(lambda connection: connection.execute(query).mappings().all())]


def _shown(row: Mapping[str, Any]) -> Incident:
    return {
        **row,
        **{name: iso(row[name]) for name in _TIMES},
        "alert": row["procedure"],
        "data": row["data"] if isinstance(row["data"], dict) else {},
    }


# -------------------------------------------------------------------- writing


def report(
    store: History,
    *,
    host: str,
    alert: str,
    severity: str,
    at: float,
    run_id: str | None = None,
    facts: Mapping[str, Any] | None = None,
    entries: Iterable[Mapping[str, Any]] = (),
    detected_at: float | None = None,
    acted_at: float | None = None,
) -> tuple[Incident, bool]:
    """Open the incident of an alert, or bring the open one up to date; and whether it was opened.

    ``detected_at`` and ``acted_at`` are when it was found and when something was first done about it.
    ``facts`` are ``scenario``, ``reasons``, ``proposals`` and ``tried``, the latest of which count, and ``found_bad``,
    which is counted. An entry that says what the last one says is not written again.
    """
    table, key = schema.incidents, key_of(host, alert)
    mine = sa.and_(table.c.key == key, table.c.closed_at.is_(None))

    def work(connection: sa.Connection) -> tuple[int, bool]:
        # Writing first is what keeps another run from opening it beside this one.
        if connection.execute(sa.update(table).where(mine).values(updated_at=at)).rowcount == 0:
            since = min(at, detected_at or at)
            row = {
                "host": host,
                "procedure": alert,
                "severity": severity,
                "opened_at": since,
                "acted_at": acted_at,
                "run_id": run_id,
                "key": key,
                "updated_at": at,
                "data": _merged({}, facts or {}, entries),
            }
            done = connection.execute(sa.insert(table).values(row))
            return int(done.inserted_primary_key[0]), True  # type: ignore[index]
        query = sa.select(table.c.id, table.c.data, table.c.acted_at).where(mine).order_by(table.c.id)
        held = connection.execute(query).first()
        assert held is not None  # noqa: S101 - the update above found it, and nobody else can write
        values: dict[str, Any] = {"severity": severity, "data": _merged(held.data, facts or {}, entries)}
        if held.acted_at is None:
            values["acted_at"] = acted_at
        connection.execute(sa.update(table).where(table.c.id == held.id).values(values))
        return int(held.id), False

    incident_id, opened = store.write(work)
    return _existing(store, incident_id), opened


def change(
    store: History, incident_id: int, *, at: float, entries: Iterable[Mapping[str, Any]] = (), **values: Any
) -> Incident:
    """Set columns of an incident (``level``, ``next_at``, …), add to its timeline. ``LookupError``: there is none."""
    table = schema.incidents
    mine = table.c.id == incident_id

    def work(connection: sa.Connection) -> None:
        if connection.execute(sa.update(table).where(mine).values(updated_at=at, **values)).rowcount == 0:
            raise LookupError(f"there is no incident {incident_id}")
        data = connection.execute(sa.select(table.c.data).where(mine)).scalar()
        connection.execute(sa.update(table).where(mine).values(data=_merged(data, {}, entries)))

    store.write(work)
    return _existing(store, incident_id)


def close(store: History, incident_id: int, *, at: float, entries: Iterable[Mapping[str, Any]] = ()) -> Incident:
    """Recovery was proven: nobody is waited for any more. One that was closed before stays as it was."""
    table = schema.incidents
    mine = sa.and_(table.c.id == incident_id, table.c.closed_at.is_(None))
    values = {"closed_at": at, "next_at": None, "updated_at": at}

    def work(connection: sa.Connection) -> None:
        if connection.execute(sa.update(table).where(mine).values(values)).rowcount:
            data = connection.execute(sa.select(table.c.data).where(table.c.id == incident_id)).scalar()
            merged = _merged(data, {}, entries)
            connection.execute(sa.update(table).where(table.c.id == incident_id).values(data=merged))

    store.write(work)
    return _existing(store, incident_id)


def acknowledge(
    store: History, incident_id: int, by: str, *, note: str | None = None, now: float | None = None
) -> Incident:
    """Somebody takes it on: it no longer goes to the next level for want of an answer.

    Acknowledging again changes nothing but the timeline. Raises :class:`IncidentError` for an incident that there is
    not, or that is over.
    """
    at = time.time() if now is None else now
    incident = get(store, incident_id)
    if incident is None:
        raise IncidentError(msg("There is no incident {number}: list them with runbook incidents", number=incident_id))
    if incident["closed_at"] is not None:
        text = msg(
            "Incident {number} is over since {closed_at}: there is nothing to acknowledge",
            number=incident_id,
            closed_at=incident["closed_at"],
        )
        raise IncidentError(text)
    what = msg("Acknowledged by {who}", who=by)
    if note:
        what = msg("Acknowledged by {who}: {note}", who=by, note=note)
    values: dict[str, Any] = {"next_at": None}
    if incident["acknowledged_at"] is None:
        values |= {"acknowledged_at": at, "acknowledged_by": by}
    return change(store, incident_id, at=at, entries=[entry(what, at)], **values)


def _existing(store: History, incident_id: int) -> Incident:
    found = get(store, incident_id)
    if found is None:
        raise LookupError(f"there is no incident {incident_id}")
    return found


def _merged(data: Any, facts: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    held = dict(data) if isinstance(data, dict) else {}
    held |= {name: facts[name] for name in _LATEST if facts.get(name)}
    if facts.get("found_bad"):  # the first look of a procedure, which is no sample of the history
        held["found_bad"] = int(held.get("found_bad") or 0) + 1
    timeline = list(held.get("timeline") or [])
    for one in entries:
        said = timeline if one.get("once") else timeline[-1:]
        if all(other.get("what") != one["what"] for other in said):
            timeline.append({"at": one["at"], "what": one["what"]})
    if len(timeline) > MAX_TIMELINE:
        timeline = timeline[:_BEGINNING] + timeline[_BEGINNING - MAX_TIMELINE :]
    return {**held, "timeline": timeline}


def lasted_s(incident: Mapping[str, Any], now: float) -> float:
    """How long it lasted, or lasts, in seconds."""
    return max((epoch(incident.get("closed_at")) or now) - (epoch(incident.get("opened_at")) or now), 0.0)
