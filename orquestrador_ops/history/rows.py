"""Rows of the history store: what probes and memories are kept as, and nothing that JSON or a database refuses.

Knows no database, whose library is dear to load.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ..core.coerce import dig, items, jsonable, mapping, mappings, number, text
from ..core.i18n import epoch


def as_json(value: Any) -> str:
    """``value`` as JSON; what nearly always is storable as it stands is not copied first."""
    try:
        written = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return json.dumps(jsonable(value), allow_nan=False)
    # Escaped half surrogates are the one thing that JSON lets pass and databases do not.
    return written if "\\ud" not in written else json.dumps(jsonable(value), allow_nan=False)


def moved_on(memory: object, counts: Mapping[str, int]) -> dict[str, Any]:
    """A memory whose counters of restarts, by worker and in total, are moved on by ``counts``.

    A worker that it does not know is new, or is another by now: that says nothing about its counter. A memory without
    counters gets them: from it every restart that PM2 counts is new but those.
    """
    held = dict(memory) if isinstance(memory, dict) else {}
    restarts = held.get("restarts")
    if not isinstance(restarts, dict) or not isinstance(restarts.get("count"), int):
        return {**held, "restarts": {"count": sum(counts.values()), "by_id": dict(counts)}}
    by_id = mapping(restarts.get("by_id"))
    known = {worker: count for worker, count in counts.items() if worker in by_id} if by_id else dict(counts)
    return {
        **held,
        "restarts": {
            **restarts,
            "count": restarts["count"] + sum(known.values()),
            "by_id": {worker: before + known.get(worker, 0) for worker, before in by_id.items()},
        },
    }


def name_of_run(record: object) -> dict[str, Any] | None:
    """What a run keeps of the one before it: whole, each would hold all that ever were."""
    if not isinstance(record, Mapping):
        return None
    return {name: record.get(name) for name in ("run_id", "started_at", "outcome")}


def memory_row(host: str, procedure: str, memory: Mapping[str, Any]) -> dict[str, Any]:
    taken_at = epoch(memory.get("taken_at"))
    return {
        "host": text(host),
        "procedure": text(procedure),
        "taken_at": time.time() if taken_at is None else taken_at,
        "data": dict(memory),
    }


def sample_row(
    host: str,
    snapshot: Mapping[str, Any] | None,
    verdict: Mapping[str, Any] | None,
    source: str,
    run_id: str | None,
) -> dict[str, Any]:
    """One probe in a row. ``ok`` is what an SLO counts: HTTP 200, ``status: ok``, ``database: connected``."""
    taken_at = epoch(dig(snapshot, "taken_at"))
    checks = {str(check.get("id")): str(check.get("status")) for check in mappings(dig(verdict, "checks"))}
    good = [checks.get(name) == "ok" for name in ("http.status", "app.status", "app.database")]
    return {
        "host": text(host),
        "at": time.time() if taken_at is None else taken_at,
        "source": text(source),
        "run_id": run_id,
        "ok": all(good),
        "latency_ms": number(dig(snapshot, "http", "latency_median_ms")),
        "overall": str(dig(verdict, "overall") or "unknown"),
        "status": number(dig(snapshot, "http", "status")),
        "memory_bytes": number(dig(snapshot, "pm2", "app", "memory_bytes")),
        "cpu_percent": number(dig(snapshot, "pm2", "app", "cpu_percent")),
        "restarts": number(dig(snapshot, "pm2", "app", "restarts")),
        "data": {
            "checks": {name: status for name, status in checks.items() if status != "ok"},
            "procedure": dig(verdict, "procedure"),
            "errors_day": number(dig(snapshot, "logs", "errors_day")),
            "disk_percent": _fullest(dig(snapshot, "resources", "disk")),
        },
    }


def _fullest(disks: Any) -> float | None:
    """How full the fullest of a snapshot's file systems is, in percent."""
    known = [number(dig(one, "used_percent")) for one in items(disks)]
    return max((one for one in known if one is not None), default=None)
