"""What is counted of error events, and what is forgotten."""

from __future__ import annotations

from typing import Any

from orquestrador.logs import tally
from orquestrador.logs.tally import Tally

NOW = 1_700_000_000.0
DAY_S = 86400


def fresh(known: dict[str, list[float]] | None = None) -> Tally:
    memory: dict[str, Any] = {"day": {}, "known": known or {}}
    return Tally(memory, NOW, DAY_S)


def test_an_event_from_before_the_last_run_counts_for_the_day_only() -> None:
    counted = fresh()
    counted.since = NOW - 60
    counted.add("a", b"Error: a", NOW - 3600)
    counted.add("a", b"Error: a", NOW - 30)
    counted.add("b", b"Error: b", NOW - 2 * DAY_S)
    assert (counted.errors, counted.errors_day()) == (1, 2)


def test_an_event_of_an_earlier_life_of_the_file_is_not_counted_again() -> None:
    counted = fresh()
    counted.ignore_before = NOW - 60
    counted.add("a", b"Error: a", NOW - 61)
    assert (counted.errors, counted.errors_day(), counted.known) == (0, 0, {})


def test_the_most_frequent_event_is_first_and_what_was_known_is_not_new() -> None:
    counted = fresh({"old": [NOW - 3600, 7]})
    counted.add("old", b"Error: old", NOW - 30)
    for _ in range(2):
        counted.add("new", b"Error: new", NOW - 20)
    assert [(one["fingerprint"], one["count"], one["new"]) for one in counted.fingerprints()] == [
        ("new", 2, True),
        ("old", 1, False),
    ]
    assert counted.new_prints() == 1


def test_an_event_that_is_told_apart_later_moves_to_its_new_fingerprint() -> None:
    counted = fresh()
    counted.add("vague", b"Error", NOW - 30)
    counted.refine("vague", "exact", NOW - 30)
    assert list(counted.known) == ["exact"]
    assert [one["fingerprint"] for one in counted.fingerprints()] == ["exact"]


def test_the_fingerprints_seen_last_are_remembered() -> None:
    counted = fresh()
    for number in range(tally.MAX_KNOWN + 10):
        counted.add(f"{number:05}", b"Error", NOW - DAY_S + number)
    counted.forget()
    assert len(counted.known) == tally.MAX_KNOWN
    assert "00009" not in counted.known
    assert "00010" in counted.known
