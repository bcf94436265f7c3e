"""Import a file that no package holds: a module of Ansible, a plugin, a script of the lab."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[3]


def load(path: str) -> ModuleType:
    """The file ``path`` of the project, executed anew, under a name that nothing else has."""
    name = path.removesuffix(".py").replace("/", ".")
    specification = importlib.util.spec_from_file_location(f"under_test.{name}", ROOT / path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look themselves up there
    specification.loader.exec_module(module)
    return module
