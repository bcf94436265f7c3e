"""The application does not run or does not answer: each fault gets what it needs, nothing else is touched."""

from __future__ import annotations

from faults import Faults
from machine import Machine
from records import Emergency, Untouched, climbed, diagnosis, steps


def test_nothing_is_touched_while_all_is_well(emergency: Emergency, untouched: Untouched) -> None:
    with untouched():
        run = emergency("offline")
    assert run.rc == 0, run.output
    assert diagnosis(run)["alert"] == "none"
    assert climbed(run) == []


def test_a_stopped_application_is_restarted(
    machine: Machine, emergency: Emergency, faults: Faults, untouched: Untouched
) -> None:
    faults.stop()
    with untouched(but=("app",)):
        run = emergency("offline")
    assert run.rc == 0, run.output
    assert machine.health()["database"] == "connected"
    assert diagnosis(run)["scenario"] == "stopped"
    assert climbed(run) == ["restart"]
    assert steps(run)["restart"]["planned_s"] >= steps(run)["restart"]["used_s"]
