"""Through the watch: faults that nobody tells it of, found and recovered by cycles that begin every 15 seconds."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tools.bench.common import ROOT, CannotMeasureError, environment, said, say, table
from tools.bench.lab import MEND, Lab
from tools.bench.recover import FAULTS, Watch

INTERVAL_S = 15
LIMIT_S = 120.0


def bench_watched(lab: Lab, work: Path, _runs: int) -> dict[str, float]:
    """Each fault once: when it was found, by the history, and since when a client sees the application well again."""
    state = work / "watched-state"
    argv = [sys.executable, "-m", "orquestrador_ops.cli", "watch", "--interval", str(INTERVAL_S)]
    log = work / "watched.log"
    with log.open("w", encoding="utf-8") as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
        watch = subprocess.Popen(argv, cwd=ROOT, env=environment(work, OPS_STATE_DIR=str(state)), **streams)
    rows: list[tuple[str, ...]] = [("fault", "found s", "well again s")]
    found: list[float] = []
    well: list[float] = []
    try:
        _until(lambda: _cycles(state) >= 1, "the first cycle", log)
        for fault in FAULTS:
            lab.run(fault.command.format(app=lab.app))
            at, began = time.time(), time.perf_counter()
            client = Watch(lab.host)
            client.start()
            _until(lambda at=at: _closed(state, at) is not None, f"{fault.title}: its recovery", log)
            well.append(client.end() - began)
            found.append((_closed(state, at) or at) - at)
            rows.append((fault.title, f"{found[-1]:.1f}", f"{well[-1]:.1f}"))
            lab.run(MEND)
    finally:
        watch.send_signal(signal.SIGTERM)
        watch.wait(60)
    say()
    table(rows)
    return {"watch_detect_s": max(found), "watch_recover_s": max(well)}


def _until(happened: Callable[[], bool], what: str, log: Path) -> None:
    end = time.monotonic() + LIMIT_S
    while not happened():
        if time.monotonic() > end:
            raise CannotMeasureError(f"not within {LIMIT_S:.0f} s: {what}; the watch said\n{said(log)}")
        time.sleep(0.2)


def _ask(state: Path, query: str, *values: float) -> float | None:
    try:
        with sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True) as store:
            row = store.execute(query, values).fetchone()
    except sqlite3.OperationalError:
        return None  # it is not there yet, or is being made
    return None if row is None else row[0]


def _cycles(state: Path) -> int:
    return int(_ask(state, "SELECT COUNT(*) FROM watch_cycles WHERE ended_at IS NOT NULL") or 0)


def _closed(state: Path, since: float) -> float | None:
    """When the incident since then was found, once it is over."""
    return _ask(state, "SELECT opened_at FROM incidents WHERE opened_at >= ? AND closed_at IS NOT NULL", since)
