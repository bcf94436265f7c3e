"""How a snapshot compares with what the playbook expects: skeleton of the public interface."""

from __future__ import annotations

from typing import Any, Optional

from .types import Memory, Snapshot, Verdict

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


def evaluate(snapshot: Snapshot, expectations: dict[str, Any], memory: Optional[Memory]) -> Verdict:
    """All checks of ``CHECK_IDS``, in order, and what follows from them."""
    raise NotImplementedError


def remember(snapshot: Snapshot, log_memory: dict[str, Any]) -> Memory:
    """What the next run of the same procedure needs."""
    raise NotImplementedError
