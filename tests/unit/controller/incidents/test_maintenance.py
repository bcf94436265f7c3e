"""Maintenance windows: what may be opened, when one is open, and that one nobody closes is over by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.core.i18n import epoch, translator
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.store import History
from orquestrador_ops.incidents import maintenance
from orquestrador_ops.incidents.maintenance import WindowError

NOW = 1_780_000_000.0
TR = translator("en", "America/Sao_Paulo")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[History]:
    with open_history(tmp_path) as opened:
        yield opened


def begin(store: History, **more: Any) -> dict[str, Any]:
    given_: dict[str, Any] = {
        "host": "web-01",
        "reason": "works",
        "ends_at": NOW + 3600,
        "operator": "ana",
        "max_h": 24,
    }
    return maintenance.begin(store, **{**given_, "now": NOW, **more})


@pytest.mark.parametrize(
    ("text", "ahead_s"),
    [("+2h", 7200), ("+90m", 5400), ("+90min", 5400), ("+1d", 86400), ("+1d2h3m", 93780), (" +2H ", 7200)],
)
def test_an_end_from_now(text: str, ahead_s: float) -> None:
    assert maintenance.until(text, NOW, TR) == NOW + ahead_s


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31 18:00", "2026-01-31T18:00:00-03:00"),  # the operator's zone
        ("2026-01-31T18:00:00+00:00", "2026-01-31T18:00:00+00:00"),
        ("2026-01-31T18:00Z", "2026-01-31T18:00:00+00:00"),
    ],
)
def test_an_end_as_a_time(text: str, moment: str) -> None:
    assert maintenance.until(text, NOW, TR) == datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize("text", ["", "soon", "+", "+h", "2h", "+2x", "-2h", "99999-01-01", "tomorrow", "1e5"])
def test_what_is_no_end_is_named(text: str) -> None:
    with pytest.raises(WindowError) as caught:
        maintenance.until(text, NOW, TR)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_an_end_or_is_refused(text: str) -> None:
    try:
        maintenance.until(text, NOW, TR)
    except WindowError as error:
        assert TR.message(error.message)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": "  "}, "needs a reason"),
        ({"ends_at": NOW - 1}, "is past"),
        ({"ends_at": NOW + 25 * 3600}, "is longer than 1 d"),
    ],
)
def test_what_can_not_be_opened(store: History, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(WindowError) as caught:
        begin(store, **changes)
    assert said in TR.message(caught.value.message)
    assert maintenance.open_windows(store, None, NOW) == []


def test_a_window_is_open_until_its_end_and_of_its_host_alone(store: History) -> None:
    begin(store)
    found = maintenance.active(store, "web-01", NOW + 3599)
    assert found
    assert (found["reason"], found["operator"], epoch(found["ends_at"])) == ("works", "ana", NOW + 3600)
    assert maintenance.active(store, "web-01", NOW + 3600) is None
    assert maintenance.active(store, "web-02", NOW) is None


def test_overlapping_windows_hold_until_the_last_ends_and_are_closed_together(store: History) -> None:
    begin(store)
    begin(store, ends_at=NOW + 7200, reason="more")
    found = maintenance.active(store, "web-01", NOW + 10)
    assert found
    assert found["reason"] == "more"
    assert len(maintenance.end(store, "web-01", NOW + 20, check_mode=True)) == 2
    assert maintenance.active(store, "web-01", NOW + 20)
    assert len(maintenance.end(store, "web-01", NOW + 20)) == 2
    assert maintenance.active(store, "web-01", NOW + 20) is None
    assert maintenance.end(store, "web-01", NOW + 21) == []


def test_check_mode_opens_nothing(store: History) -> None:
    assert begin(store, check_mode=True)["id"] is None
    assert maintenance.open_windows(store, "web-01", NOW) == []
