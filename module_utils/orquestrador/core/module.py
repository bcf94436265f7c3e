"""What every Ansible module does the same way: refuse arguments that are out of range, and fail in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from .messages import plain
from .ranges import out_of_range
from .types import Message


def fail(module: Any, *failures: Message, **facts: Any) -> NoReturn:
    """End a module: ``msg`` in English for Ansible, ``failures`` for the operator's language."""
    module.fail_json(msg="; ".join(plain(failure) for failure in failures), failures=list(failures), **facts)
    raise AssertionError("fail_json came back")


def require_ranges(module: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """End a module one of whose numbers lies outside its range (:func:`.ranges.out_of_range`)."""
    problem = out_of_range(module.params, ranges)
    if problem is not None:
        module.fail_json(msg=problem)
