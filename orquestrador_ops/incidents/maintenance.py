"""Maintenance windows: when somebody works at a host, the watcher stands back and nobody is called.

A window has a reason and an end, always: one that nobody closes is over by itself.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..core.i18n import Translator, iso
from ..history import schema

if TYPE_CHECKING:
    from ..history.store import History

MAX_REASON = 500
_AHEAD = re.compile(r"\+(?=\d)(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m(?:in)?)?", re.I)
_TIMES = ("starts_at", "ends_at", "ended_at")


class WindowError(OperatorError, ValueError):
    """A window that can't be."""


def until(text: str, now: float, tr: Translator) -> float:
    """When a window ends: ``+2h``, ``+1d12h``, ``+90m``, or a time in ISO 8601, without a zone in the operator's.

    Raises :class:`WindowError`.
    """
    given = str(text).strip()
    if not given:
        raise WindowError(msg("A maintenance window needs an end: give -e until=+2h"))
    ahead = _AHEAD.fullmatch(given)
    if ahead:
        days, hours, minutes = (int(part or 0) for part in ahead.groups())
        return now + timedelta(days=days, hours=hours, minutes=minutes).total_seconds()
    try:
        moment = datetime.fromisoformat(given)
        return (moment if moment.tzinfo else moment.replace(tzinfo=tr.zone)).timestamp()
    except (ValueError, OverflowError, OSError):
        why = msg(
            '"{value}" is no end of a maintenance window: give +2h, +90m or a time such as "2026-01-31 18:00"',
            value=given[:100],
        )
        raise WindowError(why) from None


def begin(
    store: History,
    *,
    host: str,
    reason: str,
    ends_at: float,
    operator: str,
    max_h: float,
    now: float | None = None,
    run_id: str | None = None,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Open a window; in check mode say only whether it could be. Others that are open stay.

    Raises :class:`WindowError` without a reason, with an end that is past or too far away.
    """
    at = time.time() if now is None else now
    said = " ".join(str(reason).split())[:MAX_REASON]
    if not said:
        raise WindowError(msg("A maintenance window needs a reason: give -e reason='why'"))
    if ends_at <= at:
        raise WindowError(msg("The end of the maintenance window, {ends_at}, is past", ends_at=iso(ends_at)))
    if ends_at - at > max_h * 3600 + 1:
        text = msg(
            "A maintenance window until {ends_at} is longer than {limit_s}: give an earlier end",
            ends_at=iso(ends_at),
            limit_s=max_h * 3600,
        )
        raise WindowError(text)
    row = {
        "host": host,
        "starts_at": at,
        "ends_at": ends_at,
        "ended_at": None,
        "operator": operator,
        "reason": said,
        "run_id": run_id,
    }
    if check_mode:
        return _shown({"id": None, **row})
    table = schema.maintenance_windows

    def work(connection: sa.Connection) -> int:
        return int(connection.execute(sa.insert(table).values(row)).inserted_primary_key[0])  # type: ignore[index]

    return _shown({"id": store.write(work), **row})


def end(store: History, host: str, now: float | None = None, *, check_mode: bool = False) -> list[dict[str, Any]]:
    """Close every window of a host that is open, and give them back."""
    at = time.time() if now is None else now
    found = open_windows(store, host, at)
    if found and not check_mode:
        table = schema.maintenance_windows
        mine = sa.and_(table.c.id.in_([one["id"] for one in found]), table.c.ended_at.is_(None))
        store.write(lambda connection: connection.execute(sa.update(table).where(mine).values(ended_at=at)))
    return found


def open_windows(store: History, host: str | None, now: float) -> list[dict[str, Any]]:
    """Windows that are open, of one host or of all, those that last longest first."""
    table = schema.maintenance_windows
    query = (
        sa.select(table)
        .where(table.c.ends_at > now, table.c.ended_at.is_(None))
        .order_by(table.c.ends_at.desc(), table.c.id)
    )
    if host is not None:
        query = query.where(table.c.host == host)
    return [_shown(dict(row)) for row in store.read(lambda connection: connection.execute(query).mappings().all())]


def active(store: History, host: str, now: float) -> dict[str, Any] | None:
    """The open window of a host that lasts longest: ``{id, host, starts_at, ends_at, operator, reason, run_id}``."""
    found = open_windows(store, host, now)
    return found[0] if found else None


def described(window: dict[str, Any]) -> Message:
    """A window in one line."""
    return msg(
        "Maintenance from {starts_at} to {ends_at}, {operator}: {reason}",
        starts_at=window["starts_at"],
        ends_at=window["ends_at"],
        operator=window["operator"],
        reason=window["reason"],
    )


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **{name: iso(row[name]) for name in _TIMES}}
