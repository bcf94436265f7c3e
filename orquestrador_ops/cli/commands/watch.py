"""``runbook watch``: one cycle of the watch after the other, at a steady beat.

What a cycle does is the playbook's affair, and the history is all that it remembers; so the beat may as well be a
timer's. A cycle that is still under way when the next is due has that one left out and counted.
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
from ..runner import terminate as ending
from ..runner.events import Tally
from ..runner.execute import Request, Result
from ..runner.execute import run as execute
from ..runner.progress import Lines, Silent, text_of
from ..runner.signals import Asked, Patient, Signals
from ..words import t, translator
from . import render as showing
from . import run as running

# How long a cycle may go on after SIGTERM, before it is ended as well.
TERM_BOUND_S = 60.0
POLL_S = 0.1
KEEP = 5
PLACE = "watch"
MAX_DETAILS = 40


class Heard(Silent):
    """What a cycle says of its own accord: its hosts' lines, and the one that sums it up."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def event(self, event: Mapping[str, Any], tally: Tally) -> None:
        if event.get("event") in {"verbose", "warning", "error"} and len(self.said) < MAX_DETAILS:
            self.said += [line.rstrip() for line in text_of(event).split("\n") if line.strip()]

    @property
    def summary(self) -> str:
        """The error that ended it, else the first line that is not about one host."""
        error = next((line for line in self.said if line.startswith("[ERROR]")), "")
        return error or next((line for line in self.said if not line.startswith((" ", "["))), "")

    @property
    def details(self) -> list[str]:
        """Everything else."""
        return [line for line in self.said if line != self.summary]


@dataclass
class Watch:
    """A watch as it goes."""

    interval_s: float
    lines: Lines
    cycles: int = 0
    skipped: int = 0
    not_met: int = 0
    last: Result | None = None
    details: list[str] = field(default_factory=list)

    def cycle(self, result: Result, heard: Heard) -> None:
        """Count a cycle and say how it went: one line, and details where they are not those of the one before."""
        self.cycles += 1
        self.not_met += result.status != MET
        self.last = result
        outcome = "" if result.status == MET else f" - {showing.outcome(result.status)}"
        clock = translator().time(datetime.now(UTC).isoformat())
        took = translator().seconds(round(result.seconds, 1))
        self.lines.write(f"{clock}  #{self.cycles}  {took}  {heard.summary}{outcome}".rstrip())
        if heard.details != self.details:
            self.details = heard.details
            for line in heard.details:
                self.lines.write(line)

    def missed(self, count: int) -> None:
        """Cycles that were due while one was under way."""
        if count:
            self.skipped += count
            counts = {"count": count, "total": self.skipped}
            self.lines.write(t("The cycle took longer than the interval: {count} left out, {total} so far", **counts))

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
    """When the next cycle is due after one that was due at ``due`` and ended at ``now``, and how many were missed."""
    missed = max(int((now - due) // interval_s), 0)
    return due + (missed + 1) * interval_s, missed


def watch(
    request: Request,
    *,
    interval_s: float,
    cycles: int | None,
    as_json: bool,
    one: Callable[[Request, Heard, Asked], Result] | None = None,
) -> int:
    """Watch until a signal, or for so many cycles; the exit status.

    0: it ended as it should, and so did the last of a given number of cycles. SIGTERM lets a cycle come to its end,
    SIGINT does not.
    """
    state = Watch(interval_s, Lines(sys.stdout))
    if as_json:
        state.lines.broken = True  # nothing but the document, at the end
    with Signals() as signals, ending.connections(f"watch-{time.time_ns() % 10**6}") as connections:
        patient = Patient(signals, TERM_BOUND_S)
        due = time.monotonic()
        while True:
            heard = Heard()
            result = one(request, heard, patient) if one else execute(request, heard, patient, connections)
            running.settle(result, patient)
            state.cycle(result, heard)
            if signals.got or (cycles is not None and state.cycles >= cycles):
                break
            due, missed = next_due(due, time.monotonic(), interval_s)
            state.missed(missed)
            while time.monotonic() < due and not signals.got:
                time.sleep(min(POLL_S, max(due - time.monotonic(), 0.001)))
            if signals.got:
                break
    if as_json:
        Lines(sys.stdout).write(json.dumps(state.as_dict(), ensure_ascii=False, indent=2))
    if signals.got:
        return 0 if signals.got[0] == signal.SIGTERM else 128 + signals.got[0]
    return 0 if state.last is not None and state.last.status == MET else 1
