"""Objectives from the inventory: numbers in their bounds, or one line that says which variable and what to give."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador_ops.sla.evaluate import objectives
from orquestrador_ops.sla.evaluate.objectives import Objectives


def read(**variables: Any) -> Objectives:
    return objectives.of(variables, lambda value: value)


def test_nothing_set_is_what_the_playbook_promises() -> None:
    assert read() == Objectives(0.999, 0.999, 0.95, 200, 0.001, 300, 300, 60, 3)
    assert read(sla_uptime=None, sla_gap_s="") == Objectives()


def test_numbers_may_be_text_and_templates() -> None:
    found = objectives.of(
        {"sla_uptime": "{{ x }}", "sla_response_ms": "250", "sla_burn_min_bad": "5"},
        lambda value: "0.9995" if value == "{{ x }}" else value,
    )
    assert (found.uptime, found.response_ms, found.burn_min_bad) == (0.9995, 250, 5)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("sla_uptime", 99.9, "ratio between 0 and 1"),
        ("sla_uptime", 1, "ratio between 0 and 1"),
        ("sla_uptime", 0, "ratio between 0 and 1"),
        ("sla_availability", "24/7", "ratio between 0 and 1"),
        ("sla_error_rate", "nan", "ratio between 0 and 1"),
        ("sla_response", True, "ratio between 0 and 1"),
        ("sla_response_ms", 201, "give 200 or 210"),
        ("sla_response_ms", 0, "milliseconds from 1"),
        ("sla_response_ms", "inf", "milliseconds from 1"),
        ("sla_recovery_s", -1, "seconds from 1"),
        ("sla_gap_s", 0, "seconds from 1"),
        ("sla_gap_s", 1e9, "seconds from 1"),
        ("sla_restart_allowance_s", "a minute", "seconds from 0"),
        ("sla_burn_min_bad", 0, "whole number"),
        ("sla_burn_min_bad", 2.5, "whole number"),
        ("sla_burn_min_bad", [3], "whole number"),
    ],
)
def test_what_is_no_objective_is_told_in_one_line(name: str, value: object, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        read(**{name: value})
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)
