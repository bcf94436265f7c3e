"""Check mode changes nothing, on a host that is prepared and on one that has drifted; then the drift is repaired."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import (
    BOOTSTRAP,
    CREDENTIAL,
    CRITICAL,
    DAILY,
    DATABASE,
    HOME,
    OPS_ACCOUNT,
    PM2_HOME,
    PM2_UNIT,
    USER,
    WEBAPP,
    Machine,
    Run,
    Runner,
    assert_same,
)

CHANGED_PASSWORD = "somebody-changed-it-1234567890"


# Each undoes one thing that the bootstrap did, as root.
DRIFTS = {
    "a log archive that was removed": f"rmdir {WEBAPP}/logs/archive",
    "an environment file that others may read": f"chmod 0644 {WEBAPP}/.env",
    "a credential that was removed": f"rm {CREDENTIAL}",
    "a directory of backups that others may read": f"chmod 0755 {WEBAPP}/backups",
    "a package that was removed": "dpkg --purge --force-depends age >/dev/null",
    "a process list that lost the application": f"echo '[]' > {PM2_HOME}/dump.pm2",
    "a unit that was removed": f"rm /etc/systemd/system/{PM2_UNIT} && systemctl daemon-reload",
}


@pytest.fixture(scope="module")
def drifted(machine: Machine) -> Iterator[Machine]:
    """A host on which everything that the bootstrap did has been undone, or done differently."""
    for script in DRIFTS.values():
        machine.out(script)
    machine.sql(f"ALTER USER '{OPS_ACCOUNT}'@'localhost' IDENTIFIED BY '{CHANGED_PASSWORD}'")
    machine.sql(f"GRANT INSERT ON {DATABASE}.* TO '{OPS_ACCOUNT}'@'localhost'")
    machine.sql(f"REVOKE PROCESS ON *.* FROM '{OPS_ACCOUNT}'@'localhost'")
    yield machine
    machine.settle()


@pytest.fixture(scope="module")
def checked(
    drifted: Machine, run_clean: Runner, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], Run, list[str]]:
    """The bootstrap in check mode on the drifted host: before, what it said, after."""
    before = drifted.fingerprint()
    run = run_clean(BOOTSTRAP, "--check", "--diff", "-e", "ops_locale=en", state=tmp_path_factory.mktemp("checked"))
    return before, run, drifted.fingerprint()


@pytest.fixture(scope="module")
def repaired(
    checked: tuple[list[str], Run, list[str]],
    machine: Machine,
    ops_password: str,
    run_clean: Runner,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Run, str]]:
    """The bootstrap for real on that host, as talkative as it gets, and everybody's arguments meanwhile."""
    machine.sh(
        "install -m 0600 /dev/stdin /run/watch-arguments.py;"
        " systemd-run --quiet --unit=watch-arguments --property=RuntimeMaxSec=180 python3 /run/watch-arguments.py",
        stdin=WATCHER,
    )
    try:
        run = run_clean(BOOTSTRAP, "-vvv", state=tmp_path_factory.mktemp("repaired"), timeout=180)
        seen = machine.out("cat /run/watched-arguments")
    finally:
        machine.sh("systemctl stop watch-arguments; rm -f /run/watch-arguments.py /run/watched-arguments", check=False)
    yield run, seen
    machine.wait_healthy()


# Collects the argument lists of all processes, 40 times a second, until it is stopped.
WATCHER = """
import pathlib, time
seen = set()
out = open("/run/watched-arguments", "w", buffering=1)
while True:
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\\0", b" ").decode("utf-8", "replace").replace("\\n", " ")
        except OSError:
            continue
        if line and line not in seen:
            seen.add(line)
            print(line, file=out)
    time.sleep(0.025)
"""


def test_check_mode_of_a_drifted_host_changes_nothing(checked: tuple[list[str], Run, list[str]]) -> None:
    before, _, after = checked
    assert_same(before, after)


def test_check_mode_of_a_drifted_host_tells_what_it_would_do(checked: tuple[list[str], Run, list[str]]) -> None:
    _, run, _ = checked
    assert run.rc == 0, run.output
    for task in (
        f"Restrict to its owner the file {WEBAPP}/.env",
        f"Create the directory {WEBAPP}/logs/archive",
        "Install zstd and age",
        f"Create the directory {WEBAPP}/backups",
        "Write the credential of the operations account",
        "Create or update the account by SQL",
        "Write PM2's systemd unit",
        "Report that the process list would be saved",
    ):
        said = re.search(rf" : {task}\n(?:(?!  - ).*\n)*?\s+changed: ", run.output)
        assert said, f"{task}: not announced\n{run.output}"


def test_bootstrap_repairs_a_drifted_host(repaired: tuple[Run, str], machine: Machine, ops_password: str) -> None:
    run, _ = repaired
    assert run.rc == 0, run.output[-4000:]
    assert machine.grants() == machine.least_grants()
    assert machine.out(f"stat -c '%a %U' {WEBAPP}/.env {CREDENTIAL} {PM2_HOME}/dump.pm2 {WEBAPP}/backups").split(
        "\n"
    ) == [f"600 {USER}", f"600 {USER}", f"600 {USER}", f"700 {USER}"]
    assert machine.out("dpkg-query -W -f '${db:Status-Status}' age") == "installed"
    assert machine.out(f"jq -r '.[].name' {PM2_HOME}/dump.pm2") == "orquestrador-v3"
    assert machine.out(f"test -d {WEBAPP}/logs/archive && systemctl is-enabled {PM2_UNIT}") == "enabled"
    client = "mysql" if machine.database == "mysql" else "mariadb"
    login = f"{client} --defaults-file={CREDENTIAL} -BN -e 'SELECT 1' {DATABASE}"
    assert machine.out(login, user=USER) == "1"


def test_password_is_in_no_argument(repaired: tuple[Run, str], ops_password: str) -> None:
    _, seen = repaired
    assert "python3" in seen, "the watcher saw Ansible's modules"
    assert ops_password not in seen


def test_password_is_in_no_output(repaired: tuple[Run, str], ops_password: str) -> None:
    run, _ = repaired
    assert "TASK [" in run.output
    assert "<127.0.0.1> SSH: EXEC" in run.output, "it was as talkative as it gets"
    assert ops_password not in run.output


def test_password_is_nowhere_else_on_the_host(repaired: tuple[Run, str], machine: Machine, ops_password: str) -> None:
    places = f"/etc /home /root /tmp /var/log /var/tmp {HOME}/.ansible"
    found = machine.sh(
        f'read -r password; grep -rlF -e "$password" --exclude-dir=node_modules {places} 2>/dev/null || true',
        stdin=ops_password + "\n",
    ).stdout.split()
    assert set(found) == {CREDENTIAL}
    count = machine.out(
        'read -r password; journalctl --no-pager -q -o cat | grep -cF -e "$password" || true',
        stdin=ops_password + "\n",
    )
    assert count == "0"


@pytest.mark.parametrize("playbook", [BOOTSTRAP, DAILY])
def test_check_mode_of_a_prepared_host_changes_nothing(
    repaired: tuple[Run, str], machine: Machine, run_clean: Runner, state: Path, playbook: str
) -> None:
    machine.settle()
    machine.out(f"rm -rf {CRITICAL}/* {CRITICAL}/.[!.]*")
    before = machine.fingerprint()
    run = run_clean(playbook, "--check", "--diff", state=state)
    assert run.rc == 0, run.output
    assert_same(before, machine.fingerprint())
    # The daily has copies to announce; the bootstrap, having repaired all, has nothing.
    assert run.changed == (1 if playbook == DAILY else 0), run.output


def test_daily_in_check_mode_remembers_nothing(repaired: tuple[Run, str], daily: Runner, state: Path) -> None:
    run = daily("--check")
    assert run.report
    assert run.report["record"]["check_mode"] is True
    assert not list((state / "memory").rglob("*.json"))
