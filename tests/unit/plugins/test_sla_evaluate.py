"""``sla_evaluate`` in a play: samples by hand, the history, objectives of the inventory, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DAY = {"period": "2026-01-05"}
# A day that is known as a whole, down from 12:00 to 12:02.
SAMPLES = [
    {"at": f"2026-01-05T{minute // 60:02}:{minute % 60:02}:00Z", "ok": not 720 <= minute < 722, "latency_ms": 12.5}
    for minute in range(0, 1440, 2)
]
TASKS: dict[str, dict[str, Any]] = {
    "given": {**DAY, "samples": "{{ samples }}"},
    "stricter": {**DAY, "samples": "{{ samples }}", "objectives": {"uptime": 0.9999, "recovery_s": 60}},
    "between": {"from": "2026-01-05T11:00:00+00:00", "to": "2026-01-05T12:30:00+00:00", "samples": "{{ samples }}"},
    "nothing": DAY,
    "both": {"period": "day", "from": "2026-01-05"},
    "future": {"period": "2999"},
    "objective": {**DAY, "objectives": {"uptime": 99.9}},
    "sample": {**DAY, "samples": [{"at": "noon", "ok": True}]},
    "zone": {**DAY, "samples": []},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every task registered, and the files of the state directory afterwards."""
    place = tmp_path_factory.mktemp("play")
    tasks: list[dict[str, Any]] = [
        {
            "name": f"Do {name}",
            "sla_evaluate": arguments,
            "register": f"got_{name}",
            "ignore_errors": True,
            **({"vars": {"ops_timezone": "Mars/Olympus"}} if name == "zone" else {}),
        }
        for name, arguments in TASKS.items()
    ]
    kept = {name: f"{{{{ got_{name} }}}}" for name in TASKS}
    keep = {"content": "{{ kept | to_json }}", "dest": str(place / "kept")}
    here = {"vars": {"kept": kept}, "delegate_to": "localhost", "connection": "local"}
    tasks.append({"name": "Keep", "ansible.builtin.copy": keep, **here})
    variables = {
        "samples": SAMPLES,
        "ops_timezone": "UTC",
        "ops_locale": "en",
        "sla_response_ms": "{{ 100 + 50 }}",
        "ansible_host": "127.0.0.1",
        "ansible_port": 9,
        "ops_state_dir": str(place / "state"),
    }
    play = {"name": "Try", "hosts": "web-01", "gather_facts": False, "vars": variables, "tasks": tasks}
    (place / "play.yml").write_text(yaml.safe_dump([play]))
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    command = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [str(command), "-i", "web-01,", str(place / "play.yml")],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    found: dict[str, Any] = json.loads((place / "kept").read_text())
    return {**found, "files": sorted(path.name for path in (place / "state").rglob("*"))}


def sla(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in result["document"]["slas"] if one["id"] == name)


def test_samples_are_evaluated_and_nothing_is_written(results: dict[str, Any]) -> None:
    given = results["given"]
    uptime = sla(given, "uptime")
    assert uptime["value"] == pytest.approx(1 - 120 / 86400)
    assert (uptime["good"], uptime["total"], uptime["met"]) == (719, 720, False)
    assert given["met"] is False
    assert given["verdict"] == "missed"
    assert [(one["from"], one["seconds"]) for one in given["document"]["incidents"]] == [
        ("2026-01-05T12:00:00+00:00", 120.0)
    ]
    assert given["lines"][0] == "Service levels of web-01 (2026-01-05)"
    assert len([line for line in given["lines"] if ": 2026-01-05 " in line]) == 5
    assert given["missed"].startswith("Uptime 2026-01-05 99.861% (≥ 99.9%)")
    assert sla(given, "response")["threshold"] == {"latency_ms": 150.0}, "a template of the inventory"
    assert given["changed"] is False
    assert results["files"] == [], "looking makes no store, and of samples there is no report"


def test_objectives_of_the_task_come_first(results: dict[str, Any]) -> None:
    assert sla(results["stricter"], "uptime")["objective"] == 0.9999
    assert (sla(results["given"], "recovery")["met"], sla(results["stricter"], "recovery")["met"]) == (True, False)


def test_a_period_from_one_time_to_another(results: dict[str, Any]) -> None:
    period = results["between"]["document"]["period"]
    assert (period["from"], period["to"]) == ("2026-01-05T11:00:00+00:00", "2026-01-05T12:30:00+00:00")
    assert sla(results["between"], "uptime")["value"] == pytest.approx(1 - 120 / 5400)


def test_without_a_history_nothing_is_known(results: dict[str, Any]) -> None:
    assert (results["nothing"]["met"], results["nothing"]["verdict"]) == (None, "no_data")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("both", "mutually exclusive"),
        ("future", "still to come"),
        ("objective", "sla_uptime is 99.9"),
        ("sample", "Sample 1: at is noon"),
        ("zone", "Mars/Olympus"),
    ],
)
def test_what_cannot_be_used_is_one_line(results: dict[str, Any], name: str, said: str) -> None:
    assert results[name]["failed"] is True
    assert said in results[name]["msg"]
    assert "\n" not in results[name]["msg"]
