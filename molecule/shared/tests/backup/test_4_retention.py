"""Which backups go and which stay, and copies elsewhere, on real directories seen by ls and sha256sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from entry import CODE, Done, Runner, entry, listing, manifest
from machine import BACKUPS, USER, Machine, damaging

Entry = Callable[..., Done]
KEPT = "/home/flavio/kept"
DISK = "/mnt/copies"
# Clones of a real backup with the age in days of each argument, "unverified" or "damaged" after a colon.
CLONE = r"""
import json, os, sys, time
place, source = sys.argv[1:3]
kept = json.load(open(f"{place}/{source}.json"))
for number, argument in enumerate(sys.argv[3:]):
    days, _, flaw = argument.partition(":")
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - float(days) * 86400))
    name = f"{moment}-{number:06x}"
    verified = None if flaw == "unverified" else kept["verified"]
    clone = {**kept, "id": name, "file": f"{name}.tar.zst.age", "verified": verified}
    os.link(f"{place}/{kept['file']}", f"{place}/{clone['file']}")
    if flaw == "damaged":
        os.unlink(f"{place}/{clone['file']}")
        open(f"{place}/{clone['file']}", "w").write("half")
    json.dump(clone, open(f"{place}/{name}.json", "w"))
    print(name)
"""


@pytest.fixture
def run(run_clean: Runner, state: Path) -> Entry:
    return lambda name, *args: entry(run_clean, state, name, *args)


@pytest.fixture
def made(machine: Machine, run: Entry) -> Iterator[str]:
    """One proven backup in a directory of the test's own."""
    machine.sh(f"rm -rf {KEPT}; mv {CODE} {KEPT} 2>/dev/null || true")
    done = run("code")
    assert done.ok, done.run.output
    yield str(done.result["backup"]["id"])
    machine.sh(f"rm -rf {CODE}; mv {KEPT} {CODE} 2>/dev/null || true")


def clone(machine: Machine, source: str, *ages: str) -> list[str]:
    quoted = " ".join(ages)
    return machine.out(
        f"cat > /tmp/clone.py; python3 /tmp/clone.py {CODE} {source} {quoted}; rm /tmp/clone.py", user=USER, stdin=CLONE
    ).split()


def ids(machine: Machine) -> set[str]:
    return {name[: -len(".json")] for name in listing(machine) if name.endswith(".json")}


def test_old_ones_go_and_what_is_not_ours_stays(machine: Machine, run: Entry, made: str) -> None:
    ages = ("200", "190:unverified", "180:damaged", "170", "160", "150", "89", "-5")
    gone, unproven, damaged, extra, *_ = names = clone(machine, made, *ages)
    foreign = {"notes.txt", "20200101T000000Z-aaaaaa.tar.zst.age", "20200101T000000Z-bbbbbb.json", "link.json"}
    machine.sh(
        f"cd {CODE}; echo x > notes.txt; echo x > 20200101T000000Z-aaaaaa.tar.zst.age; ln -s {made}.json link.json;"
        f" echo '{{}}' > 20200101T000000Z-bbbbbb.json; chown -h {USER} *"
    )
    before = listing(machine)
    planned = run("retention", "--check")
    assert planned.changed
    assert listing(machine) == before
    done = run("retention")
    assert done.ok, done.run.output
    assert done.changed
    assert ids(machine) - {"20200101T000000Z-bbbbbb", "link"} == {made, *names} - {
        gone,
        unproven,
        damaged,
        extra,
        names[4],
    }
    assert foreign <= listing(machine)
    assert done.result["places"][1]["ahead"] == [names[7]]
    again = run("retention")
    assert (again.ok, again.changed) == (True, False)


def test_at_least_the_minimum_stays_and_damaged_ones_do_not_count(machine: Machine, run: Entry, made: str) -> None:
    old, older, damaged = clone(machine, made, "300", "400", "100:damaged")
    machine.sh(f"truncate -s -1 {CODE}/{damaged}.tar.zst.age")
    done = run("retention")
    assert done.ok, done.run.output
    assert ids(machine) == {made, old, older}, "three proven ones, however old; the damaged one is none"


def test_nothing_goes_while_the_newest_is_not_proven_or_damaged(machine: Machine, run: Entry, made: str) -> None:
    names = clone(machine, made, "400", "300", "200", "150", "100")
    newest = run("code", "backup_prove=false").result["backup"]["id"]
    before = listing(machine)
    done = run("retention")
    assert (done.ok, done.changed, done.result["status"]) == (True, False, "warn")
    assert "its newest backup is not proven" in done.said
    assert listing(machine) == before
    assert run("verify_code").ok
    machine.sh(f"cp -p {CODE}/{newest}.tar.zst.age /root/kept; truncate -s -1 {CODE}/{newest}.tar.zst.age")
    done = run("retention")
    assert "missing or has another size" in done.said
    assert listing(machine) == before
    machine.sh(f"mv /root/kept {CODE}/{newest}.tar.zst.age")
    # Proof of the newest fails: it loses its mark, and the others stay.
    machine.sh(f"cp -p {CODE}/{newest}.tar.zst.age /root/kept; {damaging(f'{CODE}/{newest}.tar.zst.age')}")
    failed = run("verify_code")
    assert f"{newest}.tar.zst.age is damaged" in failed.said
    assert not run("retention").changed
    assert listing(machine) == before
    machine.sh(f"mv /root/kept {CODE}/{newest}.tar.zst.age")
    assert run("verify_code").ok
    assert run("retention").changed
    assert ids(machine) == {newest, made, names[-1]}


def test_backups_are_copied_to_the_controller_once(machine: Machine, run: Entry, made: str, state: Path) -> None:
    place = state / "backups" / machine.name
    assert run("copy", "backup_copy_to=controller", "--check").changed
    assert not place.exists()
    done = run("copy", "backup_copy_to=controller")
    assert done.ok, done.run.output
    data = place / "code" / f"{made}.tar.zst.age"
    described = place / "code" / f"{made}.json"
    for path in (data, described):
        assert path.stat().st_mode & 0o777 == 0o600
        assert machine.out(f"base64 -w0 {CODE}/{path.name}", timeout=60) == _base64(path)
    assert manifest(machine, made)["copies"][0]["to"] == "controller"
    assert not run("copy", "backup_copy_to=controller").changed
    whole = data.read_bytes()
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 255]))
    assert run("copy", "backup_copy_to=controller").result["copied"] == [made]
    assert machine.out(f"base64 -w0 {CODE}/{data.name}", timeout=60) == _base64(data)
    assert len(listing(machine, BACKUPS)) // 2 == len(list((place / "database").glob("*.json")))


def _base64(path: Path) -> str:
    import base64

    return base64.b64encode(path.read_bytes()).decode()


def test_a_mounted_disk_takes_copies_and_what_can_not_take_them_is_named(
    machine: Machine, run: Entry, made: str
) -> None:
    copies = f"{DISK}/{machine.name}/code"
    unmounted = run("copy", "backup_copy_to=/home")
    assert not unmounted.ok
    assert "is on the same file system" in unmounted.said
    assert not run("copy", f"backup_copy_to={DISK}/nowhere").ok
    machine.sh(f"mkdir -p {DISK}; mount -t tmpfs -o size=1500m,uid=$(id -u {USER}),mode=700 none {DISK}")
    try:
        assert run("copy", f"backup_copy_to={DISK}").ok
        digests = machine.out(f"sha256sum < {copies}/{made}.tar.zst.age; sha256sum < {CODE}/{made}.tar.zst.age").split()
        assert digests[0] == digests[2]
        assert not run("copy", f"backup_copy_to={DISK}").changed
        # A backup that was damaged after it was made gives no copy that counts.
        newest = run("code").result["backup"]["id"]
        machine.sh(damaging(f"{CODE}/{newest}.tar.zst.age"))
        damaged = run("copy", f"backup_copy_to={DISK}")
        assert not damaged.ok
        assert newest in damaged.said
        assert "copies" not in manifest(machine, newest)
        machine.sh(f"head -c 1500M /dev/zero > {DISK}/filler || true")
        full = run("copy", f"backup_copy_to={DISK}/")
        assert not full.ok
        assert "No space left" in full.said
        assert machine.out(f"ls -A {copies} | grep partial || true") == ""
    finally:
        machine.sh(f"umount {DISK}")
