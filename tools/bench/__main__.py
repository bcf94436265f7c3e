"""Timings, most of them on the lab, paired and interleaved in one run; figures go into ``var/bench/latest.json``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from tools.bench.backup import bench_backup
from tools.bench.common import LATEST, ROOT, CannotMeasureError, calibrate, provenance, save, say
from tools.bench.daily import bench_daily, bench_fleet, fleet_sizes
from tools.bench.lab import Lab, prepare
from tools.bench.log_scan import bench_log_scan
from tools.bench.logs import bench_logs
from tools.bench.recover import bench_recover
from tools.bench.reload import bench_reload
from tools.bench.sla import bench_sla
from tools.bench.watch import bench_watch, bench_watch_idle
from tools.bench.watched import bench_watched

# Name, title and benchmark: with the lab, a working directory and a number of counted rounds
# as arguments, it returns its figures by name.
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


NAMES = [*WITHOUT_LAB, *BENCHMARKS]


def main() -> int:
    """Run the requested benchmarks; return 0 when each could be measured, whatever the figures."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="counted rounds of a paired benchmark (default 7)")
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    chosen = parser.parse_args()
    names = chosen.only or NAMES
    if unknown := [name for name in names if name not in NAMES]:
        say(f"no benchmark {', '.join(map(repr, unknown))}: there are {' '.join(NAMES)}")
        return 2
    try:
        fleet_sizes()
    except ValueError as error:
        say(str(error))
        return 2
    missing = measure(names, chosen.runs)
    if missing:
        say(f"\nnot measured, for the reasons above: {' '.join(missing)}")
    return 1 if missing else 0


def measure(names: list[str], runs: int) -> list[str]:
    """Run benchmarks one after another and save their figures; return the names of those that could not be measured."""
    calibration_s = calibrate()
    origin = provenance(calibration_s)
    of_lab = origin
    say(f"calibration_s {calibration_s:.3f} (a fixed piece of Python; the faster the machine, the less)")
    save({"calibration_s": calibration_s}, origin)
    lab, missing = None, []
    if any(name in BENCHMARKS for name in names):
        try:
            lab = prepare()
            of_lab = {**origin, "database": lab.database()}
            say(f"database of the lab: {of_lab['database']}")
        except Exception as error:  # noqa: BLE001 - the other benchmarks need no lab
            say(f"  no lab: {reason(error)}")
    with tempfile.TemporaryDirectory(prefix="orquestrador-bench-") as directory:
        for number, name in enumerate(names):
            work = Path(directory, f"{number}-{name}")
            work.mkdir()
            say(f"\n{(BENCHMARKS | WITHOUT_LAB)[name][0]}")
            try:
                figures = figures_of(name, lab, work, runs)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other benchmarks can be measured
                say(f"  not measured: {reason(error)}")
                missing.append(name)
                continue
            # Saved after each: a benchmark that fails must not lose the figures of others.
            save(figures, of_lab if name in BENCHMARKS else origin)
            say(f"\n  figures: {LATEST.relative_to(ROOT)}")
        if lab is not None:
            restore_lab(lab, Path(directory))
    return missing


def figures_of(name: str, lab: Lab | None, work: Path, runs: int) -> dict[str, float]:
    """Run one benchmark, with a directory of its own and from the lab's known state."""
    if name in WITHOUT_LAB:
        return WITHOUT_LAB[name][1](work, runs)
    if lab is None:
        raise CannotMeasureError("there is no lab")
    lab.reset(work)
    return BENCHMARKS[name][1](lab, work, runs)


def restore_lab(lab: Lab, work: Path) -> None:
    """Leave the lab healthy."""
    try:
        lab.reset(work)
    except CannotMeasureError as error:
        say(f"\nthe lab is left as it is: {error}")


def reason(error: Exception) -> str:
    """Return why there is no figure, with a traceback unless the benchmark gives the reason."""
    if isinstance(error, CannotMeasureError):
        return str(error)
    return "".join(traceback.format_exception(error)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
