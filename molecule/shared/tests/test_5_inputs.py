"""Hosts that cannot be reached and variables that do not fit: one line that says what to do, in time."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Runner
from machine import Machine, Run


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
    assert run.report is None
    assert not (state / "reports").exists()
