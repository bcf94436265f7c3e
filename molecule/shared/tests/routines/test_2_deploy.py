"""Build, reload and test suite on the real application, and what becomes of them when the build is bad."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import APP, HEALTH, HOME, MARKER_VARIABLE, USER, WEBAPP, Background, Machine, Run, Runner, in_english

RELOAD = "playbooks/operation/reload.yml"
STATE = f"{HOME}/.local/state/orquestrador-ops/build"
LOAD = (Path(__file__).parents[1] / "load.py").read_text()
TREE = "cd dist && find . -printf '%P %y %m\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum"
# The application's own file with two workers, and with less of the time that PM2 waits for one.
CLUSTER = f"""const {{ apps }} = require('{WEBAPP}/ecosystem.config.cjs');
module.exports = {{ apps: [{{ ...apps[0], instances: 2, exec_mode: 'cluster', listen_timeout: 6000 }}] }};
"""
CONTENTS = "cd dist && find . -type f -print0 | sort -z | xargs -0 sha256sum"
SLEEPING = "pgrep -fx 'sleep 31713'"


@pytest.fixture
def reload(run_clean: Runner, state: Path) -> Runner:
    def run(*args: str, **options: Any) -> Run:
        return run_clean(RELOAD, "-e", "ops_locale=en", *args, **{"state": state, **options})

    return run


@pytest.fixture(scope="module", autouse=True)
def cluster(machine: Machine, marker: str) -> Iterator[None]:
    """Two workers for these tests; the last of them goes back to fork mode, which all others expect."""
    machine.app("cat > /tmp/cluster.config.cjs", stdin=CLUSTER)
    start(machine, marker, "/tmp/cluster.config.cjs")
    yield
    if len(machine.pids()) != 1:
        start(machine, marker)


@pytest.fixture(autouse=True)
def sources(machine: Machine) -> Iterator[None]:
    """A test may do to the sources what it likes."""
    yield
    machine.app("git checkout --quiet -- .")


def start(machine: Machine, marker: str, file: str = "ecosystem.config.cjs") -> None:
    """Start the application anew from a file, with the marker that its environment has in every test."""
    script = (
        f"read -r {MARKER_VARIABLE}; export {MARKER_VARIABLE}; pm2 delete {APP} >/dev/null; pm2 start {file} >/dev/null"
    )
    machine.app(script, stdin=marker + "\n")
    machine.settle()


def workers(machine: Machine) -> set[int]:
    """Processes of the application, from the kernel."""
    return set(machine.pids())


def step(run: Run, name: str) -> dict[str, Any]:
    assert run.report, run.output
    return next(step for step in run.report["record"]["steps"] if step["id"] == name)


def said(run: Run, name: str) -> str:
    notes = step(run, name)["note"]
    return " ".join(in_english(note) for note in (notes if isinstance(notes, list) else [notes]))


@contextlib.contextmanager
def load(machine: Machine, clients: int) -> Iterator[dict[str, int]]:
    """Clients of their own on the host, a connection for each request; what they counted is there afterwards."""
    counted: dict[str, int] = {}
    log = "/tmp/load.json"
    machine.app("cat > /tmp/load.py", stdin=LOAD)
    command = f"nohup python3 /tmp/load.py {HEALTH} {clients} > {log} 2>&1 < /dev/null & echo $! > {log}.pid"
    machine.sh(command, user=USER)
    try:
        yield counted
    finally:
        machine.app(f"kill $(cat {log}.pid)")
        machine.wait("the clients to end", lambda: machine.sh(f"ps -p $(cat {log}.pid)", check=False).returncode)
    counted.update(json.loads(machine.app(f"cat {log}")))


def test_a_reload_under_load_fails_no_request_and_is_no_failure_for_the_daily_routine(
    machine: Machine, reload: Runner, daily: Runner
) -> None:
    assert daily().statuses["pm2.restarts"] == "ok"
    before = workers(machine)
    with load(machine, clients=4) as counted:
        run = reload()
    assert run.rc == 0, run.output
    assert counted["failed"] == 0, counted
    assert counted["complete"] > 1000
    assert len(before) == len(workers(machine)) == 2
    assert not before & workers(machine)
    evidence = step(run, "pm2_reload")["evidence"]
    assert {worker["new_pid"] for worker in evidence["workers"]} == workers(machine)
    assert (evidence["failures"], evidence["longest_gap_s"]) == (0, 0)
    assert evidence["requests"] > 50
    assert run.statuses["pm2.restarts"] == "ok"
    # PM2 counts the reload; the daily routine knows that it was ours, and still sees a crash after it.
    assert machine.app("pm2 jlist | grep '^\\[' | jq '[.[].pm2_env.restart_time] | add'") == "2"
    assert daily().check("pm2.restarts")["evidence"]["unplanned"] == 0
    machine.debug("crash")
    machine.wait("PM2 to count it", lambda: machine.app("pm2 jlist | jq '[.[].pm2_env.restart_time] | add'") == "3")
    machine.wait_healthy()
    assert daily().check("pm2.restarts")["evidence"]["unplanned"] == 1
    machine.settle()


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("echo 'const x = ;' >> server/index.ts", id="does not compile"),
        pytest.param(
            "sed -i 's#node build.mjs#rm -rf dist; mkdir -m 700 dist; exit 3#' package.json", id="empties dist"
        ),
    ],
)
def test_a_build_that_fails_leaves_files_and_processes_as_they_were(machine: Machine, reload: Runner, how: str) -> None:
    machine.app(how)
    tree, before = machine.app(TREE), workers(machine)
    kept = set(machine.app(f"ls {STATE} 2>/dev/null || true").split())
    run = reload("-e", "build=true")
    assert run.rc != 0
    assert (run.steps["app_build"], run.steps["pm2_reload"]) == ("failed", "unknown")
    assert "the build failed with status" in said(run, "app_build")
    assert (machine.app(TREE), workers(machine)) == (tree, before)
    assert set(machine.app(f"ls {STATE}").split()) == kept | {"state.json"}, "what was good last is kept, and no more"


@pytest.mark.parametrize(
    ("how", "why"),
    [
        pytest.param("sed -i '1i process.exit(1);' server/index.ts", "does not stay up", id="dies"),
        pytest.param("sed -i \"/'ready'/d\" server/index.ts", "was not ready within", id="never ready"),
        pytest.param(
            "sed -i \"s/'connected'/'error'/\" server/routes/health.ts", '"database": "error"', id="unhealthy"
        ),
    ],
)
def test_a_build_that_does_not_start_is_rolled_back_while_the_old_one_serves(
    machine: Machine, reload: Runner, how: str, why: str
) -> None:
    tree = machine.app(TREE)
    machine.app(how)
    with load(machine, clients=1) as counted:
        run = reload("-e", "build=true")
    assert run.rc != 0
    assert (run.steps["app_build"], run.steps["pm2_reload"], run.steps["application"]) == ("changed", "failed", "ok")
    # On a machine that is slow enough, one that would die has not come to it in time.
    assert any(text in said(run, "pm2_reload") for text in (why, "was not ready within"))
    assert "every worker serves it again" in said(run, "pm2_reload")
    assert machine.app(TREE) == tree
    assert step(run, "pm2_reload")["evidence"]["rolled_back"] is True
    assert counted["failed"] == 0, counted
    assert step(run, "pm2_reload")["evidence"]["failures"] == 0
    assert len(workers(machine)) == 2
    assert machine.health()["database"] == "connected"
    machine.settle()


def test_a_killed_build_is_put_right_by_the_next_run(machine: Machine, reload: Runner) -> None:
    contents = machine.app(CONTENTS)
    machine.app("sed -i 's#node build.mjs#rm -rf dist; setsid sleep 31713 \\& exec sleep 31713#' package.json")
    run = Background(lambda: reload("-e", "build=true"))
    machine.wait("the build", lambda: len(machine.sh(SLEEPING, check=False).stdout.split()) > 1)
    npm = "pgrep -u flavio -f '^npm run build'"
    machine.sh(f"kill -KILL $(ps -o ppid= -p $({npm} | head -n 1))")
    assert run.result().rc != 0
    assert machine.sh(f"test -e {WEBAPP}/dist", check=False).returncode != 0
    machine.app("git checkout --quiet -- package.json")
    look = reload("--check", "-e", "build=true")
    assert "was killed half-way" in said(look, "app_build")
    assert machine.sh(f"test -e {WEBAPP}/dist", check=False).returncode != 0
    healed = reload("-e", "build=true")
    assert healed.rc == 0, healed.output
    assert step(healed, "app_build")["evidence"]["repaired"] is True
    assert machine.app(CONTENTS) == contents
    assert machine.sh(SLEEPING, check=False).stdout == "", "the killed build goes on"


def test_what_a_build_needs_is_named(machine: Machine, reload: Runner) -> None:
    before = workers(machine)
    machine.app("mv node_modules /tmp/kept_modules")
    try:
        run = reload("-e", "build=true")
    finally:
        machine.app("mv /tmp/kept_modules node_modules")
    assert run.rc != 0
    assert "has no node_modules: run npm ci there first" in said(run, "app_build")
    assert workers(machine) == before


def test_check_mode_changes_nothing(machine: Machine, reload: Runner) -> None:
    tree, before = machine.app(TREE), workers(machine)
    run = reload("--check", "-e", "build=true")
    assert "2 workers would be reloaded" in said(run, "pm2_reload")
    assert "npm run build would be run" in said(run, "app_build")
    assert (machine.app(TREE), workers(machine)) == (tree, before)


SUITES = {
    "real": ("./teste-100pct-otimizado.sh", "ok"),
    "coloured": (
        "printf 'Testes passados: \\033[32m27\\033[0m/28\\nTestes falhados: \\033[31m1/28\\033[0m\\n'",
        "failed",
    ),
    "believed": ("bash -c 'echo \"Tests: 28 passed, 28 total\"; exit 4'", "ok"),
    "silent": ("echo All fine.", "unknown"),
    "hanging": ("bash -c 'echo Testes passados: 28/28; setsid sleep 31713 & sleep 31713 & wait'", "failed"),
}
SUITE_PLAY = """
- hosts: orquestrador
  gather_facts: false
  tasks:
    - name: Run it
      ansible.builtin.import_role: {{name: app, tasks_from: test_suite}}
    - name: Keep what it said
      ansible.builtin.copy: {{content: "{{{{ app_test_result | to_json }}}}", dest: "{place}", mode: "0600"}}
      delegate_to: localhost
"""


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_is_judged_by_its_counts_and_ended_at_its_limit(
    machine: Machine, run_clean: Runner, state: Path, tmp_path: Path, name: str
) -> None:
    command, expected = SUITES[name]
    place, playbook = tmp_path / "result.json", tmp_path / "suite.yml"
    playbook.write_text(SUITE_PLAY.format(place=place))
    limit = 3 if name == "hanging" else 60
    began = time.monotonic()
    run = run_clean(
        str(playbook), "-e", json.dumps({"app_test_command": command, "app_test_timeout_s": limit}), state=state
    )
    assert run.rc == 0, run.output
    result = json.loads(place.read_text())
    assert result["status"] == expected, result
    evidence = result["evidence"]
    kept = machine.out(f"stat -c '%a %U' {evidence['report']}; cat {evidence['report']}", user=USER)
    assert kept.startswith(f"640 {USER}")
    assert evidence["output"]
    assert "\x1b" not in kept + evidence["output"]
    if name == "hanging":
        assert time.monotonic() - began < limit + 20
        assert machine.sh(SLEEPING, check=False).stdout == "", "a grandchild is left"
    elif name != "silent":
        assert evidence["passed"] == (27 if name == "coloured" else 28)


def test_fork_mode_says_that_it_interrupts_and_for_how_long(machine: Machine, reload: Runner, marker: str) -> None:
    start(machine, marker)
    (before,) = workers(machine)
    run = reload()
    assert run.rc == 0, run.output
    assert "fork mode is not without interruption" in said(run, "pm2_reload")
    evidence = step(run, "pm2_reload")["evidence"]
    assert 0.1 < evidence["longest_gap_s"] < 15
    assert evidence["failures"] > 0
    (after,) = workers(machine)
    assert after != before
    assert evidence["workers"][0]["new_pid"] == after
