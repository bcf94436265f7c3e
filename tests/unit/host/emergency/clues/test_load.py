"""Who is heavy, and how memory went since the application was last started."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from orquestrador.emergency.clues import load
from orquestrador.system import process_table

BUSY = "import time\nprint(flush=True)\nend = time.monotonic() + 20\nwhile time.monotonic() < end: pass"
STARTED = {"name": "app", "started_at": "2026-01-05T12:00:00Z"}  # 1767614400


def snapshot(**app: Any) -> dict[str, Any]:
    other = {"name": "other", "started_at": "2026-01-06T12:00:00Z"}
    return {
        "taken_at": "2026-01-05T13:00:00+00:00",
        "pm2": {"app": {"name": "app", **app}, "processes": [STARTED, other, {"name": "app", "started_at": "?"}]},
    }


def test_memory_before_the_last_start_was_another_process() -> None:
    past = [
        {"at": 1767614399, "memory_bytes": 9},
        {"at": 1767614460, "memory_bytes": 2},
        {"at": 1767614430, "memory_bytes": 1},
        {"at": 1767614490, "memory_bytes": None},
    ]
    now = (1767618000.0, 3.0)
    assert load.points(past, snapshot(memory_bytes=3)) == [(1767614430.0, 1.0), (1767614460.0, 2.0), now]
    assert load.points(past, snapshot(memory_bytes=None)) == [(1767614430.0, 1.0), (1767614460.0, 2.0)]
    assert load.last_start({}) == 0.0


@pytest.mark.parametrize(
    ("cpu", "procedure", "looked"),
    [
        (95, "none", True),
        (20, "none", False),
        (20, "performance", True),
        (95, "offline", False),
        (95, "database", False),
    ],
)
def test_it_is_looked_for_only_where_there_is_reason(
    monkeypatch: pytest.MonkeyPatch, cpu: float, procedure: str, looked: bool
) -> None:
    monkeypatch.setattr(load, "heavy", lambda _: {"processes": []})
    found = load.clues({}, {"resources": {"cpu": {"percent": cpu}}}, {"procedure": procedure})
    assert ("load" in found) is looked


def test_who_is_busy_stands_first_and_is_told_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_table, "TOP", 10_000)  # others may be busier on the machine that runs the tests
    argv = [sys.executable, "-c", BUSY]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as one, subprocess.Popen(["sleep", "60"]) as idle:
        try:
            assert one.stdout
            one.stdout.readline()
            rows = process_table.look(0.3, [one.pid])["processes"]
            kinds = {pid: process_table.kind_of(pid, "x", [one.pid]) for pid in (one.pid, idle.pid)}
        finally:
            one.kill()
            idle.kill()
    (found,) = (row for row in rows if row["pid"] == one.pid)
    assert found["kind"] == process_table.APP
    assert found["cpu_percent"] > 0
    assert found["rss_bytes"] > 1_000_000
    assert [row["cpu_percent"] for row in rows] == sorted((row["cpu_percent"] for row in rows), reverse=True)
    assert os.getpid() not in [row["pid"] for row in rows]
    assert kinds == {one.pid: process_table.APP, idle.pid: process_table.OTHER}


def test_a_child_of_the_application_is_the_applications_and_a_server_the_databases() -> None:
    assert process_table.kind_of(os.getpid(), "worker", [os.getppid()]) == process_table.APP
    assert process_table.kind_of(os.getpid(), "/usr/sbin/mariadbd --user=mysql", []) == process_table.DATABASE
