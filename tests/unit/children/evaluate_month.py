"""Evaluate June 2026 and print by how much the peak of memory rose, in KiB."""

from __future__ import annotations

import sys
from pathlib import Path


def peak() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


before = peak()

from orquestrador_ops.history.access import open_history  # noqa: E402 - what is imported counts
from orquestrador_ops.sla.data import periods, store  # noqa: E402
from orquestrador_ops.sla.evaluate import evaluate  # noqa: E402
from orquestrador_ops.sla.evaluate.objectives import Objectives  # noqa: E402

now = float(sys.argv[2])
period = periods.parse("2026-06", now=now, timezone="UTC")
with open_history(Path(sys.argv[1])) as kept:
    evaluate.evaluate(store.facts(kept, "web", period, now, gap_s=300.0), Objectives())
print(peak() - before)
