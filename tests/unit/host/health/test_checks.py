"""One place says which checks there are: whatever else names checks names these."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from orquestrador.health.checks import CHECK_IDS, CHECKS
from orquestrador.procedures import EMERGENCIES
from orquestrador_ops.procedures.catalog import PROCEDURES

ROOT = Path(__file__).resolve().parents[4]
SOURCES = ROOT / "module_utils/orquestrador/health/checks"


def decorated(path: Path) -> list[str]:
    """The ids under ``@check`` in a source, in the order in which they are written."""
    functions = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)]
    calls = [call for node in functions for call in node.decorator_list if isinstance(call, ast.Call)]
    return [str(ast.literal_eval(call.args[0])) for call in calls if getattr(call.func, "id", "") == "check"]


def test_every_check_that_is_written_is_part_of_a_verdict_once_and_in_order() -> None:
    written = {path.stem: decorated(path) for path in SOURCES.glob("*.py")}
    assert sorted(CHECK_IDS) == sorted(one for ids in written.values() for one in ids)
    assert len(set(CHECK_IDS)) == len(CHECK_IDS) == 15
    for stem, ids in written.items():
        assert [one.id for one in CHECKS if one.judge.__module__.endswith(f".checks.{stem}")] == ids


def test_what_calls_for_a_procedure_is_a_check() -> None:
    assert {check for one in EMERGENCIES.values() for check in one.checks} <= set(CHECK_IDS)


def test_every_step_is_judged_by_checks_that_exist() -> None:
    named = {one for plan in PROCEDURES.values() for step in plan.steps for one in step.checks}
    assert named == set(CHECK_IDS)


@pytest.mark.parametrize("path", ["docs/handbook.md", "docs/handbook.pt-BR.md"])
def test_the_table_of_checks_names_all_of_them_in_order(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z0-9]+\.[a-z]+`(?:,? `[a-z0-9]+\.[a-z]+`)*) \|", text, re.MULTILINE)
    assert [one for row in rows for one in re.findall(r"`([\w.]+)`", row)] == list(CHECK_IDS)
