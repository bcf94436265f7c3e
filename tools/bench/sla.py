"""Service levels of a year at one probe every ten seconds: how long the figures take, without any store."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from orquestrador_ops.sla.evaluate import evaluate
from orquestrador_ops.sla.objectives import Objectives
from tests.unit.ops.sla import known
from tools.bench.common import say, table


def bench_sla(_work: Path, runs: int) -> dict[str, float]:
    """Timelines, cells and the document of a year whose figures are known; they have to be exactly those."""
    year = known.year()
    seconds = []
    for _ in range(runs):
        begun = time.perf_counter()
        document = evaluate(known.facts(year), Objectives())
        seconds.append(time.perf_counter() - begun)
    check(document, year)
    figures = {"sla_year_arithmetic_s": statistics.median(seconds)}
    say()
    table([("service levels", "figure"), *((name, f"{value:.3f}") for name, value in figures.items())])
    return figures


def check(document: dict[str, object], year: known.Known) -> None:
    """A benchmark of wrong figures measures nothing."""
    found = document["seconds"]
    wanted = {name: year.expected[name] for name in ("down", "planned_down", "unknown")}
    if not isinstance(found, dict) or any(found[name] != value for name, value in wanted.items()):
        raise SystemExit(f"the known year has {wanted}, evaluated were {found}")
