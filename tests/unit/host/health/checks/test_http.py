"""Who listens, what the health address answers, and how fast."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import plain
from orquestrador.health.checks import http
from tests.unit.host.health.checks.judged import STATUSES, WILD, judge, status, wild

STRANGER = {"pid": 9, "command": "nc", "user": "nobody", "of_app": False}


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ({"open": False, "port": 3001}, "critical"),
        ({"open": True, "listeners": [STRANGER]}, "critical"),
        ({"open": True, "listeners": [STRANGER, {"of_app": True}]}, "ok"),
        ({"open": True, "listeners": [{"of_app": None}]}, "ok"),
        ({"open": None}, "unknown"),
    ],
)
def test_a_port_is_good_when_the_application_holds_it(port: dict[str, Any], said: str) -> None:
    assert status("port.open", port=port) == said


@pytest.mark.parametrize(
    ("seen", "statuses"),
    [
        ({"status": 200, "body": {"status": "ok", "database": "connected"}}, ("ok", "ok", "ok")),
        ({"status": 200, "body": {"status": "OK", "database": "down"}}, ("ok", "critical", "critical")),
        ({"status": 200, "body": {}}, ("ok", "critical", "unknown")),
        ({"status": 200, "body": "<html>"}, ("ok", "critical", "unknown")),
        ({"status": 301, "body": None}, ("critical", "critical", "unknown")),
        ({"status": 200, "failures": 1, "requests": 3, "body": {"status": "ok"}}, ("critical", "ok", "unknown")),
        ({"status": None, "error": "refused"}, ("critical", "unknown", "unknown")),
        ({}, ("unknown", "unknown", "unknown")),
    ],
)
def test_what_the_health_address_answers(seen: dict[str, Any], statuses: tuple[str, ...]) -> None:
    assert tuple(status(name, http=seen) for name in ("http.status", "app.status", "app.database")) == statuses


@pytest.mark.parametrize(("ms", "said"), [(200, "ok"), (200.1, "warn"), (2000, "warn"), (2000.1, "critical")])
def test_latency_is_the_median(ms: float, said: str) -> None:
    assert status("http.latency", http={"latency_median_ms": ms}) == said


def test_what_a_stranger_is_called_is_shown_and_bounded() -> None:
    found = judge("port.open", port={"open": True, "listeners": [{**STRANGER, "command": "x" * 5000}]})
    assert len(plain(found["observed"])) < 300


@given(st.dictionaries(st.sampled_from(["status", "body", "failures", "error", "latency_median_ms"]), WILD))
def test_anything_at_all_is_judged(value: dict[str, Any]) -> None:
    assert wild(http.__name__, "http", value) <= STATUSES
