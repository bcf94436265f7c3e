"""Timings, most of them on the lab, paired and interleaved in one run; figures go into ``var/bench/latest.json``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.bench.backup import bench_backup
from tools.bench.common import ROOT, Lab, prepare_lab, save, say
from tools.bench.daily import bench_daily, bench_fleet
from tools.bench.log_scan import bench_log_scan
from tools.bench.logs import bench_logs
from tools.bench.recover import bench_recover
from tools.bench.reload import bench_reload
from tools.bench.sla import bench_sla
from tools.bench.watch import bench_watch, bench_watch_idle
from tools.bench.watched import bench_watched

# Name, what is said before, and the benchmark: given the lab, a directory to work in and a number of counted rounds,
# it returns its figures by name.
BENCHMARKS: dict[str, tuple[str, Callable[[Lab, Path, int], dict[str, float]]]] = {
    "daily": ("Daily routine against the commands an operator types", bench_daily),
    "fleet": ("Daily routine over a fleet", bench_fleet),
    "reload": ("Reload of the application under load", bench_reload),
    "watch": ("The watch over a fleet", bench_watch),
    "watch_idle": ("500 cycles of the watch over a host that is well, under load", bench_watch_idle),
    "logs": ("Archives of logs that are being written", bench_logs),
    "recover": ("Recovery from faults, against the commands of the playbook as written", bench_recover),
    "watched": ("Recovery from faults that only the watch can find", bench_watched),
    "backup": ("Backup and proof of a database of 1 GB against mysqldump, gzip and mysql", bench_backup),
}
# The same, of benchmarks that need no lab.
WITHOUT_LAB: dict[str, tuple[str, Callable[[Path, int], dict[str, float]]]] = {
    "sla": ("Service levels of a year of samples", bench_sla),
    "log_scan": ("1 GB of access log read for the error rate, against grep on the same file", bench_log_scan),
}


def main() -> int:
    """Run the benchmarks that were asked for; 0 when they could be run, whatever the figures."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="counted rounds of a paired benchmark (default 7)")
    parser.add_argument(
        "only", nargs="*", choices=[*BENCHMARKS, *WITHOUT_LAB, []], help="which benchmarks (default: all)"
    )
    chosen = parser.parse_args()
    names = chosen.only or [*WITHOUT_LAB, *BENCHMARKS]
    lab = None
    if any(name in BENCHMARKS for name in names):
        if subprocess.run([str(ROOT / "molecule/shared/lab.sh"), "up"], cwd=ROOT, check=False, timeout=900).returncode:
            return 1
        prepare_lab()
        lab = Lab()
    with tempfile.TemporaryDirectory(prefix="orquestrador-bench-") as directory:
        for name in names:
            say(f"\n{(BENCHMARKS | WITHOUT_LAB)[name][0]}")
            if name in WITHOUT_LAB:
                figures = WITHOUT_LAB[name][1](Path(directory), chosen.runs)
            elif lab is not None:
                figures = BENCHMARKS[name][1](lab, Path(directory), chosen.runs)
            # Kept after each: a benchmark that fails takes no figure of another with it.
            save(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
