"""A probe that survives whatever becomes of its host: the conclusion tells, not the task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError

from orquestrador_ops.adapters.host_action import ProbeAction
from tests.unit.fakes.actions import action


class Probe(ProbeAction):
    """A probe whose host is a function."""

    answer: Any = None

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return self.observe_host(arguments)

    def module(self, name: str, arguments: Any) -> dict[str, Any]:
        self.asked = (name, dict(arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict(self.answer)


def look(answer: Any, tmp_path: Path, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    # An interpreter that has to be discovered: only Ansible's own way works.
    variables = {"inventory_hostname": "web-01", "ansible_python_interpreter": "auto", "ops_state_dir": str(tmp_path)}
    probe = action(Probe, arguments, variables)
    probe.answer = answer
    return probe, probe.run(task_vars=variables)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (AnsibleConnectionFailure("ssh: connect to host web-01 port 22: Connection refused"), "unreachable"),
        (AnsibleError("Missing sudo\n  password"), "failed"),
        ({"failed": True, "msg": "boom", "module_stderr": "Traceback"}, "failed"),
        ({}, "failed"),
    ],
)
def test_a_host_that_cannot_be_observed_is_a_result(tmp_path: Path, answer: Any, outcome: str) -> None:
    _, done = look(answer, tmp_path)
    assert (done.get("failed", False), done.get("unreachable", False)) == (False, False)
    assert done["run_id"]
    assert done["owner"]
    assert done["outcome"] is not None
    assert (done["outcome"] == "unreachable") == (outcome == "unreachable")


def test_what_is_the_controllers_own_does_not_go_to_the_host(tmp_path: Path) -> None:
    probe, _ = look({}, tmp_path, procedure="daily", app_name="app")
    name, arguments = probe.asked
    assert name == "health_probe"
    assert set(arguments) == {"app_name", "memory"}  # and what is remembered of the last run


def test_only_a_python_that_is_named_by_its_path_is_sent_code(tmp_path: Path) -> None:
    probe, _ = look({}, tmp_path)
    assert probe.python() is None
    probe._is_pipelining_enabled = lambda _: True
    probe.variables = {"ansible_python_interpreter": "/usr/bin/python3"}
    assert probe.python() == "/usr/bin/python3"
