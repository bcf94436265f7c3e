"""Backups of the real database, and what becomes of them when something is killed, full or gone half-way."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import BACKUP, BACKUPS, DATABASE, USER, VERIFY, Background, Machine, Run, damaging

Runner = Callable[..., Run]
SMALL = "/mnt/small"


@pytest.fixture
def backup(run_clean: Runner, state: Path) -> Runner:
    def run(*args: str, prove: bool = False, **options: Any) -> Run:
        chosen = () if prove else ("-e", "backup_prove=false")
        return run_clean(BACKUP, "-e", "ops_locale=en", *chosen, *args, **{"state": state, **options})

    return run


def listing(machine: Machine, directory: str = BACKUPS) -> set[str]:
    """Every name in the directory of the backups, the lock's left out."""
    return set(machine.out(f"ls -A {directory} 2>/dev/null || true").split()) - {".lock"}


def note(run: Run) -> str:
    """What the record says of the backup."""
    assert run.report, run.output
    notes = run.report["record"]["steps"][1]["note"]  # after the lease
    return "; ".join(note["text"].format(**note["args"]) for note in (notes if isinstance(notes, list) else [notes]))


@contextlib.contextmanager
def held_up(machine: Machine) -> Iterator[None]:
    """Hold the dump at a locked table for as long as the block takes."""
    client = "mysql" if machine.database == "mysql" else "mariadb"
    script = f"echo 'LOCK TABLES message WRITE; SELECT SLEEP(25);' | {client} {DATABASE} & echo $!; wait"
    locker = threading.Thread(target=lambda: machine.sh(script, check=False, timeout=40))
    locker.start()
    try:
        machine.wait("the lock", lambda: machine.sql("SHOW PROCESSLIST") and "SLEEP" in str(processes(machine)))
        yield
    finally:
        for line in processes(machine):
            if "SLEEP" in line:
                machine.sql(f"KILL {line.split()[0]}")
        locker.join(45)


def processes(machine: Machine) -> list[str]:
    with contextlib.suppress(AssertionError):
        return machine.sql("SHOW PROCESSLIST")
    return []


def dumper(machine: Machine) -> str:
    return "mysqldump" if machine.database == "mysql" else "mariadb-dump"


def wait_for(machine: Machine, program: str) -> None:
    machine.wait(program, lambda: machine.sh(f"pgrep -x {program}", check=False).returncode == 0, 20)
    time.sleep(0.3)


def test_backup_is_whole_private_and_described(machine: Machine, backup: Runner, identity: str) -> None:
    before = listing(machine)
    run = backup()
    assert run.rc == 0, run.output
    assert run.steps["database_backup"] == "changed"
    new = sorted(listing(machine) - before)
    assert len(new) == 2, new
    described, data = new
    assert machine.out(f"stat -c '%a %U' {BACKUPS}/{described} {BACKUPS}/{data}") == f"600 {USER}\n600 {USER}"
    manifest = json.loads(machine.out(f"cat {BACKUPS}/{described}"))
    assert manifest["sha256"] == machine.out(f"sha256sum < {BACKUPS}/{data}").split()[0]
    assert manifest["verified"] is None
    # Decrypted with the key from the inventory and counted by the database's own means.
    script = f"age -d -i - {BACKUPS}/{data} | zstd -dc | tail -n 1"
    assert machine.out(script, user=USER, stdin=identity + "\n").startswith("-- Dump completed")
    for table in ("message", "conversation", "project"):
        (count,) = machine.sql(f"SELECT COUNT(*) FROM {DATABASE}.{table}")
        assert manifest["tables"][table]["rows"] == int(count)


def test_nothing_readable_and_no_private_key_is_left_on_the_host(
    machine: Machine, backup: Runner, identity: str
) -> None:
    assert backup().rc == 0
    script = 'read -r key; ! grep -rlF -- "$key" /home /tmp /var/tmp /etc /root 2>/dev/null'
    assert machine.out(script, stdin=identity + "\n") == ""
    assert machine.out(f"grep -lF 'INSERT INTO' {BACKUPS}/* || true") == ""


def test_check_mode_writes_nothing(machine: Machine, backup: Runner) -> None:
    before = listing(machine)
    run = backup("--check")
    assert run.rc == 0, run.output
    assert listing(machine) == before


@pytest.mark.parametrize("victim", ["dumper", "zstd", "age"])
def test_a_killed_process_leaves_nothing_that_looks_like_a_backup(
    machine: Machine, backup: Runner, victim: str
) -> None:
    program = dumper(machine) if victim == "dumper" else victim
    before = listing(machine)
    with held_up(machine):
        run = Background(backup)
        wait_for(machine, program)
        machine.sh(f"pkill -KILL -u {USER} -x {program}")
        done = run.result()
    assert done.rc != 0
    assert done.steps["database_backup"] == "failed"
    assert f"{program} was ended by signal 9" in note(done)
    assert listing(machine) == before


def test_a_killed_module_is_cleaned_up_after_by_the_next_run(machine: Machine, backup: Runner) -> None:
    before = listing(machine)
    with held_up(machine):
        run = Background(backup)
        wait_for(machine, "zstd")
        machine.sh(f"kill -KILL $(ps -o ppid= -p $(pgrep -u {USER} -x zstd))")
        assert run.result().rc != 0
        machine.wait("the children to end", lambda: machine.sh("pgrep -x 'zstd|age'", check=False).returncode != 0)
    left = listing(machine) - before
    assert left
    assert all(name.startswith(".partial-") for name in left)
    assert backup().rc == 0
    assert not left & listing(machine)


def test_second_backup_names_the_first(machine: Machine, backup: Runner, run_clean: Runner, tmp_path: Path) -> None:
    with held_up(machine):
        first = Background(backup)
        wait_for(machine, "zstd")
        second = run_clean(BACKUP, "-e", "ops_locale=en", "-e", "backup_prove=false", state=tmp_path)
    assert second.rc != 0
    made = first.result()
    assert made.rc == 0
    assert made.report
    assert f"held by run {made.report['record']['run_id']} (backup," in second.output


def test_full_disk_is_noticed_before_and_during(machine: Machine, backup: Runner) -> None:
    machine.sh(f"mkdir -p {SMALL}; mount -t tmpfs -o size=24m,uid=$(id -u {USER}),mode=700 none {SMALL}")
    try:
        place = ("-e", f"backup_database_dir={SMALL}")
        early = backup(*place)
        assert early.rc != 0
        assert "a backup needs about" in note(early)
        with held_up(machine):
            run = Background(lambda: backup(*place, "-e", "backup_reserve_bytes=0"))
            wait_for(machine, "zstd")
            machine.sh(f"head -c 24M /dev/zero > {SMALL}/filler || true")
        late = run.result()
        assert late.rc != 0
        assert "no space left" in note(late)
        assert listing(machine, SMALL) == {"filler"}
    finally:
        machine.sh(f"umount {SMALL}")


def test_a_dump_without_its_last_line_is_no_backup(machine: Machine, backup: Runner) -> None:
    program = dumper(machine)
    wrapper = f"/usr/local/bin/{program}"
    script = (
        f'#!/bin/sh\nif [ "$1" = --version ]; then exec /usr/bin/{program} --version; fi\n'
        f"/usr/bin/{program} \"$@\" | sed '$d'\n"
    )
    machine.sh(f"cat > {wrapper}; chmod 755 {wrapper}", stdin=script)
    before = listing(machine)
    try:
        run = backup()
    finally:
        machine.sh(f"rm {wrapper}")
    assert run.rc != 0
    assert "does not end with the line Dump completed" in note(run)
    assert listing(machine) == before


def test_a_server_that_stops_during_the_dump_leaves_no_backup(machine: Machine, backup: Runner) -> None:
    before = listing(machine)
    try:
        with held_up(machine):
            run = Background(backup)
            wait_for(machine, "zstd")
            machine.sh("systemctl stop mysql mariadb 2>/dev/null || true", timeout=40)
        done = run.result()
    finally:
        machine.sh("systemctl start mysql 2>/dev/null || systemctl start mariadb", timeout=40)
        machine.settle()
    assert done.rc != 0
    assert done.steps["database_backup"] == "failed"
    assert listing(machine) == before


# Whatever makes a dump and its restore differ: names, literals, code, and owners who are gone.
HOSTILE = """
CREATE TABLE `a ``table` (id INT PRIMARY KEY, `b(` BLOB, e VARCHAR(40), g INT GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO `a ``table` (id, `b(`, e) VALUES (1, 0x00FF275C0A, '\\'),(\\\\ 😀'), (2, NULL, ''), (3, '', ';\n');
CREATE TABLE empty_one (id INT PRIMARY KEY);
CREATE TRIGGER a_trigger BEFORE INSERT ON empty_one FOR EACH ROW SET NEW.id = NEW.id + 1;
CREATE DEFINER = 'gone'@'nowhere' VIEW a_view AS SELECT id FROM empty_one;
CREATE EVENT an_event ON SCHEDULE EVERY 1 DAY DO DELETE FROM empty_one;
CREATE FUNCTION a_function() RETURNS INT DETERMINISTIC NO SQL RETURN 1;
"""
UNDO = """
DROP EVENT an_event; DROP FUNCTION a_function; DROP VIEW a_view; DROP TABLE empty_one; DROP TABLE `a ``table`;
"""


@pytest.fixture
def verify(run_clean: Runner, state: Path) -> Runner:
    def run(*args: str, **options: Any) -> Run:
        return run_clean(VERIFY, "-e", "ops_locale=en", *args, **{"state": state, **options})

    return run


def newest(machine: Machine) -> dict[str, Any]:
    """The newest manifest, with its path."""
    path = machine.out(f"ls {BACKUPS}/*.json | tail -n 1")
    return {**json.loads(machine.out(f"cat {path}")), "path": path}


def test_a_backup_of_anything_is_proven_by_restoring_it(machine: Machine, backup: Runner) -> None:
    machine.sql(f"SET GLOBAL log_bin_trust_function_creators = 1; USE {DATABASE}; {HOSTILE}")
    try:
        made = backup(prove=True)
        assert made.rc == 0, made.output
        assert made.steps["database_verify"] == "changed"
    finally:
        machine.sql(f"USE {DATABASE}; {UNDO}")
    manifest = newest(machine)
    assert manifest["tables"]["a `table"]["rows"] == 3
    assert manifest["tables"]["empty_one"]["rows"] == 0
    for kind in ("views", "routines", "triggers", "events"):
        assert manifest["structure"][kind], kind
    proof = newest(machine)["verified"]
    assert proof["method"] == "throwaway_server"
    assert proof["restore_s"] > 0
    assert 0 <= proof["age_s"] < 600
    assert not [name for name in listing(machine) if name.startswith(".")], "something is left"
    assert machine.sh(f"pgrep -u {USER} -x 'mysqld|mariadbd'", check=False).stdout == ""


def test_damage_takes_the_proof_away_and_names_the_file(machine: Machine, backup: Runner, verify: Runner) -> None:
    assert backup(prove=True).rc == 0
    manifest = newest(machine)
    path = f"{BACKUPS}/{manifest['file']}"
    for damage in (damaging(path), f"truncate -s -100 {path}"):
        machine.sh(f"cp -p {path} /root/kept")
        machine.sh(damage)
        run = verify()
        machine.sh(f"mv /root/kept {path}")
        assert run.rc != 0
        assert manifest["file"] in note(run)
        assert "damaged" in note(run)
        assert newest(machine)["verified"] is None


def test_wrong_key_proves_nothing_and_breaks_nothing(machine: Machine, backup: Runner, verify: Runner) -> None:
    assert backup().rc == 0
    other = machine.out("age-keygen 2>/dev/null | grep AGE-SECRET")
    run = verify("-e", f"backup_age_identity={other}")
    assert run.rc != 0
    assert "no identity matched" in note(run)
    assert newest(machine)["verified"] is None


def test_a_killed_proof_leaves_no_server(machine: Machine, backup: Runner, verify: Runner) -> None:
    assert backup().rc == 0
    run = Background(verify)
    # Not the one that fills the data directory: without that, a proof goes another way and succeeds.
    throwaway = f"pgrep -u {USER} -f '^[^ ]*(mysqld|mariadbd) .*--skip-networking'"
    machine.wait("the throwaway server", lambda: machine.sh(throwaway, check=False).returncode == 0)
    machine.sh(f"kill -KILL $(ps -o ppid= -p $({throwaway} | head -n 1))")
    assert run.result().rc != 0
    machine.wait("its end", lambda: machine.sh(throwaway, check=False).returncode != 0)
    assert verify().rc == 0
    assert not [name for name in listing(machine) if name.startswith(".")]
