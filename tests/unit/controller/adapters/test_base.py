"""What all action plugins have in common, with Ansible's own task and templar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.template import trust_as_template

from orquestrador.core.messages import msg
from orquestrador_ops.adapters.base import ControllerAction
from orquestrador_ops.core.errors import SlaError
from tests.unit.fakes.actions import action


class Shout(ControllerAction):
    ARGUMENTS = {"what": {"type": "str", "required": True}, "times": {"type": "int", "default": 1}}  # noqa: RUF012
    FAILS = (SlaError,)
    FAILURE = msg("cannot shout: {error}")

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        if arguments["what"] == "no":
            raise SlaError(msg("{name} is no word", name="no"))
        return {"said": arguments["what"] * arguments["times"], "host": self.host, "check": self.check_mode}


def run(arguments: dict[str, Any], variables: dict[str, Any], *, check_mode: bool = False) -> Any:
    shout = action(Shout, arguments, variables, check_mode=check_mode)
    return shout, shout.run(task_vars=variables)


def test_arguments_are_read_as_their_specification_says() -> None:
    _, done = run({"what": "a", "times": "3"}, {"inventory_hostname": "web-01"}, check_mode=True)
    assert done == {"said": "aaa", "host": "web-01", "check": True}


@pytest.mark.parametrize("arguments", [{}, {"what": "a", "times": "often"}, {"what": "a", "loud": True}])
def test_wild_arguments_are_refused_before_anything_is_done(arguments: dict[str, Any]) -> None:
    with pytest.raises(AnsibleError, match=r"what|times|loud"):
        run(arguments, {})


def test_what_may_fail_fails_in_one_line() -> None:
    result = run({"what": "no"}, {})[1]
    (failure,) = result.pop("failures")
    assert result == {"failed": True, "changed": False, "msg": "cannot shout: no is no word"}
    assert failure["args"]["error"] == msg("{name} is no word", name="no"), "to be translated as well"


def test_settings_are_templated_and_there_is_no_history_until_one_is_made(tmp_path: Path) -> None:
    told = {"place": str(tmp_path), "ops_state_dir": trust_as_template("{{ place }}/state"), "ops_locale": "en"}
    shout, _ = run({"what": "a"}, told)
    assert shout.settings.state_dir == tmp_path / "state"
    assert shout.no_history
    assert not (tmp_path / "state").exists()
    shout.open_history().close()
    assert not shout.no_history


def test_an_error_is_said_in_english_where_the_language_is_what_is_wrong() -> None:
    error = SlaError(msg("{name} is no word", name="no"))
    shout, _ = run({"what": "a"}, {"ops_locale": "tlh"})
    assert shout.in_words(error) == "no is no word"
