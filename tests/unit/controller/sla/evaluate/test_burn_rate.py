"""Burn rates: the pairs of windows, how many bad samples it takes, what changed, and what silence means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orquestrador.core.messages import plain
from orquestrador_ops.sla.data import series as samples
from orquestrador_ops.sla.data import spans
from orquestrador_ops.sla.data.series import Series
from orquestrador_ops.sla.evaluate import burn_rate as burn
from orquestrador_ops.sla.evaluate.objectives import Objectives

NOW = 10_000_000.0
OURS = Objectives()
Rates = list[dict[str, Any]]


def looks(minutes: int, bad: set[int] = frozenset(), step_s: int = 60) -> Series:  # type: ignore[assignment]
    """A look every minute until now; ``bad``: which of them, counted back from now."""
    made = samples.empty(minutes)
    made["at"] = NOW - step_s * np.arange(minutes)[::-1]
    made["flags"] = [1 if number in bad else 3 for number in range(minutes)][::-1]
    return made


def firing(rates: Rates) -> list[str]:
    return [rate["name"] for rate in rates if rate["firing"]]


def test_the_pairs_are_those_of_a_budget_of_thirty_days() -> None:
    assert [(one.severity, one.long_s, one.short_s, one.factor) for one in burn.PAIRS] == [
        ("page", 3600, 300, 14.4),
        ("page", 21600, 1800, 6),
        ("ticket", 86400, 7200, 3),
        ("ticket", 259200, 21600, 1),
    ]


@pytest.mark.parametrize(
    ("bad", "fires"),
    [
        (set(), []),
        ({0}, []),  # one lost probe: 16.7 times in the hour, 200 times in five minutes
        ({3}, []),
        ({0, 1}, []),  # two: not yet three in the long window
        ({0, 1, 2}, ["page-fast", "page-slow"]),
        ({0, 50, 55}, []),  # only one of them in any short window of a page, too few in all for a ticket
        ({0, 10, 50, 55, 58}, ["page-slow", "ticket-fast", "ticket-slow"]),
        (set(range(30)), ["page-fast", "page-slow", "ticket-fast", "ticket-slow"]),
        (set(range(10, 40)), ["page-slow", "ticket-fast", "ticket-slow"]),  # the last five minutes are well
        (set(range(40, 70)), ["ticket-fast", "ticket-slow"]),
        ({100, 200, 300}, []),
        ({10, 200, 300, 350, 4000}, ["ticket-slow"]),
    ],
)
def test_what_fires(bad: set[int], fires: list[str]) -> None:
    found = burn.rates(looks(3 * 1440, bad), OURS, NOW)
    assert firing(found) == fires


def test_a_window_is_open_at_its_beginning_and_closed_at_now() -> None:
    found = burn.rates(looks(3 * 1440), OURS, NOW)[0]
    assert (found["total_long"], found["total_short"]) == (60, 5)


def test_burn_is_the_share_of_bad_samples_over_the_budget() -> None:
    found = burn.rates(looks(3 * 1440, {0, 1, 2}), OURS, NOW)[0]
    assert found["long_burn"] == pytest.approx(3 / 60 / 0.001)
    assert found["short_burn"] == pytest.approx(3 / 5 / 0.001)
    assert (found["bad_long"], found["bad_short"]) == (3, 3)


def test_the_minimum_of_bad_samples_is_the_inventorys() -> None:
    made = looks(3 * 1440, set(range(5)))
    assert firing(burn.rates(made, Objectives(burn_min_bad=5), NOW))
    assert not firing(burn.rates(made, Objectives(burn_min_bad=6), NOW))


def test_planned_time_burns_nothing() -> None:
    made = looks(3 * 1440, set(range(10)))
    found = burn.rates(made, OURS, NOW, spans.of([(NOW - 3600, NOW + 1)]))
    assert (firing(found), found[0]["long_burn"], found[0]["total_long"]) == ([], None, 0)


@pytest.mark.parametrize("minutes", [0, 1])
def test_of_nothing_or_one_sample_nothing_fires(minutes: int) -> None:
    found = burn.rates(looks(minutes, {0}), OURS, NOW)
    assert not firing(found)
    assert found[0]["long_burn"] == (None if not minutes else pytest.approx(1000))


def test_samples_after_now_and_of_no_look_do_not_count() -> None:
    made = looks(60, set(range(30)))
    made["flags"][30:] = 0
    later = made.copy()
    later["at"] += 7200
    found = burn.rates(np.concatenate((made, later)), OURS, NOW)
    assert (found[0]["total_long"], found[0]["bad_long"]) == (30, 0)


@settings(max_examples=30)
@given(st.sets(st.integers(0, 400), max_size=30), st.randoms(use_true_random=False))
def test_shuffled_samples_burn_the_same(bad: set[int], shuffle: Any) -> None:
    made = looks(401, bad)
    order = list(range(401)) * 2
    shuffle.shuffle(order)
    assert burn.rates(made[order], OURS, NOW) == burn.rates(made, OURS, NOW)


@given(st.sets(st.integers(0, 400), max_size=30), st.integers(0, 400))
def test_one_more_bad_sample_never_slows_the_burn(bad: set[int], more: int) -> None:
    before, after = (burn.rates(looks(401, which), OURS, NOW) for which in (bad, bad | {more}))
    for one, other in zip(before, after, strict=True):
        assert other["long_burn"] >= one["long_burn"]
        assert other["firing"] >= one["firing"]


def test_what_changed_is_told_once() -> None:
    bad = burn.rates(looks(3 * 1440, set(range(10))), OURS, NOW)
    state, events = burn.transitions({}, bad)
    assert [(one["name"], one["event"]) for one in events] == [(pair.name, "firing") for pair in burn.PAIRS]
    assert plain(events[0]["reason"]) == (
        "The error budget burns at 166.666666667 times the allowed rate, above the limit of 14.4: "
        "10 of 60 probes of the last 3600 were bad"
    )
    assert burn.transitions(state, bad) == (state, [])
    well = burn.rates(looks(3 * 1440), OURS, NOW)
    after, events = burn.transitions(state, well)
    assert {one["event"] for one in events} == {"resolved"}
    assert after == dict.fromkeys(state, False)
    assert burn.transitions(after, well) == (after, [])


def test_silence_is_no_recovery() -> None:
    state, events = burn.transitions({"page-fast": True}, burn.rates(samples.empty(), OURS, NOW))
    assert (state["page-fast"], state["page-slow"], events) == (True, False, [])


def test_a_state_of_another_kind_is_none() -> None:
    well = burn.rates(looks(3 * 1440), OURS, NOW)
    assert burn.transitions({"page-fast": "yes", "gone": True}, well)[1] == []
