"""The watch: a host that is well is touched by nothing, a failure is confirmed and recovered, the rest is told."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from full_disk import OVER, fill
from machine import APP, HOME, USER, Background, Machine, Run, Runner, assert_same

WATCH = "playbooks/monitoring/watch.yml"
MAINTENANCE = "playbooks/operation/maintenance.yml"
LEASE = f"{HOME}/.local/state/orquestrador-ops/lease.json"
NOBODY = "http://127.0.0.1:9/api/health"
# Written by hand, so that what the project reads is not only what it wrote itself.
LEASE_WRITER = """
import json, os, sys, time
lease = {"schema": 1, "run_id": "20260105T120000Z-abcdef", "owner": "ana@control-01", "procedure": "monthly",
         "ttl_s": 600, "since": "2026-01-05T12:00:00Z", "took_over": None,
         "boot_s": time.clock_gettime(time.CLOCK_BOOTTIME),
         "boot_id": open("/proc/sys/kernel/random/boot_id").read().strip()}
os.umask(0o077)
os.makedirs(os.path.dirname(sys.argv[1]), exist_ok=True)
json.dump(lease, open(sys.argv[1], "w"))
"""

Watch = Callable[..., Run]


@pytest.fixture
def watch(run_clean: Runner, state: Path) -> Watch:
    """Run a cycle, in English so that texts can be compared."""

    def run(*args: str, **options: Any) -> Run:
        return run_clean(WATCH, "-e", "ops_locale=en", *args, **{"state": state, **options})

    return run


@pytest.fixture(autouse=True)
def well(machine: Machine) -> Iterator[None]:
    """Well before and after, and nobody has the lease."""
    machine.out(f"rm -f {LEASE}")
    machine.settle()
    yield
    machine.out(f"rm -f {LEASE}")
    machine.app(f"pm2 start {APP} >/dev/null")
    machine.settle()


def rows(state: Path, query: str) -> list[tuple[Any, ...]]:
    """What the history says, read without the project."""
    with sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True) as store:
        return store.execute(query).fetchall()


def cycles(state: Path) -> list[tuple[Any, ...]]:
    return rows(state, "SELECT outcome, acted FROM watch_cycles ORDER BY id")


def looks(state: Path) -> list[tuple[Any, ...]]:
    """Every sample: whether it was a first look, and what the trouble was."""
    found = rows(state, "SELECT ok, data FROM samples WHERE source = 'watch' ORDER BY id")
    return [(ok, json.loads(data).get("first_look", False), json.loads(data).get("trouble")) for ok, data in found]


def online(machine: Machine) -> bool:
    return bool(machine.pids())


def stop(machine: Machine) -> None:
    machine.app(f"pm2 stop {APP} >/dev/null")
    machine.wait("the application to end", lambda: not online(machine))


def test_hosts_that_are_well_are_changed_by_nothing(watch: Watch, machine: Machine, state: Path) -> None:
    before, pids = machine.fingerprint(), machine.pids()
    runs = [watch() for _ in range(3)]
    assert_same(before, machine.fingerprint())
    assert machine.pids() == pids
    for run in runs:
        assert run.rc == 0, run.output
        assert run.changed == 0
        assert "Watch of 1 host(s): 1 healthy" in run.output
    assert cycles(state) == [("done", 0)] * 3
    assert looks(state) == [(1, False, None)] * 3
    assert rows(state, "SELECT COUNT(*) FROM runs UNION ALL SELECT COUNT(*) FROM recoveries") == [(0,), (0,)]
    assert not (state / "reports").exists()


def test_failure_is_confirmed_and_recovered(watch: Watch, machine: Machine, state: Path) -> None:
    stop(machine)
    run = watch()
    assert run.rc == 0, run.output
    assert machine.health().get("database") == "connected"
    assert run.report
    assert run.report["record"]["procedure"] == "offline"
    assert run.report["record"]["outcome"] == "met"
    assert looks(state) == [(0, True, None), (0, False, "failing")]
    assert cycles(state) == [("done", 1)]
    assert rows(state, "SELECT procedure, outcome, automatic FROM recoveries") == [("offline", "recovered", 1)]
    second = watch()
    assert second.rc == 0, second.output
    assert second.changed == 0
    assert cycles(state) == [("done", 1), ("done", 0)]


def test_one_off_failure_is_not_acted_upon_and_no_second_cycle_beside_it(
    watch: Watch, machine: Machine, state: Path
) -> None:
    stop(machine)
    first = Background(lambda: watch("-e", "watch_confirm_after_s=25"))
    machine.wait("the cycle to begin", lambda: list(state.glob("watch/*.lock")))
    time.sleep(6)  # for the first look
    machine.app(f"pm2 start {APP} >/dev/null")
    machine.wait_healthy(9)
    pids = machine.pids()
    beside = watch()
    run = first.result()
    assert run.rc == 0, run.output
    assert "a second look found it well: nothing was done" in run.output
    assert machine.pids() == pids, "it was left alone"
    assert rows(state, "SELECT COUNT(*) FROM recoveries") == [(0,)]
    assert beside.rc == 0, beside.output
    assert "Another cycle of this watch is under way" in beside.output
    assert looks(state) == [(0, True, None), (1, False, None)], "the one that was left out took no sample"
    assert sorted(cycles(state)) == [("done", 0), ("skipped", 0)]


def test_late_cycle_is_left_out_and_counted(watch: Watch, machine: Machine, state: Path) -> None:
    stop(machine)
    due = datetime.now(UTC) - timedelta(minutes=10)
    run = watch("-e", f"watch_due={due.isoformat()}")
    assert run.rc == 0, run.output
    assert "This cycle of the watch was due 10 min" in run.output
    assert not online(machine)
    assert cycles(state) == [("late", 0)]
    assert looks(state) == []
    wrong = watch("-e", "watch_due=yesterday")
    assert wrong.rc != 0
    assert "watch_due is 'yesterday'" in wrong.output


def test_maintenance_keeps_the_watch_off(watch: Watch, run_clean: Runner, machine: Machine, state: Path) -> None:
    opened = run_clean(MAINTENANCE, "-e", "maintenance=open", "-e", "reason=disk", "-e", "until=+1h", state=state)
    assert opened.rc == 0, opened.output
    stop(machine)
    run = watch()
    assert run.rc == 0, run.output
    assert "in maintenance until" in run.output
    assert not online(machine)
    assert cycles(state) == [("done", 0)]
    assert run_clean(MAINTENANCE, "-e", "maintenance=close", state=state).rc == 0
    after = watch()
    assert after.rc == 0, after.output
    assert online(machine)


def test_lease_of_another_procedure_keeps_the_watch_off_and_the_outage_is_told_when_it_lasts(
    watch: Watch, machine: Machine, state: Path
) -> None:
    stop(machine)
    machine.out(f"python3 - {LEASE}", stdin=LEASE_WRITER, user=USER)
    levels = []
    for _ in range(3):
        run = watch()
        assert run.rc == 2, run.output
        assert "another procedure has the lease" in run.output
        assert "Run 20260105T120000Z-abcdef (monthly, ana@control-01) has the lease until" in run.output
        levels += rows(state, "SELECT procedure, level FROM incidents")
    assert levels == [("offline", None), ("offline", None), ("offline", "L2")]
    assert not online(machine)
    assert set(rows(state, "SELECT outcome FROM recoveries")) == {("nothing",)}
    assert "ana@control-01" in machine.out(f"cat {LEASE}")
    machine.out(f"rm {LEASE}")
    assert watch().rc == 0
    assert online(machine)
    assert rows(state, "SELECT COUNT(*) FROM incidents WHERE closed_at IS NULL") == [(0,)]


def test_lease_that_nobody_has_and_that_cannot_be_taken_is_a_failure_of_the_host(
    watch: Watch, machine: Machine, state: Path
) -> None:
    stop(machine)
    directory = str(Path(LEASE).parent)
    machine.out(f"mkdir -p {directory} && chown root:root {directory} && chmod 700 {directory}")
    try:
        run = watch()
        assert run.rc == 2, run.output
        said = " ".join(run.output.split())
        assert "cannot be used: its directory belongs to another user: let it and its directory belong to the" in said
        assert rows(state, "SELECT procedure, level FROM incidents") == [("offline", "L2")]
        assert not online(machine)
    finally:
        machine.out(f"chown {USER}:{USER} {directory}")


def test_case_of_another_procedure_is_recovered_by_that_one(
    watch: Watch,
    machine: Machine,
    state: Path,
    disk: str,
) -> None:
    """A verdict calls for what is down; the host knows that its disk is behind it."""
    fill(machine, expired=True)
    stop(machine)
    run = watch("-e", json.dumps(OVER), timeout=150)
    found = rows(state, "SELECT procedure, outcome FROM recoveries ORDER BY id")
    assert found[0] == ("offline", "nothing"), run.output
    assert found[1][0] == "disk", run.output
    assert run.report
    assert run.report["record"]["procedure"] == "disk"


def test_open_breaker_keeps_the_watch_off_and_is_told(watch: Watch, machine: Machine, state: Path) -> None:
    assert watch().rc == 0
    with sqlite3.connect(state / "history.sqlite3") as store:
        for number in range(3):
            store.execute(
                "INSERT INTO recoveries (host, procedure, started_at, ended_at, outcome, automatic, trial, run_id)"
                " VALUES (?, 'offline', ?, ?, 'failed', 1, 0, ?)",
                (machine.name, time.time() - 60, time.time() - 50, f"run-{number}"),
            )
    stop(machine)
    run = watch()
    assert run.rc == 2, run.output
    assert "the circuit breaker is open" in run.output
    assert not online(machine)
    assert rows(state, "SELECT level FROM incidents") == [("L3",)]
    assert not (state / "reports").exists(), "nothing was done, so there is nothing to report"
    assert cycles(state) == [("done", 0)] * 2


def test_check_mode_says_what_it_would_do(watch: Watch, machine: Machine, state: Path) -> None:
    stop(machine)
    run = watch("--check")
    assert "confirmed: offline follows" in run.output, run.output
    assert not online(machine)
    assert not (state / "watch").exists()
    assert cycles(state) == []
    assert looks(state) == []


def test_unreachable_host_beside_one_that_fails(watch: Watch, machine: Machine, state: Path, tmp_path: Path) -> None:
    inventory = yaml.safe_load(machine.inventory.read_text())
    lab = inventory["orquestrador"]["hosts"][machine.name]
    inventory["orquestrador"]["hosts"]["gone"] = {**lab, "ansible_port": 9}
    folder = tmp_path / "inventory"
    folder.mkdir()
    text = yaml.safe_dump(inventory).replace("{{ inventory_dir }}", str(machine.state))
    (folder / "hosts.yml").write_text(text)
    (folder / "group_vars").symlink_to(machine.state / "group_vars")
    both = ("-i", str(folder / "hosts.yml"))
    stop(machine)
    runs = [watch(*both) for _ in range(3)]
    assert online(machine), runs[0].output
    assert [run.rc for run in runs] == [0, 0, 2], "\n".join(run.output for run in runs)
    assert "gone: unreachable" in runs[0].output
    assert "cycle 1 of 3: noted" in runs[0].output
    assert "people were told" in runs[2].output
    assert cycles(state) == [("done", 1), ("done", 0), ("done", 0)]
    (data,) = rows(state, "SELECT data FROM incidents WHERE host = 'gone'")[0]
    assert json.loads(data)["timeline"][0]["what"]["args"]["who"]["text"] == "the watcher"
    told = rows(state, "SELECT host, level, closed_at FROM incidents WHERE closed_at IS NULL")
    assert told == [("gone", "L2", None)]


def test_unreachable_from_outside_is_told_and_restarts_nothing(watch: Watch, machine: Machine, state: Path) -> None:
    before, pids = machine.fingerprint(), machine.pids()
    runs = [watch("-e", f"app_public_url={NOBODY}") for _ in range(3)]
    assert [run.rc for run in runs] == [0, 0, 2], "\n".join(run.output for run in runs)
    assert "Reachable inside, not outside" in runs[0].output
    assert machine.pids() == pids
    assert_same(before, machine.fingerprint())
    assert rows(state, "SELECT level, severity FROM incidents WHERE closed_at IS NULL") == [("L2", "high")]
    assert rows(state, "SELECT COUNT(*) FROM recoveries") == [(0,)]
    again = watch()
    assert again.rc == 0, again.output
    assert rows(state, "SELECT COUNT(*) FROM incidents WHERE closed_at IS NULL") == [(0,)], "well again: it is over"
