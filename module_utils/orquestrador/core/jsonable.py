"""Values that survive the way to the controller."""

from __future__ import annotations

import math
from typing import Any


def clean(value: Any, depth: int = 0) -> Any:
    """Make a value survive JSON and UTF-8: no lone surrogates (file names), no NaN, no endless nesting."""
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
