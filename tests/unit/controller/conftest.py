"""A healthy and a broken run of the daily routine, as they come out of a probe."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orquestrador.health.checks import CHECK_IDS
from orquestrador_ops.procedures import outcome as routines
from orquestrador_ops.procedures.catalog import EMERGENCIES
from orquestrador_ops.reports import view
from tests.unit.fakes.histories import mysql_url, opener, server, store

__all__ = ["mysql_url", "opener", "server", "store"]

HOSTILE = "<script>alert(1)</script> | `x` \x1b[31mred\n# h \u202e \ud800"


def message(text: str, **args: Any) -> dict[str, Any]:
    return {"text": text, "args": args}


SNAPSHOT: dict[str, Any] = {
    "schema": 1,
    "host": "web-01",
    "taken_at": "2026-11-22T12:00:00+00:00",
    "pm2": {
        "daemon": "online",
        "processes": [
            {
                "name": "orquestrador-v3",
                "pid": 812,
                "status": "online",
                "restarts": 3,
                "uptime_s": 86461.2,
                "memory_bytes": 91_231_231,
                "cpu_percent": 1.5,
            }
        ],
        "app": {"memory_bytes": 91_231_231, "cpu_percent": 1.5, "restarts": 3},
    },
    "port": {"port": 3001, "open": True},
    "http": {"status": 200, "latency_median_ms": 12.3},
    "database": {"reachable": True, "slow": [{"seconds": 12.2, "user": "app", "state": "x", "query": "SELECT ?"}]},
    "resources": {
        "disk": [
            {
                "path": "/srv",
                "total_bytes": 10**11,
                "free_bytes": 4 * 10**10,
                "used_percent": 60.1,
                "inodes_used_percent": 3.0,
            }
        ]
    },
    "logs": {"errors": 0, "errors_day": 0, "fingerprints": []},
    "files": {
        "current": True,
        "missing": [],
        "files": [{"name": ".env", "exists": True, "current": True, "copy": {"taken_at": "2026-11-21T12:00:00Z"}}],
    },
    "errors": [],
}


def verdict_of(overall: str = "healthy", procedure: str = "none", **statuses: str) -> dict[str, Any]:
    """A verdict; ``statuses`` by check id with ``_`` for the dot."""
    checks = [
        {
            "id": name,
            "title": message("Health check"),
            "status": statuses.get(name.replace(".", "_"), "ok"),
            "observed": message("{used_percent} used", used_percent=41.5),
            "expected": message("below {warn_percent}", warn_percent=85),
            "hint": message("Run chmod 600 on it."),
            "evidence": {},
            "source": "rotina-diaria",
        }
        for name in CHECK_IDS
    ]
    return {"overall": overall, "checks": checks, "procedure": procedure, "reasons": []}


def record_of(
    snapshot: dict[str, Any] | None, verdict: dict[str, Any] | None, results: Any = None, **more: Any
) -> dict[str, Any]:
    steps, outcome = routines.conclude("daily", snapshot, verdict, results)
    return {
        "run_id": "20261122T120000Z-abc123",
        "procedure": "daily",
        "host": "web-01",
        "operator": "ana",
        "check_mode": False,
        "started_at": "2026-11-22T12:00:00+00:00",
        "ended_at": "2026-11-22T12:00:01.900000+00:00",
        "deadline": "2026-11-22T12:05:00+00:00",
        "budget_s": 300.0,
        "steps": steps,
        "verdict_before": verdict,
        "verdict_after": verdict,
        "outcome": outcome,
        "failure": None,
        "escalated_to": None,
        "previous_run": None,
        **more,
    }


Run = tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]


@pytest.fixture
def emergency_playbooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout that has the playbooks a verdict may call for."""
    for playbook in (one.playbook for one in EMERGENCIES.values()):
        (tmp_path / "checkout" / playbook).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkout" / playbook).touch()
    monkeypatch.setattr(view, "PROJECT", tmp_path / "checkout")


@pytest.fixture
def healthy() -> Run:
    snapshot, verdict = copy.deepcopy(SNAPSHOT), verdict_of()
    return record_of(snapshot, verdict), snapshot, verdict


@pytest.fixture
def broken() -> Run:
    """The database is down, memory is high, and everything the host says is hostile."""
    snapshot = copy.deepcopy(SNAPSHOT)
    snapshot["errors"] = [
        {
            "collector": "pm2",
            "code": "stale_socket",
            "message": message("{path} is not a socket", path=HOSTILE),
            "hint": message("Run chmod 600 on it."),
        }
    ]
    snapshot["logs"]["fingerprints"] = [
        {"sample": f"Error: {HOSTILE}", "count": 7, "new": True, "last_at": "2026-11-22T11:50:00Z"}
    ]
    verdict = verdict_of(
        "critical",
        "database",
        mysql_reachable="critical",
        app_database="critical",
        memory_app="warn",
        cpu_app="unknown",
    )
    verdict["reasons"] = [message("The database server stopped answering")]
    for check in verdict["checks"]:
        if check["status"] != "ok":
            check["observed"] = message("not reachable ({error})", error=HOSTILE)
    return record_of(snapshot, verdict, {"critical_files": {"changed": True}}), snapshot, verdict


@pytest.fixture
def unreachable() -> Run:
    failure = message("{host} cannot be reached over SSH: {reason}", host="web-01", reason="Connection refused")
    return record_of(None, None, failure=failure), None, None


@pytest.fixture
def make_verdict() -> Callable[..., dict[str, Any]]:
    return verdict_of


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A directory whose modules leave ``ran`` there when one of them is imported."""
    directory = tmp_path / "hostile"
    directory.mkdir()
    for name in ("json", "zlib", "contextlib", "sitecustomize"):
        (directory / f"{name}.py").write_text(f"open({str(directory / 'ran')!r}, 'w').close()\nraise SystemExit(9)\n")
    return directory
