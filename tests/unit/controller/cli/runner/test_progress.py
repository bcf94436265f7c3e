"""A run as it goes and as it ends: events, progress, artifacts, what is left on a host."""

from __future__ import annotations

import fcntl
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.system import long_command
from orquestrador_ops.cli.commands import watch as watch_command
from orquestrador_ops.cli.runner import execute, remote_terminate, terminate
from orquestrador_ops.cli.runner.events import RunEvents
from orquestrador_ops.cli.runner.progress import Lines, Live, Plain
from orquestrador_ops.cli.runner.signals import GracefulStop, Signals


def event(kind: str, stdout: str = "", **data: Any) -> dict[str, Any]:
    return {"event": kind, "stdout": stdout, "event_data": data}


def request(tmp_path: Path, **more: Any) -> execute.Request:
    wanted: dict[str, Any] = {
        "project": tmp_path,
        "playbook": tmp_path / "p.yml",
        "procedure": "daily",
        "state_dir": tmp_path / "state",
        "budget_s": 60.0,
        "forks": 10,
    }
    return execute.Request(**{**wanted, **more})


RUN = [
    event("playbook_on_play_start", "\r\nRun the daily routine"),
    event("playbook_on_task_start", "  - Open", task="Open"),
    event("runner_on_start", host="a"),
    event("runner_on_start", host="b"),
    event("runner_on_ok", host="a", task_action="run_open", res={"run": {"run_id": "r1", "procedure": "daily"}}),
    event("runner_on_unreachable", host="b", res={"unreachable": True}),
    event("playbook_on_task_start", "  - Act", task="Act"),
    event("runner_on_ok", "    changed: a", host="a", task_action="x", res={"changed": True}),
    event("playbook_on_task_start", "  - Tell", task="Tell"),
    event("verbose", "the checklist\r\nof it"),
    event("runner_on_ok", host="a", task_action="run_conclude", res={"outcome": "met", "reports": {"md": "/r.md"}}),
    event("playbook_on_stats", "PLAY RECAP"),
]


def test_events_tell_tasks_hosts_and_conclusions() -> None:
    events = RunEvents()
    for at, one in enumerate(RUN):
        events.add(one, float(at))
    assert [(task.name, task.seconds, task.results) for task in events.tasks] == [
        ("Open", 5.0, {"a": "ok", "b": "unreachable"}),
        ("Act", 2.0, {"a": "changed"}),
        ("Tell", 3.0, {"a": "ok"}),
    ]
    assert events.hosts["a"].as_dict() == {"run_id": "r1", "outcome": "met", "reports": {"md": "/r.md"}}
    assert events.hosts["b"].as_dict() == {"run_id": None, "outcome": None, "reports": {}}


@given(
    st.lists(st.dictionaries(st.sampled_from(["event", "event_data", "stdout"]), st.none() | st.text() | st.just({})))
)
def test_strange_events_do_no_harm(events: list[dict[str, Any]]) -> None:
    run, shown = RunEvents(), io.StringIO()
    plain = Plain(Lines(shown))
    for one in events:
        run.add(one, 1.0)
        plain.event(one, run)


def test_plain_lines_are_ansibles_own() -> None:
    shown, events = io.StringIO(), RunEvents()
    plain = Plain(Lines(shown))
    for one in RUN:
        events.add(one, 0.0)
        plain.event(one, events)
    assert shown.getvalue() == (
        "\nRun the daily routine\n  - Open\n  - Act\n    changed: a\n  - Tell\nthe checklist\nof it\nPLAY RECAP\n"
    )


def test_reader_that_goes_does_not_end_a_run() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream:
        lines = Lines(stream)
        lines.write("x" * 100_000)
        assert lines.broken
        lines.write("nobody minds")


@pytest.mark.parametrize("width", [1, 20, 45, 100])
def test_terminal_of_any_width_shows_times_and_what_is_left(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("LINES", "20")
    shown, events = io.StringIO(), RunEvents()
    with Live(brief=True, stream=shown) as live:
        for at, one in enumerate(RUN):
            events.add(one, float(at))
            live.event(one, events)
            live.tick(float(at), 300.0, 15.0)
        live.tick(305.0, 300.0, 15.0)
        live.ending("timeout")
    text = shown.getvalue()
    assert "  - Open  5 s\n" in text
    assert "  - Act" in text
    assert "the checklist\nof it" in text


def test_hosts_beyond_the_forks_wait_for_their_turn(tmp_path: Path) -> None:
    asked = request(tmp_path, forks=10)
    assert [asked.allowed_s(hosts) for hosts in (0, 1, 10, 11, 100)] == [60, 60, 60, 120, 600]


def test_environment_of_a_run_is_not_written() -> None:
    kept = execute._UnsavedEnvironment({"TOKEN": "hunter22"})
    written = io.StringIO()
    json.dump({"env": kept}, written)
    assert written.getvalue() == '{"env": {}}'
    assert dict(kept.items()) == {"TOKEN": "hunter22"}


def test_environment_keeps_what_ansible_runner_would_switch_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANSIBLE_HOST_KEY_CHECKING", raising=False)
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", "default")
    found = execute.environment(request(tmp_path), "mark", tmp_path / "cp")
    assert found["ANSIBLE_HOST_KEY_CHECKING"] == "True"
    assert found["ANSIBLE_STDOUT_CALLBACK"] == "default"
    assert found[long_command.MARK] == "mark"


def test_artifacts_are_rotated_but_for_runs_that_go_on(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"2026010{number}").mkdir()
        (tmp_path / f"2026010{number}" / execute._LOCK).touch()
    (tmp_path / "notes").mkdir()  # somebody else's
    with (tmp_path / "20260101" / execute._LOCK).open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert execute.rotate(tmp_path, 2) == ["20260103", "20260102", "20260100"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20260101", "20260104", "20260105", "notes"]


def test_directory_for_sockets_is_private_short_and_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / ("deep" * 30)))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with terminate.connections("20260101T000000Z-abcdef") as directory:
        assert len(str(directory)) <= terminate.MAX_SOCKET_DIR
        assert directory.stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(directory / "fbcb196d90"))
        assert len(terminate.sockets(directory)) == 1
        # Nobody answers there: said, in time.
        assert terminate.end_on_hosts(directory, 0.1).unasked == 1
    assert not directory.exists()


@pytest.mark.parametrize("sudo", ["exit 1", 'shift; exec "$@"'], ids=["without sudo", "with sudo"])
def test_nothing_of_the_directory_it_starts_in_is_imported(tmp_path: Path, hostile: Path, sudo: str) -> None:
    """The directory is the login's home; with sudo this is root."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sudo").write_text(f"#!/bin/sh\n{sudo}\n")
    (programs / "sudo").chmod(0o755)
    (programs / "python3").symlink_to(sys.executable)
    done = subprocess.run(
        ["/bin/sh", "-c", terminate._AS_ROOT.format(grace=0.5)],
        input="import contextlib, json, sys; print(json.dumps(sys.argv[1:]))",
        capture_output=True,
        text=True,
        cwd=hostile,
        env={"PATH": f"{programs}:/bin:/usr/bin", "PYTHONPATH": str(hostile)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, '["0.5"]\n'), done.stderr
    assert not (hostile / "ran").exists()


def test_local_end_reaches_whoever_left_the_group() -> None:
    mark = f"test-{os.getpid()}-{time.time_ns()}"
    script = "import os, subprocess, time; subprocess.Popen(['sleep', '60'], start_new_session=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, long_command.MARK: mark})
    until = time.monotonic() + 10
    # Until the grandchild has really left: between fork and setsid it is marked, and still in the group.
    while len({os.getsid(pid) for pid in long_command.marked(mark)}) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    terminate.end_locally(mark, lambda: child.poll() is not None)
    assert child.returncode == -signal.SIGTERM
    assert long_command.end_marked(mark) == 1
    assert long_command.marked(mark) == []


def test_a_process_of_the_rest_is_signalled_and_no_later_one_of_its_number() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        until = time.monotonic() + 5
        while child.pid not in remote_terminate.processes() and time.monotonic() < until:
            time.sleep(0.01)
        started = remote_terminate.processes()[child.pid][2]
        remote_terminate.signal_process(child.pid, str(int(started) - 1), signal.SIGKILL)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(0.2)
        remote_terminate.signal_process(child.pid, started, signal.SIGKILL)
        assert child.wait(5) == -signal.SIGKILL


def test_rest_of_a_connection_but_not_the_application(tmp_path: Path) -> None:
    """sshd 10 → the run's sh 20 → python 21, PM2's daemon 30 with the application 31; this script 40 → 41."""
    parents = {1: 0, 10: 1, 20: 10, 21: 20, 30: 20, 31: 30, 40: 10, 41: 40, 50: 1}
    for pid, parent in parents.items():
        (tmp_path / str(pid)).mkdir()
        name = "sshd-session" if pid == 10 else "x) (y"
        fields = " ".join(["S", str(parent), *["0"] * 17, f"{pid}00"])
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {fields}")
        (tmp_path / str(pid) / "cmdline").write_bytes(b"PM2 v6.0.8: God Daemon (/home/x)" if pid == 30 else b"x")
    (tmp_path / "51").mkdir()  # ended meanwhile
    table = remote_terminate.processes(str(tmp_path))
    assert remote_terminate.connection_server(table, 41) == 10
    assert remote_terminate.connection_server(table, 50) is None
    assert sorted(remote_terminate.descendants(table, 10, {40, 41}, str(tmp_path))) == [20, 21]


@given(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(1, 3600))
def test_beat_is_steady_and_what_is_missed_is_counted(due: float, took: float, interval: float) -> None:
    following, missed = watch_command.next_due(due, due + took, interval)
    assert following > due + took - 1e-6 * max(due, 1)
    assert following - (due + took) <= interval + 1e-6 * max(due, 1)
    assert missed == pytest.approx((following - due) / interval - 1, abs=1e-3)


def test_watch_says_details_only_when_they_change(tmp_path: Path) -> None:
    shown = io.StringIO()
    state = watch_command.Watch(15, Lines(shown))
    for said in (["Watch of 2: well"], ["  a: bad", "Watch of 2: one bad"], ["  a: bad", "Watch of 2: one bad"]):
        heard = watch_command.CycleOutput()
        for line in said:
            heard.event(event("verbose", line + "\r\n"), RunEvents())
        result = execute.Result("id", request(tmp_path), tmp_path, "now", status="met", seconds=1.0)
        state.cycle(result, heard)
    lines = shown.getvalue().splitlines()
    assert [line for line in lines if line.startswith("  ")] == ["  a: bad"]
    assert [line.rpartition("Watch of 2: ")[2] for line in lines if "#" in line] == ["well", "one bad", "one bad"]


def test_sigterm_lets_a_cycle_end_and_sigint_does_not() -> None:
    with Signals() as signals:
        patient, hasty = GracefulStop(signals, 60), GracefulStop(signals, -1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.received == [signal.SIGTERM]
        assert patient.received == []
        assert hasty.received == [signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGINT)
        assert patient.received == [signal.SIGINT]


def test_current_task_is_shown_in_the_language_of_its_line() -> None:
    events = RunEvents()
    task = event("playbook_on_task_start", "  - app : Reservar o host", task="Acquire the host lease")
    with Live(brief=True, stream=io.StringIO()) as live:
        events.add(task, 0.0)
        live.event(task, events)
        assert "Reservar o host" in str(live._bottom(1.0, 300.0, 15.0))
