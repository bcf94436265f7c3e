"""What a cycle of the watch leaves in the history, and who may have one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orquestrador_ops.core.settings import Settings
from orquestrador_ops.history import access
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History
from orquestrador_ops.watch import cycle as watch_cycle
from orquestrador_ops.watch import decisions as watch
from orquestrador_ops.watch import lock as watch_lock
from orquestrador_ops.watch import store as watch_store

Verdict = Callable[..., dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[History]:
    with open_history(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def kept(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "state", None, "en", "UTC")


def seen(verdict: dict[str, Any] | None, trouble: str | None = None, **more: Any) -> dict[str, Any]:
    snapshot = {"taken_at": "2026-11-22T12:00:00+00:00", "http": {"status": 200, "latency_median_ms": 3.0}}
    return {"snapshot": snapshot, "verdict": verdict, "trouble": trouble, "memory": {"taken_at": "x"}, **more}


def cycle(hosts: tuple[str, ...] = ("a", "b"), **more: Any) -> watch_cycle.Cycle:
    return watch_cycle.Cycle(
        **{"sources": ("inv",), "hosts": hosts, "owner": "me", "budget_s": 300.0, "late_s": 45.0, "patience": 3, **more}
    )


def begin(kept: Settings, pid: int | None = None, **more: Any) -> tuple[str, Any, Any]:
    options: dict[str, Any] = {"due": "", "check_mode": False, **more}
    return watch_cycle.begin(cycle(), kept, pid=pid or os.getpid(), **options)


def record(kept: Settings, looks: dict[str, Any], **more: Any) -> watch_cycle.Recorded:
    options: dict[str, Any] = {"number": None, "started": time.time(), "check_mode": False, **more}
    return watch_cycle.record(
        cycle(tuple(looks)), kept, {host: watch.HostObservation.read(one) for host, one in looks.items()}, **options
    )


def test_a_cycle_is_recorded_whole(kept: Settings, make_verdict: Verdict) -> None:
    looks = {f"host-{n:03}": seen(make_verdict(), memory={"taken_at": "x", "n": n}) for n in range(100)}
    began = time.perf_counter()
    done = record(kept, looks)
    took = time.perf_counter() - began
    assert took < 5, "one transaction, not a hundred"  # 0.1 s on a quiet machine, migration apart
    assert done.lines == ["Watch of 100 host(s): 100 healthy"]
    with open_history(kept.state_dir) as store:
        assert len(store.samples("host-042")) == 1
        assert store.recall("host-042", "watch")["n"] == 42
        (row,) = watch_store.cycles(store)
    assert access.recall(kept.state_dir, None, "host-042", "watch")["n"] == 42, "the copy says the same"
    assert (row["outcome"], row["hosts"], row["acted"], row["data"]["healthy"]) == ("done", 100, 0, 100)


def test_streaks_come_from_the_history(kept: Settings, make_verdict: Verdict) -> None:
    gone = {"snapshot": None, "verdict": None, "outcome": "unreachable", "trouble": watch.UNREACHABLE, "failure": None}
    kinds = [record(kept, {"a": gone, "b": seen(make_verdict())}).decisions["a"]["kind"] for _ in range(4)]
    assert kinds == ["none", "none", "tell", "tell"]
    record(kept, {"a": seen(make_verdict())})
    assert record(kept, {"a": gone}).decisions["a"]["kind"] == "none", "not in a row"


def test_first_look_is_a_sample_and_no_streak(kept: Settings, make_verdict: Verdict) -> None:
    outside = seen(make_verdict(), watch.OUTSIDE, public={"ok": False, "status": 502, "url": "u", "reason": None})
    both = {**outside, "first_look": seen(make_verdict(), public={"ok": False, "status": 500, "url": "u"})}
    assert record(kept, {"a": both}).decisions["a"]["kind"] == "none"
    assert record(kept, {"a": both}).decisions["a"]["kind"] == "none"
    assert record(kept, {"a": both}).decisions["a"]["kind"] == "tell"
    with open_history(kept.state_dir) as store:
        rows = store.samples("a")
    assert [row["data"].get("first_look", False) for row in rows] == [True, False] * 3
    assert rows[0]["data"]["public"]["status"] == 500


def test_cycle_that_acts_is_open_until_it_is_finished(kept: Settings, make_verdict: Verdict) -> None:
    done = record(kept, {"a": seen(make_verdict("critical", "offline"), watch.FAILING), "b": seen(make_verdict())})
    assert done.number is not None
    with open_history(kept.state_dir) as store:
        assert [(row["outcome"], row["ended_at"]) for row in watch_store.cycles(store)] == [("running", None)]
    watch_cycle.finish(kept, done.number, {"a": "recovered"})
    with open_history(kept.state_dir) as store:
        (row,) = watch_store.cycles(store)
    assert (row["outcome"], row["acted"], row["data"]["ended"]) == ("done", 1, {"a": "recovered"})
    assert row["data"]["critical"] == 1, "what was seen stays"


def test_check_mode_leaves_nothing(kept: Settings, make_verdict: Verdict) -> None:
    assert begin(kept, check_mode=True)[0] == "running"
    done = record(kept, {"a": seen(make_verdict("critical", "offline"), watch.FAILING)}, check_mode=True)
    assert done.decisions["a"]["kind"] == "recover"
    with open_history(kept.state_dir) as store:
        assert watch_store.cycles(store) == []
        assert store.samples("a") == []
    assert not (kept.state_dir / "watch").exists()


def test_late_and_overlapping_cycles_are_counted(kept: Settings) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        try:
            assert begin(kept, other.pid)[0] == "running"
            outcome, why, _ = begin(kept)
            assert outcome == "skipped"
            assert why is not None
            assert why["args"]["pid"] == other.pid
        finally:
            other.kill()
            other.wait()
    assert begin(kept)[0] == "running", "a killed cycle stands in nobody's way"
    assert begin(kept)[0] == "running", "nor does a process in its own"
    assert begin(kept, due="2020-01-01T00:00:00+00:00")[0] == "late"
    with open_history(kept.state_dir) as store:
        assert sorted(row["outcome"] for row in watch_store.cycles(store)) == ["late", "skipped"]


def test_cycles_of_several_controllers_meet_in_the_history(kept: Settings, tmp_path: Path) -> None:
    shared = f"sqlite:///{tmp_path / 'shared.sqlite3'}"
    one, two = (Settings(tmp_path / name, shared, "en", "UTC") for name in ("one", "two"))
    outcome, _, number = begin(one)
    assert outcome == "running"
    assert number is not None
    assert begin(two)[0] == "skipped"
    with open_history(tmp_path, shared) as store:
        watch_store.finish(store, number, acted=0, data={})
    assert begin(two)[0] == "running"


def test_cycle_whose_controller_was_killed_is_waited_for_no_longer_than_its_budget(store: History) -> None:
    told: dict[str, Any] = {"key": "k", "owner": "x", "hosts": 1}
    assert watch_store.begin(store, **told, budget_s=0.2) is not None
    assert watch_store.begin(store, **told, budget_s=0.2) is None
    assert watch_store.begin(store, **{**told, "key": "other"}, budget_s=0.2) is not None
    time.sleep(0.25)
    assert watch_store.begin(store, **told, budget_s=0.2) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "1"}', b'{"pid": -1}', b'{"pid": true}', b"\xff" * 9])
def test_lock_that_says_nothing_is_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "k.lock").write_bytes(content)
    assert watch_lock.take(tmp_path, "k", os.getpid()) is None


def test_lock_of_another_process_with_the_same_number_is_taken(tmp_path: Path) -> None:
    mine = watch_lock.identity(os.getppid())
    assert watch_lock.alive(mine)
    assert not watch_lock.alive({**mine, "started": 1})
    assert not watch_lock.alive({**mine, "boot_id": "another"})
    assert watch_lock.take(tmp_path, "k", os.getppid()) is None
    assert watch_lock.take(tmp_path, "k", os.getpid()) == mine
    assert watch_lock.take(tmp_path, "other", os.getpid()) is None


@pytest.mark.parametrize("value", ["x", "", None, "nan", "inf", -1, 10**7, [3]])
def test_variable_that_is_no_number_is_named(value: object) -> None:
    with pytest.raises(ValueError, match=r"watch_late_s is .*: give a number from 0 in the inventory"):
        watch_cycle.parse_number("watch_late_s", value)
    assert watch_cycle.parse_number("watch_late_s", "4.5") == 4.5
