"""A database that refuses only us is not seen; one that answers nobody is down."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.health.checks import mysql
from tests.unit.host.health.checks.judged import STATUSES, WILD, status, wild


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"reachable": True, "latency_ms": 1.5}, "ok"),
        ({"reachable": False, "error": "refused"}, "critical"),
        ({"reachable": False, "error": "too_many_connections"}, "critical"),
        ({"reachable": False, "error": "denied"}, "unknown"),
        ({"reachable": False, "error": "no_credentials"}, "unknown"),
        ({"reachable": False, "error": ["denied"]}, "critical"),
        ({"reachable": "yes"}, "unknown"),
    ],
)
def test_reachable(seen: dict[str, Any], said: str) -> None:
    assert status("mysql.reachable", database=seen) == said


@pytest.mark.parametrize(
    ("connected", "allowed", "said"),
    [(79, 100, "ok"), (80, 100, "warn"), (95, 100, "critical"), (1, 0, "unknown"), (1, None, "unknown")],
)
def test_connections_are_judged_by_their_share(connected: int, allowed: int | None, said: str) -> None:
    threads = {"connected": connected, "allowed": allowed}
    assert status("mysql.connections", database={"threads": threads}) == said


def test_none_left_is_known_even_where_they_cannot_be_counted() -> None:
    assert status("mysql.connections", database={"error": "too_many_connections"}) == "critical"


@given(st.dictionaries(st.sampled_from(["reachable", "error", "threads", "slow", "latency_ms"]), WILD))
def test_anything_at_all_is_judged(value: dict[str, Any]) -> None:
    assert wild(mysql.__name__, "database", value) <= STATUSES
