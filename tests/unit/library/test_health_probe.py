"""The module itself: arguments, check mode, and what it returns for a host of fakes."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from orquestrador.health import arguments as arguments_of_probe
from orquestrador.health import collect as probe
from orquestrador.health import probe as observe
from orquestrador.health.checks import CHECK_IDS
from tests.unit.fakes import servers
from tests.unit.fakes.loading import load

GOOD = servers.http(b'{"status":"ok","database":"connected"}')


@pytest.fixture(scope="module")
def module() -> ModuleType:
    return load("library/health_probe.py")


def arguments(path: Path, port: int, **changes: Any) -> dict[str, Any]:
    return {
        "app_name": "app",
        "app_user": pwd.getpwuid(os.geteuid()).pw_name,
        "app_dir": str(path),
        "app_port": port,
        "app_health_url": f"http://127.0.0.1:{port}/api/health",
        "pm2_home": str(path),
        "mysql_defaults_file": str(path / "my.cnf"),
        "mysql_database": "app",
        "log_globs": [str(path / "error*.log")],
        "cpu_interval": 0.02,
        **changes,
    }


def run(module: ModuleType, capsys: pytest.CaptureFixture[str], args: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Run ``main`` as Ansible does; the exit status and what it printed."""
    with patch_module_args(args), pytest.raises(SystemExit) as ended:
        module.main()
    output = capsys.readouterr()
    assert output.err == ""
    return int(ended.value.code or 0), json.loads(output.out)


@pytest.mark.parametrize("check", [False, True])
def test_a_host_is_observed_and_judged(
    module: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], check: bool
) -> None:
    (tmp_path / ".env").write_text("JWT_SECRET=correct-horse-battery\n")
    (tmp_path / "error.log").write_text("Error: correct-horse-battery\n")
    reply = servers.pm2_reply([servers.pm2_process(pid=os.getpid())])
    before = sorted(os.listdir(tmp_path))  # noqa: PTH208 - names are what is compared
    with servers.tcp(GOOD) as port, servers.unix(tmp_path / "rpc.sock", servers.answering(reply)):
        status, result = run(module, capsys, arguments(tmp_path, port, _ansible_check_mode=check))
        again = run(module, capsys, arguments(tmp_path, port, memory=result["memory"]))[1]
    assert (status, result["changed"]) == (0, False)
    assert [item["id"] for item in result["verdict"]["checks"]] == list(CHECK_IDS)
    assert (
        set(yaml.safe_load(module.RETURN))
        == {"snapshot", "verdict", "memory"}
        == set(result) - {"changed", "invocation"}
    )
    assert set(yaml.safe_load(module.RETURN)["memory"]["sample"]) >= set(result["memory"])
    assert set(yaml.safe_load(module.RETURN)["verdict"]["sample"]) == set(result["verdict"])
    statuses = {item["id"]: item["status"] for item in result["verdict"]["checks"]}
    assert (statuses["pm2.online"], statuses["http.status"], statuses["app.database"]) == ("ok", "ok", "ok")
    assert result["snapshot"]["logs"]["errors"] == 1
    assert again["snapshot"]["logs"]["errors"] == 0
    returned = {key: value for key, value in result.items() if key != "invocation"}
    assert "correct-horse" not in json.dumps(returned)
    assert "hunter2" not in json.dumps(result)
    assert sorted(set(os.listdir(tmp_path)) - {"rpc.sock"}) == before  # noqa: PTH208


def test_a_host_with_nothing_on_it_is_no_failure(
    module: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = arguments(
        tmp_path / "none", 1, critical_files=[{"name": "env", "path": "/none/.env"}], critical_dest="/none/c"
    )
    status, result = run(module, capsys, args)
    assert status == 0
    assert result["verdict"]["overall"] == "critical"
    assert "internal" not in {item["code"] for item in result["snapshot"]["errors"]}
    assert len(result["verdict"]["checks"]) == len(CHECK_IDS)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"app_port": 0}, "app_port"),
        ({"app_port": 65536}, "app_port"),
        ({"app_port": "abc"}, "app_port"),
        ({"http_requests": 0}, "http_requests"),
        ({"http_timeout": "nan"}, "http_timeout"),
        ({"timeout": "inf"}, "timeout"),
        ({"collector_timeout": 0}, "collector_timeout"),
        ({"cpu_interval": -1}, "cpu_interval"),
        ({"log_max_bytes": 0}, "log_max_bytes"),
        ({"slow_query_s": -1}, "slow_query_s"),
        ({"critical_files": [{"name": "env", "path": "/x"}]}, "critical_dest"),
        ({"critical_files": [{"name": "env"}]}, "path"),
        ({"expectations": {"memory_normal_mb": "lots"}}, "memory_normal_mb"),
        ({"expectations": "much"}, "expectations"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_arguments_that_can_not_be_used_are_one_line(
    module: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    named: str,
) -> None:
    def unexpected(*_: object) -> None:
        raise AssertionError("observed although the arguments can't be used")

    monkeypatch.setattr(probe, "collect", unexpected)
    status, result = run(module, capsys, arguments(tmp_path, 3001, **changes))
    assert (status, result["failed"]) == (1, True)
    assert named in result["msg"]
    assert "\n" not in result["msg"]


def test_defaults_that_depend_on_others(module: ModuleType) -> None:
    params = {
        **{name: option.get("default") for name, option in module.ARGUMENT_SPEC.items()},
        **arguments(Path("/srv/app/"), 1),
    }
    options = observe.options_of(params, arguments_of_probe.cpu_percent(params))
    assert (options.app_env_file, options.disk_paths) == ("/srv/app/.env", ["/srv/app", "/"])
    assert options.cpu_percent == 80
    assert arguments_of_probe.cpu_percent({**params, "expectations": {"cpu_percent": 50}}) == 50


def test_every_option_reaches_the_collectors(module: ModuleType) -> None:
    assert set(module.ARGUMENT_SPEC) - {"expectations", "memory"} == set(probe.Options._fields) - {
        "cpu_percent",
        "port_owners",
    }
