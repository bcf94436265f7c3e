"""Ranges of a module's numeric arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Optional


def out_of_range(params: Mapping[str, Any], ranges: Mapping[str, tuple[float, float]]) -> Optional[str]:
    """Return one line about the first number outside its range (from, to), ``None`` when there is none."""
    for name, (lowest, highest) in ranges.items():
        value = params[name]
        if not math.isfinite(value) or not lowest <= value <= highest:
            return f"{name} is {value}; give a number from {lowest} to {highest}"
    return None
