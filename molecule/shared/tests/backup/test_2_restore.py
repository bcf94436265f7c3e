"""The database restored over the one in production: every row, every refusal, and a way back from every fault."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machine import (
    BACKUP,
    BACKUPS,
    DATABASE,
    RESTORE,
    USER,
    VERIFY,
    Background,
    Machine,
    Run,
    assert_same,
    damaging,
    in_english,
)

Runner = Callable[..., Run]
JOURNAL = f"{BACKUPS}/.restore.json"
LEASE = f"/home/{USER}/.local/state/orquestrador-ops/lease.json"
# What a restore gets wrong most easily: code whose owner is gone, names, an event that writes while tables are loaded.
SEED = """
CREATE TABLE `a ``table` (id INT PRIMARY KEY, `b(` BLOB, e VARCHAR(40), g INT GENERATED ALWAYS AS (id * 2) STORED);
INSERT INTO `a ``table` (id, `b(`, e) VALUES (1, 0x00FF275C0A, '\\'),(\\\\ 😀'), (2, NULL, ''), (3, '', ';\n');
CREATE TABLE acknowledged (id INT AUTO_INCREMENT PRIMARY KEY, at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6));
CREATE TABLE ticks (id INT AUTO_INCREMENT PRIMARY KEY);
CREATE TRIGGER a_trigger BEFORE INSERT ON `a ``table` FOR EACH ROW SET NEW.e = CONCAT(NEW.e, '!');
CREATE DEFINER = 'gone'@'nowhere' VIEW a_view AS SELECT id FROM ticks;
CREATE FUNCTION a_function() RETURNS INT DETERMINISTIC NO SQL RETURN 1;
CREATE EVENT an_event ON SCHEDULE EVERY 1 SECOND DO INSERT INTO ticks VALUES ();
"""
MOVING = ("acknowledged", "ticks")  # tables that somebody writes to
LATER = """
CREATE TABLE later (id INT PRIMARY KEY); INSERT INTO later VALUES (1), (2);
CREATE VIEW later_view AS SELECT 1; CREATE EVENT later_event ON SCHEDULE EVERY 1 DAY DO DO 1;
CREATE PROCEDURE later_procedure() SELECT 1;
"""
NO_LATER = "DROP TABLE later; DROP VIEW later_view; DROP EVENT later_event; DROP PROCEDURE later_procedure;"


class Load:
    """Rows written one by one by a client of its own, each acknowledged before the next."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        script = (
            f"while :; do echo 'INSERT INTO acknowledged () VALUES (); UPDATE acknowledged SET at = NOW(6)"
            f" ORDER BY id DESC LIMIT 3;'; sleep 0.01; done | timeout 60 mysql {DATABASE}"
        )
        self._thread = threading.Thread(target=lambda: machine.sh(script, check=False, timeout=70))

    def __enter__(self) -> Load:
        self._thread.start()
        self._machine.wait("the load", lambda: self.rows() > 5)
        return self

    def __exit__(self, *_: object) -> None:
        self._machine.sh(f"pkill -x -f 'mysql {DATABASE}'", check=False)
        self._thread.join(70)

    def rows(self) -> int:
        return count(self._machine, "acknowledged")


def count(machine: Machine, table: str) -> int:
    (rows,) = machine.sql(f"SELECT COUNT(*) FROM {DATABASE}.{table}")
    return int(rows)


def objects(machine: Machine) -> list[str]:
    """Every table, view, routine, trigger and event by name."""
    return machine.sql(
        f"SELECT 't', TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{DATABASE}' UNION ALL"
        f" SELECT 'r', ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{DATABASE}' UNION ALL"
        f" SELECT 'g', TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{DATABASE}' UNION ALL"
        f" SELECT 'e', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{DATABASE}'"
        # Its time passes, and the server drops it as soon as events fire again.
        " AND EVENT_NAME <> 'only_once' ORDER BY 1, 2"
    )


def sums(machine: Machine) -> list[str]:
    """The server's own checksum of every table that nobody writes to."""
    tables = machine.sql(
        f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{DATABASE}'"
        f" AND TABLE_TYPE = 'BASE TABLE' AND TABLE_NAME NOT IN {MOVING} ORDER BY 1"
    )
    names = ", ".join(f"`{DATABASE}`.`{name.replace('`', '``')}`" for name in tables)
    return machine.sql(f"CHECKSUM TABLE {names}")


def listing(machine: Machine) -> set[str]:
    return set(machine.out(f"ls -A {BACKUPS}").split()) - {".lock"}


def manifests(machine: Machine) -> list[dict[str, Any]]:
    """Every manifest, oldest first."""
    names = sorted(name for name in listing(machine) if name.endswith(".json") and not name.startswith("."))
    return [json.loads(machine.out(f"cat {BACKUPS}/{name}")) for name in names]


def said(run: Run, step: str = "database_restore") -> str:
    assert run.report, run.output
    (found,) = [entry for entry in run.report["record"]["steps"] if entry["id"] == step]
    notes = found["note"] if isinstance(found["note"], list) else [found["note"]]
    return "; ".join(in_english(note) for note in notes if note)


def evidence(run: Run) -> dict[str, Any]:
    assert run.report, run.output
    found: dict[str, Any] = run.report["record"]["steps"][1]["evidence"]
    return found


@pytest.fixture(scope="module")
def seeded(machine: Machine) -> Iterator[None]:
    """A database with everything that is hard to restore; without it afterwards."""
    machine.sql(f"SET GLOBAL log_bin_trust_function_creators = 1; USE {DATABASE}; {SEED}")
    yield
    machine.sql(
        f"USE {DATABASE}; DROP EVENT an_event; DROP FUNCTION a_function; DROP VIEW a_view;"
        " DROP TABLE `a ``table`, acknowledged, ticks"
    )


@pytest.fixture(scope="module")
def proven(machine: Machine, seeded: None, run_clean: Runner, tmp_path_factory: Any) -> dict[str, Any]:
    """A proven backup, made while rows were being written, and what was there by the server's own account."""
    state = tmp_path_factory.mktemp("proven")
    with Load(machine) as load:
        before = load.rows()
        made = run_clean(BACKUP, "-e", "ops_locale=en", state=state)
        assert made.rc == 0, made.output
        assert load.rows() > before, "nothing was written meanwhile"
    manifest = manifests(machine)[-1]
    if manifest["verified"] is None:
        run = run_clean(VERIFY, "-e", "ops_locale=en", "-e", f"backup_verify={manifest['id']}", state=state)
        assert run.rc == 0, run.output
        manifest = manifests(machine)[-1]
    assert manifest["verified"]
    return {**manifest, "before": before, "objects": objects(machine), "sums": sums(machine)}


@pytest.fixture
def restore(run_clean: Runner, state: Path) -> Runner:
    def run(*args: str, confirm: str = DATABASE, **options: Any) -> Run:
        extra = ("-e", "ops_locale=en", "-e", f"confirm={confirm}", *args)
        return run_clean(RESTORE, *extra, **{"state": state, **options})

    return run


def half_way(machine: Machine) -> str:
    """Stop the client that loads, with some of the tables there; its process."""
    find = "pgrep -f '/[m]ysql --no-defaults'"
    loaded = f"SELECT COUNT(*) > 2 FROM information_schema.tables WHERE table_schema = '{DATABASE}'"
    script = (
        f"until pid=$({find}); do sleep 0.02; done; kill -STOP $pid;"
        f' until [ "$(mysql -NBe "{loaded}")" = 1 ]; do kill -CONT $pid; sleep 0.05; kill -STOP $pid; done; echo $pid'
    )
    pid = machine.out(script, timeout=40)
    assert len(objects(machine)) < 50, "the load was over already"
    return pid


def assert_as_backed_up(machine: Machine, proven: dict[str, Any]) -> None:
    assert objects(machine) == proven["objects"]
    assert sums(machine) == proven["sums"]
    ids = [int(row) for row in machine.sql(f"SELECT id FROM {DATABASE}.acknowledged ORDER BY id")]
    assert ids == list(range(1, proven["tables"]["acknowledged"]["rows"] + 1))
    assert len(ids) >= proven["before"], "a row that was acknowledged before the dump is missing"


def assert_at_rest(machine: Machine) -> None:
    """Nothing of a restore is left, and the application runs."""
    machine.wait_healthy()
    assert machine.sql("SELECT @@GLOBAL.event_scheduler") == ["ON"]
    assert not [name for name in listing(machine) if name.startswith(".")]
    assert machine.sh("pgrep -x 'age|zstd|mysqldump'", check=False).stdout == ""


def test_every_row_is_there_again_after_the_database_was_dropped(
    machine: Machine, proven: dict[str, Any], restore: Runner
) -> None:
    grants = machine.grants()
    machine.sql(f"DROP DATABASE {DATABASE}")
    run = restore("-e", f"backup={proven['id']}")
    assert run.rc == 0, run.output
    assert run.steps["database_restore"] == "changed"
    assert "did not exist" in said(run)
    assert evidence(run)["identical"] is True
    assert_as_backed_up(machine, proven)
    assert_at_rest(machine)
    assert machine.grants() == grants
    ticks = count(machine, "ticks")
    machine.wait("the event to fire again", lambda: count(machine, "ticks") > ticks)


def test_what_is_not_in_the_backup_goes_and_is_in_the_safety_backup(
    machine: Machine, proven: dict[str, Any], restore: Runner
) -> None:
    machine.sql(f"USE {DATABASE}; {LATER}")
    run = restore("-e", "backup=latest")
    assert run.rc == 0, run.output
    assert_as_backed_up(machine, proven)
    assert_at_rest(machine)
    safety = manifests(machine)[-1]
    assert safety["purpose"] == "safety"
    assert safety["id"] == evidence(run)["safety"]
    assert safety["tables"]["later"]["rows"] == 2


def test_check_mode_changes_nothing(machine: Machine, proven: dict[str, Any], restore: Runner) -> None:
    machine.settle()
    before, rows = machine.fingerprint(), sums(machine)
    run = restore("-e", "backup=latest", "--check")
    assert run.rc == 0, run.output
    assert "would replace the database" in said(run)
    assert_same(before, machine.fingerprint())
    assert sums(machine) == rows


def test_refusals_come_before_anything_is_changed(machine: Machine, proven: dict[str, Any], restore: Runner) -> None:
    path, described = f"{BACKUPS}/{proven['file']}", f"{BACKUPS}/{proven['id']}.json"
    other = machine.out("age-keygen 2>/dev/null | grep AGE-SECRET")
    before, pids, rows = listing(machine), machine.pids(), sums(machine)
    safety = [entry["id"] for entry in manifests(machine) if entry.get("purpose") == "safety"][-1]
    chosen = ("-e", f"backup={proven['id']}")
    damage = damaging(path)
    foreign = f'sed -i \'s/"product": "mysql"/"product": "mariadb"/\' {described}'
    newer = f'sed -i \'s/"version": "9\\./"version": "99./\' {described}'
    for script, args, confirm, expected in (
        ("true", chosen, "", f"give -e confirm={DATABASE}"),
        ("true", ("-e", "backup=20200101T000000Z-000000"), DATABASE, "there is no backup"),
        ("true", ("-e", f"backup={safety}"), DATABASE, "is not proven"),
        (damage, chosen, DATABASE, "is damaged"),
        ("true", (*chosen, "-e", f"backup_age_identity={other}"), DATABASE, "does not belong to"),
        (foreign, chosen, DATABASE, "can't load"),
        (newer, chosen, DATABASE, "update the server first"),
        ("true", (*chosen, "-e", f"backup_reserve_bytes={2**55}"), DATABASE, "free some"),
    ):
        machine.sh(f"cp -p {path} /root/kept.age; cp -p {described} /root/kept.json; {script}")
        run = restore(*args, confirm=confirm)
        machine.sh(f"mv /root/kept.age {path}; mv /root/kept.json {described}")
        assert run.rc != 0, expected
        assert run.steps["database_restore"] == "failed"
        assert run.steps["application"] == "ok"
        assert expected in said(run)
    assert (listing(machine), machine.pids(), sums(machine)) == (before, pids, rows)


@pytest.mark.parametrize("victim", ["client", "module"])
def test_what_is_ended_half_way_has_what_was_there_put_back(
    machine: Machine, proven: dict[str, Any], restore: Runner, victim: str
) -> None:
    machine.sql(f"USE {DATABASE}; {LATER}")
    there = objects(machine)
    run = Background(lambda: restore("-e", f"backup={proven['id']}"))
    client = half_way(machine)
    if victim == "client":
        machine.sh(f"kill -KILL {client}")
    else:
        machine.sh(f"kill -TERM $(ps -o ppid= -p {client})")
    done = run.result()
    assert done.rc != 0
    assert done.steps["database_restore"] == "failed"
    reason = "ended by signal 9" if victim == "client" else "a signal ended the restore"
    for words in (reason, "was restored", "runs again and is healthy"):
        assert words in said(done)
    assert objects(machine) == there
    assert count(machine, "later") == 2
    assert_at_rest(machine)
    machine.sql(f"USE {DATABASE}; {NO_LATER}")


def test_what_can_not_be_put_back_is_said_and_what_to_do_works(
    machine: Machine, proven: dict[str, Any], restore: Runner
) -> None:
    machine.sql(f"USE {DATABASE}; {LATER} CREATE EVENT only_once ON SCHEDULE AT NOW() + INTERVAL 20 SECOND DO DO 1;")
    (its_time,) = machine.sql("SELECT UNIX_TIMESTAMP() + 20")
    there = objects(machine)
    run = Background(lambda: restore("-e", f"backup={proven['id']}"))
    client = half_way(machine)
    machine.sh(f"systemctl stop mysql; kill -CONT {client}", timeout=40)
    done = run.result()
    machine.sh("systemctl start mysql", timeout=40)
    assert done.rc != 0
    assert "the rollback failed" in said(done)
    assert machine.pids() == []
    (advice,) = re.findall(r"with (-e backup=\S+ -e backup_restore_unverified=true) -e confirm=", said(done))
    # An event in the backup whose only time has passed by now.
    machine.wait("its time", lambda: int(machine.sql("SELECT UNIX_TIMESTAMP()")[0]) > int(its_time))
    again = restore(*advice.split())
    assert again.rc == 0, again.output
    assert "was not finished" in said(again)
    assert objects(machine) == there
    assert_at_rest(machine)
    machine.sql(f"USE {DATABASE}; {NO_LATER} DROP EVENT IF EXISTS only_once;")


DATA, ROOM = "/var/lib/mysql", "/mnt/data"


@pytest.fixture
def small_disk(machine: Machine) -> Iterator[str]:
    """The server's data on a disk with little room; gives the script that fills it up."""
    machine.sh(
        f"systemctl stop mysql; mkdir -p {ROOM};"
        f" mount -t tmpfs -o size=$(($(du -sm {DATA} | cut -f1) + 300))m none {ROOM};"
        f" cp -a {DATA}/. {ROOM}; chown mysql:mysql {ROOM}; chmod 700 {ROOM}; mount --bind {ROOM} {DATA};"
        " systemctl start mysql",
        timeout=60,
    )
    yield f"head -c 2G /dev/zero > {DATA}/filler || true"
    machine.sh(
        f"rm -f {DATA}/filler; systemctl stop mysql; umount {DATA}; find {DATA} -mindepth 1 -delete;"
        f" cp -a {ROOM}/. {DATA}; umount {ROOM};"
        " systemctl start mysql",
        timeout=150,
    )
    machine.settle()


def test_a_disk_that_fills_up_is_named_and_what_to_do_works(
    machine: Machine, proven: dict[str, Any], restore: Runner, small_disk: str
) -> None:
    there = objects(machine)
    room = ("-e", "backup_reserve_bytes=0")
    patience = ("-e", "backup_stall_s=20")
    run = Background(lambda: restore("-e", f"backup={proven['id']}", *room, *patience, timeout=240), 240)
    client = half_way(machine)
    machine.sh(f"{small_disk}; kill -CONT {client}")
    done = run.result()
    assert done.rc != 0
    machine.sh(f"rm {DATA}/filler")
    advice = re.findall(r"with (-e backup=\S+ -e backup_restore_unverified=true) -e confirm=", said(done))
    if advice:
        assert machine.pids() == []
        # What had to wait for the disk is tried again by the server once a minute only.
        again = restore(*advice[0].split(), *room, timeout=240)
        assert again.rc == 0, again.output
    assert objects(machine) == there
    assert_at_rest(machine)


def test_a_module_killed_half_way_is_told_of_by_the_next_run_which_knows_the_way_back(
    machine: Machine, proven: dict[str, Any], restore: Runner
) -> None:
    machine.sql(f"USE {DATABASE}; {LATER}")
    there, chosen = objects(machine), ("-e", f"backup={proven['id']}")
    run = Background(lambda: restore(*chosen))
    client = half_way(machine)
    machine.sh(f"kill -KILL $(ps -o ppid= -p {client})")
    done = run.result()
    assert done.rc != 0
    assert (done.steps["database_restore"], done.steps["application"]) == ("failed", "failed")
    assert machine.pids() == []
    machine.wait("the client's end", lambda: machine.sh(f"test -d /proc/{client}", check=False).returncode != 0)
    left = json.loads(machine.out(f"cat {JOURNAL}"))
    assert (left["stage"], left["backup"]) == ("replacing", proven["id"])
    assert objects(machine) != there
    # What is half restored is no way back; what was there before is.
    run = Background(lambda: restore(*chosen))
    machine.sh(f"kill -KILL {half_way(machine)}")
    done = run.result()
    for words in ("was not finished", left["safety"], "was restored", "runs again and is healthy"):
        assert words in said(done)
    assert objects(machine) == there
    assert_at_rest(machine)
    again = restore(*chosen)
    assert again.rc == 0, again.output
    assert "was not finished" not in said(again)
    assert_as_backed_up(machine, proven)
    assert_at_rest(machine)


def test_a_killed_controller_leaves_nothing_half_done(
    machine: Machine, proven: dict[str, Any], restore: Runner, tmp_path: Path
) -> None:
    run = Background(lambda: restore("-e", f"backup={proven['id']}", state=tmp_path))
    client = half_way(machine)
    pattern = f"ansible-playbook -i {machine.inventory} {RESTORE}"
    controller = min(
        int(pid)
        for pid in subprocess.run(["pgrep", "-f", pattern], capture_output=True, text=True, check=True).stdout.split()
    )
    os.killpg(controller, signal.SIGKILL)
    assert run.result().rc == -signal.SIGKILL
    machine.sh(f"kill -CONT {client}", check=False)  # unless it was ended with the rest
    machine.wait("the host to finish by itself", lambda: machine.sh(f"test -e {JOURNAL}", check=False).returncode, 30)
    assert_as_backed_up(machine, proven)
    assert_at_rest(machine)
    # Given back by who worked under it, once everything was put back.
    machine.wait("the lease to be given back", lambda: machine.sh(f"test -e {LEASE}", check=False).returncode, 20)
    again = restore("-e", f"backup={proven['id']}")
    assert again.rc == 0, again.output
    assert_as_backed_up(machine, proven)


def test_what_the_application_is_not_healthy_with_is_taken_back(
    machine: Machine, proven: dict[str, Any], restore: Runner
) -> None:
    machine.sql(f"CREATE TABLE {DATABASE}.kept (id INT)")
    wrong = ("-e", "backup_restore_app_timeout_s=4", "-e", "health_database_expected=elsewhere")
    run = restore("-e", f"backup={proven['id']}", *wrong)
    assert run.rc != 0
    assert "was restored" in said(run)
    assert "runs again and is healthy" not in said(run)
    assert count(machine, "kept") == 0
    machine.sql(f"DROP TABLE {DATABASE}.kept")
    assert_at_rest(machine)
