"""What becomes of an observation, wherever it is judged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orquestrador.health.checks import CHECK_IDS
from orquestrador.health.evaluate import judge

APP = {"instances": 1, "online": 1, "restarts": 3, "name": "a"}
PM2 = {"daemon": "online", "app": APP, "processes": [{"name": "a", "pm_id": 0, "restarts": 3}]}


def judged(snapshot: Any, memory: Any = None) -> dict[str, Any]:
    observed = {"snapshot": snapshot, "log_memory": {"at": float("nan")}}
    return judge({"memory": memory, "expectations": {}}, observed)


def statuses(found: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["status"] for one in found["verdict"]["checks"]}


def test_what_is_remembered_is_what_the_next_run_compares_with() -> None:
    first = judged({"taken_at": "2026-01-02T03:04:05Z", "pm2": PM2})
    json.dumps(first["memory"], allow_nan=False)
    again = {"taken_at": "2026-01-02T03:05:05Z", "pm2": PM2}
    assert statuses(judged(again, json.loads(json.dumps(first["memory"]))))["pm2.restarts"] == "ok"
    assert statuses(first)["pm2.restarts"] == "warn"


@pytest.mark.parametrize("snapshot", [{}, {"pm2": "x", "http": [], "errors": None}])
def test_what_was_not_observed_is_unknown(snapshot: dict[str, Any]) -> None:
    found = judged(snapshot)
    assert statuses(found) == dict.fromkeys(CHECK_IDS, "unknown")
    assert found["verdict"]["overall"] == "unknown"
