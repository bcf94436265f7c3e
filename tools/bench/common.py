"""Common functions of the benchmarks: timing commands, reporting failures, saving figures."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
LATEST = ROOT / "var" / "bench" / "latest.json"
LIMIT_S = 300
TAIL = 25
# As ansible.cfg has it, but the connection ends with the run: the next one has to open its own.
SSH_ARGS = "-o ControlMaster=auto -o ControlPersist=2s -o PreferredAuthentications=publickey"
# Must not change: figures of different machines and dates are compared by it.
CALIBRATION_STEPS = 3_200_000
CALIBRATION_ROUNDS = 5


class CannotMeasureError(Exception):
    """A figure that could not be measured, with the reason, for instance the last lines of a failed command."""


def say(text: str = "") -> None:
    """Print at once: a benchmark that is silent looks hung."""
    print(text, flush=True)


def captured(argv: list[str], input_: bytes = b"", *, limit_s: float = LIMIT_S, what: str = "") -> str:
    """Run a command and return its output.

    Raises:
        CannotMeasureError: it failed or did not end.
    """
    what = what or " ".join(argv[:2])
    try:
        result = subprocess.run(argv, cwd=ROOT, input=input_, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        printed = (error.stdout or b"") + (error.stderr or b"")
        raise CannotMeasureError(f"not within {limit_s:.0f} s: {what}\n{last_lines(printed.decode())}") from error
    if result.returncode:
        printed = result.stdout + result.stderr
        reason = last_lines(printed.decode(errors="replace"))
        raise CannotMeasureError(f"status {result.returncode}: {what}\n{reason}")
    return result.stdout.decode()


def timed(argv: list[str], environment: dict[str, str], log: Path, *, accept: tuple[int, ...] = (0,)) -> float:
    """Run a command and return its wall time in seconds; its output goes to ``log``.

    Raises:
        CannotMeasureError: it ended with another status than those of ``accept``.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        # Not wait(timeout=…), which polls every 50 ms only.
        watchdog = threading.Timer(LIMIT_S, process.kill)
        watchdog.start()
        status = process.wait()
        elapsed = time.perf_counter() - start
        watchdog.cancel()
    if status not in accept:
        late = f" after {elapsed:.0f} s, its limit" if elapsed >= LIMIT_S else ""
        raise CannotMeasureError(f"{' '.join(argv[:2])} ended with status {status}{late}\n{log_tail(log)}")
    return elapsed


def log_tail(log: Path) -> str:
    """Return the last lines of a command's log."""
    return last_lines(log.read_text(encoding="utf-8", errors="replace"))


def last_lines(text: str) -> str:
    """Return the end of an output, which has the reason of a failure."""
    return "\n".join(text.rstrip().splitlines()[-TAIL:])


def environment(work: Path, **more: str) -> dict[str, str]:
    """Return the environment of a measured run, with state and SSH connections of its own."""
    connections = work / "cp"
    shutil.rmtree(connections, ignore_errors=True)
    connections.mkdir(parents=True)
    return {**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(connections), "ANSIBLE_SSH_ARGS": SSH_ARGS, **more}


def table(rows: list[tuple[str, ...]]) -> None:
    """Print rows as a table, the first one as its header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        say("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
        if number == 0:
            say("  " + "  ".join("-" * width for width in widths))


def spread(values: list[float]) -> tuple[str, str, str]:
    """Return minimum, median and maximum as cells."""
    return f"{min(values):.2f}", f"{statistics.median(values):.2f}", f"{max(values):.2f}"


def calibration_work(steps: int = CALIBRATION_STEPS) -> int:
    """Do a fixed amount of work with integers and a dictionary; return a sum that depends on all of it."""
    counts: dict[int, int] = {}
    value = 1
    for _ in range(steps):
        value = (value * 1_664_525 + 1_013_904_223) % 4_294_967_296
        key = value >> 20
        counts[key] = counts.get(key, 0) + 1
    return sum(key * count for key, count in counts.items())


def calibrate() -> float:
    """Return the seconds that this machine takes for the calibration at its current load: the median of some rounds."""
    rounds = []
    for _ in range(CALIBRATION_ROUNDS):
        started = time.perf_counter()
        calibration_work()
        rounds.append(time.perf_counter() - started)
    return statistics.median(rounds)


def provenance(calibration_s: float) -> dict[str, Any]:
    """Return machine, date and commit of the figures of this run."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "calibration_s": round(calibration_s, 4),
        },
    }


def save(figures: dict[str, float], origin: dict[str, Any]) -> None:
    """Add the figures to those of other benchmarks, each with its provenance."""
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    latest = json.loads(LATEST.read_text(encoding="utf-8")) if LATEST.exists() else {}
    for name, value in figures.items():
        latest[name] = {"value": round(value, 4), **origin}
    temporary = LATEST.with_suffix(".tmp")
    temporary.write_text(json.dumps(latest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(LATEST)
