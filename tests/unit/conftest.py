"""One name for the host package in all tests: ``orquestrador``, also for modules, which use Ansible's name for it."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

# Imported here, whole, so that the lean import of the database collector (without ``cryptography``) can't leave this
# test process with a PyMySQL that other tests expect to be complete.
import pymysql  # noqa: F401
from hypothesis import HealthCheck, settings

# Time says nothing of correctness on a machine whose two cores are busy with something else. The same commit is judged
# by the same examples each time; `make explore` draws others, and what it finds becomes an example of its test.
PATIENT: dict[str, Any] = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("project", **PATIENT, derandomize=True)
settings.register_profile(
    "explore", **PATIENT, derandomize=False, print_blob=True, max_examples=int(os.environ.get("EXAMPLES") or 1000)
)
settings.load_profile("project")

ROOT = Path(__file__).resolve().parents[2]

for folder in (ROOT / "module_utils", ROOT):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

SHIPPED = "ansible.module_utils.orquestrador"


class OneIdentity(MetaPathFinder, Loader):
    """Gives modules, which import the host package by Ansible's name for it, the very objects that all others have."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == SHIPPED or fullname.startswith(f"{SHIPPED}.") else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module("orquestrador" + spec.name[len(SHIPPED) :])
        self._own = (module, module.__spec__)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own[1]


if not any(isinstance(finder, OneIdentity) for finder in sys.meta_path):
    sys.meta_path.insert(0, OneIdentity())
