"""The circuit breaker: its arithmetic, and that it holds when several controllers ask at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History
from orquestrador_ops.incidents import breaker
from orquestrador_ops.incidents.breaker import CLOSED, HALF_OPEN, OPEN, BreakerStore, Limits

NOW = 1_780_000_000.0
LIMITS = Limits(3, 3600, 1800)
HOST, PROCEDURE = "web-01", "offline"


def begun(*ages: float, outcome: str | None = "failed") -> list[dict[str, Any]]:
    return [{"started_at": NOW - age, "outcome": outcome} for age in ages]


@pytest.mark.parametrize(
    ("row", "recoveries", "state", "counted"),
    [
        ({}, [], CLOSED, 0),
        ({}, begun(10, 20), CLOSED, 2),
        ({}, begun(10, 20, 30), OPEN, 3),
        ({}, begun(10, 20, 30, outcome=None), OPEN, 3),  # killed controllers
        ({}, begun(10, 20, 30, outcome="recovered"), OPEN, 3),
        ({}, begun(10, 20, 30, outcome="nothing"), CLOSED, 0),
        ({}, begun(10, 20, 3600), CLOSED, 2),
        ({}, begun(10, 20, -30), OPEN, 3),  # another controller's clock
        ({}, begun(10, 20, -90), CLOSED, 2),  # a clock that jumped back
        ({"closed_at": NOW - 15}, begun(10, 20, 30), CLOSED, 1),
        ({"closed_at": NOW + 9999}, begun(10, 20, 30), CLOSED, 0),
        ({"opened_at": NOW - 1799}, [], OPEN, 0),
        ({"opened_at": NOW - 1800}, [], HALF_OPEN, 0),
        ({"opened_at": NOW + 10**9}, [], OPEN, 0),
        ({"opened_at": NOW - 5000, "trial_at": NOW - 1799}, [], OPEN, 0),  # the trial runs
        ({"opened_at": NOW - 5000, "trial_at": NOW - 1800}, [], HALF_OPEN, 0),  # or was killed
    ],
)
def test_arithmetic(row: dict[str, Any], recoveries: list[dict[str, Any]], state: str, counted: int) -> None:
    found = breaker.judge(row, recoveries, LIMITS, NOW)
    assert (found.state, found.recoveries) == (state, counted)
    assert (found.retry_at is None) == (state == CLOSED)


moments = st.none() | st.floats(0, 4e9)


@given(moments, moments, st.lists(st.tuples(st.floats(0, 4e9), st.sampled_from([None, "failed", "nothing"]))))
def test_nothing_waits_longer_than_a_cool_down(
    opened: float | None, trial: float | None, rows: list[tuple[float, str | None]]
) -> None:
    recoveries = [{"started_at": at, "outcome": outcome} for at, outcome in rows]
    found = breaker.judge({"opened_at": opened, "trial_at": trial}, recoveries, LIMITS, NOW)
    assert found.retry_at is None or found.retry_at <= NOW + LIMITS.cooldown_s
    assert 0 <= found.recoveries <= len(rows)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[History]:
    with open_history(tmp_path) as opened:
        yield opened


def at_hand(store: History, at: float = NOW, host: str = HOST, procedure: str = PROCEDURE) -> BreakerStore:
    return BreakerStore(store, host, procedure, LIMITS, at)


def enter(store: History, run: str, at: float = NOW, closed_by: str | None = None) -> tuple[str, bool]:
    found, allowed = at_hand(store, at).enter(run, automatic=True, closed_by=closed_by)
    return found.state, allowed


def settle(store: History, run: str, outcome: str, at: float = NOW) -> tuple[str, bool]:
    found, opened = at_hand(store, at).settle(run, outcome)
    return found.state, opened


def broken(store: History, count: int = 3, at: float = NOW) -> None:
    for number in range(count):
        assert enter(store, f"r{number}", at) == (CLOSED, True)
        settle(store, f"r{number}", "failed", at)


def test_the_third_broken_recovery_opens_it_and_the_fourth_does_not_begin(store: History) -> None:
    for number in range(3):
        assert enter(store, f"r{number}") == (CLOSED, True)
        assert settle(store, f"r{number}", "failed") == ((OPEN, True) if number == 2 else (CLOSED, False))
    assert enter(store, "r3", NOW + 1) == (OPEN, False)
    assert settle(store, "r3", "failed", NOW + 1) == (OPEN, False)
    assert [one["state"] for one in breaker.not_closed(store, LIMITS, NOW + 2)] == [OPEN]


def test_recoveries_whose_controller_was_killed_count(store: History) -> None:
    for number in range(3):
        assert enter(store, f"r{number}")[1]
    assert enter(store, "r3", NOW + 5) == (OPEN, False)
    # It keeps since when, so that asking again does not put the trial off.
    assert enter(store, "r4", NOW + 5 + LIMITS.cooldown_s) == (HALF_OPEN, True)


def test_a_healthy_host_counts_nothing(store: History) -> None:
    for number in range(9):
        assert enter(store, f"r{number}") == (CLOSED, True)
        settle(store, f"r{number}", "nothing")
    assert at_hand(store).look().recoveries == 0


@pytest.mark.parametrize(
    ("outcome", "then", "later"),
    [("recovered", CLOSED, CLOSED), ("failed", OPEN, HALF_OPEN), ("nothing", HALF_OPEN, HALF_OPEN)],
)
def test_one_trial_after_the_cool_down(store: History, outcome: str, then: str, later: str) -> None:
    broken(store)
    at = NOW + LIMITS.cooldown_s
    assert enter(store, "trial", at) == (HALF_OPEN, True)
    assert enter(store, "beside", at + 1) == (OPEN, False)
    assert settle(store, "trial", outcome, at + 2)[0] == then
    assert settle(store, "trial", "failed", at + 3)[0] == then  # settled is settled
    assert at_hand(store, at + 3 + LIMITS.cooldown_s).look().state == later


def test_a_trial_that_was_killed_is_followed_by_another(store: History) -> None:
    broken(store)
    assert enter(store, "killed", NOW + LIMITS.cooldown_s) == (HALF_OPEN, True)
    assert enter(store, "next", NOW + 2 * LIMITS.cooldown_s) == (HALF_OPEN, True)


def test_closing_by_hand_begins_anew(store: History) -> None:
    broken(store)
    assert at_hand(store, NOW + 1).close("ana")
    assert not at_hand(store, NOW + 2).close("ana")
    assert enter(store, "after", NOW + 3) == (CLOSED, True)


def test_a_run_may_close_it_itself(store: History) -> None:
    broken(store)
    assert enter(store, "by-hand", NOW + 1, closed_by="ana") == (CLOSED, True)


def test_a_clock_that_jumped_back_wedges_nothing(store: History) -> None:
    broken(store)
    past = NOW - 10**8
    assert enter(store, "a", past) == (OPEN, False)
    assert enter(store, "b", past + LIMITS.cooldown_s) == (HALF_OPEN, True)
    assert settle(store, "b", "recovered", past + LIMITS.cooldown_s)[0] == CLOSED
    assert enter(store, "c", past + LIMITS.cooldown_s + 1) == (CLOSED, True)


def test_other_hosts_and_procedures_have_breakers_of_their_own(store: History) -> None:
    broken(store)
    assert at_hand(store, procedure="database").look().state == CLOSED
    assert at_hand(store, host="web-02").look().state == CLOSED


def _race(state: str, run: str, at: float, answers: Any) -> None:
    with open_history(Path(state)) as store:
        answers.put(enter(store, run, at)[1])


@pytest.mark.parametrize(("trial", "through"), [(False, 3), (True, 1)])
def test_of_controllers_that_ask_at_once_only_so_many_get_through(tmp_path: Path, trial: bool, through: int) -> None:
    at = NOW
    with open_history(tmp_path) as store:
        if trial:
            broken(store)
            at += LIMITS.cooldown_s
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    racers = [context.Process(target=_race, args=(str(tmp_path), f"x{n}", at, answers)) for n in range(8)]
    for racer in racers:
        racer.start()
    allowed = [answers.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join(20)
    assert allowed.count(True) == through
