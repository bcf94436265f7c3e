"""``runbook watch``: run cycles of the watch at a fixed interval.

A cycle is one run of the playbook, and the history is its only state, so that a timer can run it as well. Cycles that
are due while one is still running are skipped and counted.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ...core.outcomes import MET
from ..runner import terminate
from ..runner.events import RunEvents
from ..runner.execute import Request, Result
from ..runner.execute import run as execute
from ..runner.progress import Lines, Silent, text_of
from ..runner.signals import GracefulStop, Signals, StopRequests
from ..words import t, translator
from . import render
from . import run as run_command

# How long a cycle may go on after SIGTERM before it is ended.
STOP_TIMEOUT_S = 60.0
POLL_S = 0.1
KEEP = 5
FOLDER = "watch"
MAX_DETAILS = 40


class CycleOutput(Silent):
    """Output of a cycle: the lines about its hosts, and the summary."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, event: Mapping[str, Any], events: RunEvents) -> None:
        if event.get("event") in {"verbose", "warning", "error"} and len(self.lines) < MAX_DETAILS:
            self.lines += [line.rstrip() for line in text_of(event).split("\n") if line.strip()]

    @property
    def summary(self) -> str:
        """The error that ended the cycle, else the first line that is not about one host."""
        error = next((line for line in self.lines if line.startswith("[ERROR]")), "")
        return error or next((line for line in self.lines if not line.startswith((" ", "["))), "")

    @property
    def details(self) -> list[str]:
        """All lines but the summary."""
        return [line for line in self.lines if line != self.summary]


@dataclass
class Watch:
    """State of a running watch."""

    interval_s: float
    lines: Lines
    cycles: int = 0
    skipped: int = 0
    not_met: int = 0
    last: Result | None = None
    details: list[str] = field(default_factory=list)

    def cycle(self, result: Result, output: CycleOutput) -> None:
        """Count a cycle and print its result: one line, and the details if they changed."""
        self.cycles += 1
        self.not_met += result.status != MET
        self.last = result
        outcome = "" if result.status == MET else f" - {render.outcome(result.status)}"
        clock = translator().time(datetime.now(UTC).isoformat())
        took = translator().seconds(round(result.seconds, 1))
        self.lines.write(f"{clock}  #{self.cycles}  {took}  {output.summary}{outcome}".rstrip())
        if output.details != self.details:
            self.details = output.details
            for line in output.details:
                self.lines.write(line)

    def missed(self, count: int) -> None:
        """Count and report cycles that were due while one was running."""
        if count:
            self.skipped += count
            counts = {"count": count, "total": self.skipped}
            self.lines.write(t("The cycle took longer than the interval: {count} skipped, {total} so far", **counts))

    def as_dict(self) -> dict[str, Any]:
        """``{schema, cycles, skipped, not_met, interval_s, last: {id, status, seconds}|null}``."""
        last = self.last
        return {
            "schema": 1,
            "cycles": self.cycles,
            "skipped": self.skipped,
            "not_met": self.not_met,
            "interval_s": self.interval_s,
            "last": None if last is None else {"id": last.id, "status": last.status, "seconds": last.seconds},
        }


def next_due(due: float, now: float, interval_s: float) -> tuple[float, int]:
    """Return when the next cycle is due after one of ``due`` that ended at ``now``, and the number of missed ones."""
    missed = max(int((now - due) // interval_s), 0)
    return due + (missed + 1) * interval_s, missed


def watch(
    request: Request,
    *,
    interval_s: float,
    cycles: int | None,
    as_json: bool,
    run_cycle: Callable[[Request, CycleOutput, StopRequests], Result] | None = None,
) -> int:
    """Watch until a signal, or for ``cycles``; return the exit status.

    0: ended by SIGTERM, or the last of ``cycles`` met its expected result. SIGTERM lets a cycle finish,
    SIGINT does not.
    """
    watch_state = Watch(interval_s, Lines(sys.stdout))
    if as_json:
        watch_state.lines.broken = True  # nothing but the document, at the end
    with Signals() as signals, terminate.connections(f"watch-{time.time_ns() % 10**6}") as connections:
        stop = GracefulStop(signals, STOP_TIMEOUT_S)
        due = time.monotonic()
        while True:
            output = CycleOutput()
            result = run_cycle(request, output, stop) if run_cycle else execute(request, output, stop, connections)
            run_command.record_unconcluded(result, stop)
            watch_state.cycle(result, output)
            if signals.received or (cycles is not None and watch_state.cycles >= cycles):
                break
            due, missed = next_due(due, time.monotonic(), interval_s)
            watch_state.missed(missed)
            while time.monotonic() < due and not signals.received:
                time.sleep(min(POLL_S, max(due - time.monotonic(), 0.001)))
            if signals.received:
                break
    if as_json:
        Lines(sys.stdout).write(json.dumps(watch_state.as_dict(), ensure_ascii=False, indent=2))
    if signals.received:
        return 0 if signals.received[0] == signal.SIGTERM else 128 + signals.received[0]
    return 0 if watch_state.last is not None and watch_state.last.status == MET else 1
