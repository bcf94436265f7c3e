from __future__ import annotations

import os
import pwd
import time
from pathlib import Path
from typing import Any

import pytest

from orquestrador.app import control as app_control
from orquestrador.app import health_endpoint as http_health
from orquestrador.app.control import Application, Settings
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import msg
from orquestrador.pm2 import daemon as pm2
from orquestrador.system import ports as port
from orquestrador.system.command import Completed
from orquestrador.system.identity import Owner

ME = pwd.getpwuid(os.geteuid()).pw_name


class Host:
    """PM2, port and health address of a host, as the collectors would describe them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.daemon, self.pids, self.known = "online", [os.getpid()], True
        self.listener, self.body = True, {"status": "ok", "database": "connected"}
        self.commands: list[list[str]] = []
        self.places: list[str | None] = []
        self.stops_on_stop, self.code = True, 0
        monkeypatch.setattr(pm2, "collect", self.pm2)
        monkeypatch.setattr(port, "collect", self.port)
        monkeypatch.setattr(http_health, "collect", self.http)
        monkeypatch.setattr(app_control, "POLL_S", 0.01)
        monkeypatch.setattr(Owner, "run", self.run)
        settings = Settings("app", 3001, str(tmp_path / "eco.cjs"), "/pm2", "pm2", "http://x/h", "ok", "connected")
        self.application = Application(Owner(ME), settings)

    def pm2(self, target: pm2.Target, *, timeout_s: float) -> tuple[dict[str, Any], list[Any]]:
        assert target.app == "app"
        findings = [] if self.daemon == "online" else [{"message": msg("no PM2 here")}]
        return {"daemon": self.daemon, "app": {"pids": self.pids} if self.known else None}, findings

    def port(self, number: int, *, timeout_s: float) -> tuple[dict[str, Any], list[Any]]:
        listeners = [{"pid": 7}] if self.listener else []
        return {"listeners": listeners, "open": self.listener, "pid": 7, "command": "node"}, []

    def http(self, url: str, **_: Any) -> tuple[dict[str, Any], list[Any]]:
        if not self.listener:
            return {"url": url, "status": None, "body": None}, [{"message": msg("nobody there")}]
        return {"url": url, "status": 200, "body": self.body}, []

    def run(self, argv: list[str], *, timeout_s: float, env: dict[str, str], cwd: str | None) -> Completed:
        assert env == {"PM2_HOME": "/pm2"}
        self.commands.append(argv)
        self.places.append(cwd)
        if argv[1] == "stop" and self.stops_on_stop:
            self.pids, self.listener = [0], False
        return Completed(self.code, b"", b"\x1b[31m[PM2][ERROR] no\x1b[0m\n", False, False, None)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    return Host(monkeypatch, tmp_path)


def test_stopped_is_when_nobody_lives_and_nobody_listens(host: Host) -> None:
    host.application.stop(1)
    assert host.commands == [["pm2", "stop", "app"]]
    assert not host.application.running()


@pytest.mark.parametrize("left", ["process", "listener"])
def test_what_pm2_calls_stopped_may_still_be_there(host: Host, left: str) -> None:
    host.stops_on_stop = False
    if left == "process":
        host.listener = False
    else:
        host.pids = []
    with pytest.raises(OperatorError, match="does not stop"):
        host.application.stop(0.05)


def test_a_daemon_that_is_dead_is_not_started_by_asking(host: Host) -> None:
    host.daemon = "dead"
    for act in (host.application.known, lambda: host.application.stop(1), lambda: host.application.start(1)):
        with pytest.raises(OperatorError, match="no PM2 here"):
            act()
    assert host.commands == []


def test_what_pm2_does_not_know_is_started_from_its_file(host: Host, tmp_path: Path) -> None:
    host.known = False
    with pytest.raises(OperatorError, match="deploy the application first"):
        host.application.start(1)
    (tmp_path / "eco.cjs").write_text("")
    host.application.start(1)
    assert host.commands == [["pm2", "start", str(tmp_path / "eco.cjs"), "--only", "app"]]


def test_a_command_that_fails_says_why(host: Host) -> None:
    host.code = 1
    with pytest.raises(OperatorError, match="failed") as caught:
        host.application.start(1)
    assert "[PM2][ERROR] no" in caught.value.message["args"]["reason"]


@pytest.mark.parametrize(
    ("listener", "body", "expected"),
    [
        (True, {"status": "ok", "database": "connected"}, None),
        (True, {"status": "ok", "database": "error"}, "not healthy"),
        (True, {"status": "degraded", "database": "connected"}, "not healthy"),
        (True, {}, "not healthy"),
        (False, {}, "nobody there"),
    ],
)
def test_only_the_expected_answer_is_health(
    host: Host, listener: bool, body: dict[str, str], expected: str | None
) -> None:
    host.listener, host.body = listener, body
    if expected is None:
        host.application.prove(0.05)
    else:
        with pytest.raises(OperatorError, match=expected):
            host.application.prove(0.05)


def _statuses(host: Host, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    app = {"pids": [], "online": 0, "instances": 1, "statuses": {status: 1}}
    monkeypatch.setattr(pm2, "collect", lambda *_, **__: ({"daemon": "online", "app": app, "processes": []}, []))


@pytest.mark.parametrize(("status", "waits"), [("errored", False), ("stopped", False), ("launching", True)])
def test_what_pm2_has_given_up_is_not_waited_for(
    host: Host, monkeypatch: pytest.MonkeyPatch, status: str, waits: bool
) -> None:
    monkeypatch.setattr(app_control, "SETTLED_S", 0.05)
    _statuses(host, monkeypatch, status)
    began = time.monotonic()
    reason = host.application.well(1.0, stable_s=0)
    assert reason is not None
    assert (time.monotonic() - began >= 0.9) is waits


def test_some_workers_are_restarted_by_their_ids(host: Host) -> None:
    host.application.restart(1, [2, 5])
    host.application.restart(1)
    assert host.commands == [["pm2", "restart", "2", "5"], ["pm2", "restart", "app"]]


def test_in_haste_pm2_is_asked_over_its_socket_only_and_for_a_moment(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:

    def collect(target: pm2.Target, *, timeout_s: float) -> tuple[dict[str, Any], list[Any]]:
        return {"daemon": "online", "app": None, "asked": [target.command, timeout_s]}, []

    monkeypatch.setattr(pm2, "collect", collect)
    settings = Settings("app", 3001, "/eco.cjs", "/pm2", "pm2", "http://x/h", "ok", "connected")
    seen: Any = Application(Owner(ME), settings, hasty=True).state()
    assert seen["asked"] == ["", app_control.HASTY_ASK_S]
    seen = Application(Owner(ME), settings).state()
    assert seen["asked"] == ["", app_control.ASK_S], "a command might start a daemon, with time to spare as well"


@pytest.mark.parametrize("act", ["start", "start_anew"])
def test_a_file_is_started_from_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    """PM2 takes what is relative in an ecosystem file from where it is called, by PWD if there is one."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "app").mkdir()
    program, file = tmp_path / "bin" / "pm2", tmp_path / "app" / "eco.cjs"
    said = 'printf "%s %s\\n" "$*" "$PWD" "cwd" "$(readlink /proc/$$/cwd)" >> "$PM2_HOME/said"'
    program.write_text(f"#!/bin/sh\n{said}\n")
    program.chmod(0o755)
    file.write_text("")
    monkeypatch.setattr(pm2, "collect", lambda *_, **__: ({"daemon": "online", "app": None}, []))
    settings = Settings("app", 3001, str(file), str(tmp_path), str(program), "http://x/h", "ok", "connected")
    getattr(Application(Owner(ME), settings), act)(5)
    place = str(file.parent)
    assert (tmp_path / "said").read_text().splitlines() == [f"start {file} --only app {place}", f"cwd {place}"]
