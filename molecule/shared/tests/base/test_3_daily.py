"""The daily routine on a healthy host: what it reports, what it copies, what it remembers."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from machine import CHECKS, CRITICAL, DAILY, PM2_HOME, USER, WEBAPP, Machine, Run, Runner

CRITICAL_FILES = {
    "ecosystem.config.cjs": f"{WEBAPP}/ecosystem.config.cjs",
    ".env": f"{WEBAPP}/.env",
    "dump.pm2": f"{PM2_HOME}/dump.pm2",
}


@pytest.fixture(autouse=True, scope="module")
def settled(machine: Machine) -> None:
    machine.settle()
    machine.out(f"rm -rf {CRITICAL}/* {CRITICAL}/.[!.]*")


Copies = dict[str, list[str]]


def copies(machine: Machine) -> Copies:
    """The copies on the host by file, oldest first, each ``mode owner sha256 path``."""
    found: Copies = {}
    script = f"find {CRITICAL} -type f -printf '%m %u %p\\n' | sort -k 3"
    for line in machine.out(script).splitlines():
        mode, owner, path = line.split(" ", 2)
        digest = machine.out(f"sha256sum < '{path}'").split()[0]
        found.setdefault(Path(path).parent.name, []).append(f"{mode} {owner} {digest} {path}")
    return found


@pytest.fixture(scope="module")
def first(run_clean: Runner, state_of_the_module: Path) -> Run:
    """The first run on this host, in English."""
    return run_clean(DAILY, "-e", "ops_locale=en", state=state_of_the_module)


@pytest.fixture(scope="module")
def second(first: Run, machine: Machine, run_clean: Runner, state_of_the_module: Path) -> tuple[Run, Copies, Copies]:
    """The next run, as it comes: without a language; and the copies before and after it."""
    before = copies(machine)
    return run_clean(DAILY, state=state_of_the_module), before, copies(machine)


@pytest.fixture(scope="module")
def state_of_the_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def test_healthy_daily_is_met(first: Run) -> None:
    assert first.rc == 0, first.output
    assert first.statuses == dict.fromkeys(CHECKS, "ok")
    assert first.procedure == "none"
    assert set(first.steps.values()) <= {"ok", "changed"}
    assert first.snapshot["errors"] == []
    assert first.report
    assert first.report["record"]["outcome"] == "met"
    assert first.report["record"]["operator"] == "tester"


def test_what_it_saw_is_so(first: Run, machine: Machine) -> None:
    snapshot = first.snapshot
    (pid,) = machine.pids()
    assert snapshot["pm2"]["app"]["pids"] == [pid]
    assert snapshot["pm2"]["source"] == "rpc"
    assert snapshot["port"]["pid"] == pid
    assert f"pid={pid}," in machine.out("ss -Hltnp 'sport = :3001'")
    assert snapshot["database"]["product"] == machine.database
    assert snapshot["database"]["version"] == machine.sql("SELECT VERSION()")[0]
    assert snapshot["database"]["threads"]["allowed"] == int(machine.sql("SELECT @@max_connections")[0])
    resident = int(machine.out(f"ps -o rss= -p {pid}")) * 1024
    assert abs(snapshot["pm2"]["app"]["memory_bytes"] - resident) < 50 * 1024 * 1024
    total = int(machine.out("free -b | awk '/^Mem:/ {print $2}'"))
    assert snapshot["resources"]["memory"]["total_bytes"] == total


def test_critical_files_are_copied(second: tuple[Run, Copies, Copies], machine: Machine) -> None:
    _, found, _ = second
    assert set(found) == set(CRITICAL_FILES)
    for name, path in CRITICAL_FILES.items():
        digest = machine.out(f"sha256sum < {path}").split()[0]
        (copy,) = found[name]
        assert copy.startswith(f"600 {USER} {digest} "), name


def test_second_run_copies_nothing(second: tuple[Run, Copies, Copies]) -> None:
    run, before, after = second
    assert run.rc == 0, run.output
    assert after == before
    assert run.changed == 0, run.output


def test_changed_process_list_is_copied_once_more(daily: Runner, machine: Machine, first: Run) -> None:
    assert first.rc == 0
    before = copies(machine)
    machine.app("jq '.[0].orquestrador_test = 1' ~/.pm2/dump.pm2 > ~/new && cat ~/new > ~/.pm2/dump.pm2; rm ~/new")
    try:
        run = daily()
        after = copies(machine)
    finally:
        machine.app("pm2 save >/dev/null")
    assert run.rc == 0, run.output
    assert run.steps["critical_files"] == "changed"
    assert {name: len(after[name]) - len(before[name]) for name in after} == {
        "ecosystem.config.cjs": 0,
        ".env": 0,
        "dump.pm2": 1,
    }
    assert set(before["dump.pm2"]) < set(after["dump.pm2"]), "the older copy is history"


def test_reports_exist_in_three_formats(second: tuple[Run, Copies, Copies], machine: Machine) -> None:
    run = second[0]
    assert [path.suffix for path in run.files] == [".html", ".json", ".md"]
    for path in run.files:
        assert path.stat().st_mode & 0o777 == 0o600
        latest = path.with_name(f"latest-daily{path.suffix}")
        assert latest.resolve() == path.resolve()
        assert machine.name in path.read_text()
    assert "<html" in run.files[0].read_text()
    json.loads(run.files[1].read_text())


def test_operator_reads_portuguese_unless_told_otherwise(
    first: Run, second: tuple[Run, Copies, Copies], machine: Machine
) -> None:
    for run, word, other in ((first, "HEALTHY", "SAUDÁVEL"), (second[0], "SAUDÁVEL", "HEALTHY")):
        (markdown,) = (path for path in run.files if path.suffix == ".md")
        for text in (run.output, markdown.read_text()):
            assert word in text
            assert other not in text
            assert machine.name in text
        assert str(markdown) in run.output, "the operator is told where the report lies"


def test_history_has_the_runs(
    first: Run, second: tuple[Run, Copies, Copies], state_of_the_module: Path, machine: Machine
) -> None:
    assert first.report
    assert second[0].report
    ids = [run.report["record"]["run_id"] for run in (first, second[0]) if run.report]
    with sqlite3.connect(f"file:{state_of_the_module / 'history.sqlite3'}?mode=ro", uri=True) as store:
        rows = store.execute(
            "SELECT run_id, procedure, host, outcome, operator FROM runs ORDER BY started_at"
        ).fetchall()
        samples = store.execute("SELECT COUNT(*) FROM samples WHERE ok").fetchone()
    assert rows == [(run_id, "daily", machine.name, "met", "tester") for run_id in ids]
    assert samples == (2,)
    assert first.report["record"]["previous_run"] is None
    assert second[0].report["record"]["previous_run"]["run_id"] == ids[0]


def test_talkative_run_tells_no_secret(daily: Runner) -> None:
    run = daily("-vvv")
    assert run.rc == 0, run.output
    assert "<127.0.0.1> SSH: EXEC" in run.output
