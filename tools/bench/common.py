"""What every benchmark uses: how a command is timed, what is said when one can't be, where figures are kept."""

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
# Never to be changed: figures of different machines and dates are compared by it.
CALIBRATION_STEPS = 3_200_000
CALIBRATION_ROUNDS = 5


class CannotMeasureError(Exception):
    """There is no figure, and why: the last lines of the command that failed, say."""


def say(text: str = "") -> None:
    """Print at once: a benchmark that is silent looks hung."""
    print(text, flush=True)


def captured(argv: list[str], given: bytes = b"", *, limit_s: float = LIMIT_S, what: str = "") -> str:
    """What a command prints.

    Raises:
        CannotMeasureError: it failed or did not end.
    """
    what = what or " ".join(argv[:2])
    try:
        done = subprocess.run(argv, cwd=ROOT, input=given, capture_output=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        printed = (error.stdout or b"") + (error.stderr or b"")
        raise CannotMeasureError(f"not within {limit_s:.0f} s: {what}\n{last_lines(printed.decode())}") from error
    if done.returncode:
        printed = done.stdout + done.stderr
        reason = last_lines(printed.decode(errors="replace"))
        raise CannotMeasureError(f"status {done.returncode}: {what}\n{reason}")
    return done.stdout.decode()


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
        # Not wait(timeout=…), which looks every 50 ms only.
        watchdog = threading.Timer(LIMIT_S, process.kill)
        watchdog.start()
        status = process.wait()
        elapsed = time.perf_counter() - start
        watchdog.cancel()
    if status not in accept:
        late = f" after {elapsed:.0f} s, its limit" if elapsed >= LIMIT_S else ""
        raise CannotMeasureError(f"{' '.join(argv[:2])} ended with status {status}{late}\n{said(log)}")
    return elapsed


def said(log: Path) -> str:
    """The last lines of a command's output."""
    return last_lines(log.read_text(encoding="utf-8", errors="replace"))


def last_lines(text: str) -> str:
    """The end of an output, where the reason for its end stands."""
    return "\n".join(text.rstrip().splitlines()[-TAIL:])


def environment(work: Path, **more: str) -> dict[str, str]:
    """The environment of a measured run: state and SSH connections of its own, so nothing is inherited."""
    connections = work / "cp"
    shutil.rmtree(connections, ignore_errors=True)
    connections.mkdir(parents=True)
    return {**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(connections), "ANSIBLE_SSH_ARGS": SSH_ARGS, **more}


def table(rows: list[tuple[str, ...]]) -> None:
    """Print rows as a table, the first one as its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        say("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
        if number == 0:
            say("  " + "  ".join("-" * width for width in widths))


def spread(values: list[float]) -> tuple[str, str, str]:
    """Minimum, median and maximum as cells."""
    return f"{min(values):.2f}", f"{statistics.median(values):.2f}", f"{max(values):.2f}"


def calibration_work(steps: int = CALIBRATION_STEPS) -> int:
    """A fixed piece of integers and a dictionary, as Python's own work is; its result tells that all of it was done."""
    counts: dict[int, int] = {}
    value = 1
    for _ in range(steps):
        value = (value * 1_664_525 + 1_013_904_223) % 4_294_967_296
        key = value >> 20
        counts[key] = counts.get(key, 0) + 1
    return sum(key * count for key, count in counts.items())


def calibrate() -> float:
    """Seconds that this machine, as busy as it is now, takes for the fixed piece: the median of some rounds."""
    rounds = []
    for _ in range(CALIBRATION_ROUNDS):
        begun = time.perf_counter()
        calibration_work()
        rounds.append(time.perf_counter() - begun)
    return statistics.median(rounds)


def provenance(calibration_s: float) -> dict[str, Any]:
    """Machine, date and commit that the figures of this run belong to."""
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
    """Add the figures to those of other benchmarks, each with where it comes from."""
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(LATEST.read_text(encoding="utf-8")) if LATEST.exists() else {}
    for name, value in figures.items():
        known[name] = {"value": round(value, 4), **origin}
    temporary = LATEST.with_suffix(".tmp")
    temporary.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(LATEST)
