"""Evidence of steps as people read it, and the sections of the monthly report."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.core.i18n import translator
from orquestrador_ops.procedures import outcome as routines
from orquestrador_ops.reports import evidence, view
from orquestrador_ops.reports import writer as report
from tests.unit.controller.reports.test_writer import MARKDOWN, Page, Run

PT, EN = translator("pt_BR"), translator("en")


def message(text: str, **args: Any) -> dict[str, Any]:
    return {"text": text, "args": args}


@pytest.mark.parametrize(
    ("given_evidence", "facts"),
    [
        ({"freed_bytes": 1048576}, [("1 MB")]),
        ({"duration_s": 90}, ["1 min 30 s"]),
        ({"id": "20261122T120000Z-abcdef"}, ["20261122T120000Z-abcdef"]),
        ({"deleted": ["a", "b"]}, ["a, b"]),
        ({"deleted": []}, []),
        ({"why": message("{left_bytes} left", left_bytes=2048)}, ["2 KB left"]),
        ({"lease": {"run_id": "x"}}, []),
        ({"nothing": None}, []),
        ({"nested": {"took_s": 2.0, "deeper": {"x": 1}}}, ["2 s"]),
        ({"ok": True}, ["yes"]),
    ],
)
def test_figures_have_their_units(given_evidence: dict[str, Any], facts: list[str]) -> None:
    shown = evidence.of("a_step", "A step", given_evidence, EN)
    assert [fact["value"] for fact in shown["facts"]] == facts


def test_rows_become_tables_and_long_ones_say_so() -> None:
    rows = [{"table": f"t{number}", "before_bytes": 1024 * number} for number in range(evidence.MAX_ROWS + 5)]
    (table,) = evidence.of("a_step", "A step", {"tables": rows}, EN)["tables"]
    assert table["title"] == f"Tables ({evidence.MAX_ROWS} of {evidence.MAX_ROWS + 5})"
    assert table["rows"][1] == ["t1", "1 KB"]
    by_name = evidence.of("a_step", "A step", {"tables": {"message": {"rows": 3}, "odd": {}}}, EN)["tables"][0]
    assert by_name["rows"] == [["message", "3"], ["odd", "–"]]


def test_output_is_kept_printable_and_bounded() -> None:
    shown = evidence.of("a_step", "A step", {"output": "\x1b[31mred\x1b[0m\n" * 500}, EN)
    assert len(shown["output"]) == evidence.MAX_OUTPUT
    assert "\x1b" not in "".join(shown["output"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["output", "tables", "x_bytes", "text", "a|b", "y_at"]), JSON, max_size=6))
def test_any_evidence_can_be_shown(anything: dict[str, Any]) -> None:
    evidence.of("a_step", "A step", anything, PT)


def monthly(snapshot: dict[str, Any], verdict: dict[str, Any], results: dict[str, Any], **more: Any) -> dict[str, Any]:
    steps, outcome = routines.conclude("monthly", snapshot, verdict, results)
    return {
        "run_id": "20261122T120000Z-abc123",
        "procedure": "monthly",
        "host": "web-01",
        "operator": "ana",
        "check_mode": False,
        "started_at": "2026-11-22T12:00:00+00:00",
        "ended_at": "2026-11-22T12:04:01+00:00",
        "budget_s": 1800.0,
        "steps": steps,
        "outcome": outcome,
        "period": {
            "since_at": "2026-10-23T12:00:00+00:00",
            "probes": 200,
            "probes_good": 199,
            "runs": 30,
            "runs_met": 28,
        },
        **more,
    }


FINE = {
    name: {"changed": True}
    for name in (
        "database_backup",
        "database_verify",
        "code_backup",
        "database_optimize",
        "app_build",
        "pm2_reload",
        "backup_copy",
    )
}


@pytest.fixture
def month(healthy: Run) -> Run:
    _, snapshot, verdict = healthy
    assert snapshot
    assert verdict
    results = {
        **FINE,
        "lease": {"changed": False, "failed": False},
        "npm_audit": {"changed": False, "evidence": {"before": {"critical": 0, "high": 2}, "after": None}},
        "app_tests": {
            "changed": False,
            "note": message("{passed} of {expected} tests passed", passed=28, expected=28),
            "evidence": {"output": [f"line {number} `<b>`" for number in range(40)]},
        },
        "backup_retention": {"changed": False},
        "pm2_reload": {"changed": True, "evidence": {"uptime_before_s": 3 * 86400}},
        "log_errors": {
            "changed": False,
            "note": message("{count} error events in seven days", count=7),
            "evidence": {"errors": 7, "events": [{"count": 7, "sample": "Error: | <x>"}]},
        },
    }
    return monthly(copy.deepcopy(snapshot), verdict, results), snapshot, verdict


def test_month_has_every_section_from_what_was_measured(month: Run) -> None:
    assert month[0]["outcome"] == "met", month[0]["steps"]
    made = view.build(*month, PT)
    assert [section["title"] for section in made["sections"]] == [
        "Tempo no ar",
        "Estado de saúde",
        "Testes",
        "Logs de erro (últimos 7 dias)",
        "Ações tomadas",
        "Próximas ações",
    ]
    uptime, health, tests, errors, actions, following = made["sections"]
    assert "3 d" in uptime["paragraphs"][0]
    assert "200" in uptime["paragraphs"][1]
    assert "99,5%" in uptime["paragraphs"][1]
    assert len(health["tables"][0]["rows"]) == 15
    assert tests["output"] == [f"line {number} `<b>`" for number in range(20, 40)]
    assert errors["tables"][0]["rows"][0] == ["7", "Error: | <x>"]
    assert all(item["done"] for item in actions["items"])
    assert len(actions["items"]) == 9
    assert [item["done"] for item in following["items"]] == [False, False, True]
    assert following["items"][1]["text"].endswith("2")


def test_month_is_laid_out_whole(month: Run) -> None:
    made = view.build(*month, PT)
    page = Page(report.render(made, "html", PT))
    assert "☑ feito: Recarga, um worker por vez: FEITO" in page.text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    text = report.render(made, "md", PT)
    assert not [token for token in MARKDOWN.parse(text) if token.type.startswith("html")]
    assert "- [x] Recarga, um worker por vez" in text
    assert "\n\n\n" not in text


def test_a_step_that_another_kept_from_running_says_which(healthy: Run) -> None:
    _, snapshot, verdict = healthy
    steps, outcome = routines.conclude(
        "monthly", snapshot, verdict, {**FINE, "app_build": {"failed": True, "msg": "x"}, "pm2_reload": {}}
    )
    assert outcome == "not_met"
    step = next(step for step in steps if step["id"] == "pm2_reload")
    assert step["status"] == "unknown"
    assert PT.message(step["note"]).count("Build da aplicação") == 1


@pytest.mark.parametrize(
    ("result", "well"),
    [
        ({"changed": True}, True),
        ({"changed": False, "status": "warn"}, True),
        ({"changed": False, "status": "skipped"}, True),
        ({"failed": True, "msg": "x"}, False),
        ({"unreachable": True, "msg": "x"}, False),
        ({"changed": False, "status": "unknown"}, False),
        ({"changed": False, "skipped": True}, False),
        ({}, False),
        (None, False),
    ],
)
def test_only_what_ended_well_is_built_upon(result: Any, well: bool) -> None:
    assert routines.ended_well(result) is well


@pytest.mark.parametrize(
    ("result", "count"),
    [
        ({"evidence": {"planned_restarts": {"0": 1, "1": 2}}}, 3),
        ({"evidence": {"planned_restarts": {}}}, 0),
        ({"evidence": {}}, 0),
        ({"failed": True, "msg": "x"}, 0),
        ({}, 0),
        (None, 0),
    ],
)
def test_restarts_of_a_reload_are_counted_as_its_own(result: Any, count: int) -> None:
    assert routines.planned_restarts(result) == count
