"""A checkout in which nothing is installed, as AWX has it, in a directory whose name no shell likes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.fakes.loading import load

ROOT = Path(__file__).resolve().parents[3]
PARTS = (
    "action_plugins",
    "ansible.cfg",
    "callback_plugins",
    "doc_fragments",
    "filter_plugins",
    "inventory",
    "library",
    "module_utils",
    "orquestrador_ops",
    "playbooks",
    "pyproject.toml",
    "roles",
)
# As ansible-playbook and ansible-doc, but the project's own installation is not to be found.
PLAYBOOK, DOC = (
    "import sys; sys.meta_path[:] = [one for one in sys.meta_path if 'editable' not in str(one)];"
    f"from ansible.cli.{command} import main; main()"
    for command in ("playbook", "doc")
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    place = tmp_path / "Operação de plantão"
    place.mkdir()
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    return place


def test_a_routine_runs_and_reports_from_it(checkout: Path, tmp_path: Path) -> None:
    """Nobody listens on port 1: the host is unreachable, and that is a result with a report."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        json.dumps({"orquestrador": {"hosts": {"web-01": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}})
    )
    state = tmp_path / "state"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "OPS_", "PYTHON"))
    }
    done = subprocess.run(
        [sys.executable, "-c", PLAYBOOK, "-i", str(inventory), "playbooks/routine/daily.yml"],
        cwd=checkout,
        env={**environment, "OPS_STATE_DIR": str(state), "ANSIBLE_HOME": str(tmp_path / "ansible")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode != 0, told
    assert "Traceback" not in told
    (report,) = (path for path in (state / "reports" / "web-01").glob("daily-*.json"))
    assert json.loads(report.read_text(encoding="utf-8"))["record"]["outcome"] == "unreachable", told
    assert str(ROOT) not in told


def test_commands_run_from_it(checkout: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.meta_path[:] = [one for one in sys.meta_path if 'editable' not in str(one)];"
        "sys.path.insert(0, ''); from orquestrador_ops.cli import main; main(['status'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=checkout,
        env={**os.environ, "OPS_STATE_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "execute um procedimento" in done.stderr  # nothing is on record yet, said in the operator's language


def test_ansible_doc_shows_every_option_in_it(checkout: Path, tmp_path: Path) -> None:
    """Those that a module shares with others are in its documentation as well: ``ansible.cfg`` says where they are."""
    names = sorted(path.stem for path in (checkout / "library").glob("*.py"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", DOC, "-t", "module", "--json", *names],
        cwd=checkout,
        env={**environment, "ANSIBLE_HOME": str(tmp_path / "ansible")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = {name: set(module["doc"]["options"]) for name, module in json.loads(done.stdout).items()}
    assert shown == {name: set(load(f"library/{name}.py").ARGUMENT_SPEC) for name in names}
