"""PM2's state: selection of fields, the application, and telling apart whose daemon answers, if any."""

from __future__ import annotations

import json
import os
import pwd
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.pm2 import axon
from orquestrador.pm2 import daemon as pm2
from tests.unit.fakes import servers

NOW = 1_700_000_100.0
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELD = st.sampled_from(["status", "exec_mode", "restart_time", "pm_uptime", "axm_monitor", "memory", "pid", "pm_id"])


def codes(findings: list[Any]) -> list[str]:
    return [item["code"] for item in findings]


# --- pure ----------------------------------------------------------------------------------------------------------


def test_selected_fields_and_nothing_of_the_environment() -> None:
    (process,) = pm2.select([servers.pm2_process()], NOW)
    assert process == {
        "name": "app",
        "pm_id": 0,
        "pid": 4242,
        "status": "online",
        "mode": "fork",
        "restarts": 0,
        "unstable_restarts": 0,
        "uptime_s": 100.0,
        "started_at": "2023-11-14T22:13:20Z",
        "memory_bytes": 104857600,
        "cpu_percent": 1.5,
        "user": "flavio",
        "version": None,
        "node_version": "20.20.2",
        "out_log": "/srv/logs/out.log",
        "err_log": "/srv/logs/error.log",
        "loop_delay_ms": 0.4,
        "heap_used_bytes": 5767168,
    }


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"memory": 0, "cpu": 0}, {"memory_bytes": None, "cpu_percent": None}),
        ({"cpu": 0}, {"memory_bytes": 104857600, "cpu_percent": 0}),
        ({"status": "stopped", "memory": 0, "cpu": 0, "pid": 0}, {"uptime_s": None, "memory_bytes": None, "pid": 0}),
        ({"status": "waiting restart"}, {"status": "waiting restart", "uptime_s": None}),
        ({"exec_mode": "cluster_mode"}, {"mode": "cluster"}),
        ({"pm_uptime": "soon"}, {"uptime_s": None, "started_at": None}),
        ({"pm_uptime": 1e300}, {"started_at": None}),
        ({"axm_monitor": {"Loop delay": {"value": "2", "unit": "s"}}}, {"loop_delay_ms": 2000.0}),
        ({"axm_monitor": {"Used Heap Size": {"value": "x", "unit": "MiB"}}}, {"heap_used_bytes": None}),
        ({"restart_time": -3}, {"restarts": 0}),
    ],
)
def test_fields_that_need_judgement(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    (process,) = pm2.select([servers.pm2_process(**changes)], NOW)
    assert {key: process[key] for key in expected} == expected  # type: ignore[literal-required]


@given(st.dictionaries(FIELD, JSON, max_size=6))
def test_fields_of_any_type_never_raise_and_stay_json(changes: dict[str, Any]) -> None:
    (process,) = pm2.select([servers.pm2_process(**changes)], NOW)
    text = json.dumps(process, allow_nan=False)
    assert "hunter2" not in text
    assert process["restarts"] >= 0


@given(JSON)
def test_any_answer_is_a_list_of_processes_or_rubbish(answer: Any) -> None:
    try:
        pm2.select(answer, NOW)
    except axon.AxonError as error:
        assert error.code == "rubbish"


@pytest.mark.parametrize(
    "before",
    [
        "",
        "\n                        -------------\n[PM2] Spawning PM2 daemon with pm2_home=/home/x/.pm2\n",
        ">>>> In-memory PM2 is out-of-date, do:\n>>>> $ pm2 update\nIn memory PM2 version: 6\n",
        "[1, 2]\n",
        "[PM2][WARN] [something]\n[]oops\n" * 3,
    ],
)
def test_a_banner_may_precede_the_list(before: str) -> None:
    output = before + json.dumps([servers.pm2_process()]) + "\n"
    found = pm2.parse_jlist(output.encode())
    assert [item["name"] for item in found] == ["app"]


@given(st.binary(max_size=200))
def test_any_output_is_a_list_or_not_json(output: bytes) -> None:
    try:
        assert isinstance(pm2.parse_jlist(output), list)
    except axon.AxonError as error:
        assert error.code == "not_json"


def test_all_instances_are_one_application() -> None:
    raw = [
        servers.pm2_process(pid=1, memory=100, cpu=5, pm_uptime=NOW * 1000 - 50_000, restart_time=2),
        servers.pm2_process(pid=2, memory=300, cpu=50, pm_uptime=NOW * 1000 - 9_000, exec_mode="cluster_mode"),
        servers.pm2_process(pid=0, status="errored", unstable_restarts=3),
        servers.pm2_process("other", pid=9, memory=999),
    ]
    app = pm2.summarise(pm2.select(raw, NOW), "app")
    assert app == {
        "name": "app",
        "instances": 3,
        "online": 2,
        "statuses": {"online": 2, "errored": 1},
        "mode": "cluster",
        "pids": [1, 2],
        "restarts": 2,
        "unstable_restarts": 3,
        "uptime_s": 9.0,
        "memory_bytes": 400,
        "memory_max_bytes": 300,
        "cpu_percent": 50,
    }


def test_no_process_of_that_name_is_no_application() -> None:
    assert pm2.summarise(pm2.select([servers.pm2_process("other")], NOW), "app") is None


# --- whose daemon --------------------------------------------------------------------------------------------------


class Host:
    """A PM2 home and a /proc of the test's making."""

    def __init__(self, tmp_path: Path) -> None:
        self.home, self.proc = tmp_path / ".pm2", tmp_path / "proc"
        self.home.mkdir()
        self.proc.mkdir()

    def process(self, pid: int, title: str) -> None:
        (self.proc / str(pid)).mkdir()
        (self.proc / str(pid) / "cmdline").write_bytes(title.encode() + b"\0")
        (self.proc / str(pid) / "statm").write_text("5000 1000 10 1 0 100 0")

    def daemon(self, pid: int = 77) -> None:
        self.process(pid, f"PM2 v7.0.4: God Daemon ({self.home})")
        (self.home / "pm2.pid").write_text(str(pid))

    def collect(self, **changes: Any) -> tuple[pm2.Pm2State, list[str]]:
        target = pm2.Target(str(self.home), "app")._replace(**changes)
        state, findings = pm2.collect(target, timeout_s=1.5, proc=str(self.proc))
        assert "hunter2" not in json.dumps([state, findings])
        return state, codes(findings)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_online(host: Host) -> None:
    host.daemon()
    with servers.unix(host.home / "rpc.sock", servers.answering(servers.pm2_reply([servers.pm2_process()]))):
        state, found = host.collect()
    assert (state["daemon"], state["daemon_pid"], state["source"], found) == ("online", 77, "rpc", [])
    assert state["app"] is not None
    assert state["app"]["pids"] == [4242]


def test_memory_comes_from_the_kernel_when_pm2_could_not_sample_it(host: Host) -> None:
    host.daemon()
    host.process(4242, "node app.js")
    reply = servers.pm2_reply([servers.pm2_process(memory=0, cpu=0)])
    with servers.unix(host.home / "rpc.sock", servers.answering(reply)):
        state, _ = host.collect()
    assert state["app"] is not None
    assert state["app"]["memory_bytes"] == 1000 * os.sysconf("SC_PAGE_SIZE")


def test_missing_home(host: Host) -> None:
    host.home.rmdir()
    state, found = host.collect()
    assert (state["daemon"], found) == ("missing", ["no_home"])


def test_no_socket_is_dead(host: Host) -> None:
    state, found = host.collect()
    assert (state["daemon"], found) == ("dead", ["no_socket"])


def test_stale_socket_is_dead_even_with_a_pid_that_is_somebody_elses_by_now(host: Host) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(host.home / "rpc.sock"))
    stale.close()
    host.process(77, "sshd: flavio")
    (host.home / "pm2.pid").write_text("77")
    state, found = host.collect()
    assert (state["daemon"], state["daemon_pid"], found) == ("dead", None, ["stale_socket"])


@pytest.mark.parametrize("content", ["", "abc", "-5", "0", "9" * 40])
def test_a_rubbish_pid_file_is_no_pid(host: Host, content: str) -> None:
    (host.home / "pm2.pid").write_text(content)
    assert pm2.daemon_pid(str(host.home), str(host.proc)) is None


def test_a_living_daemon_without_its_socket_is_not_dead_and_no_command_starts_a_second(
    host: Host, tmp_path: Path
) -> None:
    host.daemon()
    state, found = host.collect(command=script(tmp_path / "pm2", f"touch {tmp_path}/called"))
    assert (state["daemon"], found) == ("unresponsive", ["no_socket"])
    assert not (tmp_path / "called").exists()


def test_a_living_daemon_whose_pid_file_is_gone_is_ours_and_not_foreign(host: Host) -> None:
    host.daemon()
    (host.home / "pm2.pid").unlink()
    state, found = host.collect()
    assert (state["daemon"], state["daemon_pid"], state["foreign"], found) == ("unresponsive", 77, [], ["no_socket"])


def test_our_own_daemon_is_not_another_one_when_its_pid_file_is_wrong(host: Host) -> None:
    host.daemon()
    host.process(78, "PM2 v7.0.4: God Daemon (/elsewhere)")
    (host.home / "pm2.pid").write_text("78")
    with servers.unix(host.home / "rpc.sock", servers.answering(servers.pm2_reply([]))):
        state, found = host.collect()
    assert (state["daemon"], state["foreign"], found) == ("online", [], [])


def test_a_socket_path_that_is_a_file(host: Host) -> None:
    (host.home / "rpc.sock").write_text("")
    state, found = host.collect()
    assert (state["daemon"], found) == ("dead", ["not_a_socket"])


def test_another_users_daemon_is_foreign(host: Host) -> None:
    host.process(5, "PM2 v5.3.0: God Daemon (/root/.pm2)")
    state, found = host.collect()
    assert (state["daemon"], found) == ("foreign", ["no_socket", "foreign_daemon"])
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert state["foreign"] == [{"pid": 5, "user": me, "home": "/root/.pm2"}]


def test_this_users_daemon_elsewhere_is_a_wrong_pm2_home(host: Host) -> None:
    """Ending it and starting the application "as its own user" would be the wrong advice."""
    host.process(5, "PM2 v5.3.0: God Daemon (/home/me/.pm2)")
    me = pwd.getpwuid(os.geteuid()).pw_name
    for user, advice in ((me, "set pm2_home"), ("nobody", "start the application as its own user")):
        _, findings = pm2.collect(pm2.Target(str(host.home), "app", user=user), timeout_s=1, proc=str(host.proc))
        assert advice in findings[-1]["hint"]["text"]


def test_another_users_socket_is_foreign_and_not_asked(host: Host) -> None:
    with servers.unix(host.home / "rpc.sock", servers.answering(servers.pm2_reply([]))) as connections:
        os.chown(host.home / "rpc.sock", 65534, -1) if os.geteuid() == 0 else None
        state, found = host.collect(user="nobody" if os.geteuid() else None)
        assert connections == []
    assert (state["daemon"], found) == ("foreign", ["foreign_socket"])


def test_an_application_that_is_not_here_but_may_be_with_another_daemon(host: Host) -> None:
    host.daemon()
    host.process(5, "PM2 v5.3.0: God Daemon (/root/.pm2)")
    with servers.unix(host.home / "rpc.sock", servers.answering(servers.pm2_reply([]))):
        state, found = host.collect()
    assert (state["daemon"], state["app"], found) == ("online", None, ["foreign_daemon"])


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (servers.silent, "timeout"),
        (servers.answering(b""), "closed_early"),
        (servers.answering(b"rubbish"), "rubbish"),
        (servers.answering(servers.frame(b'j:{"args":[[7]]}')), "rubbish"),
    ],
)
def test_unresponsive_without_a_daemon_that_lives_calls_no_command(
    host: Host, tmp_path: Path, behaviour: servers.Behaviour, code: str
) -> None:
    with servers.unix(host.home / "rpc.sock", behaviour):
        state, found = host.collect(command=script(tmp_path / "pm2", f"touch {tmp_path}/called"))
    assert (state["daemon"], found) == ("unresponsive", [code])
    assert not (tmp_path / "called").exists()


def test_the_command_is_asked_when_a_living_daemon_answers_rubbish(host: Host, tmp_path: Path) -> None:
    host.daemon()
    listing = tmp_path / "list"
    listing.write_text("[PM2] banner\n" + json.dumps([servers.pm2_process()]))
    body = f'[ "$PM2_HOME" = "{host.home}" ] && [ "$1" = jlist ] && cat {listing}'
    with servers.unix(host.home / "rpc.sock", servers.answering(b"rubbish")):
        state, found = host.collect(command=script(tmp_path / "pm2", body))
    assert (state["daemon"], state["source"], found) == ("online", "command", ["rubbish"])
    assert state["app"] is not None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("echo DB_PASSWORD=hunter2secret; exit 1", "command_failed"),
        ("echo no list, but hunter2secret", "not_json"),
        ("sleep 30 & sleep 30", "command_failed"),
    ],
)
def test_a_command_that_fails_or_hangs_is_a_finding_in_time(host: Host, tmp_path: Path, text: str, code: str) -> None:
    host.daemon()
    began = time.monotonic()
    with servers.unix(host.home / "rpc.sock", servers.answering(b"rubbish")):
        state, found = host.collect(command=script(tmp_path / "pm2", text))
    assert (state["daemon"], found) == ("unresponsive", ["rubbish", code])
    assert time.monotonic() - began < 3


def test_a_command_that_does_not_exist_is_a_finding(host: Host) -> None:
    host.daemon()
    with servers.unix(host.home / "rpc.sock", servers.answering(b"rubbish")):
        _, found = host.collect(command="/nonexistent/pm2")
    assert found == ["rubbish", "command_failed"]


def test_an_unknown_user_is_a_finding_and_the_rest_goes_on(host: Host) -> None:
    host.daemon()
    with servers.unix(host.home / "rpc.sock", servers.answering(servers.pm2_reply([servers.pm2_process()]))):
        state, found = host.collect(user="nobody-of-this-name")
    assert (state["daemon"], found) == ("online", ["no_user"])
