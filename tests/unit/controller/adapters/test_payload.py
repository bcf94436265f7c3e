"""The probe carried to a host: what arrives there is the package as it is, and the answer is told from noise."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import pwd
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orquestrador.health import arguments
from orquestrador.health.expectations import DEFAULTS
from orquestrador_ops.adapters import payload
from orquestrador_ops.adapters import probe as observation
from orquestrador_ops.core import catalogs


def parameters(path: Path, **changes: Any) -> dict[str, Any]:
    given = {
        "app_name": "app",
        "app_user": pwd.getpwuid(os.geteuid()).pw_name,
        "app_dir": str(path),
        "app_port": 1,
        "app_health_url": "http://127.0.0.1:1/api/health",
        "pm2_home": str(path / "pm2"),
        "mysql_defaults_file": str(path / "my.cnf"),
        "mysql_database": "app",
        "log_globs": [str(path / "error*.log")],
        "http_requests": "2",  # as an inventory may have it
        **changes,
    }
    params, problem = observation.parameters(given)
    assert problem is None
    return params


def carried(params: dict[str, Any], python: str = sys.executable, cwd: str = "/") -> dict[str, Any]:
    """Run the command as the host's shell would, in an empty environment and without this project on any path."""
    done = subprocess.run(
        ["/bin/sh", "-c", payload.command(python, params["timeout"])],
        input=payload.request(payload.PROBE, params=params, cpu_percent=80.0),
        capture_output=True,
        timeout=60,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": params["app_dir"]},
        check=False,
    )
    return {"rc": done.returncode, "stdout": done.stdout.decode(), "stderr": done.stderr.decode()}


def test_what_is_carried_observes_a_host(tmp_path: Path) -> None:
    (tmp_path / "error.log").write_text("2026-01-01 00:00:00 Z: Error: boom\n")
    returned = carried(parameters(tmp_path))
    assert returned["stderr"] == ""
    answer = payload.reply(payload.PROBE, returned)
    assert answer["snapshot"]["http"]["failures"] >= 1
    assert answer["snapshot"]["logs"]["files"][0]["path"] == str(tmp_path / "error.log")
    assert not [finding for finding in answer["snapshot"]["errors"] if finding["code"] == "internal"]
    judged = observation.add_verdict(parameters(tmp_path), answer)
    assert judged["verdict"]["overall"] == "critical"
    assert judged["memory"]["logs"]


def test_nothing_is_left_on_the_host(tmp_path: Path) -> None:
    payload.reply(payload.PROBE, carried(parameters(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_nothing_of_the_directory_it_starts_in_is_imported(tmp_path: Path, hostile: Path) -> None:
    """The login's home is the application's; with ``become`` this is root."""
    returned = carried(parameters(tmp_path), cwd=str(hostile))
    assert "verdict" in observation.add_verdict(parameters(tmp_path), payload.reply(payload.PROBE, returned)), returned
    assert not (hostile / "ran").exists()


def test_what_the_interpreter_has_installed_is_found() -> None:
    """A virtual environment's packages here, Debian's python3-pymysql on a host."""
    command = payload.command(sys.executable, 5).replace(shlex.quote(payload.BOOT), "'import yaml'")
    subprocess.run(["/bin/sh", "-c", command], check=True)


def test_the_home_is_the_hosts(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SECRET=aaaaaaaa\n")
    (tmp_path / "out").mkdir()
    files = [{"name": ".env", "path": "~/.env"}]
    answer = payload.reply(payload.PROBE, carried(parameters(tmp_path, critical_files=files, critical_dest="~/out")))
    seen = answer["snapshot"]["files"]["files"][0]
    assert (seen["path"], seen["exists"]) == (str(tmp_path / ".env"), True)


def test_a_host_without_python_is_a_reason_and_no_traceback(tmp_path: Path) -> None:
    answer = payload.reply(payload.PROBE, carried(parameters(tmp_path), "/nonexistent/python3"))
    settled = observation.normalize_result(answer, host="web-01", started="")
    assert settled["outcome"] == "error"
    assert "/nonexistent/python3" in settled["failure"]["args"]["reason"]


def test_an_exception_over_there_is_one_line(tmp_path: Path) -> None:
    returned = carried({**parameters(tmp_path), "critical_files": "nonsense"})
    settled = observation.normalize_result(payload.reply(payload.PROBE, returned), host="web-01", started="")
    assert settled["outcome"] == "error"
    assert "Traceback" not in json.dumps(settled)


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ({"rc": 124, "stdout": "", "stderr": ""}, "did not end in time"),
        ({"rc": 137, "stdout": "", "stderr": ""}, "did not end in time"),
        ({"rc": 0, "stdout": "Welcome to Debian\n", "stderr": ""}, "status 0"),
        ({"rc": 0, "stdout": payload.MARK + "{half", "stderr": ""}, "status 0"),
        ({"rc": 0, "stdout": payload.MARK + '{"result": [1]}', "stderr": ""}, "status 0"),
        ({"rc": 1, "stdout": "", "stderr": "sudo: a password is required\n"}, "a password is required"),
    ],
)
def test_no_answer_is_a_failure_with_a_reason(returned: dict[str, Any], why: str) -> None:
    settled = observation.normalize_result(payload.reply(payload.PROBE, returned), host="web-01", started="")
    assert settled["outcome"] == "error"
    assert why in settled["failure"]["args"]["reason"]


def test_noise_around_the_answer_does_no_harm() -> None:
    answer = json.dumps({"digest": payload.payload().digest, "result": {"snapshot": {}}})
    stdout = f"motd\n{payload.MARK}{answer}\nbye\n"
    assert payload.reply(payload.PROBE, {"rc": 0, "stdout": stdout}) == {"snapshot": {}}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"app_port": "abc"}, "app_port"),
        ({"app_port": 0}, "app_port"),
        ({"expectations": {"cpu_percent": "much"}}, "health_cpu_percent"),
        ({"timeout": "soon"}, "health_timeout_s"),
        ({"timeout": -1}, "health_timeout_s"),
        ({"log_globs": {"a": 1}}, "logs_error_globs"),
        ({"nonsense": 1}, "nonsense"),
        ({"critical_files": "x"}, "backup_critical_files"),
        ({"critical_files": [{"name": "a"}]}, "backup_critical_files"),
        ({"log_globs": []}, "logs_error_globs is empty"),
        ({"app_name": ""}, "app_name is empty"),
        ({"app_dir": "webapp"}, "app_dir is 'webapp'; give an absolute path"),
        ({"critical_dest": "copies"}, "backup_critical_dir is 'copies'"),
    ],
)
def test_arguments_that_do_not_fit_are_named_before_anything_is_sent(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    given = {key: value for key, value in parameters(tmp_path).items() if value is not None}
    _, problem = observation.parameters({**given, **changes})
    assert problem is not None
    assert named in problem
    assert "\n" not in problem


def test_numbers_may_come_as_text(tmp_path: Path) -> None:
    params = parameters(tmp_path, expectations={"cpu_percent": "55"})
    assert observation.cpu_percent(params) == 55


def test_arguments_are_taken_from_the_variables_of_an_inventory() -> None:
    variables = {"health_cpu_percent": 70, "logs_error_globs": ["x"], "cpu_percent": 1, "unrelated": 2}
    assert observation.from_inventory(variables) == {"log_globs": ["x"], "expectations": {"cpu_percent": 70}}


def test_every_argument_has_a_variable_and_every_variable_a_default() -> None:
    assert set(observation.VARIABLES) == set(arguments.ARGUMENT_SPEC) - {"expectations", "memory", "cpu_interval"}
    roles = Path(__file__).resolve().parents[4] / "roles"
    defaults = set().union(*(yaml.safe_load(path.read_text()) for path in roles.glob("*/defaults/main.yml")))
    wanted = set(observation.VARIABLES.values()) | {f"health_{name}" for name in DEFAULTS} - {"health_planned_restarts"}
    assert wanted <= defaults


def test_hints_name_what_an_inventory_has() -> None:
    """An operator sets variables; the probe's own argument names are nowhere to be found for him."""
    own = {name for name, variable in observation.VARIABLES.items() if name != variable and "_" in name}
    texts = [text for text in catalogs.extracted() if re.search(rf"\b({'|'.join(own)})\b", text)]
    assert texts == []


@pytest.mark.parametrize("function", [payload.PROBE, payload.EMERGENCY], ids=["probe", "emergency"])
def test_sources_are_exactly_what_is_imported_over_there(function: payload.Function) -> None:
    """By the syntax tree, where the payload goes by a pattern."""
    sent = set(payload.sources_of(function.module))
    wanted: set[str] = set()
    waiting = [f"orquestrador.{function.module}"]
    while waiting:
        name = waiting.pop()
        path = payload.PACKAGE.joinpath(*name.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if name in wanted or not file.is_file():
            continue
        wanted.add(name)
        package = name if path.is_dir() else name.rpartition(".")[0]
        waiting.append(package.rpartition(".")[0] if path.is_dir() else package)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                waiting += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    filled = {name for name in wanted if name and _text_of(name)}
    assert sent == filled


def _text_of(name: str) -> str:
    path = payload.PACKAGE.joinpath(*name.split(".")[1:])
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text(encoding="utf-8")


def test_answer_to_another_payload_counts_as_none() -> None:
    answer = json.dumps({"digest": payload.payload(payload.EMERGENCY).digest, "result": {"snapshot": {}}})
    found = payload.reply(payload.PROBE, {"rc": 0, "stdout": payload.MARK + answer})
    assert found["failed"]
    assert "other code" in found["msg"]


def test_error_over_there_names_class_and_place_and_never_quotes(tmp_path: Path) -> None:
    found = payload.reply(payload.PROBE, carried({**parameters(tmp_path), "critical_files": "a-secret"}))
    assert re.fullmatch(r"[A-Za-z]+ in orquestrador\.[a-z_.]+:\d+", found["msg"])
