"""Histories with known outages, and the figures that follow from them by counting on one's fingers.

Whatever is generated here lies on the grid of its samples, so that the expected figures are sums of the lists below:
nothing of ``orquestrador_ops.sla`` but the layout of a series takes part in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from orquestrador_ops.sla.data import periods
from orquestrador_ops.sla.data import series as samples
from orquestrador_ops.sla.data.cells import cells
from orquestrador_ops.sla.data.periods import Period
from orquestrador_ops.sla.data.series import INSIDE_GOOD, INSIDE_SEEN, OUTSIDE_GOOD, OUTSIDE_SEEN, Series
from orquestrador_ops.sla.data.timeline import timeline
from orquestrador_ops.sla.evaluate.evaluate import Facts, edges, evaluate, planned
from orquestrador_ops.sla.evaluate.objectives import Objectives

ZONE = "America/Sao_Paulo"
HOST = "web-01"
GAP_S = 300.0

Stretch = tuple[str, float]  # begins (local time), lasts (seconds)


def at(text: str, zone: str = ZONE) -> float:
    """Local time as epoch seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@dataclass(frozen=True)
class Plan:
    """What happens in a period. Stretches begin and end on the grid, and do not overlap; a gap follows good samples."""

    outages: Sequence[Stretch] = ()  # unplanned, inside and outside
    planned_outages: Sequence[Stretch] = ()  # within a window, or around a planned restart
    network: Sequence[Stretch] = ()  # outside only
    gaps: Sequence[Stretch] = ()  # no samples at all
    windows: Sequence[Stretch] = ()
    restarts: Sequence[str] = ()
    runs: Sequence[dict[str, Any]] = ()
    incidents: Sequence[dict[str, Any]] = ()
    slow: float = 0.02  # share of answers that are slow


@dataclass(frozen=True)
class Known:
    """A history: its samples, what else a store knows, and what every figure of it must be."""

    series: Series
    period: Period
    now: float
    step_s: float
    plan: Plan
    log_counts: list[dict[str, Any]] = field(default_factory=list)
    log_errors: dict[str, int] = field(default_factory=dict)
    expected: dict[str, float] = field(default_factory=dict)

    @property
    def windows(self) -> list[dict[str, Any]]:
        """As rows of the table."""
        return [
            {
                "starts_at": at(begin),
                "ends_at": at(begin) + length,
                "ended_at": None,
                "reason": "Update of the database",
            }
            for begin, length in self.plan.windows
        ]

    @property
    def restarts(self) -> list[float]:
        """When planned restarts were recorded."""
        return [at(begin) for begin in self.plan.restarts]

    @property
    def outages(self) -> list[tuple[float, float]]:
        """All outages seen on the host, from first bad to first good sample."""
        return sorted(
            (at(begin), at(begin) + length) for begin, length in (*self.plan.outages, *self.plan.planned_outages)
        )


def facts(known: Known, objectives: Objectives | None = None) -> Facts:
    """What a store would say of it, straight from the samples."""
    wanted = objectives or Objectives()
    until = min(known.period.end, known.now)
    plan = planned(known.windows, known.restarts, wanted.restart_allowance_s)
    lines = {
        kind: timeline(known.series, kind, known.period.start, until, wanted.gap_s)  # type: ignore[arg-type]
        for kind in ("uptime", "availability")
    }
    return Facts(
        host=HOST,
        period=known.period,
        now=known.now,
        timelines=lines,
        cells=cells(known.series, edges(known.period, until, plan)),
        windows=known.windows,
        restarts=known.restarts,
        incidents=known.plan.incidents,
        log_counts=known.log_counts,
        log_errors=known.log_errors,
        runs=known.plan.runs,
    )


def document(known: Known | None = None) -> dict[str, Any]:
    """The document of a realistic month."""
    return evaluate(facts(known or month()), Objectives())


def built(period: Period, now: float, step_s: float, plan: Plan, *, logs: bool = True, seed: int = 1) -> Known:
    """Samples every ``step_s`` from the period's start until its end or now, with what the plan says."""
    until = min(period.end, now)
    count = int((until - period.start) // step_s)
    made = samples.empty(count)
    made["at"] = period.start + step_s * np.arange(count)
    flags = np.full(count, INSIDE_SEEN | INSIDE_GOOD | OUTSIDE_SEEN | OUTSIDE_GOOD, np.uint8)
    random = np.random.default_rng(seed)
    slow = random.random(count) < plan.slow
    latency = np.where(slow, random.uniform(220, 900, count), random.uniform(20, 180, count)).astype(np.float32)
    made["memory_bytes"] = 150e6 + 40e6 * np.linspace(0, 1, count)
    made["cpu_percent"] = random.uniform(1, 9, count)
    made["disk_percent"] = np.linspace(55, 71, count)

    def index(moment: float) -> int:
        return round((moment - period.start) / step_s)

    def mark(stretches: Sequence[Stretch], lost: int) -> int:
        marked = 0
        for begin, length in stretches:
            first, last = index(at(begin)), index(at(begin) + length)
            flags[first:last] &= np.uint8(255 - lost)
            marked += last - first
        return marked

    bad = mark((*plan.outages, *plan.planned_outages), INSIDE_GOOD | OUTSIDE_GOOD)
    outside_bad = bad + mark(plan.network, OUTSIDE_GOOD)
    latency[flags & INSIDE_GOOD == 0] = np.nan
    made["latency_ms"], made["flags"] = latency, flags
    kept = np.ones(count, bool)
    for begin, length in plan.gaps:
        kept[index(at(begin)) : index(at(begin) + length)] = False
    made = made[kept]
    latencies = made["latency_ms"][np.isfinite(made["latency_ms"])]
    expected = {
        "seconds": until - period.start,
        "down": sum(length for _, length in plan.outages),
        "planned_down": sum(length for _, length in plan.planned_outages),
        "network_down": sum(length for _, length in plan.network),
        "unknown": sum(max(length + step_s - GAP_S, 0) for _, length in plan.gaps),
        "total": len(made),
        "bad": bad,
        "outside_bad": outside_bad,
        "latencies": len(latencies),
        "fast": sum(1 for value in latencies.tolist() if value < 200),
    }
    counted, errors = _logs(period, until, now) if logs else ([], {})
    return Known(made, period, now, step_s, plan, counted, errors, expected)


def _logs(period: Period, until: float, now: float) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Requests per hour with a daily rhythm, an error now and then; errors per day as the probes last told them."""
    counted = []
    for number, start in enumerate(np.arange(period.start, until, 3600).tolist()):
        hour = number % 24
        requests = 400 + 150 * min(hour, 24 - hour)
        counted.append({"start_at": start, "seconds": 3600, "requests": requests, "errors": int(number % 7 == 0)})
    days = period.days()
    dates = [date for date, begin in zip(period.dates(), days[:-1].tolist(), strict=True) if begin < until]
    return counted, {date: (number * 5) % 9 for number, date in enumerate(dates)}


def run(procedure: str, begin: str, length_s: float, outcome: str = "met", **steps: str) -> dict[str, Any]:
    """A row of the runs, with steps by their ids."""
    started = at(begin)
    return {
        "run_id": f"{procedure}-{begin}",
        "procedure": procedure,
        "host": HOST,
        "outcome": outcome,
        "check_mode": False,
        "started_at": datetime.fromtimestamp(started, ZoneInfo("UTC")).isoformat(),
        "ended_at": datetime.fromtimestamp(started + length_s, ZoneInfo("UTC")).isoformat(),
        "steps": [
            {"id": name, "title": {"text": name, "args": {}}, "status": status} for name, status in steps.items()
        ],
    }


def month(step_s: float = 60.0) -> Known:
    """October 2026: two outages, one of them long, maintenance, a planned restart, a lost network, a gap."""
    now = at("2026-11-22T12:00")
    monday = ("2026-10-05", "2026-10-12", "2026-10-19", "2026-10-26")
    weekly = [
        run("weekly", f"{day}T10:00", 74.0, logs_archive="changed", app_tests="ok", npm_outdated="ok") for day in monday
    ]
    backups = [
        run("backup", f"{day}T02:00", 184.0, database_backup="changed", database_verify="ok")
        for day in ("2026-10-01", "2026-10-06", "2026-10-13", "2026-10-20", "2026-10-27")
    ]
    monthly = run(
        "monthly",
        "2026-10-09T14:00",
        611.0,
        database_backup="changed",
        database_verify="ok",
        code_backup="changed",
        database_optimize="changed",
        npm_audit="ok",
        app_build="changed",
        pm2_reload="changed",
        app_tests="ok",
    )
    incident = {
        "id": 7,
        "procedure": "database",
        "opened_at": at("2026-10-13T14:31"),
        "acted_at": at("2026-10-13T14:31:30"),
        "acknowledged_at": at("2026-10-13T14:36"),
        "closed_at": at("2026-10-13T14:52:05"),
    }
    plan = Plan(
        outages=[("2026-10-05T03:12", 120), ("2026-10-13T14:30", 1320)],
        planned_outages=[("2026-10-20T02:10", 1800), ("2026-10-24T04:00", 60)],
        network=[("2026-10-17T19:00", 540)],
        gaps=[("2026-10-27T08:00", 7200)],
        windows=[("2026-10-20T02:00", 3600)],
        restarts=["2026-10-24T04:00:20"],
        runs=[*weekly, *backups, monthly],
        incidents=[incident],
    )
    return built(periods.parse("2026-10", now=now, timezone=ZONE), now, step_s, plan)


def year(step_s: float = 10.0, zone: str = ZONE) -> Known:
    """2025 as a whole: an outage a month that grows, maintenance each quarter, a gap in July."""
    now = at("2026-01-15T12:00")
    plan = Plan(
        outages=[(f"2025-{number:02d}-11T03:00", 60.0 * number) for number in range(1, 13)],
        planned_outages=[(f"2025-{number:02d}-20T02:10", 600) for number in (3, 6, 9, 12)],
        network=[("2025-05-05T19:00", 540)],
        gaps=[("2025-07-07T08:00", 7200)],
        windows=[(f"2025-{number:02d}-20T02:00", 3600) for number in (3, 6, 9, 12)],
    )
    return built(periods.parse("2025", now=now, timezone=zone), now, step_s, plan, logs=False)
