"""A run that was ended is on record; one that hung is an incident, and a failed recovery where it was one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orquestrador_ops.cli import queries as records
from orquestrador_ops.cli.commands import run as running
from orquestrador_ops.cli.runner import record as recording
from orquestrador_ops.cli.runner.events import HostRun, Task
from orquestrador_ops.cli.runner.execute import Request, Result
from orquestrador_ops.cli.runner.signals import Signals
from orquestrador_ops.history.access import open_history
from orquestrador_ops.incidents import breaker
from orquestrador_ops.incidents import store as incidents


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """A recovery that was let through on one host, had not begun on another, and was concluded on a third."""
    monkeypatch.delenv("OPS_HISTORY_URL", raising=False)
    asked = Request(tmp_path, tmp_path / "playbooks/emergency/offline.yml", "offline", tmp_path / "state", 120.0, 10)
    result = Result("20260101T000000Z-abcdef", asked, tmp_path, "2026-01-01T00:00:00+00:00", status="timeout")
    result.tally.hosts = {
        "web-01": HostRun(run={"run_id": "r1", "procedure": "offline", "started_at": "2026-01-01T00:00:01+00:00"}),
        "web-02": HostRun(),
        "web-03": HostRun(outcome="met"),
    }
    result.tally.tasks = [Task("Recover", 2.0)]
    with open_history(asked.state_dir) as store:
        at_hand = breaker.BreakerStore(store, "web-01", "offline", breaker.Limits(), time.time())
        at_hand.enter("r1", automatic=False)
    return result


def test_hung_run_is_recorded_where_it_was_not_concluded(hung: Result) -> None:
    for _ in range(2):  # again changes nothing
        assert recording.record(hung) == []
    with open_history(hung.request.state_dir) as store:
        found = {run["host"]: (run["run_id"], run["outcome"]) for run in store.runs()}
        assert found == {"web-01": ("r1", "timeout"), "web-02": (f"{hung.id}-web-02", "timeout")}
        opened = {one["host"]: one for one in incidents.listed(store)}
        assert sorted(opened) == ["web-01", "web-02"]
        assert {one["level"] for one in opened.values()} == {"L2"}
        assert all(one["next_at"] for one in opened.values())
        assert records.recovering(store, time.time()) == {}
    assert hung.tally.hosts["web-02"].outcome == "timeout"


def test_interrupted_run_is_no_incident(hung: Result) -> None:
    hung.status = "interrupted"
    assert recording.record(hung) == []
    with open_history(hung.request.state_dir) as store:
        assert incidents.listed(store) == []
        assert records.recovering(store, time.time()) == {}


def test_history_that_cannot_be_written_is_said(hung: Result) -> None:
    (hung.request.state_dir / "history.sqlite3").write_bytes(b"damaged" * 1000)
    for extra in hung.request.state_dir.glob("history.sqlite3-*"):
        extra.unlink()
    (problem,) = recording.record(hung)
    assert problem["text"].startswith("The history could not be written")


def test_nobody_told_is_said(hung: Result) -> None:
    with Signals() as signals:
        running.settle(hung, signals)  # no procedure escalate in this project
    assert [problem["text"].partition(":")[0] for problem in hung.problems] == ["Nobody could be told of it"]
    assert (hung.artifacts / "result.json").stat().st_mode & 0o777 == 0o600
