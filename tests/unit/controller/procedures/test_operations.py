"""Operations: none works without the lease, and all look at the application afterwards."""

from __future__ import annotations

import pytest

from orquestrador_ops.procedures import operations
from orquestrador_ops.procedures.descriptor import LEASE, Procedure

ALL = [one for one in vars(operations).values() if isinstance(one, Procedure)]
CHANGING = [one for one in ALL if one.observes]


def test_which_there_are() -> None:
    names = {one.name for one in ALL}
    assert len(names) == len(ALL)
    assert {"bootstrap", "backup", "restore", "restore_files", "reload", "archive_logs", "maintenance"} <= names
    assert [one.name for one in ALL if not one.observes] == ["maintenance"]


@pytest.mark.parametrize("one", CHANGING, ids=lambda one: one.name)
def test_the_lease_comes_first_and_the_application_last(one: Procedure) -> None:
    assert one.steps[0] is LEASE
    assert one.steps[-1].id == "application"
    assert one.steps[-1].checks
    assert len({step.id for step in one.steps}) == len(one.steps)


@pytest.mark.parametrize("one", CHANGING, ids=lambda one: one.name)
def test_every_step_is_judged_by_something(one: Procedure) -> None:
    assert [step.id for step in one.steps if not (step.checks or step.result or step.judge)] == []
    assert one.proof == ()  # every step has to be good
    assert one.emergency is None
