"""All collectors side by side: one that fails, hangs or lies never costs another's result, nor more than its time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.health import collect as probe
from orquestrador.logs import errors as logs
from tests.unit.fakes import servers

ROOT = Path(__file__).resolve().parents[4]
HEALTH = b'{"status":"ok","database":"connected"}'


def codes(findings: list[Any]) -> list[tuple[str, str]]:
    return [(item["collector"], item["code"]) for item in findings]


# --- the frame -----------------------------------------------------------------------------------------------------


def fine(_seconds: float) -> tuple[Any, list[Any]]:
    return {"fine": True}, []


def hanging(_seconds: float) -> tuple[Any, list[Any]]:
    threading.Event().wait(60)
    return {"late": True}, []


def raising(_seconds: float) -> tuple[Any, list[Any]]:
    raise RuntimeError("password=hunter2secret")


def leaving(_seconds: float) -> tuple[Any, list[Any]]:
    raise SystemExit(1)


def lying(_seconds: float) -> Any:
    return None


def test_each_failure_is_a_null_and_a_finding_and_the_rest_stands_in_time() -> None:
    began = time.monotonic()
    collectors = {"pm2": hanging, "port": raising, "http": leaving, "database": lying, "logs": fine}
    states, findings = probe.run_side_by_side([collectors], each_s=0.3, whole_s=10)
    assert time.monotonic() - began < 2
    assert states == {"pm2": None, "port": None, "http": None, "database": None, "logs": {"fine": True}}
    expected = [("pm2", "timeout"), ("port", "internal"), ("http", "internal"), ("database", "internal")]
    assert codes(findings) == expected
    assert "hunter2" not in json.dumps(findings)


def test_the_whole_is_bounded_however_long_each_may_take() -> None:
    began = time.monotonic()
    states, findings = probe.run_side_by_side([{"pm2": hanging}, {"port": fine}], each_s=60, whole_s=0.3)
    assert time.monotonic() - began < 2
    assert (states["port"], codes(findings)) == ({"fine": True}, [("pm2", "timeout")])


def test_collectors_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3)

    def meet(_seconds: float) -> tuple[Any, list[Any]]:
        meeting.wait(3)
        return True, []

    states, _ = probe.run_side_by_side([{"pm2": meet, "port": meet}, {"http": meet}], each_s=5, whole_s=5)
    assert set(states.values()) == {True}


def test_a_collector_is_told_less_time_than_it_gets() -> None:
    told: list[float] = []

    def listen(seconds: float) -> tuple[Any, list[Any]]:
        told.append(seconds)
        return None, []

    probe.run_side_by_side([{"pm2": listen}], each_s=2, whole_s=1)
    assert 0.5 < told[0] < 1


def test_a_process_ends_although_a_collector_hangs() -> None:
    program = (
        "import threading; from orquestrador.health.collect import run_side_by_side as run;"
        "run([{'pm2': lambda s: threading.Event().wait(60)}], each_s=0.1, whole_s=1); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=20, check=True)
    assert done.stdout == b"done\n"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.characters(categories=["Cs"])
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_whatever_was_collected_can_be_sent(value: Any) -> None:
    cleaned = probe.clean(value)
    json.dumps(cleaned, allow_nan=False, ensure_ascii=False).encode("utf-8")
    assert probe.clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.0.0.1:3001/x", "127.0.0.1"),
        ("http://[::1]:3001/x", "::1"),
        ("http://app.example:80/x", "127.0.0.1"),
        ("http://h:x/", "127.0.0.1"),
        ("http://[", "127.0.0.1"),
    ],
)
def test_where_the_port_is_tried(url: str, host: str) -> None:
    assert probe._port_host(url, 3001) == host


# --- the whole -----------------------------------------------------------------------------------------------------


class Host:
    """A host with everything in place but what a test takes away."""

    def __init__(self, tmp_path: Path, port: int) -> None:
        self.path, self.port = tmp_path, port
        (tmp_path / "logs").mkdir()
        (tmp_path / "logs" / "error.log").write_text("")
        (tmp_path / ".env").write_text("DB_PASSWORD=correct-horse-battery\n")
        (tmp_path / "my.cnf").write_text(f"[client]\nuser=ops\npassword=x\nsocket={tmp_path}/db\n")
        (tmp_path / "my.cnf").chmod(0o600)

    def options(self, **changes: Any) -> probe.Options:
        values: dict[str, Any] = {
            "app_name": "app",
            "app_user": subprocess.run(
                ["id", "-un"], capture_output=True, text=True, timeout=5, check=True
            ).stdout.strip(),
            "app_dir": str(self.path),
            "app_port": self.port,
            "app_health_url": f"http://127.0.0.1:{self.port}/api/health",
            "app_env_file": str(self.path / ".env"),
            "pm2_home": str(self.path),
            "mysql_defaults_file": str(self.path / "my.cnf"),
            "mysql_database": "app",
            "log_globs": [str(self.path / "logs" / "error*.log")],
            "disk_paths": [str(self.path)],
            "cpu_interval": 0.02,
            "collector_timeout": 1.0,
            "http_timeout": 0.5,
        }
        return probe.Options(**{**values, **changes})


@contextlib.contextmanager
def application(tmp_path: Path, health: servers.Behaviour) -> Iterator[Host]:
    """An application that this very process plays: its pid is the one PM2 names."""
    process = servers.pm2_process(pid=os.getpid())
    with (
        servers.tcp(health) as port,
        servers.unix(tmp_path / "rpc.sock", servers.answering(servers.pm2_reply([process]))),
    ):
        yield Host(tmp_path, port)


def test_one_snapshot_of_everything(tmp_path: Path) -> None:
    with application(tmp_path, servers.http(HEALTH)) as host:
        snapshot, log_memory = probe.collect(host.options())
    json.dumps(snapshot, allow_nan=False)
    assert set(snapshot) == {"schema", "host", "taken_at", "duration_ms", "errors", *probe.COLLECTORS}
    assert codes(snapshot["errors"]) == [("database", "no_socket")]
    assert snapshot["pm2"] and snapshot["port"] and snapshot["http"] and snapshot["database"]
    assert snapshot["resources"] and snapshot["logs"]
    assert snapshot["files"] is None
    assert snapshot["pm2"]["daemon"] == "online"
    assert snapshot["port"]["listeners"][0]["of_app"] is True
    assert snapshot["http"]["body"] == {"status": "ok", "database": "connected"}
    assert snapshot["resources"]["cpu"]["app_percent"] is not None
    assert snapshot["resources"]["memory"]["app_bytes"] > 0
    assert log_memory
    assert "hunter2" not in json.dumps(snapshot)


def test_a_hung_application_costs_its_own_collector_only(tmp_path: Path) -> None:
    began = time.monotonic()
    with application(tmp_path, servers.silent) as host:
        snapshot, _ = probe.collect(host.options())
    assert time.monotonic() - began < 3
    assert codes(snapshot["errors"]) == [("http", "timeout"), ("database", "no_socket")]
    assert snapshot["port"] and snapshot["port"]["open"]


def test_a_database_that_hangs_costs_its_own_collector_only(tmp_path: Path) -> None:
    with application(tmp_path, servers.http(HEALTH)) as host, servers.unix(tmp_path / "db", servers.silent):
        snapshot, _ = probe.collect(host.options())
    assert [item for item in codes(snapshot["errors"]) if item[0] != "database"] == []
    assert snapshot["http"] and snapshot["http"]["status"] == 200
    assert codes(snapshot["errors"]) == [("database", "timeout")]
    assert snapshot["database"]
    assert snapshot["database"]["error"] == "timeout"


def test_nothing_is_there(tmp_path: Path) -> None:
    empty = tmp_path / "none"
    options = probe.Options(
        app_name="app",
        app_user="nobody-of-this-name",
        app_dir=str(empty),
        app_port=1,
        app_health_url="http://127.0.0.1:1/",
        app_env_file=str(empty / ".env"),
        pm2_home=str(empty),
        mysql_defaults_file=str(empty / "my.cnf"),
        mysql_database="x",
        log_globs=[str(empty / "*.log")],
        disk_paths=[str(empty)],
        cpu_interval=0.01,
        critical_files=[{"name": "env", "path": str(empty / ".env"), "required": True}],
        critical_dest=str(empty / "c"),
    )
    snapshot, _ = probe.collect(options)
    found = codes(snapshot["errors"])
    assert {("pm2", "no_home"), ("http", "refused"), ("database", "no_credentials"), ("resources", "no_path")} <= set(
        found
    )
    assert "internal" not in {code for _, code in found}
    assert [name for name, _ in found] == sorted((name for name, _ in found), key=probe.COLLECTORS.index)
    assert snapshot["files"] is not None


def test_a_secret_of_the_environment_leaves_with_nothing(tmp_path: Path) -> None:
    body = b'{"status":"correct-horse-battery","database":"mysql://u:pw123456@h/db"}'
    with application(tmp_path, servers.http(body)) as host:
        (tmp_path / "logs" / "error.log").write_text(
            "Error: cannot log in with correct-horse-battery\n    at x (a.js:1)\n"
        )
        snapshot, memory = probe.collect(host.options())
    text = json.dumps([snapshot, memory])
    assert snapshot["logs"] and snapshot["logs"]["errors"] == 1
    assert "correct-horse" not in text
    assert "pw123456" not in text


def test_what_was_remembered_of_the_logs_survives_a_run_that_could_not_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = {"taken_at": "2025-01-01T00:00:00Z", "logs": {"some": "offsets"}}

    def fail(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(logs, "collect", fail)
    with application(tmp_path, servers.http(HEALTH)) as host:
        snapshot, log_memory = probe.collect(host.options(), remembered)
    assert (snapshot["logs"], log_memory) == (None, {"some": "offsets"})
    assert ("logs", "internal") in codes(snapshot["errors"])


@pytest.mark.parametrize("memory", [None, {}, {"logs": None}, {"logs": 7}, {"logs": {"files": 7}}])
def test_a_memory_of_any_shape_is_survived(tmp_path: Path, memory: Any) -> None:
    with application(tmp_path, servers.http(HEALTH)) as host:
        snapshot, _ = probe.collect(host.options(), memory)
    assert snapshot["logs"] is not None


def test_the_thread_switching_of_the_process_is_left_as_it_was(tmp_path: Path) -> None:
    before = sys.getswitchinterval()
    with application(tmp_path, servers.http(HEALTH)) as host:
        probe.collect(host.options())
    assert sys.getswitchinterval() == before
