"""Every module fails in one line for Ansible, and with the messages for the operator's language."""

from __future__ import annotations

import math
from typing import Any

import pytest

from orquestrador.core.messages import msg
from orquestrador.core.module import fail, require_ranges


class Module:
    """What is used of Ansible's module."""

    def __init__(self, **params: Any) -> None:
        self.params = params

    def fail_json(self, **told: Any) -> None:
        raise SystemExit(told)


def test_a_failure_is_told_twice() -> None:
    first, second = msg("{path} is full", path="/srv"), msg("no {name}", name="x")
    with pytest.raises(SystemExit) as raised:
        fail(Module(), first, second, evidence={"a": 1})
    assert raised.value.code == {"msg": "/srv is full; no x", "failures": [first, second], "evidence": {"a": 1}}


def test_a_module_that_goes_on_after_its_end_is_a_defect() -> None:
    module = Module()
    module.fail_json = lambda **_: None  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        fail(module, msg("no"))


@pytest.mark.parametrize("value", [0.9, 7.1, -math.inf, math.nan])
def test_a_number_out_of_range_is_named(value: float) -> None:
    require_ranges(Module(timeout=1.0), {"timeout": (1, 7)})
    with pytest.raises(SystemExit, match=f"timeout is {value}; give a number from 1 to 7"):
        require_ranges(Module(timeout=value), {"timeout": (1, 7)})
