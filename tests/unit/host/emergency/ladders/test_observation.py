"""An application observed for a while: real samples of this process and of an endpoint, and what is said of them."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from orquestrador.core.messages import plain
from orquestrador.emergency.ladders import observation
from tests.unit.fakes import servers

GOOD = b'{"status": "ok", "database": "connected"}'


@pytest.mark.parametrize(("body", "why"), [(GOOD, None), (b'{"status": "ok"}', "bad"), (b"<html>", "bad")])
def test_samples_are_judged_by_what_the_application_answers(scene: Any, body: bytes, why: str | None) -> None:
    scene.app = SimpleNamespace(state=lambda: {"app": {"pids": [os.getpid(), 2**22 + 1]}})
    scene.params["expectations"] = {"memory_attention_mb": 1024 * 1024, "cpu_percent": 10_000}
    with servers.tcp(servers.http(body)) as port:
        scene.params["app_health_url"] = f"http://127.0.0.1:{port}/health"
        seen = observation.observe(scene, 2.5)
    assert seen["samples"] == len(seen["trend"]) >= 3
    assert (seen["good"], seen["why"]) == (why is None, why)
    assert all(row["memory_bytes"] > 0 for row in seen["trend"])


def test_an_application_that_is_gone_is_no_good_trend(scene: Any) -> None:
    scene.app = SimpleNamespace(state=lambda: {"app": None})
    scene.params["app_health_url"] = "http://127.0.0.1:1/health"
    seen = observation.observe(scene, 0.0)
    assert (seen["good"], seen["why"]) == (False, "few")
    assert "too few" in plain(observation.told(seen, None))


def seen(**changed: Any) -> dict[str, Any]:
    memory = {"growth_per_min_bytes": 1024 * 1024, "limit_in_s": 600}
    told = {"seconds": 60.0, "samples": 6, "bad": 1, "good": False, "latency_median_ms": None, "memory": memory}
    return {**told, "trend": [], **changed}


@pytest.mark.parametrize(
    ("found", "rate_before", "said"),
    [
        (seen(good=True, why=None, trend=[{"memory_bytes": None}]), None, "Good for"),
        (seen(why="unstable"), None, "does not stay up"),
        (seen(why="leak"), None, ": a leak"),
        (seen(why="leak"), 1024.0 * 1024, "a leak that restarts do not mend"),
        (seen(why="leak"), 10.0, ": a leak"),
        (seen(why="bad"), None, "Still degraded"),
    ],
)
def test_the_trend_is_told_in_a_sentence(found: dict[str, Any], rate_before: float | None, said: str) -> None:
    text = plain(observation.told(found, rate_before))
    assert said in text
    assert "{" not in text
