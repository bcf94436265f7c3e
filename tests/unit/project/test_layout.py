"""Rooms stay small enough to be read, and a run's beginning loads nothing that takes long."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.unit import children

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("module_utils/orquestrador", "orquestrador_ops")
MAX_MODULES = 16
MAX_PLUGIN_LINES = 60
PLUGINS = sorted((ROOT / "action_plugins").glob("*.py"))
SLOW = ("sqlalchemy", "numpy", "jinja2", "matplotlib", "babel", "rich", "alembic", "apprise")


def modules() -> list[Path]:
    """Every module of ours, migrations and packages' own files left out."""
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return [path for path in found if path.name != "__init__.py" and "versions" not in path.parts]


def test_no_folder_is_fuller_than_can_be_looked_over() -> None:
    counted = Counter(path.parent.relative_to(ROOT).as_posix() for path in modules())
    assert {folder: count for folder, count in counted.items() if count > MAX_MODULES} == {}


def test_every_folder_of_modules_is_a_package() -> None:
    """Ansible ships a package to hosts only where each folder has its ``__init__.py``."""
    folders = {path.parent for path in modules()}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_action_plugins_leave_what_there_is_to_decide_to_the_packages() -> None:
    counted = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in PLUGINS}
    assert len(counted) > 10
    assert {name: lines for name, lines in counted.items() if lines > MAX_PLUGIN_LINES} == {}


def test_no_action_plugin_needs_another() -> None:
    others = {path.stem for path in PLUGINS} | {"ansible.plugins.loader"}
    for path in PLUGINS:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        named = {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
        named |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not named & others, path.name


@pytest.mark.parametrize(
    ("module", "unwanted"), [("runs.lifecycle", SLOW), ("cli.app", ("ansible", "orquestrador_ops.adapters"))]
)
def test_what_is_waited_for_loads_nothing_that_it_can_do_without(module: str, unwanted: tuple[str, ...]) -> None:
    """Opening and closing a run, and the command line."""
    code = f"import sys, orquestrador_ops.{module}; print([n for n in {unwanted!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_what_is_preloaded_leaves_nothing_for_each_host_to_load(tmp_path: Path) -> None:
    """A worker that loads the history anew costs every host of a fleet what one process may pay for all."""
    told = ROOT / "tests" / "data" / "0.1.0" / "controller" / "reports" / "daily.json"
    argv = children.command("conclude_run", told, tmp_path)
    # The first makes the tables, and loads for that what no other needs.
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=60)
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
