"""What is left when service levels were evaluated: roll-ups and metrics."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orquestrador_ops.core.i18n import translator
from orquestrador_ops.history.store import History
from orquestrador_ops.sla import alerts, publish
from orquestrador_ops.sla.evaluate.objectives import Objectives
from tests.unit.controller.sla import known

TR = translator("en", "UTC")

ROOT = Path(__file__).resolve().parents[4]
SETTLE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from orquestrador_ops.history.access import open_history
from orquestrador_ops.sla import publish
with open_history(Path(sys.argv[1])) as store:
    wanted = {"raw_days": 7, "fine_days": 30, "textfile": sys.argv[2]}
    done = publish.publish(SimpleNamespace(store=store, now=1e9), {}, {}, wanted, "UTC")
print(done.textfile, "prometheus_client" in sys.modules)
"""


@pytest.mark.parametrize("textfile", ["", "a.prom"])
def test_the_library_of_metrics_is_loaded_only_where_metrics_are_written(tmp_path: Path, textfile: str) -> None:
    wanted = str(tmp_path / textfile) if textfile else ""
    command = [sys.executable, "-c", SETTLE, tmp_path / "state", wanted]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == [wanted or "None", str(bool(textfile))], done.stderr
    assert (tmp_path / "a.prom").exists() is bool(textfile)


@pytest.fixture
def context(store: History) -> Any:
    return SimpleNamespace(store=store, now=1_800_000_000.0)


OPTIONS = {"raw_days": 7, "fine_days": 30, "textfile": ""}


def test_a_preview_writes_nothing(store: History) -> None:
    document = {**known.document(), "burn": []}
    outcome = publish.preview(store, {"web-01": [document], "web-02": []})
    assert (list(outcome.notes), outcome.opened, outcome.rolled_up) == (["web-01"], [], {})
    assert store.recall("web-01", alerts.PROCEDURE) == {}


def test_what_burned_is_remembered_and_metrics_are_written_whole(context: Any, tmp_path: Path) -> None:
    document, path = {**known.document(), "burn": []}, tmp_path / "sla.prom"
    outcome = publish.publish(
        context, {"web-01": [document]}, {"web-01": Objectives()}, {**OPTIONS, "textfile": str(path)}, "UTC"
    )
    assert outcome.textfile == str(path)
    assert 'host="web-01"' in path.read_text()
    assert "objectives" in context.store.recall("web-01", alerts.PROCEDURE)
    logs = {"web-01": {"failed": True, "msg": "boom\x1b[31m"}}
    lines = publish.lines(outcome, {"web-01": [document]}, logs, TR)
    assert lines[-1].endswith(str(path))
    assert "could not be counted" in lines[-2]
    assert "\x1b" not in lines[-2]


@pytest.mark.parametrize("enforce", [False, True])
def test_a_missed_level_fails_only_where_that_is_asked_for(enforce: bool) -> None:
    found = publish.result(publish.Outcome(), {"web-01": [known.document()], "web-02": []}, TR, enforce=enforce)
    assert list(found["missed"]) == ["web-01"]
    assert found.get("failed", False) is enforce
    assert not found["changed"]


@pytest.mark.parametrize("item", [{}, {"results": None}, {"results": [{"document": None}, {"asked": "month"}]}])
def test_a_result_without_documents_has_none(item: dict[str, Any]) -> None:
    assert publish.documents_of(item) == []
