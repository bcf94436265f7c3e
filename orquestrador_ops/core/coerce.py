"""Values of whose shape nobody can be sure, read as the type that is wanted: what is anything else is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping; empty for anything else."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """A list or tuple as a list; empty for anything else."""
    return list(value) if isinstance(value, list | tuple) else []


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The mappings in a list."""
    return [item for item in items(value) if isinstance(item, Mapping)]


def dig(value: object, *path: str) -> Any:
    """What lies at a path of names; ``None`` where it leads nowhere."""
    for key in path:
        value = mapping(value).get(key)
    return value


def number(value: object) -> Any:
    """A finite number, no boolean; ``None`` for anything else, text too (:func:`orquestrador.core.jsonable.number`)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return value if math.isfinite(value) else None
    except OverflowError:  # an integer beyond any float
        return None


def text(value: object) -> str:
    """Text that UTF-8 can write: half surrogates become ``?``."""
    return str(value).encode("utf-8", "replace").decode()


def jsonable(value: object) -> Any:
    """JSON that every reader takes and any database stores: NaN is null, of an unknown type there is the text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {text(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    return text(value)
