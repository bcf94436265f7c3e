"""The weekly and the monthly routine from end to end, on an application that works meanwhile."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import BACKUPS, DATABASE, HEALTH, WEBAPP, Machine, Run, Runner, assert_same
from test_1_logs import everywhere
from test_2_deploy import CLUSTER, load, start

WEEKLY = "playbooks/routine/weekly.yml"
MONTHLY = "playbooks/routine/monthly.yml"
CODE = f"{WEBAPP}/backups/code"
# PM2 writes no date before a line. Where it does and its daemon lags behind, it throws half a line away whenever it
# reads up to the middle of one, whoever archives: lines would be missing that nobody of ours lost.
UNDATED = f"""const {{ apps }} = require('{WEBAPP}/ecosystem.config.cjs');
const {{ log_date_format, ...app }} = apps[0];
module.exports = {{ apps: [app] }};
"""
# The lab is younger than a week.
YOUNG = ("-e", "health_uptime_min_days=0")
SECTIONS = (
    "Uptime",
    "State of health",
    "Tests",
    "Error logs (last 7 days)",
    "Actions taken",
    "Next actions",
)


@pytest.fixture
def routine(run_clean: Runner, state: Path, registry: Callable[[str], str]) -> Runner:
    def run(playbook: str, *args: str, **options: Any) -> Run:
        npm = ("-e", f"app_npm_registry={registry('mirror')}")
        return run_clean(playbook, "-e", "ops_locale=en", *npm, *args, **{"state": state, "timeout": 240, **options})

    return run


def step(run: Run, name: str) -> dict[str, Any]:
    assert run.report, run.output
    return next(step for step in run.report["record"]["steps"] if step["id"] == name)


@pytest.fixture
def undated(machine: Machine, marker: str) -> Iterator[None]:
    machine.app("cat > /tmp/undated.config.cjs", stdin=UNDATED)
    start(machine, marker, "/tmp/undated.config.cjs")
    yield
    start(machine, marker)


@pytest.mark.usefixtures("undated")
def test_weekly_while_the_application_logs(machine: Machine, routine: Runner) -> None:
    machine.app("rm -f logs/archive/*.gz logs/.*.spool logs/.*.kept; : > logs/out.log")
    lines, rate = 40000, 2000
    writer = threading.Thread(target=lambda: machine.debug(f"log?lines={lines}&rate={rate}", timeout=60))
    writer.start()
    try:
        run = routine(WEEKLY, *YOUNG)
    finally:
        writer.join(70)
    assert run.rc == 0, run.output
    assert set(run.steps.values()) <= {"ok", "changed"}
    assert step(run, "app_tests")["evidence"]["passed"] == 28
    assert machine.app("git log -1 --format=%s") in json.dumps(step(run, "git_integrity")["evidence"])
    machine.wait("the last line", lambda: everywhere(machine, f"line {lines} of {lines}$"), 30)
    found = everywhere(machine, rf"line [0-9]+ of {lines}$")
    assert sum(found.values()) == lines
    assert set(found.values()) == {1}


def test_weekly_tells_what_is_not_as_it_should_be(machine: Machine, routine: Runner) -> None:
    machine.app("echo '// left' >> server/index.ts; touch untracked")
    try:
        run = routine(WEEKLY, "-e", "app_test_expected=29")
    finally:
        machine.app("git checkout --quiet server/index.ts; rm untracked")
    assert run.rc != 0
    assert {name for name, status in run.steps.items() if status not in ("ok", "changed")} == {
        "app_tests",
        "git_integrity",
        "uptime",
    }
    assert "no planned restart explains it" in str(step(run, "uptime")["note"])


@pytest.mark.parametrize("playbook", [WEEKLY, MONTHLY])
def test_check_mode_changes_nothing(machine: Machine, routine: Runner, playbook: str) -> None:
    before = machine.fingerprint()
    run = routine(playbook, "--check", "--diff")
    assert run.report, run.output
    assert_same(before, machine.fingerprint())


def test_monthly_under_load_in_cluster_mode(machine: Machine, routine: Runner, marker: str) -> None:
    machine.app("cat > /tmp/cluster.config.cjs", stdin=CLUSTER)
    start(machine, marker, "/tmp/cluster.config.cjs")
    before = set(machine.pids())
    try:
        with load(machine, clients=2) as counted:
            run = routine(MONTHLY)
    finally:
        after = set(machine.pids())
        start(machine, marker)
    assert run.rc == 0, run.output
    assert set(run.steps.values()) <= {"ok", "changed"}
    assert counted["failed"] == 0, counted
    assert counted["complete"] > 1000
    assert len(after) == 2
    assert not before & after
    # Every section of the playbook's report, from what was measured.
    report = next(path for path in run.files if path.suffix == ".md").read_text()
    headings = re.findall(r"^## (.*)$", report, re.M)
    assert tuple(headings[: len(SECTIONS)]) == SECTIONS
    assert "Testes passados: 28/28" in report
    assert re.search(r"- \[x\] Reload, worker by worker", report)
    # What the record says of its backups is what lies there.
    made = step(run, "database_backup")["evidence"]
    manifest = json.loads(machine.out(f"cat {BACKUPS}/{made['id']}.json"))
    assert manifest["verified"]["rows"] == made["rows"]
    counts = machine.sql(f"SELECT COUNT(*) FROM {DATABASE}.message")
    assert [str(manifest["tables"]["message"]["rows"])] == counts
    assert machine.out(f"ls {CODE}/{step(run, 'code_backup')['evidence']['id']}.tar.zst.age")
    assert f"{step(run, 'pm2_reload')['evidence']['requests']}" in report
    assert machine.out(f"curl -s -o /dev/null -w '%{{http_code}}' {HEALTH}") == "200"


def test_monthly_builds_upon_nothing_that_failed(machine: Machine, routine: Runner, marker: str) -> None:
    machine.app("echo 'const x = ;' >> server/index.ts")
    before, built = machine.pids(), machine.app("sha256sum dist/server/index.js")
    try:
        run = routine(MONTHLY, "-e", "backup_age_recipient=age1nobody")
    finally:
        machine.app("git checkout --quiet server/index.ts")
    assert run.rc != 0
    assert run.steps["database_backup"] == "failed"
    for name in ("database_verify", "database_optimize", "app_build", "pm2_reload"):
        assert run.steps[name] in ("unknown", "failed"), name
    assert run.steps["app_tests"] == "ok"
    assert machine.pids() == before
    assert machine.app("sha256sum dist/server/index.js") == built
