"""Clues about load, seen only when there is reason to look: who is heavy, and how memory went since the last start."""

from __future__ import annotations

import datetime
import time
from typing import Any, Optional

from ...mysql import sessions
from ...system import process_table
from .. import trend

WINDOW_S = 0.5
ASK_S = 2.0


def clues(params: dict[str, Any], snapshot: dict[str, Any], verdict: dict[str, Any]) -> dict[str, Any]:
    """``{load, memory_trend, waits}``; what there is no reason to look at is left out. Has to run as root.

    ``load`` is :func:`.process_table.look`'s, when host or application are busy and nothing is gone;
    ``memory_trend`` is :func:`.trend.growth` over the history's samples since the application was last started;
    ``waits`` is :func:`.sessions.lock_waits`, when queries run for long.
    """
    found: dict[str, Any] = {}
    host = ((snapshot.get("resources") or {}).get("cpu") or {}).get("percent")
    limit = float((params.get("expectations") or {}).get("cpu_percent") or 80)
    # Nobody who waits for an application that is gone waits half a second longer for who else is busy.
    busy = isinstance(host, (int, float)) and host >= limit and verdict.get("procedure") not in ("offline", "database")
    if busy or verdict.get("procedure") == "performance":
        found["load"] = heavy(snapshot)
    if (snapshot.get("database") or {}).get("slow"):
        try:
            with sessions.connect_as_root(params.get("mysql_socket"), ASK_S) as root:
                found["waits"] = sessions.lock_waits(root)
        except Exception:  # noqa: BLE001, S110 - PyMySQL raises anything; the diagnosis does without
            pass
    past = params.get("memory_samples")
    if past:
        found["memory_trend"] = trend.growth(points(past, snapshot))
    return found


def heavy(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Who is heavy over half a second, the application's own processes told apart (:func:`.process_table.look`)."""
    app = (snapshot.get("pm2") or {}).get("app") or {}
    return process_table.look(WINDOW_S, app.get("pids") or [])


def points(past: list[dict[str, Any]], snapshot: dict[str, Any]) -> list[trend.Point]:
    """Memory over time, now included, since the application was last started: before, it was another process's."""
    app = (snapshot.get("pm2") or {}).get("app") or {}
    since = last_start(snapshot)
    found = [
        (float(sample["at"]), float(sample["memory_bytes"]))
        for sample in past
        if sample.get("memory_bytes") and float(sample.get("at") or 0) >= since
    ]
    now = app.get("memory_bytes")
    if isinstance(now, (int, float)) and now > 0:
        found.append((_epoch(snapshot.get("taken_at")) or time.time(), float(now)))
    return sorted(found)


def last_start(snapshot: dict[str, Any]) -> float:
    """When one of the application's processes was last started, in seconds since the epoch; 0 when that is unknown."""
    pm2 = snapshot.get("pm2") or {}
    name = (pm2.get("app") or {}).get("name")
    starts = (_epoch(p.get("started_at")) for p in pm2.get("processes") or [] if p.get("name") == name)
    return max((at for at in starts if at is not None), default=0.0)


def _epoch(text: Any) -> Optional[float]:
    try:
        return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
