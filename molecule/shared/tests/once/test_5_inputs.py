"""Hosts that cannot be reached and variables that do not fit: one line that says what to do, in time."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine, Run, Runner


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word, as a hung sshd does."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


def assert_unreachable(run: Run, machine: Machine) -> None:
    assert run.rc != 0, run.output
    assert run.report, run.output
    assert run.report["record"]["outcome"] == "unreachable"
    assert run.report["snapshot"] is None
    assert [path.suffix for path in run.files] == [".html", ".json", ".md"]
    assert f"{machine.name} cannot be reached over SSH" in run.output


def test_refused_connection_is_reported(daily: Runner, machine: Machine) -> None:
    run = daily("-e", "ansible_port=1")
    assert_unreachable(run, machine)
    assert "refused" in run.output
    assert run.seconds < 15


def test_silent_host_is_given_up_in_time(daily: Runner, machine: Machine, silent_port: int) -> None:
    run = daily("-e", f"ansible_port={silent_port}", "-T", "3")
    assert_unreachable(run, machine)
    # The connection is tried twice at most.
    assert run.seconds < 20


def test_wrong_host_key_is_not_taken(daily: Runner, machine: Machine) -> None:
    run = daily("-e", "ansible_host=localhost")
    assert_unreachable(run, machine)
    assert re.search("(?i)host key", run.output), run.output


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("app_port=abc", "variable 'app_port' is of type str .*'abc'"),
        ("health_timeout_s=soon", "variable 'health_timeout_s' is of type str"),
        (
            "health_memory_normal_mb=lots",
            "health_memory_normal_mb must be a number, not 'lots' .str.: correct the inventory",
        ),
        ("backup_critical_files=x", "variable 'backup_critical_files' can't be used"),
        ("app_dir=webapp", "app_dir is 'webapp'; give an absolute path"),
        ("report_budget_s=soon", "report_budget_s is 'soon': give a number of seconds"),
        ("ops_locale=tlh", "ops_locale 'tlh' is not available: use one of pt_BR, en"),
        ("ops_timezone=Mars/Olympus", "ops_timezone 'Mars/Olympus' is not known"),
    ],
)
def test_variable_that_does_not_fit_is_named(daily: Runner, setting: str, complaint: str) -> None:
    run = daily("-e", setting)
    assert run.rc != 0, run.output
    # In the checklist lines are wrapped.
    assert re.search(complaint, " ".join(run.output.split())), run.output


def test_unknown_target_is_no_host(daily: Runner, state: Path) -> None:
    run = daily("-e", "target=nobody_here")
    assert run.rc != 0, "nothing was proven"
    assert run.report is None
    assert not (state / "reports").exists()


@pytest.fixture
def sudo_asks(machine: Machine) -> Iterator[str]:
    """A user whom the connection's may become with a password only."""
    rules = "/etc/sudoers.d/99-test"
    machine.out(f"install -m 0440 /dev/stdin {rules}", stdin="flavio ALL=(games) PASSWD: ALL\n")
    yield "games"
    machine.out(f"rm {rules}")


def assert_did_not_run(run: Run, *said: str) -> None:
    """Concluded and reported like any run, with what to do about it."""
    assert run.rc != 0, run.output
    assert run.report, run.output
    assert run.report["record"]["outcome"] == "error"
    for part in said:
        assert part in " ".join(run.output.split()), run.output


def test_sudo_that_asks_for_a_password_is_reported(daily: Runner, sudo_asks: str) -> None:
    assert_did_not_run(daily("-e", f"app_user={sudo_asks}"), "Missing sudo password", "correct app_user")


def test_user_that_does_not_exist_is_reported(daily: Runner) -> None:
    assert_did_not_run(daily("-e", "app_user=nobody_here"), "unknown user nobody_here", "correct app_user")


@pytest.mark.parametrize("pipelining", ["true", "false"])
def test_missing_python_is_reported(daily: Runner, pipelining: str) -> None:
    run = daily("-e", "ansible_python_interpreter=/usr/bin/python9", "-e", f"ansible_pipelining={pipelining}")
    assert_did_not_run(run, "install python3 there, or correct ansible_python_interpreter", "/usr/bin/python9")


def test_shipped_as_a_module_it_says_the_same(daily: Runner) -> None:
    """Where pipelining is off, Ansible's own way is taken, which becomes another user through files."""
    run = daily("-e", "ansible_pipelining=false")
    assert run.rc == 0, run.output
    assert set(run.statuses.values()) == {"ok"}
    assert_did_not_run(daily("-e", "ansible_pipelining=false", "-e", "app_user=games"), "switch ansible_pipelining on")
