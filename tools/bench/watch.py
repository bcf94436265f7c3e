"""The watch: a cycle over a fleet, and what it does to hosts that are well (nothing), seen by independent means."""

from __future__ import annotations

import difflib
import os
import sqlite3
import statistics
from pathlib import Path

from tools.bench.common import ROOT, Lab, environment, say, table, timed
from tools.bench.daily import TOLERANT, fleet_inventory
from tools.bench.reload import URL, on_lab

FLEET = 100
CYCLES = 500
TRACED = 10
# Some fifteen requests a second.
LOAD = f"while :; do curl -s -m 5 -o /dev/null {URL}; sleep 0.05; done"
FINGERPRINT = (ROOT / "molecule" / "shared" / "tests" / "fingerprint.sh").read_text(encoding="utf-8")


def cycle(lab: Lab, names: int, work: Path, state: Path, log: str) -> float:
    """One cycle over ``names`` names of the lab, with SSH connections of its own; its seconds."""
    inventory = fleet_inventory(lab, names, work)
    url = lab.variables.get("app_public_url")
    outside = ("-e", f"app_public_url={url}") if url and "{{" not in url else ()
    return timed(
        ["ansible-playbook", "-i", str(inventory), "playbooks/monitoring/watch.yml", *TOLERANT, *outside],
        environment(work, OPS_STATE_DIR=str(state)),
        work / log,
    )


def traces(lab: Lab) -> list[str]:
    """What an action would leave: files, units, PM2's processes and counters, since when the database runs."""
    found = on_lab(lab, "sudo -n bash -s", FINGERPRINT).splitlines()
    found.append(on_lab(lab, "ps -o pid=,lstart= -C mysqld,mariadbd"))
    return found


def bench_watch(lab: Lab, work: Path, _runs: int) -> dict[str, float]:
    """One cycle over a hundred names."""
    seconds = cycle(lab, FLEET, work, work / "watch-state", "watch-100.log")
    say(f"  {FLEET} names: {seconds:.2f} s")
    say()
    table(
        [
            ("the watch", "figure"),
            (f"a cycle of {FLEET} names, seconds (at most 25)", f"{seconds:.2f}"),
            ("processors", str(os.cpu_count())),
        ]
    )
    return {"watch_100_s": seconds, "watch_s_per_host_100": seconds / FLEET}


def bench_watch_idle(lab: Lab, work: Path, runs: int) -> dict[str, float]:
    """Cycles over one host that is well and under load, after every ten of which it has to be what it was before."""
    cycles, state = max(runs, CYCLES), work / "watch-idle-state"
    log = "~/bench-watch"
    on_lab(lab, f"nohup sh -c '{LOAD}' > /dev/null 2>&1 < /dev/null & echo $! > {log}.pid")
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
        on_lab(lab, f"kill $(cat {log}.pid); rm {log}.pid")
    with sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True) as store:
        recorded, acted = store.execute("SELECT COUNT(*), SUM(acted) FROM watch_cycles").fetchone()
        good, samples = store.execute("SELECT SUM(ok), COUNT(*) FROM samples").fetchone()
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
