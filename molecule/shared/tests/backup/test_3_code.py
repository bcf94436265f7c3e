"""Backups of the application's directory and their restores, and what becomes of them when something goes wrong."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from entry import CODE, Done, Runner, entry, listing, manifest
from machine import APP, CRITICAL, USER, WEBAPP, Machine, damaging

Entry = Callable[..., Done]
SMALL = "/mnt/small-code"
KEPT = ("backups", "dist", "logs", "node_modules")
CONFIRMED = ("backup_what=code", f"backup_restore_confirm={APP}", "backup_restore=latest")
# Names that break a program that takes them for anything else than bytes.
HARD = r"""
mkdir -p hard/logs hard/empty; cd hard
printf x > $'two\nlines'; printf y > ' spaces '; printf z > '😀.js'; printf w > $'\xff\xfe'; printf v > ./-rf
printf u > logs/kept-further-down; ln -s ../server link; chmod 400 ' spaces '; mkfifo fifo
"""

# More than pipes hold, so that every process of the stream is there while one of them is held up.
BULKY = "head -c 6M /dev/urandom > blob"


@pytest.fixture
def run(run_clean: Runner, state: Path) -> Entry:
    return lambda name, *args: entry(run_clean, state, name, *args)


@pytest.fixture(autouse=True)
def tree(machine: Machine) -> Iterator[None]:
    """Each test leaves the application's directory as it was."""
    kept = "--exclude=./backups --exclude=./node_modules --exclude=./logs"
    machine.app(f"rm -rf /dev/shm/before; mkdir /dev/shm/before; tar -c {kept} . | tar -xp -C /dev/shm/before")
    yield
    machine.app(
        "{ chmod -R u+w hard 2>/dev/null || true; }; rm -rf hard many busy blob new .restore-*;"
        " tar -c -C /dev/shm/before . | tar -xp; rm -rf /dev/shm/before"
    )


def contents(machine: Machine) -> list[str]:
    """Every name below the application's directory with what it is, what is never moved left out."""
    left_out = " -o ".join(f"-path ./{name}" for name in KEPT)
    return machine.app(
        f"find . \\( {left_out} \\) -prune -o \\( -type f -printf '%P %m ' -exec sha256sum {{}} \\; \\)"
        " -o -printf '%P %y %l\\n' | cat -v | sort"
    ).splitlines()


@contextlib.contextmanager
def instead_of(machine: Machine, program: str, script: str) -> Iterator[None]:
    """Have something else done first when a program is called."""
    machine.sh(f"cat > /usr/local/bin/{program}; chmod 755 /usr/local/bin/{program}", stdin=f"#!/bin/sh\n{script}\n")
    try:
        yield
    finally:
        machine.sh(f"rm /usr/local/bin/{program}")


def started(work: Callable[[], Done]) -> Future[Done]:
    """A run beside the test."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


def wait_for(machine: Machine, program: str) -> None:
    machine.wait(program, lambda: machine.sh(f"pgrep -u {USER} -x {program}", check=False).returncode == 0, 20)
    time.sleep(0.3)


def kill_module(machine: Machine, child: str) -> None:
    machine.sh(f"kill -KILL $(ps -o ppid= -p $(pgrep -u {USER} -x {child} | head -n 1))")


def test_backup_holds_everything_but_what_is_left_out(machine: Machine, run: Entry, identity: str) -> None:
    machine.app(HARD)
    before = listing(machine)
    done = run("code")
    assert done.ok, done.run.output
    assert done.result["backup"]["skipped"] == ["hard/fifo"]
    described, data = sorted(listing(machine) - before)
    assert machine.out(f"stat -c '%a %U' {CODE}/{described} {CODE}/{data}") == f"600 {USER}\n600 {USER}"
    kept = json.loads(machine.out(f"cat {CODE}/{described}"))
    assert kept["sha256"] == machine.out(f"sha256sum < {CODE}/{data}").split()[0]
    assert kept["verified"]["method"] == "listing"
    assert kept["recipient"].startswith("age1")
    # Unpacked by GNU tar with the inventory's key and compared by diff: nothing of ours takes part.
    machine.sh("mkdir -m 700 /dev/shm/unpacked; chown flavio /dev/shm/unpacked")
    try:
        machine.out(
            f"age -d -i - {CODE}/{data} | zstd -dc | tar -x -p -C /dev/shm/unpacked", user=USER, stdin=identity + "\n"
        )
        differs = machine.app("rm hard/fifo; diff -r --no-dereference /dev/shm/unpacked . || true").splitlines()
        assert differs == [f"Only in .: {name}" for name in KEPT]
        assert machine.out("stat -c %a '/dev/shm/unpacked/hard/ spaces ' /dev/shm/unpacked/.env").split() == [
            "400",
            "600",
        ]
    finally:
        machine.sh("rm -rf /dev/shm/unpacked")


def test_nothing_readable_is_left_and_check_mode_writes_nothing(machine: Machine, run: Entry, identity: str) -> None:
    before = listing(machine)
    planned = run("code", "--check")
    assert (planned.ok, planned.changed) == (True, True)
    assert listing(machine) == before
    assert run("code").ok
    secret = machine.app("sed -n 's/^APP_DEBUG_TOKEN=//p' .env")
    script = f'read -r key; read -r secret; ! grep -rlF -e "$key" -e "$secret" {CODE} /tmp /var/tmp 2>/dev/null'
    assert machine.out(script, stdin=f"{identity}\n{secret}\n") == ""


def test_without_the_key_the_backup_is_made_and_stays_unproven(machine: Machine, run: Entry) -> None:
    done = run("code", "backup_prove=false")
    assert done.ok, done.run.output
    backup_id = done.result["backup"]["id"]
    assert manifest(machine, backup_id)["verified"] is None
    refused = run("restore_files", *CONFIRMED, "--check")
    assert not refused.ok
    assert f"backup {backup_id} is not proven" in refused.said
    assert run("verify_code").ok
    assert manifest(machine, backup_id)["verified"]["files"] > 50


def test_a_file_that_changes_while_it_is_read_is_named(machine: Machine, run: Entry) -> None:
    machine.sh(
        f"nohup sh -c 'while :; do echo line >> {WEBAPP}/busy; done' >/dev/null 2>&1 & echo $! > /run/busy.pid",
        user="root",
    )
    try:
        done = run("code")
    finally:
        machine.sh("kill $(cat /run/busy.pid)")
    assert done.result["status"] == "warn"
    assert done.result["backup"]["unstable"] == ["busy"]
    assert "changed while they were read, twice: busy" in done.said
    # What was read is what is in the backup, and nothing else is suspected.
    assert done.result["backup"]["verified"]


@pytest.mark.parametrize("victim", ["zstd", "age"])
def test_a_killed_process_leaves_nothing_that_looks_like_a_backup(machine: Machine, run: Entry, victim: str) -> None:
    machine.app(BULKY)
    before = listing(machine)
    with instead_of(machine, "age", "sleep 15"):
        background = started(lambda: run("code"))
        wait_for(machine, victim)
        machine.sh(f"pkill -KILL -u {USER} -x {victim}")
        done = background.result(80)
    assert not done.ok
    assert f"{victim} was ended by signal 9" in done.said
    assert listing(machine) == before


def test_a_killed_module_is_cleaned_up_after_by_the_next_run(machine: Machine, run: Entry) -> None:
    machine.app(BULKY)
    before = listing(machine)
    with instead_of(machine, "age", "sleep 15"):
        background = started(lambda: run("code"))
        wait_for(machine, "zstd")
        kill_module(machine, "zstd")
        assert not background.result(80).ok
        machine.wait("the children to end", lambda: machine.sh("pgrep -x 'zstd|age'", check=False).returncode != 0)
    left = listing(machine) - before
    assert left
    assert all(name.startswith(".partial-") for name in left)
    assert run("code").ok
    assert not left & listing(machine)


def test_full_disk_is_noticed_before_and_during(machine: Machine, run: Entry) -> None:
    machine.sh(f"mkdir -p {SMALL}; mount -t tmpfs -o size=24m,uid=$(id -u {USER}),mode=700 none {SMALL}")
    try:
        early = run("code", f"backup_code_dir={SMALL}")
        assert "a backup needs about" in early.said
        machine.app(BULKY)
        with instead_of(machine, "age", 'sleep 4; exec /usr/bin/age "$@"'):
            background = started(lambda: run("code", f"backup_code_dir={SMALL}", "backup_reserve_bytes=0"))
            wait_for(machine, "zstd")
            machine.sh(f"head -c 24M /dev/zero > {SMALL}/filler || true")
            late = background.result(80)
        assert not late.ok
        assert "no space left" in late.said
        assert listing(machine, SMALL) == {"filler"}
    finally:
        machine.sh(f"umount {SMALL}")


def test_damage_and_another_key_are_named_and_take_the_proof_away(machine: Machine, run: Entry) -> None:
    made = run("code")
    backup_id, path = made.result["backup"]["id"], made.result["path"]
    other = machine.out("age-keygen 2>/dev/null | grep AGE-SECRET")
    wrong = run("verify_code", f"backup_age_identity={other}")
    assert not wrong.ok
    assert path in wrong.said
    assert "no identity matched" in wrong.said
    assert manifest(machine, backup_id)["verified"], "another key says nothing of the backup"
    machine.app("echo broken > package.json")
    for damage in (damaging(path), f"truncate -s -100 {path}"):
        machine.sh(f"cp -p {path} /root/kept; {damage}")
        done = run("verify_code")
        refused = run("restore_files", *CONFIRMED, "backup_restore_unverified=true")
        machine.sh(f"mv /root/kept {path}")
        for failed in (done, refused):
            assert not failed.ok
            assert f"{path} is damaged" in failed.said
        assert manifest(machine, backup_id)["verified"] is None


def test_ten_thousand_files_take_seconds(machine: Machine, run: Entry) -> None:
    machine.app("mkdir many; cd many; seq 10000 | split -l 1 -a 4 -")
    made = run("code")
    assert made.ok, made.run.output
    assert made.result["backup"]["counts"]["files"] > 10000
    assert made.result["backup"]["duration_s"] < 30
    machine.app("rm -rf many")
    restored = run("restore_files", *CONFIRMED)
    assert restored.ok, restored.run.output
    assert restored.run.seconds < 120
    assert machine.app("ls many | wc -l; cat many/* | sha256sum") == machine.out("echo 10000; seq 10000 | sha256sum")


def test_restore_brings_back_what_was_and_its_safety_backup_what_is(machine: Machine, run: Entry) -> None:
    machine.app(HARD + "rm fifo")
    good = contents(machine)
    assert run("code").ok
    kept = machine.app(f"stat -c '%n %i' . {' '.join(KEPT)}")
    pids = machine.pids()
    machine.app(
        "chmod u+w 'hard/ spaces '; rm -rf hard/logs package.json; echo broken > .env; chmod 644 .env;"
        " mkdir -p new/deep; echo n > new/deep/file; rm -r src; echo file > src"
    )
    broken = contents(machine)
    assert broken != good

    planned = run("restore_files", *CONFIRMED, "--check", "--diff")
    assert planned.changed
    assert {"package.json", "src/main.ts"} <= set(planned.result["changes"]["added"])
    assert {".env", "src"} <= set(planned.result["changes"]["changed"])
    assert {"new", "new/deep", "new/deep/file"} <= set(planned.result["changes"]["removed"])
    unconfirmed = run("restore_files", *CONFIRMED, "backup_restore_confirm=another")
    assert not unconfirmed.ok
    assert f"confirm={APP}" in unconfirmed.said
    assert contents(machine) == broken

    done = run("restore_files", *CONFIRMED)
    assert done.ok, done.run.output
    assert contents(machine) == good
    # What is left out was not touched, and who works in the directory works on.
    assert machine.app(f"stat -c '%n %i' . {' '.join(KEPT)}") == kept
    assert machine.pids() == pids
    assert machine.health()["database"] == "connected"
    assert machine.app("ls -A | grep restore || true") == ""
    again = run("restore_files", *CONFIRMED)
    assert (again.ok, again.changed, again.result["safety"]) == (True, False, None)

    back = run("restore_files", *CONFIRMED, f"backup_restore={done.result['safety']}")
    assert back.ok, back.run.output
    assert contents(machine) == broken


def test_a_restore_that_is_killed_leaves_the_old_files_and_is_cleaned_up_after(machine: Machine, run: Entry) -> None:
    good = contents(machine)
    assert run("code").ok
    machine.app("echo broken > package.json")
    broken = contents(machine)
    # The first call makes the safety backup, the second proves it, the third is the restore's own.
    slow = (
        'case "$1" in -d) n=$(cat /dev/shm/calls 2>/dev/null); echo x$n > /dev/shm/calls; [ -z "$n" ] || sleep 15; esac'
    )
    with instead_of(machine, "age", f'{slow}\nexec /usr/bin/age "$@"'):
        background = started(lambda: run("restore_files", *CONFIRMED))
        machine.wait("the stage", lambda: machine.app("ls -A | grep '^.restore-' || true"), 30)
        time.sleep(0.5)
        kill_module(machine, "zstd")
        assert not background.result(80).ok
    machine.sh("rm -f /dev/shm/calls")
    assert [line for line in contents(machine) if not line.startswith(".restore-")] == broken
    assert run("restore_files", *CONFIRMED).ok
    assert contents(machine) == good


def test_files_that_change_after_they_were_saved_stop_the_restore(machine: Machine, run: Entry) -> None:
    assert run("code").ok
    machine.app("echo broken > package.json")
    slow = f'case "$1" in -d) echo late >> {WEBAPP}/README.md; esac\nexec /usr/bin/age "$@"'
    with instead_of(machine, "age", slow):
        done = run("restore_files", *CONFIRMED)
    assert not done.ok
    assert "README.md changed since" in done.said
    assert machine.app("cat package.json") == "broken"
    assert machine.app("ls -A | grep restore || true") == ""


def test_critical_files_come_back_with_mode_and_what_was_there_is_kept(
    machine: Machine, run: Entry, run_clean: Runner, state: Path
) -> None:
    assert run_clean("playbooks/routine/daily.yml", state=state).rc == 0
    good = machine.app("sha256sum < .env")
    copy = machine.app(f"ls {CRITICAL}/.env | tail -n 1")
    machine.app("echo broken > .env; chmod 640 .env")
    critical = ("backup_what=critical", f"backup_restore_confirm={APP}", '{"backup_restore_only": [".env"]}')
    planned = run("restore_files", *critical, f"backup_restore={copy}", "--check")
    assert planned.changed
    assert machine.app("cat .env") == "broken"
    done = run("restore_files", *critical, f"backup_restore={copy}")
    assert done.ok, done.run.output
    assert machine.app("sha256sum < .env; stat -c %a .env").split() == [*good.split(), "640"]
    assert machine.app(f"cat {CRITICAL}/.env/$(ls {CRITICAL}/.env | tail -n 1)") == "broken"
    again = run("restore_files", *critical, f"backup_restore={copy}")
    assert (again.ok, again.changed) == (True, False)
    machine.app(f"chmod u+w {CRITICAL}/.env/{copy}; echo x >> {CRITICAL}/.env/{copy}; echo broken > .env")
    damaged = run("restore_files", *critical, f"backup_restore={copy}")
    machine.app(f"rm {CRITICAL}/.env/{copy}")
    assert not damaged.ok
    assert "is damaged" in damaged.said
    assert machine.app("cat .env") == "broken"
