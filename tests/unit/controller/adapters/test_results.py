"""Results are read by the names under which the roles register them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orquestrador_ops.adapters import results
from orquestrador_ops.procedures.catalog import PROCEDURES

ROLES = Path(__file__).resolve().parents[4] / "roles"
# The cycle of a watch stands for a probe and, where it tells people, for a procedure.
OF_SEVERAL = {"health", "emergency"}


def names(tasks: Any) -> Iterator[str]:
    """What tasks register, and the facts that they set, at any depth."""
    for task in tasks or ():
        yield from [task["register"]] if "register" in task else []
        yield from task.get("ansible.builtin.set_fact") or ()
        for part in ("block", "rescue", "always"):
            yield from names(task.get(part))


@pytest.fixture(scope="module")
def registered() -> dict[str, set[str]]:
    """The roles by the names that they register."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in ROLES.glob("*/tasks/*.yml"):
        for name in names(yaml.safe_load(path.read_text(encoding="utf-8"))):
            found[name].add(path.parts[-3])
    return found


@pytest.mark.parametrize("part", results.RESULTS)
def test_roles_register_what_others_read(part: str, registered: dict[str, set[str]]) -> None:
    one = results.RESULTS[part]
    assert registered[one.name] == set(one.roles)
    assert (len(one.roles) > 1) == (part in OF_SEVERAL)


def test_the_conclusion_finds_every_step(registered: dict[str, set[str]]) -> None:
    wanted = {step.result for one in PROCEDURES.values() for step in one.steps if step.result}
    assert len(wanted) > 20
    assert wanted - set(registered) == set()


def test_what_is_no_result_counts_as_none() -> None:
    assert results.registered({"emergency_gate": "hosts say what they like"}, "gate") == {}
    assert results.decision_for({"watch_seen": {"todo": {"a": {"waits": True}}}}, "a") == {"waits": True}
    assert results.decision_for({}, "a") == {}
