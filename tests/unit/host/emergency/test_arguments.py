"""The arguments of an emergency: what makes them unusable, and paths as the host has them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from orquestrador.emergency.arguments import ARGUMENT_SPEC, RANGES, at_home, unusable

GIVEN: dict[str, Any] = {**{name: option.get("default") for name, option in ARGUMENT_SPEC.items()}, "budget_s": 120.0}


def test_defaults_can_be_used() -> None:
    assert unusable(GIVEN) is None


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1])
def test_a_wild_number_is_named(name: str, value: float) -> None:
    assert name in str(unusable({**GIVEN, name: value}))


def test_only_paths_are_brought_home_at_any_depth() -> None:
    disk = {"logs_dir": "~/logs", "backup_keep_minimum": 3, "unknown": "~"}
    given = {
        "dist": "~/dist",
        "disk": disk,
        "pm2_unit": "~x",
        "mysql_socket": None,
        "lease_path": 7,
        "probe": {"a": "~"},
    }
    home = Path("~").expanduser()
    assert at_home(given) == {**given, "dist": f"{home}/dist", "disk": {**disk, "logs_dir": f"{home}/logs"}}
