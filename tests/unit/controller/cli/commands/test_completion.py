"""What the shell completes; whatever is wrong completes to nothing, and says nothing."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orquestrador_ops.cli.commands import completion
from orquestrador_ops.history.access import open_history
from orquestrador_ops.incidents import store as incidents


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ansible.cfg").write_text("[defaults]\ninventory = hosts.yml\n")
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    web-01:\n    web-02:\n    db-01:\n")
    (tmp_path / "playbooks" / "routine").mkdir(parents=True)
    for name in ("daily", "weekly"):
        (tmp_path / "playbooks" / "routine" / f"{name}.yml").write_text("- hosts: all\n")
    monkeypatch.setenv("OPS_PROJECT", str(tmp_path))
    monkeypatch.delenv("OPS_HISTORY_URL", raising=False)
    return tmp_path


def context(**params: Any) -> Any:
    return SimpleNamespace(params=params)


def test_procedures_and_hosts_by_how_they_begin(checkout: Path) -> None:
    assert completion.procedures("d") == ["daily"]
    assert completion.procedures("\x1b") == []
    assert completion.hosts(context(), "web") == ["web-01", "web-02"]
    (checkout / "other.yml").write_text("all:\n  hosts:\n    app-01:\n")
    assert completion.hosts(context(inventory=[str(checkout / "other.yml")]), "") == ["app-01"]


def test_open_incidents_by_number(checkout: Path) -> None:
    state = checkout / "state"
    assert completion.incidents(context(state_dir=state), "") == []
    with open_history(state) as store:
        incidents.report(store, host="web-01", alert="offline", severity="critical", at=time.time())
    ((number, what),) = completion.incidents(context(state_dir=state), "1")
    assert number == "1"
    assert "web-01" in what


def test_without_a_project_there_is_nothing_to_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPS_PROJECT", str(tmp_path / "none"))
    assert completion.procedures("") == completion.hosts(context(), "") == completion.incidents(context(), "") == []
    (tmp_path / "broken.yml").write_text("all: [\n")
    assert completion.hosts(context(inventory=[str(tmp_path / "broken.yml")]), "") == []
    assert capsys.readouterr() == ("", "")
