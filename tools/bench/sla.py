"""Service levels of a year at one probe every ten seconds: 3.15 million samples with known figures.

From the history, as ``runbook sla`` reads it: the last month from raw samples in a fresh process (its memory counts
from before it loads any library), the whole year from raw samples, and again when all of it is rolled up. Then what one
cycle of the watch over a hundred hosts costs to write into the same history. The last two days are rows, as the watch
writes them; all before is packed.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orquestrador_ops.history import schema
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History
from orquestrador_ops.sla.data import store as stores
from orquestrador_ops.sla.evaluate.evaluate import evaluate
from orquestrador_ops.sla.evaluate.objectives import Objectives
from orquestrador_ops.watch import store as watch_store
from tests.unit.controller.sla import known
from tools.bench.common import CannotMeasureError, captured, say, table

HOST, HOSTS, DAY = "web-01", 100, 86400.0
MONTH = "2025-12"
# A process of its own: what it takes counts from its first line on.
_FRESH = """
import json, sys, time
from pathlib import Path
def peak():  # not getrusage: that remembers the process which this one was forked from
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
begun, before = time.perf_counter(), peak()
from orquestrador_ops.history.access import open_history
from orquestrador_ops.sla.data import periods, store
from orquestrador_ops.sla.evaluate.evaluate import evaluate
from orquestrador_ops.sla.evaluate.objectives import Objectives
loaded = time.perf_counter()
state, name, now, zone = sys.argv[1:]
with open_history(Path(state)) as history:
    period = periods.parse(name, now=float(now), timezone=zone)
    document = evaluate(store.facts(history, "web-01", period, float(now), gap_s=300.0), Objectives())
ended, after = time.perf_counter(), peak()
print(json.dumps([ended - loaded, ended - begun, (after - before) / 1024, document["seconds"]]))
"""


def bench_sla(work: Path, runs: int) -> dict[str, float]:
    """Measure; wrong figures end the benchmark."""
    state, year = work / "sla-state", known.year()
    started = time.perf_counter()
    with open_history(state) as store:
        fill(store, year)
    say(f"  {len(year.series)} samples written in {time.perf_counter() - started:.1f} s")
    fresh = [evaluate_month(state, year.now) for _ in range(runs)]
    raw = [evaluate_year(state, year) for _ in range(runs)]
    cycles = write_cycles(state, 5 * runs)
    with open_history(state) as store:
        started = time.perf_counter()
        stores.roll_up(store, year.period.end + 120 * DAY)
        say(f"  rolled up in {time.perf_counter() - started:.1f} s")
    rolled = [evaluate_year(state, year) for _ in range(runs)]
    figures = {
        "sla_month_s": statistics.median(item[0] for item in fresh),
        "sla_month_process_s": statistics.median(item[1] for item in fresh),
        "sla_month_mb": max(item[2] for item in fresh),
        "sla_year_raw_s": statistics.median(raw),
        "sla_year_rollup_s": statistics.median(rolled),
        "samples_100_ms": statistics.median(cycles),
        "sla_year_arithmetic_s": statistics.median(evaluate_facts(year) for _ in range(runs)),
    }
    say()
    table(
        [
            ("service levels", "figure"),
            ("a month from raw samples, seconds (at most 1)", f"{figures['sla_month_s']:.3f}"),
            ("the same with Python and its libraries", f"{figures['sla_month_process_s']:.3f}"),
            ("the same, peak memory in MB (at most 150)", f"{figures['sla_month_mb']:.0f}"),
            ("a year from raw samples, seconds (at most 2)", f"{figures['sla_year_raw_s']:.3f}"),
            ("of which without any store", f"{figures['sla_year_arithmetic_s']:.3f}"),
            ("a year that is rolled up, seconds (at most 0.2)", f"{figures['sla_year_rollup_s']:.3f}"),
            ("samples of 100 hosts of one cycle written, ms (at most 100)", f"{figures['samples_100_ms']:.1f}"),
        ]
    )
    return figures


def fill(store: History, year: known.Known) -> None:
    """Write the year into the history: its last two days as rows, older ones packed."""
    recent = year.series["at"] >= year.period.end - 2 * DAY
    stores.write_series(store, HOST, year.series[~recent], "bench")
    rows = [
        {
            "host": HOST,
            "at": float(sample["at"]),
            "source": "watch",
            "ok": bool(sample["flags"] & 2),
            "latency_ms": float(sample["latency_ms"]) if sample["flags"] & 2 else None,
            "overall": "healthy" if sample["flags"] & 2 else "critical",
            "memory_bytes": int(sample["memory_bytes"]),
            "cpu_percent": float(sample["cpu_percent"]),
            "data": {
                "checks": {} if sample["flags"] & 2 else {"http.status": "critical"},
                "disk_percent": float(sample["disk_percent"]),
                "public": {"ok": bool(sample["flags"] & 8), "latency_ms": 9.5, "status": 200, "error": None},
                "procedure": "none",
                "errors_day": 0,
                "trouble": None,
            },
        }
        for sample in year.series[recent]
    ]

    def write(connection: sa.Connection) -> None:
        connection.execute(sa.insert(schema.samples), rows)
        connection.execute(sa.insert(schema.maintenance_windows), [{"host": HOST, **window} for window in year.windows])

    store.write(write)


def evaluate_month(state: Path, now: float) -> tuple[float, float, float]:
    """Return seconds of the work, seconds of the whole process, and its megabytes."""
    argv = [sys.executable, "-c", _FRESH, str(state), MONTH, str(now), known.ZONE]
    seconds, process_s, megabytes, states = json.loads(captured(argv, what="the month in a process of its own"))
    if (states["down"], states["planned_down"], states["unknown"]) != (720, 600, 0):
        raise CannotMeasureError(f"December has an outage of 720 s and maintenance of 600 s, evaluated were {states}")
    return seconds, process_s, megabytes


def evaluate_year(state: Path, year: known.Known) -> float:
    """Return seconds of the year from opening the history to its document."""
    started = time.perf_counter()
    with open_history(state) as store:
        facts = stores.facts(store, HOST, year.period, year.now, gap_s=known.GAP_S)
        document = evaluate(facts, Objectives())
    seconds = time.perf_counter() - started
    check(document, year)
    return seconds


def write_cycles(state: Path, count: int) -> list[float]:
    """Return milliseconds for writing each of some cycles over a hundred hosts."""
    checks = [{"id": name, "status": "ok"} for name in ("http.status", "app.status", "app.database")]
    took = []
    with open_history(state) as store:
        for number in range(count + 1):
            snapshot = {
                "taken_at": datetime.fromtimestamp(time.time() + number, UTC).isoformat(),
                "http": {"status": 200, "latency_median_ms": 12.5 + number},
                "pm2": {"app": {"memory_bytes": 90_000_000 + number, "cpu_percent": 1.5, "restarts": 3}},
                "logs": {"errors_day": number},
                "resources": {"disk": [{"used_percent": 41.5}]},
            }
            verdict: dict[str, Any] = {"overall": "healthy", "procedure": "none", "checks": checks}
            more = {"trouble": None, "public": {"ok": True, "status": 200, "latency_ms": 20.0, "error": None}}
            probes = [(f"host-{name:03}", snapshot, verdict, more) for name in range(HOSTS)]
            memories = {f"host-{name:03}": {"taken_at": snapshot["taken_at"], "logs": {}} for name in range(HOSTS)}
            started = time.perf_counter()
            watch_store.record(store, probes, memories)
            took.append((time.perf_counter() - started) * 1000)
    return took[1:]


def evaluate_facts(year: known.Known) -> float:
    """Return seconds of the year without any store."""
    started = time.perf_counter()
    document = evaluate(known.facts(year), Objectives())
    seconds = time.perf_counter() - started
    check(document, year)
    return seconds


def check(document: dict[str, object], year: known.Known) -> None:
    """Raise ``CannotMeasureError`` for wrong figures."""
    states = document["seconds"]
    expected = {name: year.expected[name] for name in ("down", "planned_down", "unknown")}
    if not isinstance(states, dict) or any(states[name] != value for name, value in expected.items()):
        raise CannotMeasureError(f"the known year has {expected}, evaluated were {states}")
