"""What ``sla_evaluate`` takes, as Ansible itself reads the specification."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from orquestrador import sla


def validated(**given: Any) -> Any:
    return ArgumentSpecValidator(sla.ARGUMENT_SPEC).validate(given)


def test_instants_are_kept_as_they_are_and_samples_made_plain() -> None:
    found = validated(**{"from": 1.5, "to": "2026-01-02", "samples": [{"at": 1, "ok": "yes", "latency_ms": "2.5"}]})
    assert found.error_messages == []
    told = found.validated_parameters
    assert (told["from"], told["to"]) == (1.5, "2026-01-02")
    assert told["samples"] == [{"at": 1, "ok": True, "latency_ms": 2.5}]
    assert (told["report"], told["report_every_s"], told["host"]) == (False, 0, None)


@pytest.mark.parametrize(
    "given",
    [
        {"samples": [{"at": 1}]},
        {"samples": [{"ok": True}]},
        {"samples": [{"at": 1, "ok": "perhaps"}]},
        {"samples": 7},
        {"objectives": "x"},
        {"report_every_s": "soon"},
        {"until": 1},
    ],
)
def test_anything_else_is_refused(given: dict[str, Any]) -> None:
    assert validated(**given).error_messages
