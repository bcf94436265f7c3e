"""A procedure is added as docs/development.md says, in a checkout of its own, and does what its descriptor says."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.project.test_plain_checkout import PARTS, PLAYBOOK

ROOT = Path(__file__).resolve().parents[3]
DESCRIPTOR = """

PAINT = Procedure(
    name="paint",
    title=msg("Coat of paint"),
    source="rotina-mensal",
    playbook="playbooks/operation/paint.yml",
    budget_s=60,
    steps=(
        LEASE,
        Step("sanded", msg("Wall sanded"), result="app_sand_result"),
        Step("painted", msg("Wall painted"), result="app_paint_result", needs="sanded"),
    ),
)
"""
PLAY = """---
# Purpose   Show that a procedure can be added.
# Risk      None.
# Result    Status 0.
- name: Paint the wall
  hosts: "{{ target | default('orquestrador') }}"
  gather_facts: false
  vars:
    report_procedure: paint
    report_budget_s: 60
    health_procedure: paint
    report_steps:
      - {step: sanded, role: app, entry: sand}
      - {step: painted, role: app, entry: paint}
  tasks:
    - name: Open the run
      ansible.builtin.import_role:
        name: report
        tasks_from: open

    - name: Sand and paint
      ansible.builtin.import_role:
        name: report
        tasks_from: steps

    - name: Record and tell
      ansible.builtin.import_role:
        name: report
        tasks_from: conclude
"""
ENTRY = """---
- name: Do it
  block:
    - name: Do it, or fail
      ansible.builtin.assert:
        that: wall != '{entry}'
        quiet: true
      register: app_{entry}_result
  rescue:
    - name: Leave the failure to the conclusion of the run
      ansible.builtin.meta: noop
"""
TRANSLATIONS = {"Coat of paint": "Demão de tinta", "Wall sanded": "Parede lixada", "Wall painted": "Parede pintada"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("checkout")
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__", "*.mo"))
        else:
            shutil.copy(source, place / name)
    with (place / "orquestrador_ops/procedures/operations.py").open("a", encoding="utf-8") as file:
        file.write(DESCRIPTOR)
    (place / "playbooks/operation/paint.yml").write_text(PLAY, encoding="utf-8")
    for entry in ("sand", "paint"):
        text = ENTRY.replace("{entry}", entry)
        (place / f"roles/app/tasks/{entry}.yml").write_text(text, encoding="utf-8")
    with (place / "orquestrador_ops/core/locale/pt_BR/LC_MESSAGES/orquestrador.po").open("a", encoding="utf-8") as file:
        for text, translation in TRANSLATIONS.items():
            file.write(f'\nmsgid "{text}"\nmsgstr "{translation}"\n')
    return place


def painted(checkout: Path, state: Path, wall: str) -> tuple[int, dict[str, str], str]:
    """Exit status, the status of each step, and the report that a person reads."""
    settings = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "app_user": getpass.getuser(),
        "app_lease_file": str(state / "host" / "lease.json"),
        "app_dir": str(state / "app"),
        "wall": wall,
    }
    (state / "host").mkdir(parents=True)
    inventory = state / "hosts.json"
    inventory.write_text(json.dumps({"orquestrador": {"hosts": {"web-01": settings}}}), encoding="utf-8")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "OPS_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", PLAYBOOK, "-i", str(inventory), "playbooks/operation/paint.yml"],
        cwd=checkout,
        env={**kept, "OPS_STATE_DIR": str(state), "ANSIBLE_HOME": str(state / "ansible")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    told = done.stdout + done.stderr
    assert "Traceback" not in told
    reports = state / "reports" / "web-01"
    assert reports.is_dir(), told
    (report,) = (path for path in reports.glob("paint-*.json"))
    steps = {step["id"]: step["status"] for step in json.loads(report.read_text(encoding="utf-8"))["record"]["steps"]}
    return done.returncode, steps, report.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("wall", "status", "steps"),
    [
        ("dry", 0, {"lease": "ok", "sanded": "ok", "painted": "ok"}),
        # What a step needs is read from the descriptor: nothing in the playbook says so.
        ("sand", 2, {"lease": "ok", "sanded": "failed", "painted": "unknown"}),
    ],
)
def test_a_procedure_that_was_added_runs_and_reports_in_the_operators_language(
    checkout: Path, tmp_path: Path, wall: str, status: int, steps: dict[str, str]
) -> None:
    code, found, report = painted(checkout, tmp_path / "state", wall)
    assert (code, found) == (status, steps), report
    for text in TRANSLATIONS.values():
        assert text in report
