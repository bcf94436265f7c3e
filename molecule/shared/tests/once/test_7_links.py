"""The application's user puts links to root's own where the bootstrap works: root follows none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import BOOTSTRAP, CREDENTIAL, HOME, PM2_HOME, PM2_UNIT, USER, WEBAPP, Machine, Runner

ROOTS = "/etc/zz-roots"
LOOK = f"cd {ROOTS} && find . -printf '%p %y %u:%g %m\\n' | sort && cat file"


@pytest.fixture
def roots(machine: Machine) -> Iterator[str]:
    """What is root's, and how it is before anybody worked there."""
    machine.out(f"mkdir -m 0755 {ROOTS} {ROOTS}/directory && echo 'of root' > {ROOTS}/file && chmod 0644 {ROOTS}/file")
    yield machine.out(LOOK)
    machine.out(f"rm -rf {ROOTS}")


@pytest.fixture
def kept(machine: Machine) -> Iterator[None]:
    """The user's own, put back by that user whatever the test made of it."""
    yield
    for place in (*DIRECTORIES, *FILES, f"{PM2_HOME}/touch", f"{PM2_HOME}/module_conf.json"):
        machine.out(f"if [ -e {place}.kept ]; then rm -rf {place} && mv {place}.kept {place}; fi", user=USER)
    machine.wait_healthy()


DIRECTORIES = (f"{WEBAPP}/reports", f"{WEBAPP}/logs", f"{WEBAPP}/backups", f"{HOME}/.config/orquestrador-ops")
FILES = (f"{WEBAPP}/.env", f"{PM2_HOME}/dump.pm2", CREDENTIAL)


def plant(machine: Machine, place: str, target: str) -> None:
    machine.out(f"if [ -e {place} ]; then mv {place} {place}.kept; fi; ln -s {target} {place}", user=USER)


def assert_refused(run_clean: Runner, state: Path, place: str, *args: str) -> None:
    run = run_clean(BOOTSTRAP, "-e", "ops_locale=en", *args, state=state)
    assert run.rc != 0, run.output
    said = [line for line in run.output.splitlines() if "failed: " in line and f": {place} on " in line]
    assert len(said) == 1, run.output
    assert "then run this playbook again" in said[0]


@pytest.mark.parametrize(
    ("place", "target"), [(DIRECTORIES[0], "missing"), *((place, "directory") for place in DIRECTORIES)]
)
def test_link_in_place_of_a_directory(
    machine: Machine, run_clean: Runner, state: Path, roots: str, kept: None, place: str, target: str
) -> None:
    plant(machine, place, f"{ROOTS}/{target}")
    assert_refused(run_clean, state, place)
    assert machine.out(LOOK) == roots


@pytest.mark.parametrize("place", FILES[:2])
def test_link_in_place_of_a_file(
    machine: Machine, run_clean: Runner, state: Path, roots: str, kept: None, place: str
) -> None:
    plant(machine, place, f"{ROOTS}/file")
    assert_refused(run_clean, state, place)
    assert machine.out(LOOK) == roots


def test_links_that_are_in_nobodys_way(
    machine: Machine, run_clean: Runner, state: Path, roots: str, kept: None
) -> None:
    """The credential takes the place of a link; PM2's directory is left to PM2, also while its unit is written."""
    unit = f"/etc/systemd/system/{PM2_UNIT}"
    before = machine.out(f"cat {unit}")
    plant(machine, CREDENTIAL, f"{ROOTS}/file")
    for name in ("touch", "module_conf.json"):
        plant(machine, f"{PM2_HOME}/{name}", f"{ROOTS}/{name}")
    machine.out(f"rm {unit}; systemctl daemon-reload")
    run = run_clean(BOOTSTRAP, "-e", "ops_locale=en", state=state)
    assert run.rc == 0, run.output
    assert machine.out(LOOK) == roots
    assert machine.out(f"stat -c '%F %U %a' {CREDENTIAL}") == f"regular file {USER} 600"
    assert machine.out(f"cat {unit}; systemctl is-enabled {PM2_UNIT}") == f"{before}\nenabled"


def test_unit_is_the_one_that_pm2_would_write(machine: Machine) -> None:
    unit = f"/etc/systemd/system/{PM2_UNIT}"
    ours = machine.out(f"cat {unit}")
    machine.out(
        f"d=$(mktemp -d); PM2_HOME=$d pm2 startup systemd -u {USER} --hp {HOME}; rm -r $d; systemctl daemon-reload"
    )
    assert machine.out(f"cat {unit}") == ours


@pytest.fixture
def outside(machine: Machine) -> Iterator[None]:
    """A directory of the application's user outside its home, with a link to root's in it."""
    machine.out(f"install -d -o {USER} /srv/users && ln -s {ROOTS} /srv/users/link")
    yield
    machine.out("rm -rf /srv/users /srv/backups")


def test_root_creates_a_directory_where_only_root_may(
    machine: Machine, run_clean: Runner, state: Path, outside: None
) -> None:
    place = "/srv/backups"
    checked = run_clean(BOOTSTRAP, "--check", "-e", "ops_locale=en", "-e", f"backup_dir={place}", state=state)
    assert checked.rc == 0, checked.output
    assert machine.sh(f"test -e {place}", check=False).returncode != 0
    for changed in (True, False):
        run = run_clean(BOOTSTRAP, "-e", "ops_locale=en", "-e", f"backup_dir={place}", state=state)
        assert run.rc == 0, run.output
        assert ("changed: " in run.output) is changed, run.output
        assert machine.out(f"stat -c '%U:%G %a' {place} {place}/critical").split("\n") == [f"{USER}:{USER} 700"] * 2


@pytest.mark.parametrize(
    "place",
    [f"{ROOTS}/directory", "/srv/users/link/backups", f"{ROOTS}/missing/backups"],
)
def test_root_creates_nothing_where_others_may(
    machine: Machine, run_clean: Runner, state: Path, roots: str, outside: None, place: str
) -> None:
    assert_refused(run_clean, state, place, "-e", f"backup_dir={place}")
    assert machine.out(LOOK) == roots


def test_bootstrap_succeeds_without_the_links(machine: Machine, run_clean: Runner, state: Path) -> None:
    run = run_clean(BOOTSTRAP, "-e", "ops_locale=en", state=state)
    assert run.rc == 0, run.output
    assert "failed: " not in run.output
