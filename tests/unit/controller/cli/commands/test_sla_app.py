"""``runbook sla`` and ``runbook history``: statuses for scripts, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orquestrador_ops import cli
from orquestrador_ops.cli import words
from orquestrador_ops.cli.commands import sla_app
from orquestrador_ops.history.access import open_history

CSV = "at,host,ok,latency_ms\n2025-10-01T00:00:00Z,web-01,true,20\n2025-10-01T00:01:00Z,web-01,false,\n"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("OPS_HISTORY_URL", raising=False)
    for name, value in {"OPS_LOCALE": "en", "OPS_TIMEZONE": "UTC", "OPS_STATE_DIR": str(tmp_path / "state")}.items():
        monkeypatch.setenv(name, value)
    words.translator.cache_clear()
    open_history(tmp_path / "state").close()
    return tmp_path / "state"


def run(app: Any, *arguments: str) -> Any:
    return CliRunner().invoke(app, arguments)


def test_probes_come_in_are_judged_and_go_out_again(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(CSV)
    assert run(sla_app.history_app, "import", str(tmp_path / "in.csv")).exit_code == 0
    assert run(sla_app.sla_app, "--period", "2025-10-01", "--json").exit_code in (1, 3)
    done = run(sla_app.history_app, "export", str(tmp_path / "out.csv"), "--json")
    assert (done.exit_code, json.loads(done.stdout)["samples"]) == (0, 2)
    assert (tmp_path / "out.csv").read_text().count("web-01") == 2


def test_a_line_that_is_rejected_is_a_status_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"{CSV}noon,web-01,perhaps,\n")
    done = run(sla_app.history_app, "import", str(tmp_path / "in.csv"))
    assert done.exit_code == 1
    assert "line 4: " in done.stdout


def test_nothing_known_is_no_success() -> None:
    assert cli.main(["sla", "--period", "2025-10-01"]) == 3


@pytest.mark.parametrize(
    "arguments", [["--gap", "x"], ["export"], ["nonsense"], ["metrics", "--openmetrics=perhaps"]], ids=" ".join
)
def test_what_cannot_be_asked_like_this_ends_with_2(arguments: list[str]) -> None:
    assert run(sla_app.sla_app, *arguments).exit_code == 2
