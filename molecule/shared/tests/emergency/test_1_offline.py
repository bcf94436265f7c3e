"""The application does not run or does not answer: each fault gets what it needs, nothing else is touched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults import ENTRY, STATE, Faults
from machine import APP, PM2_HOME, PM2_UNIT, PROJECT, USER, WEBAPP, Machine, Run
from records import Emergency, Untouched, climbed, diagnosis, restarts, steps


def _errored(faults: Faults) -> None:
    """PM2 gave up on it, for a reason that is gone."""
    machine = faults.machine
    machine.out(f"cp -a {ENTRY} /root/kept/entry && echo 'process.exit(3)' > {ENTRY}")
    machine.app(f"pm2 restart {APP} >/dev/null || true")
    faults.wait_status("errored")
    machine.out(f"cp -a /root/kept/entry {ENTRY}")


def _orphaned(faults: Faults) -> None:
    """A daemon outside its unit was killed: what it ran still holds the port."""
    machine = faults.machine
    faults.stop_unit()
    machine.app("pm2 resurrect >/dev/null")
    machine.wait_healthy()
    machine.out(f"kill -KILL $(cat {PM2_HOME}/pm2.pid)")
    machine.wait("PM2's daemon to be gone", lambda: not machine.daemons())
    assert machine.health(), "the orphan answers"


def _without_saved_list(faults: Faults) -> None:
    faults.stop_unit()
    faults.machine.out(f"rm -f {PM2_HOME}/dump.pm2*")


def _deleted_without_ecosystem(faults: Faults) -> None:
    faults.delete()
    faults.machine.out(f"rm {WEBAPP}/ecosystem.config.cjs")


@dataclass(frozen=True)
class Fault:
    """How to break it, what the diagnosis has to say, which rungs have to be climbed."""

    id: str
    break_it: Callable[[Faults], object]
    scenario: str
    rungs: tuple[str, ...]
    but: tuple[str, ...] = ("app",)  # what may change


FAULTS = (
    Fault("stopped", Faults.stop, "stopped", ("restart",)),
    Fault("deleted", Faults.delete, "deleted", ("start_anew",)),
    Fault(
        "deleted_without_ecosystem",
        _deleted_without_ecosystem,
        "deleted",
        ("start_anew", "resurrect"),
        but=("app", "files"),
    ),
    Fault("errored", _errored, "errored", ("restart",), but=("app", "files")),
    Fault("halted", Faults.halt, "halted", ("go_on",), but=()),
    Fault("blocked", Faults.block, "hung", ("end_hung",)),
    Fault("daemon_killed", Faults.kill_daemon, "rebooted", ("daemon",), but=("app", "daemon")),
    Fault("daemon_halted", Faults.halt_daemon, "daemon_halted", ("go_on",), but=()),
    Fault("unit_stopped", Faults.stop_unit, "rebooted", ("daemon",), but=("app", "daemon")),
    Fault(
        "unit_disabled", lambda faults: faults.stop_unit(disable=True), "rebooted", ("daemon",), but=("app", "daemon")
    ),
    Fault("orphaned", _orphaned, "rebooted", ("daemon",), but=("app", "daemon", "saved")),
    Fault("no_saved_list", _without_saved_list, "rebooted", ("daemon", "start_anew"), but=("app", "daemon", "saved")),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_each_fault_gets_what_it_needs(
    fault: Fault, machine: Machine, faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    fault.break_it(faults)
    with untouched(but=fault.but):
        run = emergency("offline")
    assert run.rc == 0, run.output
    assert machine.health()["database"] == "connected"
    # A lab is young: a daemon that is not there may not have come with the host.
    expected = {fault.scenario, "daemon_dead"} if fault.scenario == "rebooted" else {fault.scenario}
    assert diagnosis(run)["scenario"] in expected
    assert tuple(climbed(run)) == fault.rungs
    assert len(machine.daemons()) == 1
    by_unit = machine.out(f"systemctl show -p MainPID --value {PM2_UNIT}")
    assert by_unit == machine.out(f"cat {PM2_HOME}/pm2.pid"), "the daemon is its unit's"
    for name, step in steps(run).items():
        if name in (*fault.rungs, "diagnosis", "evidence"):
            assert 0 <= step["used_s"] <= step["planned_s"], name


def test_after_a_reboot_that_pm2_did_not_survive(machine: Machine, emergency: Emergency) -> None:
    machine.out(f"systemctl disable {PM2_UNIT}")
    booted = machine.out("systemctl show -p UserspaceTimestampMonotonic init.scope; ps -o lstart= -p 1")
    machine.reboot()
    machine.wait("the database", lambda: machine.sh("systemctl is-active mysql", check=False).returncode == 0)
    assert machine.out("systemctl show -p UserspaceTimestampMonotonic init.scope; ps -o lstart= -p 1") != booted
    assert machine.health() == {}
    run = emergency("offline")
    assert run.rc == 0, run.output
    assert diagnosis(run)["scenario"] == "rebooted"
    assert climbed(run) == ["daemon"]
    assert machine.health()["database"] == "connected"


# ---- nothing to do


@pytest.mark.parametrize("break_it", [None, Faults.kill], ids=["well", "killed"])
def test_what_is_well_or_heals_by_itself_is_left_alone(
    break_it: Callable[[Faults], None] | None,
    machine: Machine,
    faults: Faults,
    emergency: Emergency,
    untouched: Untouched,
) -> None:
    if break_it:
        machine.wait(
            "the application to be old enough", lambda: int(machine.out(f"ps -o etimes= -p {_pid(machine)}")) > 6
        )
        break_it(faults)
    before = restarts(machine) if not break_it else 1
    with untouched(but=("app",) if break_it else ()):
        run = emergency("offline")
    assert run.rc == 0, run.output
    assert diagnosis(run)["alert"] == "none"
    assert climbed(run) == []
    assert restarts(machine) == before, "PM2's own restart and no other"


def test_a_daemon_that_its_unit_starts_again_is_left_alone(
    machine: Machine, faults: Faults, emergency: Emergency
) -> None:
    faults.kill_daemon(restarts=True)
    run = emergency("offline")
    assert run.rc == 0, run.output
    assert climbed(run) == []
    assert machine.out(f"systemctl show -p NRestarts --value {PM2_UNIT}") != "0"


def test_check_mode_touches_nothing_and_names_the_rungs(
    faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    faults.stop()
    with untouched():
        run = emergency("offline", "--check")
    assert run.rc != 0, "nothing was proven"
    assert {"restart", "start_anew"} <= set(steps(run))
    assert run.changed == 0 or "would restart" in run.output


# ---- one of two workers


@pytest.mark.parametrize("how", ["stopped", "halted", "blocked"])
def test_only_the_worker_that_is_ill_is_touched(
    how: str, machine: Machine, faults: Faults, emergency: Emergency
) -> None:
    first, second = faults.cluster()
    if how == "stopped":
        machine.app("pm2 stop 1 >/dev/null || pm2 stop $(pm2 jlist | jq '.[1].pm_id') >/dev/null")
    elif how == "halted":
        faults.halt(second)
    else:
        second = int(machine.debug("block?ms=600000")["pid"])
        first = next(pid for pid in faults.workers() if pid != second)
        time.sleep(0.3)
    run = emergency("offline")
    assert run.rc == 0, run.output
    workers = faults.workers()
    assert len(workers) == 2
    assert first in workers, "the other worker served on"
    assert machine.out(f"ps -o stat= -p {workers[0]},{workers[1]}").count("T") == 0
    expected = {"stopped": ["restart"], "halted": ["go_on"], "blocked": ["end_hung"]}
    assert climbed(run) == expected[how]


# ---- the port


@pytest.mark.parametrize("user", ["root", USER])
def test_a_stranger_on_the_port_is_named_and_left_alone(
    user: str, machine: Machine, faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    pid = faults.squat(user)
    with untouched():
        run = emergency("offline")
    assert run.rc != 0, run.output
    assert diagnosis(run)["scenario"] == "port_taken"
    assert climbed(run) == []
    assert str(pid) in run.output
    assert "kill_port_holder=true" in run.output
    assert machine.out("systemctl is-active squatter") == "active"


def test_a_stranger_on_the_port_is_ended_when_that_is_approved(
    machine: Machine, faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    pid = faults.squat("root")
    with untouched(but=("app",)):
        run = emergency("offline", "-e", "kill_port_holder=true")
    assert run.rc == 0, run.output
    assert climbed(run) == ["free_port", "restart"]
    assert machine.sh(f"test -e /proc/{pid}", check=False).returncode
    assert steps(run)["free_port"]["evidence"]["ended"][0]["unit"] == "squatter.service"


# ---- what no restart heals


def test_a_lost_env_is_named_and_nothing_restarted(
    machine: Machine, faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    faults.lose_env()
    machine.app(f"pm2 restart {APP} >/dev/null")
    machine.wait("the application to be without its database", lambda: machine.health().get("database") == "error")
    with untouched():
        run = emergency("offline")
    assert run.rc != 0, run.output
    assert (diagnosis(run)["scenario"], diagnosis(run)["level"]) == ("env_missing", "L2")
    assert "what=critical" in run.output
    assert climbed(run) == []


@pytest.mark.parametrize("loops", [False, True], ids=["syntax", "loop"])
def test_code_that_does_not_start_is_not_restarted_but_shown(
    loops: bool, machine: Machine, faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    """PM2 7 keeps a process whose module can't be loaded ``online``; one that ends is started until PM2 gives up."""
    faults.break_dist(loops=loops)
    before = restarts(machine)
    with untouched():
        run = emergency("offline")
    assert run.rc != 0, run.output
    assert (diagnosis(run)["scenario"], diagnosis(run)["level"]) == ("crash_loop", "L3")
    assert climbed(run) == []
    assert restarts(machine) == before
    evidence = steps(run)["evidence"]["evidence"]
    assert any(("TypeError" if loops else "SyntaxError") in line for line in evidence["last_lines"])
    assert evidence["commits"]
    assert evidence["changed_files"][0]["path"] == "dist/server/index.js"
    kept = json.loads(machine.out(f"cat {evidence['path']}"))
    assert kept["outcome"] == "failed"
    assert machine.out(f"stat -c '%a %U' {evidence['path']}") == f"600 {USER}"
    page = next(path for path in run.files if path.suffix == ".md").read_text()
    assert "rollback=true" in page
    assert "dist/server/index.js" in page


def test_the_last_proven_build_comes_back_when_that_is_approved(
    machine: Machine, faults: Faults, emergency: Emergency, run_clean: Callable[..., Run], state: Path
) -> None:
    digest = f"cd {WEBAPP}/dist && find . -type f | sort | xargs sha256sum | sha256sum"
    machine.app("npm run --silent build >/dev/null", timeout=60)
    reloaded = run_clean("playbooks/operation/reload.yml", "-e", "ops_locale=en", state=state)
    assert reloaded.rc == 0, reloaded.output
    good = machine.out(digest)
    faults.break_dist()
    assert machine.out(digest) != good
    run = emergency("offline", "-e", "rollback=true")
    assert run.rc == 0, run.output
    assert climbed(run) == ["roll_back"]
    assert machine.out(digest) == good
    assert steps(run)["roll_back"]["evidence"]["to"] == "proven"
    again = emergency("offline", "-e", "rollback=true")
    assert (again.rc, climbed(again)) == (0, [])


# ---- who else is there


@pytest.mark.parametrize(
    ("procedure", "preempt", "taken"),
    [("restore", True, False), ("weekly", False, False), ("weekly", True, True)],
)
def test_a_host_that_is_held_is_only_taken_from_a_routine_and_only_when_told(
    procedure: str,
    preempt: bool,
    taken: bool,
    machine: Machine,
    faults: Faults,
    emergency: Emergency,
    untouched: Untouched,
) -> None:
    faults.stop()
    faults.hold_lease(procedure)
    with untouched(but=("app", "lease") if taken else ()):
        run = emergency("offline", *(("-e", "preempt=true") if preempt else ()))
    assert (run.rc == 0) is taken, run.output
    if taken:
        assert steps(run)["lease"]["evidence"]["lease"]["took_over"]["procedure"] == procedure
        assert machine.health()["database"] == "connected"
    else:
        assert "other-run" in run.output
        assert "somebody@elsewhere" in run.output
        assert climbed(run) == []


# ---- time, and ends


SLOW = "pgrep -f '[p]m2-slow'"  # not the shell that asks


def _slow_pm2(machine: Machine, seconds: int) -> tuple[str, str]:
    """A PM2 whose commands take long: the real one, behind a wait."""
    path = "/usr/local/bin/pm2-slow"
    machine.out(f"install -m 755 /dev/stdin {path}", stdin=f'#!/bin/sh\nsleep {seconds}\nexec pm2 "$@"\n')
    return "-e", f"pm2_command={path}"


def test_a_budget_that_is_used_up_ends_it_and_says_so(
    machine: Machine, faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    faults.stop()
    began = time.monotonic()
    with untouched():
        run = emergency("offline", *_slow_pm2(machine, 600), "-e", "report_budget_s=24")
    assert time.monotonic() - began < 60, "the budget and what the controller adds"
    assert run.rc != 0, run.output
    assert "time budget is used up" in run.output
    restart = steps(run)["restart"]
    assert restart["status"] == "failed"
    assert "It was cut short" in json.dumps(restart["note"])
    assert not machine.sh(SLOW, check=False).stdout
    record = json.loads(machine.out(f"cat {STATE}/emergencies/{_run_id(run)}.json"))
    assert record["over_budget"] is True
    assert record["diagnosis"]["level"] == "L3"


@pytest.mark.parametrize("who", ["controller", "worker", "guard", "frozen worker"])
def test_one_that_is_killed_or_stuck_leaves_no_lease_no_child_and_a_record(
    who: str, machine: Machine, faults: Faults, state: Path
) -> None:
    faults.stop()
    budget = 22 if who == "frozen worker" else 40
    process = _start(machine, state, *_slow_pm2(machine, 6), "-e", f"report_budget_s={budget}")
    try:
        machine.wait("the recovery to have begun", lambda: machine.sh(SLOW, check=False).stdout)
        held = json.loads(machine.out(f"cat {STATE}/lease.json"))
        if who == "controller":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            guard, worker = _guard_and_worker(machine)
            machine.out(f"kill -{'STOP' if who == 'frozen worker' else 'KILL'} {guard if who == 'guard' else worker}")
        lease = f"test -e {STATE}/lease.json"
        machine.wait("the lease to be given back", lambda: machine.sh(lease, check=False).returncode, 30)
        machine.wait("its children to be gone", lambda: not machine.sh(SLOW, check=False).stdout)
        record = json.loads(machine.out(f"cat {STATE}/emergencies/{held['run_id']}.json"))
    finally:
        if process.poll() is None:
            process.wait(40)
    assert record["evidence"]["processes"]
    if "worker" in who:
        assert record["outcome"] == "failed"
        assert record["over_budget"] is (who == "frozen worker")
    else:
        assert record["outcome"] == "recovered", "what has begun goes on"
        assert machine.health()["database"] == "connected"


def _guard_and_worker(machine: Machine) -> tuple[int, int]:
    """The two processes of the module, by the command between them."""
    rows = [line.split() for line in machine.out("ps -eo pid=,ppid=,user=,args=").splitlines()]
    parents = {int(row[0]): int(row[1]) for row in rows}
    pid = int(machine.out(SLOW + " -o"))
    names = {int(row[0]): row[3] for row in rows}
    while not names[parents[pid]].rpartition("/")[2].startswith("python"):
        pid = parents[pid]
    worker = parents[pid]
    return parents[worker], worker


def _start(machine: Machine, state: Path, *args: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            "ansible-playbook",
            "-i",
            str(machine.inventory),
            "playbooks/emergency/offline.yml",
            *args,
            "--vault-password-file",
            str(machine.state / "vault-password"),
        ],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "OPS_STATE_DIR": str(state)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _run_id(run: Run) -> str:
    assert run.report, run.output
    return str(run.report["record"]["run_id"])


def _pid(machine: Machine) -> str:
    (pid,) = machine.pids()
    return str(pid)
