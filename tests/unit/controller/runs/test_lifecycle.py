"""A run from its opening to its conclusion, on a real history."""

from __future__ import annotations

import json
import socket
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from orquestrador.core.messages import plain
from orquestrador_ops.adapters import probe as observation
from orquestrador_ops.core import places, settings
from orquestrador_ops.core.host_results import ProbeResult
from orquestrador_ops.core.settings import Settings
from orquestrador_ops.history import access
from orquestrador_ops.procedures import outcome as routines
from orquestrador_ops.procedures.descriptor import Procedure
from orquestrador_ops.procedures.routines import DAILY, UPTIME
from orquestrador_ops.reports import view
from orquestrador_ops.runs import lifecycle as runs
from tests.unit.fakes.records import record_planned_restart


def opened(**changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "procedure": "daily",
        "host": "web-01",
        "budget_s": 300.0,
        "operator": "ana",
        "check_mode": False,
    }
    return runs.open_run(**{**arguments, **changes})


def concluded(run: dict[str, Any], observed: dict[str, Any], state: Path, **results: Any) -> runs.Conclusion:
    return runs.conclude(run, ProbeResult.read(observed), results, Settings(state, None, "pt_BR", "America/Sao_Paulo"))


@pytest.fixture
def probe(healthy: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    _, snapshot, verdict = healthy
    return {"snapshot": snapshot, "verdict": verdict, "memory": {}}


def test_a_run_has_a_deadline_and_an_id_of_its_own() -> None:
    one, two = opened(), opened()
    assert one["run_id"] != two["run_id"]
    assert datetime.fromisoformat(one["deadline"]) - datetime.fromisoformat(one["started_at"]) == timedelta(seconds=300)


def test_a_run_that_had_its_id_before_it_was_opened_keeps_it() -> None:
    started = datetime.fromisoformat("2026-01-05T12:00:00+00:00")
    run_id = runs.new_run_id(started)
    assert run_id.startswith("20260105T120000Z-")
    assert opened(run_id=run_id)["run_id"] == run_id


def test_the_owner_of_a_lease_is_a_person_at_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_OPERATOR", "awx")
    assert runs.lease_owner() == f"awx@{socket.gethostname()}"


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_has_to_be_positive(budget: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        opened(budget_s=budget)


def test_the_operator_is_who_the_scheduler_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_OPERATOR", "awx")
    assert opened(operator=None)["operator"] == "awx"


def test_a_met_run_is_recorded_reported_and_remembered(tmp_path: Path, probe: dict[str, Any]) -> None:
    run = opened()
    conclusion = concluded(run, {**probe, "memory": {"logs": {"x": 1}}}, tmp_path)
    assert conclusion.met, conclusion.checklist
    assert access.recall(tmp_path, None, "web-01", "daily") == {"logs": {"x": 1}}
    with sqlite3.connect(tmp_path / "history.sqlite3") as store:
        assert store.execute("SELECT run_id, outcome, operator FROM runs").fetchall() == [(run["run_id"], "met", "ana")]
        assert store.execute("SELECT count(*) FROM samples").fetchone() == (1,)
        reports = json.loads(store.execute("SELECT reports FROM runs").fetchone()[0])
    assert sorted(reports) == ["html", "json", "md"]
    assert all(Path(path).is_file() for path in reports.values())


def test_checklist_and_report_show_one_view(
    tmp_path: Path, probe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    build = view.build
    monkeypatch.setattr(view, "build", lambda *given: built.append(build(*given)) or built[-1])
    conclusion = concluded(opened(), probe, tmp_path)
    assert len(built) == 1
    assert conclusion.reports
    assert built[0]["title"] in conclusion.checklist


def test_the_next_run_names_the_one_before(tmp_path: Path, probe: dict[str, Any]) -> None:
    first = opened()
    concluded(first, probe, tmp_path)
    second = concluded(opened(), probe, tmp_path)
    assert second.record["previous_run"]["run_id"] == first["run_id"]


def test_a_run_does_not_hold_all_that_were_before_it(tmp_path: Path, probe: dict[str, Any]) -> None:
    sizes = []
    for _ in range(4):
        concluded(opened(), probe, tmp_path)
        with sqlite3.connect(tmp_path / "history.sqlite3") as store:
            sizes.append(store.execute("SELECT max(length(previous_run)) FROM runs").fetchone()[0] or 0)
    assert sizes[-1] == sizes[1] < 200


@pytest.mark.parametrize(
    ("procedure", "written", "named"),
    [
        ("weekly", ["week", "month"], "latest-sla-week.html"),
        ("weekly", ["month"], "latest-sla-month.html"),
        ("monthly", ["week", "month"], "latest-sla-month.html"),
        ("monthly", [], None),
        ("daily", ["month"], None),
    ],
)
def test_a_routine_of_a_period_names_the_report_of_its_service_levels(
    tmp_path: Path, probe: dict[str, Any], procedure: str, written: list[str], named: str | None
) -> None:
    for kind in written:
        (tmp_path / "reports/web-01").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"reports/web-01/latest-sla-{kind}.html").touch()
    done = concluded(opened(procedure=procedure), probe, tmp_path)
    text = Path(done.reports["html"]).read_text()
    assert [name for name in ("latest-sla-week.html", "latest-sla-month.html") if name in text] == [named] * bool(named)


def test_check_mode_leaves_the_memory_to_the_next_real_run(tmp_path: Path, probe: dict[str, Any]) -> None:
    concluded(opened(), {**probe, "memory": {"offset": 1}}, tmp_path)
    concluded(opened(check_mode=True), {**probe, "memory": {"offset": 2}}, tmp_path)
    assert access.recall(tmp_path, None, "web-01", "daily") == {"offset": 1}


def test_an_unreachable_host_is_reported_and_keeps_its_memory(tmp_path: Path, probe: dict[str, Any]) -> None:
    concluded(opened(), {**probe, "memory": {"offset": 1}}, tmp_path)
    gone = observation.normalize_result(
        {"unreachable": True, "msg": "no route"}, host="web-01", started="2026-01-01T00:00:00Z"
    )
    conclusion = concluded(opened(), gone, tmp_path)
    assert not conclusion.met
    assert conclusion.record["outcome"] == "unreachable"
    assert "no route" in conclusion.checklist
    assert access.recall(tmp_path, None, "web-01", "daily") == {"offset": 1}


def test_a_failed_step_is_named_in_one_line(tmp_path: Path, probe: dict[str, Any]) -> None:
    conclusion = concluded(opened(), probe, tmp_path, critical_files={"failed": True, "msg": "disk full"})
    assert not conclusion.met
    line = " - ".join(map(plain, runs.failure_messages(conclusion)))
    assert "critical_files" in line
    assert "\n" not in line


def test_a_corrupt_history_fails_the_run_but_hides_nothing(tmp_path: Path, probe: dict[str, Any]) -> None:
    (tmp_path / "history.sqlite3").write_bytes(b"not a database" * 100)
    conclusion = concluded(opened(), probe, tmp_path)
    assert not conclusion.met
    assert conclusion.problems
    assert Path(conclusion.reports["md"]).is_file()
    assert "web-01" in conclusion.checklist


def test_a_history_that_does_not_answer_is_not_a_first_run(tmp_path: Path, probe: dict[str, Any]) -> None:
    (tmp_path / "history.sqlite3").write_bytes(b"rubbish" * 1000)
    shown = concluded(opened(), probe, tmp_path).checklist
    assert "is not known" in shown or "não se sabe" in shown
    assert "No earlier run" not in shown and "Não há registro de execução anterior" not in shown


def test_an_unwritable_report_fails_the_run_but_not_the_history(tmp_path: Path, probe: dict[str, Any]) -> None:
    (tmp_path / "reports").write_text("a file where a directory belongs")
    conclusion = concluded(opened(), probe, tmp_path)
    assert not conclusion.met
    assert len(conclusion.problems) == 1
    with sqlite3.connect(tmp_path / "history.sqlite3") as store:
        assert store.execute("SELECT count(*) FROM runs").fetchone() == (1,)


@pytest.mark.parametrize(
    ("result", "outcome", "words"),
    [
        ({"unreachable": True, "msg": "Connection refused\nmore"}, "unreachable", "Connection refused"),
        ({"failed": True, "msg": "MODULE FAILURE", "module_stderr": "Traceback\nImportError: no x\n"}, "error", "no x"),
        ({"failed": True, "module_stdout": "", "msg": "killed"}, "error", "killed"),
        ({}, "error", ""),
    ],
)
def test_a_probe_that_brought_nothing_back_is_a_message(result: dict[str, Any], outcome: str, words: str) -> None:
    settled = observation.normalize_result(result, host="web-01", started="2026-01-01T00:00:00Z")
    assert not settled.get("failed")
    assert settled["snapshot"] is None
    assert settled["outcome"] == outcome
    assert words in str(settled["failure"]["args"]["reason"])
    assert "Traceback" not in str(settled["failure"])


def test_arguments_that_do_not_fit_fail_the_task_in_one_line() -> None:
    text = "argument 'app_port' is of type str and we were unable to convert to int\nsecond line"
    settled = observation.normalize_result({"failed": True, "msg": text}, host="web-01", started="")
    assert settled["failed"]
    assert "app_port" in settled["msg"]
    assert "\n" not in settled["msg"]


def test_settings_come_from_the_inventory_then_the_environment_then_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPS_STATE_DIR", raising=False)
    assert settings.of({"ops_state_dir": ""}, str).state_dir == places.DEFAULT_STATE_DIR
    monkeypatch.setenv("OPS_STATE_DIR", str(tmp_path / "environment"))
    assert settings.of({"ops_state_dir": ""}, str).state_dir == tmp_path / "environment"
    named = settings.of({"ops_state_dir": str(tmp_path), "ops_history_url": "sqlite://", "ops_locale": "en"}, str)
    assert (named.state_dir, named.history_url, named.locale) == (tmp_path, "sqlite://", "en")


@pytest.mark.parametrize(
    ("files", "due"),
    [
        ({"current": True, "missing": []}, False),
        ({"current": False, "missing": []}, True),
        ({"current": True, "missing": [".env"]}, True),
        (None, True),
    ],
)
def test_copies_are_due_when_one_is_stale_or_a_file_is_missing(files: dict[str, Any] | None, due: bool) -> None:
    assert observation.copies_due({"files": files}) is due


SUDO = "sudo: unknown user nobodyhere\nsudo: error initializing audit plugin sudoers_audit\n"
FILES = "Failed to set permissions on the temporary files Ansible needs to create when becoming an unprivileged user"


@pytest.mark.parametrize(
    ("result", "advice", "reason"),
    [
        (
            {"rc": 127, "module_stderr": "timeout: failed to run command 'python9': No such file or directory\n"},
            "ansible_python_interpreter",
            "failed to run command",
        ),
        (
            {
                "rc": 127,
                "module_stdout": "/bin/sh: 1: python9: not found\r\n",
                "module_stderr": "Shared connection to 127.0.0.1 closed.\r\n",
            },
            "ansible_python_interpreter",
            "/bin/sh: 1: python9: not found",
        ),
        ({"rc": 1, "module_stderr": SUDO}, "app_user", "sudo: unknown user nobodyhere"),
        ({"msg": "Missing sudo password", "module_stderr": "Missing sudo password"}, "sudo", "Missing sudo password"),
        ({"msg": FILES, "module_stderr": FILES}, "ansible_pipelining", None),
    ],
)
def test_a_probe_that_could_not_run_says_what_to_do(result: dict[str, Any], advice: str, reason: str | None) -> None:
    settled = observation.normalize_result(
        {"failed": True, "msg": "MODULE FAILURE", **result}, host="web-01", started=""
    )
    assert settled["outcome"] == "error"
    assert advice in settled["failure"]["text"]
    if reason:
        assert reason in settled["failure"]["args"]["reason"]


@pytest.mark.parametrize("value", ["soon", None, [3]])
def test_a_budget_that_is_no_number_is_named(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^report_budget_s is .*inventory$"):
        runs.budget_of(value)


def test_a_start_that_a_recorded_restart_explains_is_no_fault(
    probe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Procedure("weekly", DAILY.title, steps=(UPTIME,))
    monkeypatch.setattr(routines, "PROCEDURES", {"weekly": plan})
    app = probe["snapshot"]["pm2"]["app"]
    app.update(name="app", uptime_s=3600.0)
    kept = Settings(tmp_path, None, "pt_BR", "America/Sao_Paulo")

    def step() -> dict[str, Any]:
        run = opened(procedure="weekly")
        facts = dict.fromkeys(runs.judged_by(run), 7)
        found: dict[str, Any] = runs.conclude(run, ProbeResult.read(probe), {}, kept, facts=facts).record["steps"][0]
        return found

    assert step()["status"] == "warn"
    restarted = datetime.fromisoformat(probe["snapshot"]["taken_at"]) - timedelta(seconds=3590)
    with access.open_history(tmp_path) as store:
        record_planned_restart(store, "web-01", app["name"], at=restarted.isoformat())
    assert step()["status"] == "ok"
