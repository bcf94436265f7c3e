"""One word for each end: tables that say what it is called hold what can be, and nothing else writes the words."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from orquestrador.health.checks import CHECKS
from orquestrador_ops.cli.commands import render
from orquestrador_ops.core import outcomes
from orquestrador_ops.reports import labels
from orquestrador_ops.watch import cycle, decisions
from tests.unit.fakes.loading import load

ROOT = Path(__file__).resolve().parents[4]
# Words that mean nothing else anywhere; service levels are met by figures of their own.
ONLY_HERE = {outcomes.MET, outcomes.NOT_MET, outcomes.RECOVERED, outcomes.INTERRUPTED}
ELSEWHERE = {"sla", "export", "data", "evaluate", "report", "exchange"}


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (labels.CHECK_WORDS, outcomes.OF_CHECK),
        (labels.OVERALL_WORDS, outcomes.OF_VERDICT),
        (labels.STEP_WORDS, outcomes.OF_STEP),
        (labels.OUTCOME_WORDS, outcomes.OF_CONCLUSION),
        (render._OUTCOMES, outcomes.OF_RUN),
        (render._OVERALL, outcomes.OF_VERDICT),
        (cycle._ENDS, outcomes.OF_WATCHED),
    ],
    ids=["checks", "verdicts", "steps", "conclusions", "runs", "verdicts of the command", "the watch"],
)
def test_a_table_of_words_has_every_end_and_no_other(table: dict[str, Any], words: tuple[str, ...]) -> None:
    assert set(table) == set(words)
    assert len(words) == len(set(words))


def test_every_end_has_a_tone_or_is_unknown() -> None:
    ends = {*outcomes.OF_CHECK, *outcomes.OF_VERDICT, *outcomes.OF_STEP, *outcomes.OF_CONCLUSION}
    assert ends - set(labels.TONES) == {outcomes.UNKNOWN}


def test_what_is_not_well_is_an_end_of_the_watch() -> None:
    assert set(decisions.NOT_WELL) < set(outcomes.OF_WATCHED)


def test_the_module_documents_the_ends_of_an_emergency() -> None:
    documented = load("library/emergency.py").RETURN
    assert all(f"C({word})" in documented for word in outcomes.OF_EMERGENCY)


def test_words_stay_what_histories_and_reports_have() -> None:
    assert outcomes.OF_RUN == ("met", "not_met", "unreachable", "error", "timeout", "interrupted")
    assert outcomes.OF_STEP == ("ok", "changed", "skipped", "warn", "unknown", "failed")
    assert outcomes.OF_EMERGENCY == ("healthy", "recovered", "failed", "refused")
    assert outcomes.OF_RECOVERY == ("recovered", "failed", "nothing")
    assert len(CHECKS) == 15


def written(path: Path) -> set[str]:
    """String literals that are compared, returned or stored: keys of documents are none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        values: list[Any] = []
        if isinstance(node, ast.Compare):
            values = [node.left, *node.comparators]
        elif isinstance(node, (ast.Return, ast.Assign)):
            values = [node.value]
        found |= {value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)}
    return found & ONLY_HERE


def test_nobody_writes_the_words_again() -> None:
    paths = [*(ROOT / "orquestrador_ops").rglob("*.py"), *(ROOT / "module_utils/orquestrador/emergency").rglob("*.py")]
    ours = [path for path in paths if not ELSEWHERE & set(path.relative_to(ROOT).parts)]
    assert len(ours) > 80
    found = {path.relative_to(ROOT).as_posix(): written(path) for path in ours}
    assert {path: words for path, words in found.items() if words} == {}
