"""What an operator reads when a task fails."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.executor.stats import AggregateStats

from orquestrador_ops.core.i18n import translator
from tests.unit.fakes.loading import load

plugin = load("callback_plugins/operator.py")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"msg": "no such file"}, "no such file"),
        ({"msg": "non-zero return code", "stderr": "one\ntwo"}, "non-zero return code - two"),
        ({"msg": "FAILURE", "module_stderr": "Traceback\n  File x\nKeyError: 'a'"}, "FAILURE - KeyError: 'a'"),
        ({"results": [{"failed": False}, {"failed": True, "msg": "second"}], "msg": "All items completed"}, "second"),
        (
            {"argument_errors": ["a is wrong", "b is missing"], "msg": "Validation failed"},
            "a is wrong; b is missing: correct the variable in the inventory",
        ),
        ({}, "no reason given, see -v"),
        ({"msg": "two\nlines"}, "two lines"),
        ({"msg": "x", "failures": [{"text": "{n} gone", "args": {"n": 2}}, {"text": "b", "args": {}}]}, "2 gone; b"),
        ({"msg": "x", "failures": ["plain"]}, "x"),
        ({"msg": "x", "failures": 84}, "x"),
    ],
)
def test_a_failure_is_one_line(result: dict[str, Any], expected: str) -> None:
    assert plugin.reason(result) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({}, ""),
        ({"note": None}, ""),
        ({"note": "two\nlines"}, "two lines"),
        ({"note": {"text": "held by {run_id}", "args": {"run_id": "a\nb"}}}, "held by a b"),
        ({"note": [{"text": "saved", "args": {}}, {"text": "{n} rows", "args": {"n": 2}}]}, "saved; 2 rows"),
    ],
)
def test_a_note_is_one_line(result: dict[str, Any], expected: str) -> None:
    assert plugin.note(result) == expected


def test_messages_are_put_in_the_operators_language() -> None:
    words = translator("pt_BR").message
    said = {"text": "The step did not run.", "args": {}}
    assert plugin.note({"note": [said]}, words) == "O passo não foi executado."
    assert plugin.reason({"msg": "x", "failures": [said]}, words) == "O passo não foi executado."


def test_recap_of_a_fleet_names_those_that_something_happened_to() -> None:
    stats = AggregateStats()
    for number in range(30):
        stats.increment("ok", f"host-{number}")
    for kind in ("changed", "failures", "dark", "rescued", "ignored"):
        stats.increment(kind, kind)
    assert plugin.uneventful(stats) == [f"host-{number}" for number in range(30)]
