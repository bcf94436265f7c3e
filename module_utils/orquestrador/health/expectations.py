"""What a healthy application looks like, in figures."""

from __future__ import annotations

import math
from typing import Any, Optional

# Units are in the names; ``_mb`` are mebibytes, as PM2 prints them. Sources: the playbook's critical points (memory),
# its high alert (CPU, 2 s), its SLAs (200 ms), its success metrics (errors a day). The host's own limits are ours.
DEFAULTS: dict[str, Any] = {
    "memory_normal_mb": 400,
    "memory_attention_mb": 500,
    "cpu_percent": 80,
    "latency_sla_ms": 200,
    "latency_alert_ms": 2000,
    "log_errors_recent": 0,
    "log_errors_day": 10,
    "restarts_unplanned": 0,
    "planned_restarts": 0,
    "host_memory_warn_percent": 85,
    "host_memory_critical_percent": 95,
    "disk_warn_percent": 80,
    "disk_critical_percent": 90,
    "connections_warn_percent": 80,
    "connections_critical_percent": 95,
    "database_expected": "connected",
    "status_expected": "ok",
}


def limits_of(expectations: Any) -> dict[str, Any]:
    """:data:`DEFAULTS` overridden by ``expectations``; unknown keys are ignored.

    A number may come as text, as ``-e name=1`` on a command line gives it.

    :raises TypeError: one line naming the key, when a value has the wrong type.
    """
    if expectations is None:
        expectations = {}
    if not isinstance(expectations, dict):
        raise TypeError(f"expectations must be a dictionary, not {type(expectations).__name__}: correct the inventory")
    limits = dict(DEFAULTS)
    for key, default in DEFAULTS.items():
        value = expectations.get(key)
        if value is None:
            continue
        limits[key] = _text(key, value) if isinstance(default, str) else _figure(key, value)
    return limits


def _text(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(_wrong(key, value, "a string"))


def _figure(key: str, value: Any) -> float:
    found = number(value)
    if found is None and isinstance(value, str):
        try:
            found = number(float(value))
        except ValueError:
            found = None
    if found is None:
        raise TypeError(_wrong(key, value, "a number"))
    return found


def _wrong(key: str, value: Any, wanted: str) -> str:
    shown = repr(value)[:40].replace("\n", " ")
    return f"expectations.{key} must be {wanted}, not {shown} ({type(value).__name__}): correct the inventory"


def number(value: Any) -> Optional[float]:
    """``value`` when it is a finite number; ``None`` for everything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:
        return None
