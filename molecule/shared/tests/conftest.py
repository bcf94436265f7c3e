"""Fixtures of the integration tests: the machine, the routines run against it, and what must never leave it."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra
from ansible.parsing.vault import VaultLib, VaultSecret
from machine import APP, DAILY, MARKER_VARIABLE, PROJECT, USER, WEBAPP, Machine, Run, Runner, play


@pytest.fixture(scope="session")
def machine() -> Machine:
    """The machine that Molecule created for the scenario."""
    name = os.environ.get("LAB_NAME") or "orquestrador-test-default"
    state = Path(os.environ.get("LAB_STATE_DIR") or PROJECT / "var" / "lab" / name)
    (Path.home() / ".ansible" / "cp").mkdir(parents=True, exist_ok=True, mode=0o700)
    return Machine(name, state, os.environ.get("LAB_DATABASE") or "mysql")


@pytest.fixture(scope="session")
def host(machine: Machine) -> testinfra.host.Host:
    """Testinfra's host as root, over an SSH connection of the tests' own that stays open."""
    return testinfra.get_host(f"ssh://{machine.name}", ssh_config=str(machine.state / "ssh_config"), sudo=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "any_database: the same whatever the database is; with MariaDB left to `exhaust`"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the scenario with MySQL has shown already is shown again with MariaDB only when there is time."""
    if os.environ.get("LAB_DATABASE") == "mariadb":
        for item in items:
            if item.get_closest_marker("any_database"):
                item.add_marker("exhaust")


def from_vault(machine: Machine, name: str) -> str:
    """A generated secret, decrypted from the inventory."""
    text = (machine.state / "group_vars" / "orquestrador" / "vault.yml").read_text()
    found = re.search(rf"^{name}: !vault \|\n((?:[ ]+\S+\n)+)", text, re.M)
    assert found, f"vault.yml holds no {name}"
    envelope = "\n".join(line.strip() for line in found[1].splitlines())
    key = VaultSecret((machine.state / "vault-password").read_bytes().strip())
    return VaultLib([("default", key)]).decrypt(envelope.encode()).decode().strip()


@pytest.fixture(scope="session")
def ops_password(machine: Machine) -> str:
    """The password of the operations account."""
    return from_vault(machine, "mysql_ops_password")


@pytest.fixture(scope="session")
def identity(machine: Machine) -> str:
    """The private key of the backups, which only the inventory has."""
    return from_vault(machine, "backup_age_identity")


@pytest.fixture(scope="session")
def marker(machine: Machine) -> str:
    """A variable in the application's environment, which PM2 keeps and hands to whoever asks for its state."""
    value = f"marker-{secrets.token_hex(12)}"
    machine.wait_healthy()
    script = f"read -r {MARKER_VARIABLE}; export {MARKER_VARIABLE}; pm2 restart {APP} --update-env >/dev/null"
    machine.app(script, stdin=value + "\n")
    machine.settle()
    (pid,) = machine.pids()
    environ = machine.out(f"tr '\\0' '\\n' < /proc/{pid}/environ | sed -n 's/^{MARKER_VARIABLE}=//p'")
    assert environ == value, "the marker did not reach the application"
    return value


@pytest.fixture(scope="session")
def forbidden(machine: Machine, ops_password: str, identity: str, marker: str) -> dict[str, str]:
    """What must appear nowhere on this side, by what it is."""
    values = {
        "the operations account's password": ops_password,
        "PM2's environment": marker,
        "the private key of the backups": identity,
    }
    for line in machine.out(f"cat {WEBAPP}/.env").splitlines():
        name, _, value = line.partition("=")
        if re.search("PASSWORD|SECRET|TOKEN", name):
            values[f".env's {name}"] = value
    assert len(values) >= 5, sorted(values)
    assert all(len(value) >= 16 for value in values.values())
    return values


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory of the test's own: a run in it is the first."""
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture(scope="session")
def run_clean(machine: Machine, forbidden: dict[str, str]) -> Runner:
    """Run a playbook, and require of every run that it leaks nothing and prints no traceback."""

    def run(playbook: str, *args: str, state: Path, **options: Any) -> Run:
        done = play(machine, playbook, *args, state=state, **options)
        assert_nothing_leaked(done, forbidden)
        assert "Traceback (most recent call last)" not in done.output, done.output
        assert "\x1b" not in done.output, "escape codes in a pipe"
        return done

    return run


@pytest.fixture
def daily(run_clean: Runner, state: Path) -> Runner:
    """Run the daily routine, in English so that texts can be compared."""

    def run(*args: str, **options: Any) -> Run:
        return run_clean(DAILY, "-e", "ops_locale=en", *args, **{"state": state, **options})

    return run


def assert_nothing_leaked(run: Run, forbidden: dict[str, str]) -> None:
    """No secret in what was printed, nor in any file that a run left on this side."""
    places = {"the output": run.output.encode()}
    places |= {str(path): path.read_bytes() for path in run.state.rglob("*") if path.is_file()}
    for what, value in forbidden.items():
        leaky = [place for place, content in places.items() if value.encode() in content]
        assert not leaky, f"{what} is in {', '.join(leaky)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    """Print the services' last words before the assertion that failed; count a skipped test as a failed one."""
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: an integration test that does not run proves nothing"
    used = getattr(item, "funcargs", {}).get("machine")
    if report.failed and isinstance(used, Machine):
        reporter = item.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"--- {used.name} when {item.name} failed")
            reporter.write_line(_last_words(used))
    return report


def _last_words(machine: Machine) -> str:
    try:
        return machine.journal()
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        return f"{USER}@{machine.name} can't be asked: {type(error).__name__}"
