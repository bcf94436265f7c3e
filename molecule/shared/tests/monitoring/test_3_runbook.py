"""The runbook command against the real machine: what it runs, ends, leaves behind and keeps to itself."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from machine import PROJECT, Machine, assert_same
from receivers import Mailbox

COMMAND = [sys.executable, "-m", "orquestrador_ops.cli"]
# Told apart from whatever else sleeps on the host; ignores being asked to end, as something that hangs may.
NAP = 86_397
HANG = """
- name: Hang
  hosts: "{{{{ target | default('orquestrador') }}}}"
  gather_facts: false
  vars:
    report_procedure: hang
    report_budget_s: {budget_s}
  tasks:
    - name: Open the run
      run_open:
        procedure: hang
        budget_s: {budget_s}
    - name: Sleep as {who}
      ansible.builtin.shell: "{trap}sleep {nap} & sleep {nap}"
      become: {become}
"""
WATCH = """
- name: Watch
  hosts: "{{ target | default('orquestrador') }}"
  gather_facts: false
  vars:
    report_budget_s: 30
  tasks:
    - name: Look
      ansible.builtin.command: "sleep {{ nap | default(0) }}"
      changed_when: false
"""


@dataclass
class Done:
    """One call of the command."""

    rc: int
    out: str
    err: str
    seconds: float

    @property
    def document(self) -> dict[str, Any]:
        """Its one JSON document; anything beside it is an error."""
        found: dict[str, Any] = json.loads(self.out)
        return found


@dataclass
class Runbook:
    """The command as an operator has it: a project, an inventory, a state directory of its own."""

    machine: Machine
    state: Path
    project: Path = PROJECT
    env: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "OPS_"))}
        own = {
            "OPS_PROJECT": str(self.project),
            "OPS_STATE_DIR": str(self.state),
            "OPS_LOCALE": "en",
            "OPS_OPERATOR": "tester",
            "PYTHONPATH": str(PROJECT),
            "LC_ALL": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(
            [*COMMAND, *arguments],
            env={**inherited, **own, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=options.get("stdout", subprocess.PIPE),
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
        )

    def finish(self, process: subprocess.Popen[str], timeout: float = 60) -> Done:
        began = time.monotonic()
        try:
            out, err = ((text or "") for text in process.communicate(timeout=timeout))
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate(timeout=10)
            raise AssertionError(f"runbook did not end within {timeout:.0f} s\n{out}{err}") from None
        assert "Traceback (most recent call last)" not in out + err, out + err
        return Done(process.returncode, out, err, time.monotonic() - began)

    def __call__(self, *arguments: str, timeout: float = 60) -> Done:
        return self.finish(self.start(*arguments), timeout)

    def run(self, procedure: str, *arguments: str, timeout: float = 60) -> Done:
        return self("run", procedure, *self.given, *arguments, timeout=timeout)

    @property
    def given(self) -> tuple[str, ...]:
        vault = self.machine.state / "vault-password"
        return ("-i", str(self.machine.inventory), "--vault-password-file", str(vault))

    @property
    def kept(self) -> list[Path]:
        """Artifacts of runs."""
        return sorted((self.state / "runs").glob("*"))


@pytest.fixture
def runbook(machine: Machine, state: Path) -> Runbook:
    machine.wait_healthy()
    return Runbook(machine, state)


@pytest.fixture
def hanging(runbook: Runbook, tmp_path: Path) -> Callable[..., Runbook]:
    """The command in a project with a procedure that hangs."""

    def make(*, budget_s: int, stubborn: bool = False) -> Runbook:
        project = tmp_path / "project"
        (project / "playbooks" / "test").mkdir(parents=True)
        for name in (
            "roles",
            "library",
            "module_utils",
            "action_plugins",
            "callback_plugins",
            "doc_fragments",
            "filter_plugins",
            "orquestrador_ops",
            "playbooks/monitoring",
        ):
            (project / name).symlink_to(PROJECT / name)
        (project / "ansible.cfg").write_bytes((PROJECT / "ansible.cfg").read_bytes())
        hang = HANG.format(
            budget_s=budget_s,
            nap=NAP,
            who="root" if stubborn else "flavio",
            trap="trap '' TERM; " if stubborn else "",
            become="true" if stubborn else "false",
        )
        (project / "playbooks" / "test" / "hang.yml").write_text(hang)
        runbook.project = project
        return runbook

    return make


def napping(machine: Machine) -> list[str]:
    """What of a hung run is still there on the host."""
    return machine.out(f"ps -eo pid=,ppid=,user=,args= | grep '[s]leep {NAP}' || true").splitlines()


def looking(machine: Machine, nap: int) -> bool:
    """Whether a cycle of the watch is at its only task."""
    return machine.sh(f"pgrep -fx 'sleep {nap}'", check=False).returncode == 0


def local_rest(machine: Machine) -> list[str]:
    """What of a run with this machine's inventory is still there on this side, connections of their own included."""
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, timeout=10, check=True).stdout
    ours = [line for line in found.splitlines() if str(machine.inventory) in line or "/rb-" in line]
    return [line for line in ours if "pytest" not in line]


@pytest.fixture(autouse=True)
def nothing_left(machine: Machine) -> Iterator[None]:
    """No test leaves anything running, here or there."""
    yield
    assert napping(machine) == []
    assert local_rest(machine) == []


def test_daily_shows_what_ansible_shows_and_says_where_to_read_on(runbook: Runbook) -> None:
    done = runbook.run("daily")
    assert done.rc == 0, done.out + done.err
    assert "HEALTHY" in done.out
    assert "\x1b" not in done.out
    last = done.out.splitlines()[-2:]
    assert last[0].startswith("daily: expected result met - ")
    report = Path(last[1].rpartition(" - ")[2])
    assert report.read_text().startswith("# ")
    (kept,) = runbook.kept
    assert (kept / "artifacts/1/rc").read_text() == "0"
    assert json.loads((kept / "artifacts/1/command").read_text())["env"] == {}
    status = runbook("status", "--json").document["hosts"][runbook.machine.name]
    assert status["overall"] == "healthy"
    assert status["runs"]["daily"]["report"] == str(report)


def test_json_is_one_document_and_check_mode_changes_nothing(runbook: Runbook) -> None:
    before = runbook.machine.fingerprint()
    done = runbook.run("offline", "--check", "--json")
    assert done.rc == 0, done.out + done.err
    assert done.err == ""
    told = done.document
    assert told["check_mode"] is True
    assert (told["status"], told["rc"], told["budget_s"]) == ("met", 0, 120)
    assert told["hosts"][runbook.machine.name]["outcome"] == "met"
    assert all(task["seconds"] is not None for task in told["tasks"])
    assert_same(before, runbook.machine.fingerprint())


def test_app_that_is_down_is_recovered_and_status_is_ansibles_own(runbook: Runbook) -> None:
    runbook.machine.app("pm2 stop orquestrador-v3 >/dev/null")
    failed = runbook.run("daily", "--json")
    assert failed.rc == 2
    assert failed.document["status"] == "not_met"
    assert runbook.run("offline").rc == 0
    assert runbook.machine.health()["database"] == "connected"


def test_what_cannot_be_run_is_one_line(runbook: Runbook) -> None:
    for arguments, said in {
        ("dayli",): "did you mean daily?",
        ("daily", "-i", "/nowhere"): "there is no such file (the inventory)",
        ("daily", "-e", "mysql_ops_password=x"): "would show a secret",
    }.items():
        done = runbook("run", *arguments)
        assert (done.rc, done.out) == (2, "")
        assert said in done.err
        assert done.err.count("\n") == 1
    assert runbook.run("daily", "--target", "nobody_here").rc != 0
    runbook.env["OPS_PROJECT"] = "/tmp"
    assert "no ansible.cfg with playbooks" in runbook.run("daily").err


def test_hung_run_is_ended_on_both_sides_recorded_and_told(hanging: Callable[..., Runbook], tmp_path: Path) -> None:
    runbook = hanging(budget_s=8, stubborn=True)
    mailbox = Mailbox()
    with contextlib.closing(mailbox):
        channels = tmp_path / "channels.yml"
        channels.write_text(json.dumps({"escalation_channels": {"operator": mailbox.address("operator")}}))
        process = runbook.start("run", "hang", *runbook.given, "--json", "--grace", "4", "-e", f"@{channels}")
        runbook.machine.wait("the task to begin", lambda: len(napping(runbook.machine)) >= 2)
        done = runbook.finish(process, 90)
    assert done.rc == 124, done.out + done.err
    told = done.document
    assert told["status"] == "timeout"
    assert "sleep" in told["ended_on_hosts"]["killed"]
    assert told["ended_on_hosts"]["left"] == []
    assert napping(runbook.machine) == []
    # Given to the run, and once more to what ignores being asked to end on the host.
    assert told["seconds"] < 8 + 4 + 4 + 10
    (run,) = (run for run in runbook("reports", "--json").document["reports"] if run["procedure"] == "hang")
    assert run["outcome"] == "timeout"
    (incident,) = runbook("incidents", "--json").document["incidents"]
    assert (incident["alert"], incident["level"]) == ("hang", "L2")
    (mail,) = mailbox.to("operator")
    assert "hang" in str(mail["Subject"])
    # The application, started by a daemon and not by a run, is nobody's rest.
    assert runbook.machine.health()["database"] == "connected"
    assert runbook("ack", str(incident["id"]), "--json").document["incident"]["acknowledged_by"] == "tester"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_run_leaves_nothing(hanging: Callable[..., Runbook], number: int, status: int) -> None:
    runbook = hanging(budget_s=120)
    process = runbook.start("run", "hang", *runbook.given)
    runbook.machine.wait("the task to begin", lambda: len(napping(runbook.machine)) >= 2)
    process.send_signal(number)
    done = runbook.finish(process, 20)
    assert done.rc == status, done.out + done.err
    assert done.seconds < 12
    assert "Interrupted: the run is being ended" in done.out
    assert runbook("incidents", "--json").document["incidents"] == []
    assert runbook("reports", "--json").document["reports"][0]["outcome"] == "interrupted"


def test_reader_that_goes_does_not_end_the_run(runbook: Runbook) -> None:
    read, write = os.pipe()
    process = runbook.start("run", "daily", *runbook.given, stdout=write)
    os.close(write)
    os.close(read)
    assert runbook.finish(process).rc == 0
    assert runbook("status", "--json").document["hosts"][runbook.machine.name]["runs"]["daily"]["outcome"] == "met"


def test_artifacts_hold_no_secret_at_any_verbosity_and_are_rotated(runbook: Runbook, forbidden: dict[str, str]) -> None:
    secret = "hunter22-of-the-environment"
    runbook.env["SOME_TOKEN"] = secret
    done = runbook.run("backup", "-vvv", "-e", "backup_prove=false", timeout=120)
    assert done.rc == 0, done.out + done.err
    places = {"the output": (done.out + done.err).encode()}
    places |= {str(path): path.read_bytes() for path in runbook.state.rglob("*") if path.is_file()}
    for what, value in {**forbidden, "the environment": secret}.items():
        leaky = [place for place, content in places.items() if value.encode() in content]
        assert not leaky, f"{what} is in {', '.join(leaky)}"
    open_to_others = [path for path in runbook.state.glob("runs/*") if path.stat().st_mode & 0o077]
    assert not open_to_others
    assert not list(runbook.state.rglob("extravars"))
    for _ in range(2):
        assert runbook.run("maintenance", "--keep", "2").rc == 0
    assert len(runbook.kept) == 2


def test_watch_keeps_its_beat_and_ends_when_told(hanging: Callable[..., Runbook], tmp_path: Path) -> None:
    runbook = hanging(budget_s=60)
    monitoring = runbook.project / "playbooks" / "monitoring"
    monitoring.unlink()
    monitoring.mkdir()
    (monitoring / "watch.yml").write_text(WATCH)
    slow = runbook("watch", "--interval", "1", "--cycles", "2", "--json", "-e", "nap=2", *runbook.given)
    assert slow.rc == 0, slow.out + slow.err
    assert slow.document["cycles"] == 2
    assert slow.document["skipped"] >= 2
    process = runbook.start("watch", "--interval", "1", "-e", "nap=4", *runbook.given)
    runbook.machine.wait("the cycle", lambda: looking(runbook.machine, 4))
    process.send_signal(signal.SIGTERM)
    ended = runbook.finish(process, 15)
    assert (ended.rc, ended.err) == (0, "")
    assert ended.out.count("#1") == 1
    process = runbook.start("watch", "--interval", "1", "-e", "nap=30", *runbook.given)
    runbook.machine.wait("the cycle", lambda: looking(runbook.machine, 30))
    process.send_signal(signal.SIGINT)
    assert runbook.finish(process, 12).rc == 130
