"""What modules for backups take: defaults that are usable, and numbers that are not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from orquestrador.backup import arguments
from orquestrador.core.ranges import out_of_range

SPEC = {**arguments.BACKUP, **arguments.BACKUP_WRITE}
RANGES = {**arguments.RANGES, **arguments.RESERVE}


def given(**changed: Any) -> dict[str, Any]:
    return {**{name: option.get("default") for name, option in SPEC.items()}, **changed}


def test_defaults_are_in_range_and_become_limits() -> None:
    assert out_of_range(given(), RANGES) is None
    limits = arguments.limits(given(timeout=7.0))
    assert (limits.reserve_bytes, limits.timeout_s, limits.stall_s) == (1024**3, 7.0, 300)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 2.0**61])
def test_a_wild_number_is_named(name: str, value: float) -> None:
    assert name in str(out_of_range(given(**{name: value}), RANGES))


def test_keys_that_decrypt_are_kept_out_of_logs() -> None:
    assert arguments.BACKUP_READ["identity"]["no_log"]
