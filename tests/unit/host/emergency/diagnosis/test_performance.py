"""What is behind a degradation, and a full disk: told apart by what has to be treated differently."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador.core.messages import plain
from orquestrador.emergency.diagnosis import performance
from orquestrador.emergency.diagnosis.diagnose import diagnose
from orquestrador.emergency.diagnosis.scenario import Scene

GIB = 1024**3


def snapshot(**changed: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "pm2": {"daemon": "online", "app": {"statuses": {"online": 1}, "memory_max_bytes": GIB}},
        "resources": {"cpu": {"app_percent": 3.0}, "disk": [{"path": "/", "used_percent": 30.0}]},
        "database": {"reachable": True, "slow": []},
        "http": {"status": 200},
    }
    return {**whole, **changed}


def verdict(procedure: str, *bad: str) -> dict[str, Any]:
    return {"procedure": procedure, "checks": [{"id": name, "status": "critical"} for name in bad], "reasons": []}


def load(kind: str, percent: float = 90.0, host: float = 100.0) -> dict[str, Any]:
    row = {"pid": 7, "command": "spin", "user": "nobody", "kind": kind, "cpu_percent": percent}
    return {"load": {"host_percent": host, "processes": [row]}}


LOCKED = {"reachable": True, "slow": [{"state": "Waiting for table metadata lock", "seconds": 9.0, "query": "?"}]}
SLOW = {"reachable": True, "slow": [{"state": "executing", "seconds": 9.0, "query": "?"}]}
WAITS = {"waits": [{"object": "t", "waited_s": 9.0, "blocker": 5, "blocker_user": "batch"}]}
FULL = {"resources": {"disk": [{"path": "/", "used_percent": 100.0}]}}
TIGHT = {"resources": {"disk": [{"path": "/", "used_percent": 95.0}]}}
NODES = {"resources": {"disk": [{"path": "/", "used_percent": 9.0, "inodes_used_percent": 100.0}]}}
LEAK = {"memory_trend": {"growing": True, "grown_bytes": 1, "span_s": 1}}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], str, str, str | None]] = {
    "well": ({}, verdict("none"), {}, "none", "none", None),
    "busy": ({}, verdict("performance", "cpu.app"), {}, "performance", "busy", None),
    "busy beside a stranger": ({}, verdict("performance", "cpu.app"), load("other"), "performance", "busy", None),
    "memory": ({}, verdict("performance", "memory.app"), {}, "performance", "memory", None),
    "leak": ({}, verdict("performance", "memory.app"), LEAK, "performance", "leak", "L3"),
    "a trend without a limit": ({}, verdict("none"), LEAK, "none", "none", None),
    "stranger": ({}, verdict("none"), load("other"), "performance", "stranger", "L2"),
    "stranger while slow": (
        {},
        verdict("performance", "http.latency"),
        load("other", host=9),
        "performance",
        "stranger",
        "L2",
    ),
    "stranger on an idle host": ({}, verdict("none"), load("other", host=40), "none", "none", None),
    "the application on a busy host": ({}, verdict("none"), load("application"), "none", "none", None),
    "the database on a busy host": ({}, verdict("none"), load("database"), "none", "none", None),
    "waiting for a lock": ({"database": LOCKED}, verdict("none"), {}, "performance", "database_slow", None),
    "waiting for a row": ({}, verdict("none"), WAITS, "performance", "database_slow", None),
    "long queries": ({"database": SLOW}, verdict("none"), {}, "none", "none", None),
    "long queries while slow": (
        {"database": SLOW},
        verdict("performance", "http.latency"),
        {},
        "performance",
        "database_slow",
        None,
    ),
    "slow": ({}, verdict("performance", "http.latency"), {}, "performance", "slow", None),
    "disk": (TIGHT, verdict("disk", "host.disk"), {}, "disk", "disk_full", "L4"),
    "inodes": (NODES, verdict("disk", "host.disk"), {}, "disk", "disk_full", "L4"),
    "disk and offline": (TIGHT, verdict("offline", "pm2.online", "host.disk"), {}, "offline", None, None),
    "full and offline": (FULL, verdict("offline", "pm2.online", "host.disk"), {}, "disk", "disk_full", "L4"),
    "full and no database": (FULL, verdict("database", "mysql.reachable", "host.disk"), {}, "disk", "disk_full", "L4"),
    "it says so": (
        TIGHT,
        verdict("offline", "pm2.online", "host.disk"),
        {"last_error": "Error: ENOSPC: no space left on device, write"},
        "disk",
        "disk_full",
        "L4",
    ),
    "a halted worker on a tight disk": (TIGHT, verdict("disk", "host.disk"), {"halted": [7]}, "offline", None, None),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_behind_it(name: str) -> None:
    seen, judged, clues, alert, scenario, level = CASES[name]
    found = diagnose(snapshot(**seen), judged, clues)
    assert found["alert"] == alert
    if scenario is not None:
        assert (found["scenario"], found["level"]) == (scenario, level)


def test_who_is_heavy_is_named() -> None:
    found = diagnose(snapshot(), verdict("none"), load("other"))
    assert plain(found["reasons"][0]).startswith("Not the application but spin (process 7 of nobody)")


def test_who_has_the_lock_is_named() -> None:
    assert "session 5 of batch" in plain(diagnose(snapshot(), verdict("none"), WAITS)["reasons"][0])


@pytest.mark.parametrize("wild", [None, "x", 7, [None], {"processes": [None, {"cpu_percent": "x"}]}])
def test_wild_clues_are_no_degradation(wild: Any) -> None:
    scene = Scene({"database": {"slow": wild}}, {"checks": wild}, {"waits": wild, "load": wild, "memory_trend": wild})
    assert not performance.suffers(scene)
    assert [rule(scene) for rule in performance.RULES] == [None] * len(performance.RULES)
