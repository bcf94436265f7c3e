"""Rooms stay small enough to be read, and a run's beginning loads nothing that takes long."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("module_utils/orquestrador", "orquestrador_ops")
MAX_MODULES = 16
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


def test_opening_and_closing_a_run_loads_nothing_slow_by_itself() -> None:
    code = f"import sys, orquestrador_ops.runs.lifecycle; print([n for n in {SLOW!r} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
