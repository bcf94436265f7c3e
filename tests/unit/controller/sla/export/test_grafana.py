"""The dashboard: every panel in its place, whatever the language and the objectives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orquestrador_ops.sla.evaluate.objectives import Objectives
from orquestrador_ops.sla.export import grafana
from tests.unit.controller.sla.exported import expressions


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    return {
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    }


@pytest.mark.parametrize("objectives", [Objectives(), Objectives(uptime=0.5, response_ms=1.0, recovery_s=1e6)])
def test_panels_have_their_own_place_and_number(objectives: Objectives) -> None:
    panels = json.loads(grafana.dashboard(objectives))["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert not cells(panel) & taken
        taken |= cells(panel)
    assert {x for x, _ in taken} == set(range(grafana.WIDTH))
    assert all(panel.get("targets") for panel in panels if panel["type"] != "row")


def test_a_language_changes_words_and_no_query() -> None:
    english, portuguese = (grafana.dashboard(Objectives(), locale=locale) for locale in ("en", "pt_BR"))
    assert expressions(english) == expressions(portuguese)
    assert json.loads(portuguese)["uid"] == "orquestrador-sla-pt-br"
    titles = [[panel["title"] for panel in json.loads(one)["panels"]] for one in (english, portuguese)]
    assert sum(a != b for a, b in zip(*titles, strict=True)) > len(titles[0]) / 2


def test_a_stricter_objective_is_drawn() -> None:
    assert grafana.dashboard(Objectives(uptime=0.9995)) != grafana.dashboard(Objectives())
