"""Conversion of values to JSON for the controller."""

from __future__ import annotations

import math
import time
from typing import Any, Optional


def clean(value: Any, depth: int = 0) -> Any:
    """Return a value that is valid JSON and UTF-8: no lone surrogates (file names), no NaN, limited nesting."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth > 30:
        return None
    if isinstance(value, dict):
        return {clean(str(key)): clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item, depth + 1) for item in value]
    return value if value is None or isinstance(value, (bool, int)) else str(value)


def number(value: Any) -> Optional[float]:
    """Return a finite number from a number or a numeric string; ``None`` for all else, booleans too."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def count(value: Any) -> int:
    """A whole number that is not negative; 0 for all that is none."""
    return max(int(number(value) or 0), 0)


def iso(epoch_s: Any) -> Optional[str]:
    """Return seconds since 1970 as ISO 8601 in UTC, to the second; ``None`` when it is no time."""
    result = number(epoch_s)
    try:
        return None if result is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(result))
    except (ValueError, OverflowError, OSError):
        return None
