"""Proofs of backups: by default, under load, of nothing, where no second server can be started, and when killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import BACKUP, BACKUPS, CREDENTIAL, DATABASE, PROJECT, USER, VERIFY, Background, Machine, Run

Runner = Callable[..., Run]
SMALL = "/mnt/small"
LEASE = f"/home/{USER}/.local/state/orquestrador-ops/lease.json"
ZONE_TABLES = ("time_zone_name", "time_zone_transition", "time_zone_transition_type", "time_zone")
THROWAWAY = f"pgrep -u {USER} -f '^[^ ]*mysqld .*--datadir=({BACKUPS}|{SMALL})/'"
RESTORE = f"pgrep -u {USER} -f '^[^ ]*mysql .*--init-command=SET SESSION timestamp'"


@pytest.fixture
def backup(run_clean: Runner, state: Path) -> Runner:
    def run(*args: str, **options: Any) -> Run:
        return run_clean(BACKUP, "-e", "ops_locale=en", *args, **{"state": state, **options})

    return run


@pytest.fixture
def verify(run_clean: Runner, state: Path) -> Runner:
    def run(*args: str, **options: Any) -> Run:
        return run_clean(VERIFY, "-e", "ops_locale=en", *args, **{"state": state, **options})

    return run


def listing(machine: Machine, directory: str = BACKUPS) -> set[str]:
    return set(machine.out(f"ls -A {directory} 2>/dev/null || true").split()) - {".lock"}


def newest(machine: Machine, directory: str = BACKUPS) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(machine.out(f"cat $(ls {directory}/*.json | tail -n 1)"))
    return manifest


def notes(run: Run) -> str:
    assert run.report, run.output
    return json.dumps([step["note"] for step in run.report["record"]["steps"]])


def alive(machine: Machine, pattern: str) -> bool:
    return machine.sh(pattern, check=False).returncode == 0


def scratch(machine: Machine) -> list[str]:
    return machine.sql("SHOW DATABASES LIKE 'ops\\_verify\\_%'")


@pytest.fixture
def rows(machine: Machine) -> Iterator[None]:
    """A table large enough for a restore to be interrupted."""
    machine.sql(
        f"USE {DATABASE}; SET SESSION cte_max_recursion_depth = 100000; DROP TABLE IF EXISTS heavy;"
        " CREATE TABLE heavy (id INT PRIMARY KEY, data VARBINARY(1000));"
        " INSERT INTO heavy WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 60000)"
        " SELECT i, RANDOM_BYTES(1000) FROM n;"
    )
    yield
    machine.sql(f"DROP TABLE IF EXISTS {DATABASE}.heavy")


def test_what_a_proof_needs_is_asked_for_before_the_dump(machine: Machine, backup: Runner) -> None:
    before = listing(machine)
    for arguments, said in (
        (("-e", "backup_age_identity="), "is no private key of age"),
        (("-e", "ansible_ssh_pipelining=false"), "without pipelining Ansible would write the private key"),
    ):
        run = backup(*arguments)
        assert run.rc != 0
        assert said in run.output
        assert "-e backup_prove=false" in run.output
    assert listing(machine) == before


def test_what_is_written_during_the_dump_does_not_disturb_the_proof(machine: Machine, backup: Runner) -> None:
    machine.sql(f"CREATE TABLE {DATABASE}.busy (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(200), times INT)")
    loop = (
        "for n in $(seq 100000); do echo \"INSERT INTO busy (note, times) VALUES (REPEAT('a),(b', 20), 0);"
        ' UPDATE busy SET times = times + 1 WHERE id % 7 = $((n % 7));"; sleep 0.005; done'
    )
    script = f"({loop}) | timeout 60 mysql {DATABASE} & echo $! > /run/writer; wait"
    writer = threading.Thread(target=lambda: machine.sh(script, check=False, timeout=80))
    writer.start()
    count = f"SELECT COUNT(*) FROM {DATABASE}.busy"
    try:
        machine.wait("the first rows", lambda: int(machine.sql(count)[0]) > 0)
        before = int(machine.sql(count)[0])
        run = backup()
        after = int(machine.sql(count)[0])
    finally:
        machine.sh("pkill -P $(cat /run/writer) || true; kill $(cat /run/writer) || true; rm /run/writer")
        writer.join(90)
        machine.sql(f"DROP TABLE {DATABASE}.busy")
    assert run.rc == 0, run.output
    assert run.steps["database_verify"] == "changed"
    manifest = newest(machine)
    assert manifest["verified"]["method"] == "throwaway_server"
    assert before <= manifest["tables"]["busy"]["rows"] <= after
    assert after > before, "nothing was written meanwhile"


def test_an_empty_database_is_backed_up_and_proven(machine: Machine, backup: Runner) -> None:
    machine.sql(
        "CREATE DATABASE nothing; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON nothing.* TO orquestrador_ops@localhost"
    )
    try:
        run = backup("-e", "mysql_database=nothing")
    finally:
        machine.sql("REVOKE ALL ON nothing.* FROM orquestrador_ops@localhost; DROP DATABASE nothing")
    assert run.rc == 0, run.output
    manifest = newest(machine)
    assert (manifest["database"], manifest["rows"], manifest["tables"]) == ("nothing", 0, {})
    assert manifest["verified"]


def test_events_of_another_time_and_zone_are_proven(machine: Machine, backup: Runner, verify: Runner) -> None:
    zone = "America/Sao_Paulo"
    machine.sh(f"mysql_tzinfo_to_sql /usr/share/zoneinfo/{zone} {zone} | mysql mysql")
    machine.sql(
        f"SET GLOBAL event_scheduler = OFF; USE {DATABASE};"
        " CREATE EVENT once ON SCHEDULE AT NOW() + INTERVAL 25 SECOND DO DELETE FROM message WHERE id < 0;"
        f" SET time_zone = '{zone}'; CREATE EVENT elsewhere ON SCHEDULE EVERY 1 DAY DO DELETE FROM message WHERE id < 0"
    )
    due = time.monotonic() + 26
    try:
        made = backup("-e", "backup_prove=false")
    finally:
        machine.sql(f"USE {DATABASE}; DROP EVENT IF EXISTS once; DROP EVENT elsewhere; SET GLOBAL event_scheduler = ON")
        forget = " ".join(f"DELETE FROM {table};" for table in ZONE_TABLES)
        machine.sql(f"USE mysql; {forget}")
    assert made.rc == 0, made.output
    assert made.steps["database_verify"] == "skipped"
    assert set(newest(machine)["structure"]["events"]) > {"once", "elsewhere"}
    time.sleep(max(due - time.monotonic(), 0))
    run = verify()
    assert run.rc == 0, run.output


def test_a_disk_that_fills_during_the_proof_leaves_the_backup_unproven(
    machine: Machine, backup: Runner, verify: Runner, rows: None
) -> None:
    machine.sh(f"mkdir -p {SMALL}; mount -t tmpfs -o size=1g,uid=$(id -u {USER}),mode=700 none {SMALL}")
    place = ("-e", f"backup_database_dir={SMALL}", "-e", "backup_reserve_bytes=0")
    try:
        assert backup(*place, "-e", "backup_prove=false").rc == 0
        run = Background(lambda: verify(*place))
        machine.wait("the restore", lambda: alive(machine, RESTORE), 40)
        machine.sh(f"head -c 1G /dev/zero > {SMALL}/filler || true")
        failed = run.result()
        assert failed.rc != 0
        assert failed.steps["database_verify"] == "failed"
        assert not [name for name in listing(machine, SMALL) if name.startswith(".")]
        assert newest(machine, SMALL)["verified"] is None
        assert not alive(machine, THROWAWAY)
        machine.sh(f"rm {SMALL}/filler")
        assert verify(*place).rc == 0
        assert newest(machine, SMALL)["verified"]
    finally:
        machine.sh(f"umount {SMALL}")


def test_a_killed_controller_ends_the_work_on_the_host(
    machine: Machine, backup: Runner, verify: Runner, rows: None, state: Path
) -> None:
    assert backup("-e", "backup_prove=false").rc == 0
    before = listing(machine)
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(machine.inventory), VERIFY]
    controller = subprocess.Popen(
        [*argv, "--vault-password-file", str(machine.state / "vault-password")],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "OPS_STATE_DIR": str(state / "killed")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        machine.wait("the throwaway server", lambda: alive(machine, THROWAWAY), 40)
    finally:
        os.killpg(controller.pid, signal.SIGKILL)
        controller.wait(10)
    machine.wait("the end of the server", lambda: not alive(machine, THROWAWAY), 30)
    machine.wait("the directory to be as before", lambda: listing(machine) == before, 20)
    machine.wait("the lease to be given back by who worked under it", lambda: holder(machine) is None, 20)
    assert verify().rc == 0


def holder(machine: Machine) -> str | None:
    """The run that has the lease, by the host's own clock and read without the project."""
    left = '"\\(.boot_s + .ttl_s - ($now | tonumber)) \\(.run_id)"'
    found = machine.out(
        f"if [ -e {LEASE} ]; then jq -r --arg now $(cut -d' ' -f1 /proc/uptime) '{left}' {LEASE}; fi", user=USER
    )
    return found.split()[1] if found and float(found.split()[0]) > 0 else None


def uptime(machine: Machine) -> float:
    return float(machine.out("cut -d' ' -f1 /proc/uptime"))


TTL_S = 10


def test_a_controller_that_is_killed_at_once_frees_the_host_when_its_lease_ends(
    machine: Machine, backup: Runner, state: Path
) -> None:
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(machine.inventory), BACKUP]
    with held(machine):
        controller = subprocess.Popen(
            [*argv, "--vault-password-file", str(machine.state / "vault-password"), "-e", f"app_lease_ttl_s={TTL_S}"],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "OPS_STATE_DIR": str(state / "killed")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            machine.wait("the lease", lambda: holder(machine), 40)
        finally:
            os.killpg(controller.pid, signal.SIGKILL)
            controller.wait(10)
        began = uptime(machine)
        machine.wait("the host to be free", lambda: holder(machine) is None, TTL_S + 30)
        # The default lives for 240 s: five minutes are kept by the same rule.
        assert uptime(machine) - began < TTL_S + 20
    assert backup("-e", "backup_prove=false").rc == 0


def test_a_backup_that_takes_longer_than_its_lease_keeps_it(machine: Machine, backup: Runner) -> None:
    with held(machine):
        run = Background(lambda: backup("-e", "backup_prove=false", "-e", "app_lease_ttl_s=3"))
        machine.wait("the dump to be under way", lambda: alive(machine, f"pgrep -u {USER} -f '^/bin/sh .*/age '"), 40)
        until, mine = uptime(machine) + 10, holder(machine)
        assert mine
        while uptime(machine) < until:
            assert holder(machine) == mine
    done = run.result()
    assert done.rc == 0, done.output
    assert done.report
    assert done.report["record"]["run_id"] == mine
    assert "lost the lease" not in done.output
    assert holder(machine) is None


@contextlib.contextmanager
def held(machine: Machine) -> Iterator[None]:
    """Hold every backup at its last program for as long as the block takes."""
    machine.sh(
        "touch /run/held; cat > /usr/local/bin/age; chmod 755 /usr/local/bin/age",
        stdin='#!/bin/sh\nwhile [ -e /run/held ]; do sleep 0.1; done\nexec /usr/bin/age "$@"\n',
    )
    try:
        yield
    finally:
        machine.sh("rm /run/held /usr/local/bin/age")


def test_where_no_second_server_can_be_started_a_scratch_schema_is_used(machine: Machine, backup: Runner) -> None:
    before = machine.sql(f"CHECKSUM TABLE {DATABASE}.message, {DATABASE}.conversation")
    machine.sh("chmod 750 /usr/sbin/mysqld")  # of root and the server's group: as a profile would forbid it
    try:
        run = backup()
        refused = backup("-e", "backup_verify_method=throwaway_server")
    finally:
        machine.sh("chmod 755 /usr/sbin/mysqld")
    assert run.rc == 0, run.output
    assert refused.rc != 0
    assert "scratch schema" in notes(run)
    manifests = [
        json.loads(text)
        for text in machine.out(
            f"for f in $(ls {BACKUPS}/*.json | tail -n 2); do tr -d '\\n' < $f; echo; done"
        ).splitlines()
    ]
    proof = manifests[0]["verified"]
    assert proof["method"] == "scratch_schema"
    assert "triggers" in proof["not_compared"]
    assert proof["reason"]
    assert manifests[1]["verified"] is None
    assert scratch(machine) == []
    assert machine.sql(f"CHECKSUM TABLE {DATABASE}.message, {DATABASE}.conversation") == before


def test_the_account_of_proofs_reaches_nothing_else(machine: Machine) -> None:
    found = machine.grants("'orquestrador_verify'@'localhost'")
    assert set(found) == {"*.*", "ops_verify_%.*"}
    assert found["*.*"] == {"SESSION_VARIABLES_ADMIN"}
    client = f"mysql --defaults-file={CREDENTIAL} --user=orquestrador_verify"
    for statement in (
        f"USE {DATABASE}",
        f"SELECT * FROM {DATABASE}.message",
        f"CREATE TABLE {DATABASE}.mine (id INT)",
        f"INSERT INTO {DATABASE}.message (id) VALUES (1)",
        "CREATE DATABASE other",
        "SET GLOBAL event_scheduler = ON",
    ):
        done = machine.sh(client, user=USER, stdin=statement, check=False)
        assert "denied" in done.stderr, statement


def test_a_killed_proof_in_a_scratch_schema_is_cleaned_up_after(
    machine: Machine, backup: Runner, verify: Runner, rows: None
) -> None:
    assert backup("-e", "backup_prove=false").rc == 0
    forced = ("-e", "backup_verify_method=scratch_schema")
    run = Background(lambda: verify(*forced))
    machine.wait("the restore", lambda: alive(machine, RESTORE), 40)
    machine.sh(f"kill -KILL $(ps -o ppid= -p $({RESTORE}))")
    assert run.result().rc != 0
    assert len(scratch(machine)) == 1
    # Whatever way the next run goes.
    done = verify()
    assert done.rc == 0, done.output
    assert scratch(machine) == []
    assert not [name for name in listing(machine) if name.startswith(".")]
    done = verify(*forced)
    assert done.rc == 0, done.output
    assert newest(machine)["verified"]["method"] == "scratch_schema"
    assert scratch(machine) == []
