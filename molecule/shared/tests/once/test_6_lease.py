"""One procedure at a time: who has the lease keeps the others off, and nobody does so for longer than it lasts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import BOOTSTRAP, CRITICAL, DAILY, HOME, PROJECT, USER, WEBAPP, Machine, Runner

LEASE = f"{HOME}/.local/state/orquestrador-ops/lease.json"
HOLDER = "20260105T120000Z-abcdef"
# Written by hand, so that what the project reads is not only what it wrote itself.
WRITER = """
import json, os, sys, time
lease = {"schema": 1, "run_id": sys.argv[1], "owner": "ana@control-01", "procedure": sys.argv[2], "ttl_s": 600,
         "since": "2026-01-05T12:00:00Z", "took_over": None,
         "boot_s": time.clock_gettime(time.CLOCK_BOOTTIME) - float(sys.argv[4]),
         "boot_id": open("/proc/sys/kernel/random/boot_id").read().strip()}
os.umask(0o077)
os.makedirs(os.path.dirname(sys.argv[3]), exist_ok=True)
json.dump(lease, open(sys.argv[3], "w"))
"""


def hold(machine: Machine, procedure: str, age_s: float = 0) -> None:
    machine.out(f"python3 - {HOLDER} {procedure} {LEASE} {age_s}", stdin=WRITER, user=USER)


def holder(machine: Machine) -> dict[str, Any]:
    """The lease as it lies on the host; ``{}`` when there is none."""
    found: dict[str, Any] = json.loads(machine.out(f"cat {LEASE} 2>/dev/null || echo '{{}}'"))
    return found


def copies(machine: Machine) -> list[str]:
    return machine.out(f"find {CRITICAL} -type f").splitlines()


def words(output: str) -> str:
    """Output whose lines are not wrapped."""
    return " ".join(output.split())


@pytest.fixture(autouse=True)
def due(machine: Machine) -> Iterator[None]:
    """Every critical file needs a copy, and nobody has the lease before or after."""
    machine.settle()
    machine.out(f"rm -f {LEASE}; rm -rf {CRITICAL}/* {CRITICAL}/.[!.]*")
    yield
    machine.out(f"rm -f {LEASE}")


def test_copying_gives_the_lease_back(daily: Runner, machine: Machine) -> None:
    run = daily()
    assert run.rc == 0, run.output
    assert len(copies(machine)) == 3
    assert holder(machine) == {}
    mode = machine.out(f"stat -c '%a %U' {Path(LEASE).parent} {LEASE}.lock").splitlines()
    assert mode == [f"700 {USER}", f"600 {USER}"]
    assert run.report
    (step,) = (step for step in run.report["record"]["steps"] if step["id"] == "critical_files")
    assert step["evidence"]["lease"]["run_id"] == run.report["record"]["run_id"]


def test_held_lease_refuses_the_copying_and_names_the_holder(run_clean: Runner, machine: Machine, state: Path) -> None:
    hold(machine, "restore")
    before = holder(machine)
    run = run_clean(DAILY, state=state)
    assert run.rc != 0
    assert run.steps["critical_files"] == "failed"
    assert copies(machine) == []
    assert holder(machine) == before
    assert f"a reserva deste host pertence à execução {HOLDER} (restore, ana@control-01)" in words(run.output)


def test_routine_with_nothing_to_copy_needs_no_lease(daily: Runner, machine: Machine) -> None:
    assert daily().rc == 0
    hold(machine, "restore")
    run = daily()
    assert run.rc == 0, run.output
    assert HOLDER not in run.output


@pytest.mark.parametrize("playbook", [DAILY, BOOTSTRAP])
def test_check_mode_takes_no_lease_and_says_who_has_it(
    run_clean: Runner, machine: Machine, state: Path, playbook: str
) -> None:
    hold(machine, "restore")
    before = holder(machine)
    run = run_clean(playbook, "--check", "-e", "ops_locale=en", state=state)
    assert run.rc == 0, run.output
    assert f"Run {HOLDER} (restore, ana@control-01) holds the lease" in run.output
    assert "lost" not in run.output
    assert holder(machine) == before
    assert copies(machine) == []


def test_held_lease_refuses_the_bootstrap_before_it_changes_anything(
    run_clean: Runner, machine: Machine, state: Path
) -> None:
    hold(machine, "monthly")
    machine.out(f"chmod 0755 {WEBAPP}/backups")
    run = run_clean(BOOTSTRAP, "-e", "ops_locale=en", state=state)
    mode = machine.out(f"stat -c %a {WEBAPP}/backups; chmod 0700 {WEBAPP}/backups")
    assert run.rc != 0
    assert f"held by run {HOLDER} (monthly, ana@control-01)" in run.output
    assert run.changed == 0, run.output
    assert mode == "755"
    assert holder(machine)["run_id"] == HOLDER


def test_expired_lease_is_taken_over_with_a_note(daily: Runner, machine: Machine) -> None:
    hold(machine, "restore", age_s=601)
    run = daily()
    assert run.rc == 0, run.output
    assert len(copies(machine)) == 3
    assert holder(machine) == {}
    # On the terminal as it happens, and in the checklist.
    assert words(run.output).count(f"The lease of run {HOLDER} (restore, ana@control-01) expired at") == 2
    assert run.report
    (step,) = (step for step in run.report["record"]["steps"] if step["id"] == "critical_files")
    assert step["evidence"]["lease"]["took_over"]["run_id"] == HOLDER


def test_damaged_lease_blocks_nobody(daily: Runner, machine: Machine) -> None:
    machine.out(f'echo \'{{"schema": 1, "run\' > {LEASE}', user=USER)
    run = daily()
    assert run.rc == 0, run.output
    assert f"The lease file {LEASE} was damaged" in run.output


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        ("dd if=/dev/zero of={at}/filler bs=4k 2>/dev/null || true", "cannot be written, no space is left there"),
        ("mount -o remount,ro {at}", "cannot be used: Read-only file system"),
    ],
)
def test_lease_that_cannot_be_written_means_no_copying(
    daily: Runner, machine: Machine, harm: str, complaint: str
) -> None:
    at = str(Path(LEASE).parent)
    machine.out(f"mount -t tmpfs -o size=64k,mode=700,uid={USER},gid={USER} tmpfs {at}")
    try:
        machine.out(harm.format(at=at))
        run = daily()
    finally:
        machine.out(f"umount {at}")
    assert run.rc != 0
    assert run.steps["critical_files"] == "failed"
    assert f"the lease {LEASE} {complaint}" in words(run.output)
    assert copies(machine) == []


def test_bootstrap_takes_an_expired_lease_over_and_gives_it_back(
    run_clean: Runner, machine: Machine, state: Path
) -> None:
    hold(machine, "restore", age_s=601)
    run = run_clean(BOOTSTRAP, "-e", "ops_locale=en", state=state, timeout=180)
    assert run.rc == 0, run.output
    assert run.steps["lease"] == "ok"
    assert words(run.output).count(f"The lease of run {HOLDER} (restore, ana@control-01) expired at") == 2
    assert holder(machine) == {}


def test_failed_bootstrap_can_be_repeated_at_once(run_clean: Runner, machine: Machine, state: Path) -> None:
    run = run_clean(BOOTSTRAP, "-e", "ops_locale=en", "-e", "app_logs_dir=/proc/impossible", state=state)
    assert run.rc != 0
    assert "Create log and archive directories" in run.output
    assert holder(machine) == {}


def test_killed_controller_blocks_for_its_lease_and_no_longer(run_clean: Runner, machine: Machine, state: Path) -> None:
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(machine.inventory), BOOTSTRAP]
    argv += ["--vault-password-file", str(machine.state / "vault-password")]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "OPS_STATE_DIR": str(state)}
    process = subprocess.Popen(
        argv,
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        machine.wait("the bootstrap to have the lease", lambda: holder(machine))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
    left = holder(machine)
    assert left["procedure"] == "bootstrap"
    assert left["ttl_s"] == 240
    refused = run_clean(DAILY, "-e", "ops_locale=en", state=state)
    assert refused.rc != 0
    assert f"held by run {left['run_id']} (bootstrap, " in refused.output
    # Four minutes later.
    machine.out(f"jq '.boot_s -= 240' {LEASE} > {LEASE}.new && mv {LEASE}.new {LEASE}", user=USER)
    taken = run_clean(DAILY, "-e", "ops_locale=en", state=state)
    assert taken.rc == 0, taken.output
    assert f"The lease of run {left['run_id']} (bootstrap, " in taken.output
