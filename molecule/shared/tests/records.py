"""What a run of an emergency procedure left in its record, and what its fixtures are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from machine import APP, Machine, Run

Emergency = Callable[..., Run]
Untouched = Callable[..., AbstractContextManager[None]]


def steps(run: Run) -> dict[str, dict[str, Any]]:
    """The recorded steps by id."""
    assert run.report, run.output
    return {step["id"]: step for step in run.report["record"]["steps"]}


def diagnosis(run: Run) -> dict[str, Any]:
    """What the diagnosis step recorded: ``{alert, scenario, severity, level}``."""
    evidence: dict[str, Any] = steps(run)["diagnosis"]["evidence"]
    return evidence


def climbed(run: Run) -> list[str]:
    """The rungs that were climbed, in order."""
    around = {"gate", "diagnosis", "lease", "evidence", "application", "health", "escalation"}
    found = [step for name, step in steps(run).items() if name not in around and step["status"] != "unknown"]
    return [step["id"] for step in sorted(found, key=lambda step: str(step["started_at"]))]


def restarts(machine: Machine) -> int:
    """What PM2 itself counts, all instances together."""
    counts = machine.app(f"pm2 jlist | jq '[.[] | select(.name == \"{APP}\") | .pm2_env.restart_time] | add'")
    return int(counts or 0)
