"""What a ladder uses of a scene, on a host that is this one."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orquestrador.core.messages import msg
from orquestrador.emergency.context import Step
from orquestrador.system.identity import Owner


@pytest.fixture
def scene(tmp_path: Path) -> Any:
    """A scene with ``steps`` as they are recorded; its owner is who runs the tests, at home in ``tmp_path``."""
    owner = Owner(pwd.getpwuid(os.geteuid()).pw_name)
    owner.home = str(tmp_path / "home")
    steps: dict[str, dict[str, Any]] = {}

    def step(name: str, _planned_s: float) -> Step:
        steps[name] = {}
        return Step(steps[name], lambda: None)

    params = {"expectations": {}, "app_dir": str(tmp_path), "pm2_home": str(tmp_path / "pm2"), "heap_snapshot": False}
    case = {"scenario": "busy", "proposals": [msg("Ask somebody")], "reasons": []}
    return SimpleNamespace(
        params=params, owner=owner, steps=steps, step=step, left=lambda: 31.0, diagnosis=case, snapshot={}, clues={}
    )
