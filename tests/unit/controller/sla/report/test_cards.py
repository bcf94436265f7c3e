"""Cards of service levels in words, of a real month and of anything else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.core.i18n import translator
from orquestrador_ops.sla.report.cards import VERDICTS, Cards, mapping, number
from orquestrador_ops.sla.report.wording import Wording
from tests.unit.controller.sla import known

CARDS = Cards(Wording(translator("en", "UTC")))
WILD = st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.dictionaries(st.text(max_size=5), st.none())


def test_a_month_with_an_outage() -> None:
    cards = {sla["id"]: CARDS.card(sla) for sla in known.document()["slas"]}
    assert (cards["uptime"]["word"], cards["uptime"]["value"]) == ("NOT PROVEN", "99.946%")
    assert cards["uptime"]["objective"] == "at least 99.9%"
    assert cards["uptime"]["between"] == "between 99.686% and 99.946%"
    assert cards["uptime"]["budget"] == {"text": "20 min 38 s of 44 min 38 s left", "left": "46.2", "tone": "good"}
    assert cards["response"]["objective"] == "at least 95% in less than 200 ms"
    assert (cards["recovery"]["tone"], cards["recovery"]["budget"]) == ("bad", None)


@pytest.mark.parametrize(
    ("sla", "left"),
    [
        ({"budget_minutes": 40.0, "remaining_minutes": 40.0}, ("100.0", "good")),
        ({"budget_minutes": 40.0, "remaining_minutes": 9.9}, ("24.8", "warn")),
        ({"budget_minutes": 40.0, "remaining_minutes": -80.0}, ("0.0", "bad")),
        ({"budget_events": 10.0, "remaining_events": -0.5}, ("0.0", "bad")),
    ],
)
def test_a_budget_is_within_its_bar(sla: dict[str, Any], left: tuple[str, str]) -> None:
    budget = CARDS.budget(sla)
    assert budget is not None
    assert (budget["left"], budget["tone"]) == left


@pytest.mark.parametrize("sla", [{}, {"budget_minutes": 0, "remaining_minutes": 0}, {"budget_events": float("nan")}])
def test_without_a_budget_there_is_no_bar(sla: dict[str, Any]) -> None:
    assert CARDS.budget(sla) is None


@given(st.dictionaries(st.sampled_from(["budget_minutes", "remaining_minutes", "title", "action"]), st.none()))
def test_what_is_not_known_is_a_card_without_figures(sla: dict[str, Any]) -> None:
    card = CARDS.card(sla)
    assert (card["tone"], card["value"], card["budget"]) == ("unknown", "–", None)


@given(WILD)
def test_only_figures_are_figures(value: Any) -> None:
    found = number(value)
    assert found is None or (found == value and not isinstance(value, bool))
    assert mapping(value) == (value if isinstance(value, dict) else {})


@pytest.mark.parametrize("verdict", [*VERDICTS, "\x1b[31m", None])
def test_every_verdict_has_its_word(verdict: Any) -> None:
    assert CARDS.card({"verdict": verdict})["word"] in {"MET", "MISSED", "NOT PROVEN", "NO DATA"}
