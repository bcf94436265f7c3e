"""What can't derive from the descriptors is held to them: a failure names the place where a procedure is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orquestrador.emergency.diagnosis.diagnose import RULES
from orquestrador.emergency.procedure import LADDERS
from orquestrador.procedures import AUTO
from orquestrador.procedures import EMERGENCIES as OF_HOSTS
from orquestrador_ops.procedures.catalog import EMERGENCIES, PROCEDURES
from tests.unit.fakes.loading import load

ROOT = Path(__file__).resolve().parents[4]
WITH_PLAYBOOK = [one for one in PROCEDURES.values() if one.playbook]
STEPPED = [one for one in PROCEDURES.values() if one.steps]


def play_of(procedure: str) -> dict[str, Any]:
    (play,) = yaml.safe_load((ROOT / PROCEDURES[procedure].playbook).read_text(encoding="utf-8"))
    return dict(play)


@pytest.mark.parametrize("name", EMERGENCIES)
def test_an_emergency_has_all_that_it_is_made_of(name: str) -> None:
    told = load("library/emergency.py").DOCUMENTATION
    specs = (ROOT / "roles/emergency/meta/argument_specs.yml").read_text(encoding="utf-8")
    places = {
        "LADDERS of emergency/procedure.py": name in LADDERS,
        "RULES of emergency/diagnosis/diagnose.py": name in RULES,
        "choices of procedure in library/emergency.py": name in yaml.safe_load(told)["options"]["procedure"]["choices"],
        "roles/emergency/meta/argument_specs.yml": f"C({name})" in specs,
        "an alert": bool(EMERGENCIES[name].alert),
        "a severity that people are told of": OF_HOSTS[name].severity in ("critical", "high", "medium"),
        "steps for all of its proof": set(EMERGENCIES[name].proof) <= {step.id for step in EMERGENCIES[name].steps},
    }
    assert [place for place, has_it in places.items() if not has_it] == []


def test_every_emergency_of_hosts_is_known_to_the_controller_and_nothing_is_there_for_another() -> None:
    assert set(EMERGENCIES) == set(OF_HOSTS) == set(LADDERS) == set(RULES)
    assert AUTO not in OF_HOSTS


@pytest.mark.parametrize("one", WITH_PLAYBOOK, ids=lambda one: one.name)
def test_a_playbook_gives_its_procedure_the_time_that_the_descriptor_says(one: Any) -> None:
    variables = play_of(one.name)["vars"]
    assert variables["report_budget_s"] == one.budget_s
    assert one.name in variables["report_procedure"]


def test_every_playbook_belongs_to_a_procedure() -> None:
    """Two only tell or install, and leave no record of a run."""
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "playbooks").glob("*/*.yml")}
    known = {one.playbook for one in WITH_PLAYBOOK}
    assert found - known == {"playbooks/monitoring/escalate.yml", "playbooks/setup/schedule.yml"}
    assert known - found == set()


@pytest.mark.parametrize("one", WITH_PLAYBOOK, ids=lambda one: one.name)
def test_a_playbook_goes_through_the_steps_of_its_procedure_in_their_order(one: Any) -> None:
    listed = play_of(one.name)["vars"].get("report_steps", [])
    # One playbook may do two procedures, and each step belongs to one of them at least.
    plans = [plan for plan in WITH_PLAYBOOK if plan.playbook == one.playbook]
    ids = [step["step"] for step in listed if "step" in step]
    assert set(ids) <= {step.id for plan in plans for step in plan.steps}
    mine = [step.id for step in one.steps if step.result and step.id in ids]
    assert [step for step in ids if step in mine] == mine
    if any(step.get("step") for step in listed):
        acting = {step.id for step in one.steps if step.result and step.id not in ("lease", "database_verify")}
        assert acting <= set(ids), "the playbook leaves out what the procedure is made of"


@pytest.mark.parametrize("one", WITH_PLAYBOOK, ids=lambda one: one.name)
def test_steps_are_entry_points_of_roles(one: Any) -> None:
    for step in play_of(one.name)["vars"].get("report_steps", []):
        assert (ROOT / "roles" / step["role"] / "tasks" / f"{step['entry']}.yml").is_file(), step


@pytest.mark.parametrize("one", STEPPED, ids=lambda one: one.name)
def test_steps_are_told_apart_and_need_one_before_them(one: Any) -> None:
    ids = [step.id for step in one.steps]
    assert len(ids) == len(set(ids))
    for number, step in enumerate(one.steps):
        assert not step.needs or step.needs in ids[:number], step.id
        assert not step.needs or one.steps[ids.index(step.needs)].result, f"{step.needs} registers nothing"
