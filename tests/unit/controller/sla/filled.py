"""Samples for tests of the store, and what figures follow from a history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from orquestrador_ops.history.store import History
from orquestrador_ops.sla.data import series as samples
from orquestrador_ops.sla.data import store as stores
from orquestrador_ops.sla.data.periods import Period, between
from orquestrador_ops.sla.data.series import Series
from orquestrador_ops.sla.evaluate.evaluate import evaluate
from orquestrador_ops.sla.evaluate.objectives import Objectives

DAY, HOUR = 86400.0, 3600.0
MONDAY = 1_780_272_000.0  # 2026-06-01T00:00:00Z
ALL_GOOD = 1 | 2 | 4 | 8


def made(start: float, count: int, step_s: float = 60.0, *, seed: int = 1, bad: float = 0.02) -> Series:
    """Samples of a host that is bad now and then, inside and outside, with every figure."""
    random = np.random.default_rng(seed)
    found = samples.empty(count)
    found["at"] = start + step_s * np.arange(count)
    found["flags"] = np.where(random.random(count) < bad, 1 | 4 | 8, ALL_GOOD)
    found["flags"][random.random(count) < bad] = 1 | 2 | 4
    found["latency_ms"] = random.gamma(4, 20, count)
    found["memory_bytes"] = random.integers(90, 110, count) * 1_000_000.0
    found["cpu_percent"] = random.random(count) * 10
    found["disk_percent"] = np.linspace(50, 60, count)
    return found


def period(start: float, end: float, timezone: str = "UTC") -> Period:
    """From one instant to another."""
    return between(start, end, now=end + 1, timezone=timezone)


def document(store: History, host: str, start: float, end: float, now: float, timezone: str = "UTC") -> dict[str, Any]:
    """What is told of a host, without what the resolution is about."""
    facts = stores.facts(store, host, period(start, end, timezone), now, gap_s=300.0)
    found = evaluate(facts, Objectives())
    del found["resolution_s"]
    return found


def rounded(value: Any) -> Any:
    """Figures to nine digits: sums of the same numbers in another order."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, Mapping):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return value
