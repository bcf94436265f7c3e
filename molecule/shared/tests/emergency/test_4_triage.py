"""Which emergency is it? The root cause, from one look that touches nothing; and hosts that can't be looked at."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults import Faults
from machine import USER, Machine, Run
from records import Emergency, Untouched, steps


def stop_database(machine: Machine) -> None:
    machine.out("systemctl stop mysql 2>/dev/null || systemctl stop mariadb", timeout=60)


def both(machine: Machine, faults: Faults) -> None:
    stop_database(machine)
    faults.stop()


FAULTS: dict[str, tuple[Callable[[Machine, Faults], object], str]] = {
    "healthy": (lambda machine, faults: None, "none"),
    "stopped": (lambda machine, faults: faults.stop(), "offline"),
    "halted": (lambda machine, faults: faults.halt(), "offline"),
    "no database": (lambda machine, faults: stop_database(machine), "database"),
    "neither": (both, "database"),
}


def triage(run: Run) -> dict[str, str]:
    evidence: dict[str, str] = steps(run)["triage"]["evidence"]
    return evidence


@pytest.mark.parametrize("fault", FAULTS)
def test_the_root_cause_is_told_and_nothing_touched(
    fault: str, machine: Machine, faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    break_it, alert = FAULTS[fault]
    break_it(machine, faults)
    with untouched():
        run = emergency("triage")
    assert triage(run)["alert"] == alert, run.output
    assert (run.rc == 0) == (alert == "none")
    if alert != "none":
        assert f"playbooks/emergency/{alert}.yml -e target={machine.name}" in " ".join(run.output.split())


def test_with_recover_the_procedure_runs_in_the_same_go(
    machine: Machine, faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    faults.stop()
    with untouched(but=("app",)):
        run = emergency("triage", "-e", "recover=true")
    assert run.rc == 0, run.output
    assert run.report
    record = run.report["record"]
    assert (record["procedure"], record["outcome"], record["budget_s"]) == ("offline", "met", 120)
    assert machine.health()["database"] == "connected"


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_hosts_that_cannot_be_reached_are_told_apart_beside_a_healthy_one(
    machine: Machine, emergency: Emergency, silent: int, closed: int, tmp_path: Path
) -> None:
    where, kind, _ = (machine.state / "known_hosts").read_text().splitlines()[0].split(" ")
    (tmp_path / "other_hosts").write_text(f"{where} {kind} {_another_key()}\n")
    checked = "-o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null"
    hosts = {
        "refusing": {"ansible_port": closed},
        "silent": {"ansible_port": silent},
        "nameless": {"ansible_host": "no-such-host.invalid"},
        # Without a connection that is open already, which asks for no key.
        "changed": {
            "ansible_ssh_common_args": f"{checked} -o UserKnownHostsFile={tmp_path}/other_hosts -o ControlPath=none"
        },
    }
    reached = {
        "ansible_host": "127.0.0.1",
        "ansible_port": int(where.rpartition(":")[2]),
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(machine.state / "id_ed25519"),
        "ansible_ssh_common_args": f"{checked} -o UserKnownHostsFile={machine.state}/known_hosts",
    }
    listed = {"orquestrador": {"hosts": {name: {**reached, **own} for name, own in hosts.items()}}}
    (tmp_path / "more.yml").write_text(json.dumps(listed))
    run = emergency("triage", "-i", str(tmp_path / "more.yml"), timeout=90)
    assert run.rc != 0
    assert run.seconds < 60
    records = {path.parent.name: json.loads(path.read_text())["record"] for path in run.state.rglob("triage-*.json")}
    told = {name: {step["id"]: step for step in record["steps"]}["triage"] for name, record in records.items()}
    assert {name: told[name]["evidence"]["unreachable_by"] for name in hosts} == {
        "refusing": "refused",
        "silent": "timeout",
        "nameless": "name",
        "changed": "host_key",
    }
    assert {records[name]["outcome"] for name in hosts} == {"unreachable"}
    assert told[machine.name]["evidence"]["alert"] == "none"
    assert records[machine.name]["outcome"] == "met"


def _another_key() -> str:
    """Another ed25519 key as known_hosts has it."""
    name = b"ssh-ed25519"
    parts = (name, secrets.token_bytes(32))
    return base64.b64encode(b"".join(struct.pack(">I", len(part)) + part for part in parts)).decode()
