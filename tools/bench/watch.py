"""The watch: a cycle over a fleet, and what it does to hosts that are well (nothing), seen by independent means."""

from __future__ import annotations

import difflib
import os
import sqlite3
import statistics
from pathlib import Path

from tools.bench.common import ROOT, CannotMeasureError, environment, said, say, table, timed
from tools.bench.daily import TOLERANT, fleet_inventory, fleet_sizes
from tools.bench.lab import URL, Lab

CYCLES = 500
TRACED = 10
# Some fifteen requests a second.
LOAD = f"while :; do curl -s -m 5 -o /dev/null {URL}; sleep 0.05; done"
FINGERPRINT = (ROOT / "molecule" / "shared" / "tests" / "fingerprint.sh").read_bytes()


def cycle(lab: Lab, names: int, work: Path, state: Path, log: str) -> float:
    """One cycle over ``names`` names of the lab, with SSH connections of its own; its seconds.

    A cycle that found a host that isn't well says so by its status, and counts.
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


def looked(state: Path) -> tuple[int, int, int]:
    """How many hosts the watch looked at, samples that it took, and how many of them were good."""
    with sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True) as store:
        found = store.execute("SELECT COUNT(DISTINCT host), COUNT(*), COALESCE(SUM(ok), 0) FROM samples").fetchone()
    return int(found[0]), int(found[1]), int(found[2])


def traces(lab: Lab) -> list[str]:
    """What an action would leave: files, units, PM2's processes and counters, since when the database runs."""
    found = lab.run("sudo -n bash -s", FINGERPRINT).splitlines()
    found.append(lab.run("ps -o pid=,lstart= -C mysqld,mariadbd"))
    return found


def bench_watch(lab: Lab, work: Path, _runs: int) -> dict[str, float]:
    """One cycle over the largest fleet."""
    fleet, state = max(fleet_sizes()), work / "watch-state"
    seconds = cycle(lab, fleet, work, state, "watch.log")
    hosts, samples, good = looked(state)
    if hosts < fleet:
        raise CannotMeasureError(f"{hosts} of {fleet} hosts were looked at\n{said(work / 'watch.log')}")
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
    """Cycles over one host that is well and under load, after every ten of which it has to be what it was before."""
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
    _, samples, good = looked(state)
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
