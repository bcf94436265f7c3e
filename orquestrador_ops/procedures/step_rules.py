"""Steps that are judged from what the probe saw and from what else is known, where no action reported about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orquestrador.core.jsonable import number
from orquestrador.core.messages import msg
from orquestrador.core.types import FAILED, OK, UNKNOWN, WARN, Message

from ..core.coerce import dig
from ..core.i18n import parse_time

DAY_S = 86400
# A restart is recorded when its run ends: the processes started before that, or, as two clocks have it, hardly after.
PLANNED_BEFORE_S, PLANNED_AFTER_S = 3600, 120

Snapshot = Mapping[str, Any] | None
Facts = Mapping[str, Any]
# Status, note and evidence of a step.
Judged = tuple[str, Message, dict[str, Any]]


def files(snapshot: Snapshot, facts: Facts) -> Judged:
    """Judge the backup of critical files from what the probe saw, where no action reported about it."""
    files = (snapshot or {}).get("files")
    if not isinstance(files, Mapping):
        return UNKNOWN, msg("The critical files were not inspected."), {}
    if files.get("missing"):
        names = ", ".join(map(str, files["missing"]))
        return FAILED, msg("Required files are missing: {files}", files=names), {}
    if files.get("current"):
        return OK, msg("Every critical file has an identical copy."), {}
    return FAILED, msg("A critical file has no current copy."), {}


def uptime(snapshot: Snapshot, facts: Facts) -> Judged:
    """Judge how long the youngest process has been up.

    A restart of ours makes that shorter and is no fault: both the time and the reason are told. ``facts``:
    ``health_uptime_min_days`` and ``planned_restart_at``, the last restart that was ours, in ISO 8601.
    """
    up_s = number(dig(snapshot, "pm2", "app", "uptime_s"))
    taken_at = parse_time((snapshot or {}).get("taken_at"))
    days = number(facts.get("health_uptime_min_days"))
    if days is None:
        return UNKNOWN, msg("health_uptime_min_days is no number of days: correct the inventory"), {}
    if up_s is None:
        return UNKNOWN, msg("PM2 does not say since when the application runs."), {}
    evidence: dict[str, Any] = {"uptime_s": round(up_s), "expected_s": round(days * DAY_S)}
    if up_s > days * DAY_S:
        return OK, msg("Up for {up_s}", up_s=up_s), evidence
    planned_at = parse_time(facts.get("planned_restart_at"))
    if planned_at is not None and taken_at is not None:
        started = taken_at.timestamp() - up_s
        evidence["planned_restart_at"] = planned_at.isoformat()
        if -PLANNED_BEFORE_S <= started - planned_at.timestamp() <= PLANNED_AFTER_S:
            text = msg("Up for {up_s}, since a planned restart", up_s=up_s)
            return OK, text, evidence
    text = msg(
        "Up for {up_s}, expected more than {limit_s}; no planned restart explains it", up_s=up_s, limit_s=days * DAY_S
    )
    return WARN, text, evidence
