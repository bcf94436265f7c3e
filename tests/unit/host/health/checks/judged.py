"""A check by its id, run over a part of a snapshot with the playbook's limits."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from orquestrador.core.types import Check
from orquestrador.health.checks import CHECKS
from orquestrador.health.checks.view import View
from orquestrador.health.expectations import DEFAULTS

STATUSES = {"ok", "warn", "critical", "unknown"}
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
WILD = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))


def judge(name: str, memory: Any = None, **parts: Any) -> Check:
    (check,) = (one for one in CHECKS if one.id == name)
    return check.run(View(parts, DEFAULTS, memory))


def status(name: str, memory: Any = None, **parts: Any) -> str:
    return judge(name, memory, **parts)["status"]


def wild(module: str, part: str, value: dict[str, Any]) -> set[str]:
    """The statuses of every check of a module over anything at all in its part."""
    return {
        check.run(View({part: value}, DEFAULTS, None))["status"] for check in CHECKS if check.judge.__module__ == module
    }
