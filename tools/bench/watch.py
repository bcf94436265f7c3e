"""The watch: a cycle over a fleet, and a check by independent means that it changes nothing on healthy hosts."""

from __future__ import annotations

import difflib
import os
import sqlite3
import statistics
from pathlib import Path

from tools.bench.common import ROOT, CannotMeasureError, environment, log_tail, say, table, timed
from tools.bench.daily import TOLERANT, fleet_inventory, fleet_sizes
from tools.bench.lab import URL, Lab

CYCLES = 500
TRACED = 10
# Some fifteen requests a second.
LOAD = f"while :; do curl -s -m 5 -o /dev/null {URL}; sleep 0.05; done"
FINGERPRINT = (ROOT / "molecule" / "shared" / "tests" / "fingerprint.sh").read_bytes()


def cycle(lab: Lab, names: int, work: Path, state: Path, log: str) -> float:
    """Run one cycle over ``names`` names of the lab, with SSH connections of its own; return its seconds.

    A cycle with an unhealthy host has another status, and counts.
    """
    inventory = fleet_inventory(lab, names, work)
    url = lab.variables.get("app_public_url")
    outside = ("-e", f"app_public_url={url}") if url and "{{" not in url else ()
    return timed(
        ["ansible-playbook", "-i", str(inventory), "playbooks/monitoring/watch.yml", *TOLERANT, *outside],
        environment(work, OPS_STATE_DIR=str(state)),
        work / log,
        accept=(0, 2),
    )


def count_samples(state: Path) -> tuple[int, int, int]:
    """Return the number of probed hosts, of samples, and of good samples."""
    with sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True) as store:
        row = store.execute("SELECT COUNT(DISTINCT host), COUNT(*), COALESCE(SUM(ok), 0) FROM samples").fetchone()
    return int(row[0]), int(row[1]), int(row[2])


def traces(lab: Lab) -> list[str]:
    """Return traces that an action would change: files, units, PM2's processes and counters, the database's start."""
    lines = lab.run("sudo -n bash -s", FINGERPRINT).splitlines()
    lines.append(lab.run("ps -o pid=,lstart= -C mysqld,mariadbd"))
    return lines


def bench_watch(lab: Lab, work: Path, _runs: int) -> dict[str, float]:
    """Run one cycle over the largest fleet."""
    fleet, state = max(fleet_sizes()), work / "watch-state"
    seconds = cycle(lab, fleet, work, state, "watch.log")
    hosts, samples, good = count_samples(state)
    if hosts < fleet:
        raise CannotMeasureError(f"{hosts} of {fleet} hosts were looked at\n{log_tail(work / 'watch.log')}")
    say(f"  {fleet} names: {seconds:.2f} s")
    say()
    table(
        [
            ("the watch", "figure"),
            (f"a cycle of {fleet} names, seconds (at most 25 for 100)", f"{seconds:.2f}"),
            ("samples (of them good)", f"{samples} ({good})"),
            ("processors", str(os.cpu_count())),
        ]
    )
    return {f"watch_{fleet}_s": seconds, f"watch_s_per_host_{fleet}": seconds / fleet}


def bench_watch_idle(lab: Lab, work: Path, runs: int) -> dict[str, float]:
    """Run cycles over one healthy host under load, and compare its traces after every ten of them."""
    cycles, state = max(runs, CYCLES), work / "watch-idle-state"
    log = "~/bench-watch"
    lab.run(f"nohup sh -c '{LOAD}' > /dev/null 2>&1 < /dev/null & echo $! > {log}.pid")
    before, actions, spent = traces(lab), 0, []
    try:
        for number in range(1, cycles + 1):
            spent.append(cycle(lab, 1, work, state, "watch-idle.log"))
            if number % TRACED and number < cycles:
                continue  # an action's traces stay: counters, starts and files can be compared later
            after = traces(lab)
            changed = [line for line in difflib.unified_diff(before, after, lineterm="", n=0) if line[0] in "+-"][2:]
            actions += len(changed)
            before = after
            if changed or number % 50 == 0:
                say(f"  cycle {number} of {cycles}: {len(changed)} traces of an action")
            for line in changed[:5]:
                say(f"    {line[:200]}")
    finally:
        lab.run(f"kill $(cat {log}.pid); rm {log}.pid")
    with sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True) as store:
        recorded, acted = store.execute("SELECT COUNT(*), SUM(acted) FROM watch_cycles").fetchone()
    _, samples, good = count_samples(state)
    say()
    table(
        [
            ("the watch over a host that is well", "figure"),
            ("cycles (of them recorded)", f"{cycles} ({recorded})"),
            ("samples (of them good)", f"{samples} ({good})"),
            ("traces of an action, and actions it says it took", f"{actions} and {acted}"),
            ("a cycle, seconds", f"{statistics.median(spent):.2f}"),
        ]
    )
    return {
        "watch_cycles": float(recorded),
        "watch_cycle_s": statistics.median(spent),
        "watch_false_actions": float(actions + acted),
    }
