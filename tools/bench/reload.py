"""Reload under load: effects on independent clients, in cluster mode and, for comparison, in fork mode."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tools.bench.common import ROOT, environment, say, table, timed
from tools.bench.lab import URL, Lab

LOAD = ROOT / "molecule" / "shared" / "tests" / "load.py"
NEEDED = 5000
CLIENTS = 8
MAX_ROUNDS = 8


def measure_reload(lab: Lab, work: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reload once by the playbook under load; return the clients' counts and the step's evidence."""
    log = "~/bench-load.json"
    lab.run("cat > ~/bench-load.py", LOAD.read_bytes())
    run = f"nohup python3 ~/bench-load.py {URL} {CLIENTS} > {log} 2>&1 < /dev/null"
    lab.run(f"{run} & echo $! > {log}.pid")
    state = work / "state"
    try:
        timed(
            ["ansible-playbook", "playbooks/operation/reload.yml"],
            environment(work, OPS_STATE_DIR=str(state)),
            work / "reload.log",
            accept=(0, 2),
        )
    finally:
        lab.run(f"kill $(cat {log}.pid); while ps -p $(cat {log}.pid) >/dev/null; do sleep 0.1; done")
    counted: dict[str, Any] = json.loads(lab.run(f"cat {log}; rm ~/bench-load.*"))
    report = max(state.glob("reports/*/reload-*.json"), key=os.path.getmtime)
    steps = json.loads(report.read_text(encoding="utf-8"))["record"]["steps"]
    evidence: dict[str, Any] = next(step["evidence"] for step in steps if step["id"] == "pm2_reload")
    return counted, evidence


def bench_reload(lab: Lab, work: Path, _runs: int) -> dict[str, float]:
    """Reload in cluster mode with two instances until there are enough requests, then once in fork mode."""
    requests = failed = 0
    rows: list[tuple[str, ...]] = [("reload under load", "requests", "failed", "longest gap s", "seconds")]
    figures: dict[str, float] = {}
    lab.start(2)
    for number in range(1, MAX_ROUNDS + 1):
        counted, evidence = measure_reload(lab, work)
        requests, failed = requests + counted["complete"] + counted["failed"], failed + counted["failed"]
        rows.append(_row(f"cluster, 2 instances, round {number}", counted, evidence))
        figures["reload_duration_s"] = evidence["duration_s"]
        say(f"  round {number}: {requests} requests until now, {failed} failed")
        if requests >= NEEDED:
            break
    lab.start(1)
    counted, evidence = measure_reload(lab, work)
    rows.append(_row("fork, for comparison", counted, evidence))
    say()
    table(rows)
    return {
        **figures,
        "reload_requests": requests,
        "reload_failed": failed,
        "reload_fork_failed": counted["failed"],
        "reload_fork_gap_s": evidence["longest_gap_s"],
    }


def _row(name: str, counted: dict[str, Any], evidence: dict[str, Any]) -> tuple[str, ...]:
    failed, figures = counted["failed"], (f"{evidence['longest_gap_s']:.2f}", f"{evidence['duration_s']:.1f}")
    return name, str(counted["complete"] + failed), str(failed), *figures
