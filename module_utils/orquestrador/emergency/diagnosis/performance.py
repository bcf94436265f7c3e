"""The application is slow, or heavy: whether that is its own doing, the database's, or a stranger's on its host.

Restarting helps against what the application itself does. It is no remedy against queries that wait for a lock, nor
against another program that takes the processor: those are named, and a person is told.
"""

from __future__ import annotations

import re
from typing import Any, Optional

from ...core.messages import msg
from ...health.checks.view import as_dict
from .scenario import Scenario, Scene, dicts

# What a process has to take of one processor to be called heavy, while the host has none left.
HEAVY_PERCENT = 25.0
HOST_BUSY_PERCENT = 80.0
_WAITS = re.compile(r"\block\b|^waiting for", re.I)
# Scenarios that a restart of the application does not mend.
NOT_ITS_OWN = frozenset(("database_slow", "stranger"))


def suffers(scene: Scene) -> bool:
    """Whether there is a degradation that the verdict does not see."""
    return bool(_blocked(scene) or _waits(scene)) or _stranger(scene) is not None


def _blocked(scene: Scene) -> list[dict[str, Any]]:
    """Queries that wait for a lock, the oldest first; background threads of the server wait by profession."""
    found = [
        query
        for query in dicts(scene.database.get("slow"))
        if _WAITS.search(str(query.get("state") or "")) and query.get("query")
    ]
    return sorted(found, key=lambda query: -_seconds(query))


def _waits(scene: Scene) -> list[dict[str, Any]]:
    """Who waits for whom, the longest first."""
    return dicts(scene.clues.get("waits"))


def _seconds(query: dict[str, Any]) -> float:
    value = query.get("seconds")
    return float(value) if isinstance(value, (int, float)) else 0.0


def _database_slow(scene: Scene) -> Optional[Scenario]:
    blocked, waits = _blocked(scene), _waits(scene)
    if waits and waits[0].get("blocker"):
        args: dict[str, Any] = {
            "object": str(waits[0].get("object") or "?"),
            "waited_s": float(waits[0].get("waited_s") or 0),
            "blocker": str(waits[0]["blocker"]),
            "user": str(waits[0].get("blocker_user") or "?"),
        }
        reason = msg(
            "The database is slow: {count} queries wait for a lock on {object}, the longest for {waited_s};"
            " session {blocker} of {user} has it",
            count=len(waits),
            **args,
        )
        remedy = msg(
            "A restart of the application is no remedy: have {user} end the transaction, or end it: KILL {blocker}",
            **args,
        )
        return Scenario("database_slow", [reason], [remedy])
    slow = sorted(dicts(scene.database.get("slow")), key=lambda query: -_seconds(query))
    own = scene.bad("cpu.app") or scene.bad("memory.app")
    if not blocked and (own or not slow):
        return None
    if blocked:
        reason = msg(
            "The database is slow: {count} queries wait for a lock, the oldest for {oldest_s}",
            count=len(blocked),
            oldest_s=_seconds(blocked[0]),
        )
    else:
        reason = msg(
            "The database is slow: {count} queries run for long, the oldest for {oldest_s}",
            count=len(slow),
            oldest_s=_seconds(slow[0]),
        )
    return Scenario(
        "database_slow",
        [reason],
        [
            msg(
                "A restart of the application is no remedy: see in the evidence who holds the lock, and end that"
                " session or let it finish"
            )
            if blocked
            else msg("A restart of the application is no remedy: see the queries in the evidence, and their indexes")
        ],
    )


def _leak(scene: Scene) -> Optional[Scenario]:
    trend = as_dict(scene.clues.get("memory_trend"))
    if not scene.bad("memory.app") or not trend.get("growing"):
        return None
    return Scenario(
        "leak",
        [
            msg(
                "The application leaks memory: {grown_bytes} more within {span_s}",
                grown_bytes=trend["grown_bytes"],
                span_s=trend["span_s"],
            )
        ],
        [msg("A restart buys time: the developers need a heap snapshot (-e heap_snapshot=true) to find what grows")],
        "L3",
    )


def _memory(scene: Scene) -> Optional[Scenario]:
    heaviest = scene.app.get("memory_max_bytes")
    if not scene.bad("memory.app"):
        return None
    return Scenario(
        "memory",
        [msg("The application holds too much memory: {heaviest_bytes} in one process", heaviest_bytes=heaviest)],
        [msg("See whether it grows again after a restart: then it is a leak, and the developers' case")],
    )


def _busy(scene: Scene) -> Optional[Scenario]:
    if not scene.bad("cpu.app"):
        return None
    used = as_dict(scene.resources.get("cpu")).get("app_percent")
    return Scenario(
        "busy",
        [msg("The application itself keeps a processor busy: {used_percent}", used_percent=used)],
        [msg("Have the developers profile what it computes, if it does so again")],
    )


def _stranger(scene: Scene) -> Optional[Scenario]:
    """Another program takes the processor: named, never touched."""
    load = as_dict(scene.clues.get("load"))
    rows = [row for row in dicts(load.get("processes")) if _percent(row) >= HEAVY_PERCENT]
    busy = isinstance(load.get("host_percent"), (int, float)) and load["host_percent"] >= HOST_BUSY_PERCENT
    if scene.bad("cpu.app") or not rows or rows[0].get("kind") != "other" or not (busy or scene.bad("http.latency")):
        return None
    args = {
        "command": str(rows[0].get("command") or "?"),
        "pid": str(rows[0].get("pid") or "?"),
        "user": str(rows[0].get("user") or "?"),
    }
    return Scenario(
        "stranger",
        [
            msg(
                "Not the application but {command} (process {pid} of {user}) keeps the host busy: {used_percent}",
                used_percent=_percent(rows[0]),
                **args,
            )
        ],
        [msg("Ask {user} what process {pid} ({command}) is for, and end it or make it nice if it can wait", **args)],
        "L2",
    )


def _percent(row: dict[str, Any]) -> float:
    value = row.get("cpu_percent")
    return float(value) if isinstance(value, (int, float)) else 0.0


def _slow(scene: Scene) -> Optional[Scenario]:
    if not scene.bad("http.latency"):
        return None
    return Scenario(
        "slow",
        [msg("The application answers slowly, and neither its processor, its memory nor the database explains it")],
        [msg("See what it waits for: its logs, and what it asks elsewhere")],
    )


RULES = (_leak, _database_slow, _memory, _busy, _stranger, _slow)
