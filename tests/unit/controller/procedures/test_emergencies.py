"""Emergencies as the record has them: looked at first, proven, and told at the end."""

from __future__ import annotations

import pytest

from orquestrador.emergency.ladders import database, disk, offline, performance
from orquestrador_ops.procedures import emergencies
from orquestrador_ops.procedures.catalog import EMERGENCIES
from orquestrador_ops.procedures.descriptor import Procedure

LADDERS = {"offline": offline, "performance": performance, "disk": disk, "database": database}


@pytest.mark.parametrize("one", EMERGENCIES.values(), ids=lambda one: one.name)
def test_every_ladder_begins_with_looking_and_ends_with_telling(one: Procedure) -> None:
    ids = [step.id for step in one.steps]
    assert ids[:4] == ["gate", "diagnosis", "lease", "evidence"]
    assert ids[-2:] == ["application", "escalation"]
    assert len(set(ids)) == len(ids)
    assert all(step.looks for step in one.steps[:4])
    assert all(step.optional for step in one.steps if step.id not in ("diagnosis", "application"))


@pytest.mark.parametrize("one", EMERGENCIES.values(), ids=lambda one: one.name)
def test_what_proves_a_recovery_is_looked_at_after_what_was_done(one: Procedure) -> None:
    ids = [step.id for step in one.steps]
    acting = [step.id for step in one.steps if not step.looks and step.id not in (*one.proof, "escalation")]
    assert ids.index("application") > max(map(ids.index, acting))
    assert set(one.proof) <= set(ids)
    assert "application" in one.proof


def test_there_is_a_ladder_for_each_and_triage_climbs_none() -> None:
    assert set(LADDERS) == set(EMERGENCIES)
    assert emergencies.TRIAGE.emergency is None
    assert [step.id for step in emergencies.TRIAGE.steps] == ["triage", "application"]
