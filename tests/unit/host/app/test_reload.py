"""The pure parts of a reload: what is taken from PM2's answer, when a worker has failed, what a client noticed."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.app import prober, reload, workers
from orquestrador.app.dist import Dist
from orquestrador.app.health_endpoint import Reply
from orquestrador.app.prober import Asked
from orquestrador.app.reload import Options
from orquestrador.app.workers import Worker
from orquestrador.core.messages import plain
from orquestrador.system import tcp_owner

SECRET = "a-secret-of-the-environment"


def raw(pm_id: Any = 0, name: str = "app", **env: Any) -> dict[str, Any]:
    return {
        "name": name,
        "pid": 100,
        "pm_id": pm_id,
        "pm2_env": {
            "pm_id": pm_id,
            "status": "online",
            "exec_mode": "cluster_mode",
            "restart_time": 1,
            "unstable_restarts": 0,
            "listen_timeout": 8000,
            "env": {"TOKEN": SECRET},
            **env,
        },
    }


def worker(**changes: Any) -> Worker:
    known: dict[str, Any] = {
        "pm_id": 0,
        "pid": 100,
        "status": "online",
        "mode": "cluster",
        "restarts": 1,
        "unstable": 0,
        "listen_timeout_s": 8.0,
    }
    return Worker(**{**known, **changes})


def test_workers_are_selected_and_predecessors_counted() -> None:
    answer = [
        raw(1, pid=1),
        raw("_old_1"),
        raw(0),
        raw(2, name="other"),
        raw(3, exec_mode="fork_mode", listen_timeout=0),
    ]
    found, leaving = workers.select(answer, "app")
    assert [one.pm_id for one in found] == [0, 1, 3]
    assert leaving == 1
    assert (found[0], found[2].mode, found[2].listen_timeout_s) == (worker(), "fork", 3.0)
    assert SECRET not in repr(workers)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=8) | st.floats(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["name", "pm2_env", "pm_id", "pid", "status"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_answer_is_survived(answer: Any) -> None:
    workers.select(answer, "app")


@pytest.mark.parametrize(
    ("changes", "ready", "expected"),
    [
        ({"listen_timeout_s": 8.0}, 20, 6.0),
        ({"listen_timeout_s": 3.0}, 20, 2.0),
        ({"listen_timeout_s": 1.0}, 20, 0.5),
        ({"listen_timeout_s": 60.0}, 20, 20),
        ({"mode": "fork", "listen_timeout_s": 3.0}, 20, 20),
        ({"status": "stopped", "listen_timeout_s": 3.0}, 20, 20),
    ],
)
def test_there_is_time_for_the_way_back_before_the_predecessor_goes(
    changes: dict[str, Any], ready: float, expected: float
) -> None:
    assert workers.limit_of(worker(**changes), ready, way_back=True) == expected
    assert workers.limit_of(worker(**changes), ready, way_back=False) == ready


@pytest.mark.parametrize(
    ("now", "failed"),
    [
        ({"pid": 200, "restarts": 2}, False),
        ({"pid": 200, "restarts": 2, "status": "launching"}, False),
        ({"pid": 201, "restarts": 3}, True),
        ({"pid": 200, "restarts": 3}, True),
        ({"pid": 0, "restarts": 2, "status": "errored"}, True),
        ({"pid": 200, "restarts": 2, "status": "waiting restart"}, True),
    ],
)
def test_a_worker_that_does_not_stay_up(now: dict[str, Any], failed: bool) -> None:
    assert (workers.fallen(worker(), 200, worker(**now)) is not None) is failed


def test_planned_restarts_are_those_of_the_workers_that_were_touched() -> None:
    before = [worker(pm_id=0, restarts=4), worker(pm_id=1, restarts=0), worker(pm_id=2, restarts=5)]
    after = [worker(pm_id=0, restarts=6), worker(pm_id=1, restarts=3), worker(pm_id=2, restarts=0), worker(pm_id=9)]
    assert workers.planned(before, after, {0, 2, 9}) == {"0": 2}


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (200, b'{"status": "ok", "database": "connected"}', ""),
        (200, b'{"status": "ok", "database": "error"}', '"database": "error"'),
        (200, b'{"database": "connected"}', '"status": "None"'),
        (200, b"<html>", '"status": "None"'),
        (503, b'{"status": "ok", "database": "connected"}', "HTTP 503"),
    ],
)
def test_health_answers(status: int, body: bytes, text: str) -> None:
    options = Options("/h", "pm2", "app", urlsplit("http://u:p@127.0.0.1:1/h?t=1"), Dist("/d", "/s"), 1, 1, 1)
    wrong = reload.bad_answer(options, status, body, 7)
    assert (wrong is None) is (text == "")
    assert text in plain(wrong or "")
    assert "u:p" not in plain(wrong or "")


def test_who_has_accepted_a_connection_is_found_in_the_kernel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            ours = client.getsockname()[1]
            assert tcp_owner.inode(port, ours) is None  # nobody has accepted it yet
            accepted, _ = server.accept()
            with accepted:
                number = tcp_owner.inode(port, ours)
                assert number == os.fstat(accepted.fileno()).st_ino
                assert tcp_owner.has(os.getpid(), number)
                assert not tcp_owner.has(1, number)
                assert not tcp_owner.has(2**30, number)


@given(st.lists(st.text(max_size=120), max_size=5))
def test_any_table_of_connections_is_survived(lines: list[str]) -> None:
    tcp_owner.parse_connection(lines, 3001, 4000)


@pytest.mark.parametrize(
    ("asked", "failures", "gap"),
    [
        ([], 0, 0),
        ([Asked(0, 1, None), Asked(1, 2, None)], 0, 0),
        ([Asked(0, 0.1, None), Asked(0.2, 0.3, "refused"), Asked(0.4, 0.5, "refused"), Asked(0.6, 0.7, None)], 2, 0.5),
        # A second client that hangs meanwhile: the gap began when its request did.
        ([Asked(0.1, 2.1, "timeout"), Asked(2.2, 2.3, None), Asked(3, 3.1, "refused"), Asked(3.2, 3.3, None)], 2, 2.2),
        ([Asked(0, 1, None), Asked(1, 1.5, "refused"), Asked(2, 4, "refused")], 2, 3),
    ],
)
def test_gaps(asked: list[Asked], failures: int, gap: float) -> None:
    counted = prober.summary(asked)
    assert (counted["requests"], counted["failures"]) == (len(asked), failures)
    assert counted["longest_gap_s"] == pytest.approx(gap)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5), st.sampled_from([None, "refused"])), max_size=30))
def test_a_gap_is_within_what_was_asked_and_needs_a_failure(items: list[tuple[float, float, str | None]]) -> None:
    asked = [Asked(began, began + took, error) for began, took, error in items]
    counted = prober.summary(asked)
    assert 0 <= counted["longest_gap_s"] <= 105.01
    assert (counted["failures"] > 0) or counted["longest_gap_s"] == 0


def test_the_prober_keeps_its_rate_and_counts_bad_answers() -> None:
    lock, seen = threading.Lock(), [0]

    def ask(_parts: Any, _deadline: float) -> Reply:
        with lock:
            seen[0] += 1
            bad = seen[0] % 5 == 0
        return Reply(500 if bad else 200, None, b"", False, 1.0, None)

    with prober.Prober(urlsplit("http://127.0.0.1:1/"), 50, ask=ask) as running:
        threading.Event().wait(0.6)
        running.stop()
    counted = running.counted()
    assert counted["requests"] == seen[0]
    assert 3 <= counted["requests"] <= 36
    assert counted["errors"] == ({"HTTP 500": seen[0] // 5} if seen[0] >= 5 else {})
