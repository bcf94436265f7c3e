"""What is on record, asked over the command line: documents whose keys stay, and one line for whatever can't be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orquestrador.core.messages import msg
from orquestrador_ops import cli
from orquestrador_ops.cli import words
from orquestrador_ops.cli.commands import status as looking
from orquestrador_ops.history.access import open_history
from orquestrador_ops.incidents import maintenance
from orquestrador_ops.incidents import store as incidents
from tests.unit.fakes.records import record_sample

RUN = {"procedure": "daily", "host": "web-01", "operator": "ana", "check_mode": False, "budget_s": 300.0}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory in which something happened."""
    monkeypatch.delenv("OPS_HISTORY_URL", raising=False)
    monkeypatch.setenv("OPS_LOCALE", "en")
    monkeypatch.setenv("OPS_OPERATOR", "ana")
    words.translator.cache_clear()
    report = tmp_path / "reports" / "r.md"
    report.parent.mkdir()
    report.write_text("# It went well\n")
    now = time.time()
    with open_history(tmp_path) as store:
        for number, outcome in enumerate(["met", "not_met"]):
            store.record_run(
                {
                    **RUN,
                    "run_id": f"run-{number}",
                    "started_at": now - 100 + number,
                    "ended_at": now - 90,
                    "outcome": outcome,
                    "reports": {"md": str(report)},
                }
            )
        store.record_run({**RUN, "run_id": "check", "check_mode": True, "started_at": now, "outcome": "met"})
        record_sample(store, "web-02", {"taken_at": now - 30}, {"overall": "degraded", "checks": []}, "watch")
        record_sample(store, "web-02", {"taken_at": now - 20}, {"overall": "healthy", "checks": []}, "watch")
        incidents.report(
            store,
            host="web-03",
            alert="offline",
            severity="critical",
            at=now,
            facts={"reasons": [msg("The port is closed.")]},
            entries=[incidents.entry(msg("Detected"), now)],
        )
        maintenance.begin(store, host="web-02", reason="kernel", ends_at=now + 600, operator="ana", max_h=24)
    return tmp_path


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(list(arguments))
    done = capsys.readouterr()
    assert "Traceback" not in done.err + done.out
    return status, done.out, done.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    status, out, err = asked(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    assert found["schema"] == 1
    return found


def test_status(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hosts = document(capsys, "status", "--state-dir", str(state))["hosts"]
    assert sorted(hosts) == ["web-01", "web-02", "web-03"]
    assert hosts["web-01"]["runs"]["daily"]["outcome"] == "not_met"  # the newest that was no check
    assert hosts["web-02"]["overall"] == "healthy"
    assert 15 < hosts["web-02"]["age_s"] < 60
    assert hosts["web-02"]["maintenance"]["reason"] == "kernel"
    assert [one["alert"] for one in hosts["web-03"]["incidents"]] == ["offline"]
    keys = {
        "overall",
        "ok",
        "source",
        "sampled_at",
        "age_s",
        "runs",
        "incidents",
        "breakers",
        "maintenance",
        "recovering",
    }
    assert all(set(host) == keys for host in hosts.values())
    _, out, _ = asked(capsys, "status", "--state-dir", str(state))
    assert "in maintenance until" in out
    assert "incident 1: offline, critical" in out


def test_incident_is_shown_and_acknowledged(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--state-dir", str(state))
    assert [one["id"] for one in document(capsys, "incidents", *where)["incidents"]] == [1]
    shown = document(capsys, "incident", "1", *where)["incident"]
    assert shown["reasons"] == ["The port is closed."]
    assert shown["timeline"][0]["what"] == "Detected"
    assert document(capsys, "ack", "1", "--note", "on it", *where)["incident"]["acknowledged_by"] == "ana"
    _, out, _ = asked(capsys, "incident", "1", *where)
    assert "acknowledged by ana" in out
    assert "on it" in out


def test_reports_are_listed_and_shown(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--state-dir", str(state))
    found = document(capsys, "reports", *where)["reports"]
    assert [one["run_id"] for one in found] == ["check", "run-1", "run-0"]
    assert document(capsys, "reports", "--host", "nobody", *where)["reports"] == []
    assert asked(capsys, "reports", "show", "run-0", *where)[:2] == (0, "# It went well\n\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("incident", "77"), "There is no incident 77"),
        (("ack", "77"), "There is no incident 77"),
        (("close-breaker", "web-01", "offline"), "no recovery by offline is on record for web-01"),
        (("reports", "show", "nope"), "there is no run nope on record"),
        (("reports", "show", "check"), "the run check left no report"),
    ],
)
def test_what_is_not_there_is_one_line(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    status, out, err = asked(capsys, *arguments, "--state-dir", str(state))
    assert (status, out) == (1, "")
    assert err.startswith(f"runbook: {said}")
    assert err.count("\n") == 1
    status, out, err = asked(capsys, *arguments, "--state-dir", str(state), "--json")
    assert status == 1
    assert json.loads(out)["error"].startswith(said)


def test_damaged_history_is_one_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in state.glob("history.sqlite3*"):
        path.unlink()
    (state / "history.sqlite3").write_bytes(b"not a database at all" * 400)
    for command in (["status"], ["incidents"], ["reports"]):
        status, out, err = asked(capsys, *command, "--state-dir", str(state))
        assert (status, out) == (1, "")
        assert "the file is damaged" in err
        assert err.count("\n") == 1
    assert list(looking.open_numbers(state)) == []


def test_nothing_on_record_makes_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = asked(capsys, "status", "--state-dir", str(tmp_path / "new"))
    assert status == 1
    assert err.startswith("runbook: ")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "dayli"],
        ["run", "daily", "-i", "/nowhere/hosts.yml"],
        ["run", "daily", "-e", "x"],
        ["run", "daily", "--vault-password-file", "/nowhere"],
    ],
)
def test_what_cannot_be_run_is_refused_before_anything(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, out, err = asked(capsys, *arguments, "--state-dir", str(tmp_path / "s"))
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_completion_knows_procedures_and_incidents(state: Path) -> None:
    def completed(words: str, count: int) -> str:
        environ = {**os.environ, "_RUNBOOK_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        environ["OPS_STATE_DIR"] = str(state)
        argv = [sys.executable, "-m", "orquestrador_ops.cli"]
        return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=30, check=False).stdout

    assert "daily" in completed("runbook run da", 2).split()
    assert completed("runbook ack ", 2).split()[0] == "1"


def test_closed_pipe_is_no_traceback(state: Path) -> None:
    script = f"{sys.executable} -m orquestrador_ops.cli reports --json --state-dir {state} | head -c 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("{", "")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, "--version")[1].startswith("runbook ")
    assert "close-breaker" in asked(capsys, "--help")[1]
