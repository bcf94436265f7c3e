"""How many errors are too many, and what it takes to say that there are few."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.health.checks import logs
from tests.unit.host.health.checks.judged import STATUSES, WILD, judge, status, wild

READ = {"files": [{"path": "error.log"}]}


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"errors": 0, "errors_day": 9, **READ}, "ok"),
        ({"errors": 1, "errors_day": 9, **READ}, "warn"),
        ({"errors": 0, "errors_day": 10, **READ}, "critical"),
        ({"errors": 0, "errors_day": 0, "window": {"complete": False}, **READ}, "warn"),
        ({"errors": 0, "errors_day": 0, "files": [{"missing": True}]}, "unknown"),
        ({"errors": 0, "errors_day": 0, "files": [{}, {"readable": False}]}, "unknown"),
        ({"errors": None, "errors_day": 99, **READ}, "unknown"),
    ],
)
def test_few_errors_are_good_only_where_all_was_read(seen: dict[str, Any], said: str) -> None:
    assert status("logs.errors", logs=seen) == said


def test_new_errors_are_shown_first_and_a_bounded_number() -> None:
    prints = [{"fingerprint": str(number), "sample": "e", "new": number % 2 == 1} for number in range(100)]
    found = judge("logs.errors", logs={"errors": 50, "errors_day": 50, "fingerprints": prints, **READ})
    assert [one["fingerprint"] for one in found["evidence"]["new"]] == [str(number) for number in range(1, 20, 2)]


@given(st.dictionaries(st.sampled_from(["errors", "errors_day", "window", "files", "fingerprints"]), WILD))
def test_anything_at_all_is_judged(value: dict[str, Any]) -> None:
    assert wild(logs.__name__, "logs", value) <= STATUSES
