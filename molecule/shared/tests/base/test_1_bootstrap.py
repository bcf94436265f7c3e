"""What the bootstrap left on the host, each thing looked at by other means than those that made it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from machine import (
    APP,
    BOOTSTRAP,
    CREDENTIAL,
    CRITICAL,
    DATABASE,
    HOME,
    OPS_ACCOUNT,
    PM2_HOME,
    PM2_UNIT,
    USER,
    WEBAPP,
    Machine,
    Runner,
)
from testinfra.host import Host

pytestmark = pytest.mark.usefixtures("machine")


@pytest.mark.parametrize("name", ["python3-pymysql", "age", "zstd"])
def test_package_is_installed(host: Host, name: str) -> None:
    assert host.package(name).is_installed


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        (f"{WEBAPP}/logs", 0o750),
        (f"{WEBAPP}/logs/archive", 0o750),
        (f"{WEBAPP}/reports", 0o750),
        (f"{WEBAPP}/backups", 0o700),
        (CRITICAL, 0o700),
        (f"{HOME}/.config/orquestrador-ops", 0o700),
    ],
)
def test_directory_belongs_to_the_application(host: Host, path: str, mode: int) -> None:
    directory = host.file(path)
    assert directory.is_directory
    assert (directory.user, directory.group, oct(directory.mode)) == (USER, USER, oct(mode))


@pytest.mark.parametrize("path", [CREDENTIAL, f"{WEBAPP}/.env", f"{PM2_HOME}/dump.pm2"])
def test_secret_file_is_its_owners_alone(host: Host, path: str) -> None:
    file = host.file(path)
    assert file.is_file
    assert (file.user, file.group, oct(file.mode)) == (USER, USER, oct(0o600))


def test_pm2_runs_under_its_unit(host: Host, machine: Machine) -> None:
    unit = host.service(PM2_UNIT)
    assert unit.is_enabled
    assert unit.is_running
    pid = host.file(f"{PM2_HOME}/pm2.pid").content_string.strip()
    assert machine.daemons() == [f"{pid} {USER}"], "one daemon, the user's, and no other"
    assert host.check_output(f"systemctl show -p MainPID --value {PM2_UNIT}") == pid
    (app,) = machine.pids()
    for process in (pid, app):
        assert PM2_UNIT in host.file(f"/proc/{process}/cgroup").content_string


def test_process_list_is_saved(host: Host) -> None:
    saved = json.loads(host.file(f"{PM2_HOME}/dump.pm2").content_string)
    assert APP in [process["name"] for process in saved]


def test_operations_account_has_exactly_its_privileges(machine: Machine) -> None:
    assert machine.grants() == machine.least_grants()
    accounts = machine.sql(f"SELECT host FROM mysql.user WHERE user = '{OPS_ACCOUNT}'")
    assert accounts == ["localhost"]


def _as_operations(machine: Machine, statement: str) -> tuple[int, str]:
    client = "mysql" if machine.database == "mysql" else "mariadb"
    script = f"{client} --defaults-file={CREDENTIAL} --batch --skip-column-names {DATABASE}"
    done = machine.sh(script, user=USER, stdin=statement, check=False)
    return done.returncode, done.stdout + done.stderr


def test_operations_account_reads_the_application(machine: Machine) -> None:
    status, output = _as_operations(machine, "SELECT COUNT(*) FROM conversation")
    assert status == 0, output
    assert int(output) > 0


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT COUNT(*) FROM mysql.user",
        "INSERT INTO project SELECT * FROM project LIMIT 1",
        "DELETE FROM message",
        "UPDATE conversation SET id = id",
        "CREATE TABLE intruder (id INT)",
        "DROP TABLE message",
        "CREATE DATABASE intruder",
        "CREATE USER intruder@localhost",
    ],
)
def test_operations_account_may_not(machine: Machine, statement: str) -> None:
    status, output = _as_operations(machine, statement)
    assert status != 0
    # Refused for want of a privilege, on a schema, a table or in general; not for want of a login.
    assert re.search(r"^ERROR (1044|1142|1227) ", output, re.M), output


def test_application_survived_it(machine: Machine) -> None:
    assert machine.health().get("database") == "connected"


@pytest.mark.parametrize("password", ["tooshort", "0123456789abcdef0123456789abcdef\n", "0123456789abcdef'0123456789"])
def test_unusable_password_is_refused_and_said(run_clean: Runner, state: Path, password: str) -> None:
    run = run_clean(BOOTSTRAP, "--check", "-e", json.dumps({"mysql_ops_password": password}), state=state)
    assert run.rc != 0, run.output
    assert "mysql_ops_password is missing, shorter than 16 characters, or has characters other than" in run.output
    assert password.strip() not in run.output
