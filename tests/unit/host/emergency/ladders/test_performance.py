"""A slow application: what a restart does not mend is told without one, what passed by itself is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador.core.messages import plain
from orquestrador.emergency.context import Rung
from orquestrador.emergency.ladders import performance

BUSY = {"procedure": "performance", "checks": [{"id": "cpu.app", "status": "critical"}], "reasons": []}
CALM: dict[str, Any] = {"procedure": "none", "checks": [], "reasons": []}
OFFLINE = {"procedure": "offline", "checks": [{"id": "pm2.daemon", "status": "critical"}], "reasons": []}


def never(rung: Rung) -> bool:
    raise AssertionError(f"{rung.id} was tried")


@pytest.mark.parametrize(
    ("scenario", "mode", "rungs"),
    [
        ("busy", "fork", ["restart"]),
        ("leak", "cluster", ["reload", "restart"]),
        ("slow", None, ["restart"]),
        ("stranger", "cluster", []),
        ("database_slow", "fork", []),
    ],
)
def test_the_rungs_of_a_scenario(scene: Any, scenario: str, mode: str | None, rungs: list[str]) -> None:
    scene.diagnosis["scenario"] = scenario
    scene.snapshot = {"pm2": {"app": {"mode": mode}}}
    assert [rung.id for rung in performance.ladder(scene)] == rungs
    assert all("would" in plain(rung.would) for rung in performance.ladder(scene))


def test_what_is_not_its_own_doing_is_told_and_nothing_is_restarted(scene: Any) -> None:
    scene.diagnosis["scenario"] = "stranger"
    row = {"pid": 7, "command": "spin\x1b[31m", "user": None, "kind": "other", "cpu_percent": 99.0, "rss_bytes": 1}
    scene.clues["load"] = {"processes": [row]}
    scene.snapshot = {"database": {"reachable": True, "slow": [{"seconds": None}, {"seconds": 9}]}}
    assert performance.climb(scene, never) == (scene.diagnosis["proposals"][0], False)
    assert {name: step["status"] for name, step in scene.steps.items()} == {
        "resources": "ok",
        "heaviest": "ok",
        "queries": "warn",
        "remedy": "failed",
    }


@pytest.mark.parametrize(
    ("verdict", "said"), [(CALM, None), (OFFLINE, "playbooks/emergency/offline.yml")], ids=["over", "another"]
)
def test_a_second_look_decides(scene: Any, verdict: dict[str, Any], said: str | None) -> None:
    scene.params["procedure"] = "performance"
    scene.clues["load"] = {"processes": []}
    scene.left = lambda: performance.AFTER_S  # no time to wait for the second look
    scene.observe = lambda: ({"pm2": {"daemon": "dead", "app": None}}, verdict)
    left, changed = performance.climb(scene, never)
    assert not changed
    assert (left is None) if said is None else (said in plain(left or {}))


def test_a_budget_that_is_used_up_ends_the_climb(scene: Any) -> None:
    scene.params["procedure"] = "performance"
    scene.clues["load"] = {"processes": []}
    scene.left = lambda: 0.0
    scene.observe = lambda: ({"resources": {"cpu": {"app_percent": 99.0}}}, BUSY)
    left, _ = performance.climb(scene, never)
    assert "The time budget is used up" in plain(left or {})
