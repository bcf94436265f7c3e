"""Where records lie, and how a document is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orquestrador_ops.cli import options


def test_a_directory_by_name_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPS_STATE_DIR", "~/of-environment")
    assert options.state_dir_of(None) == tmp_path / "of-environment"
    assert options.state_dir_of(Path("~/named/../x")) == tmp_path / "x"


def test_a_document_is_json_for_programs_and_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"a": "ação", "path": Path("/x")}
    options.print_document(document, ["one", "two"], as_json=True)
    assert json.loads(capsys.readouterr().out) == {"a": "ação", "path": "/x"}
    options.print_document(document, iter(["one", "two"]), as_json=False)
    assert capsys.readouterr().out == "one\ntwo\n"
