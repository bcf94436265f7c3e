"""Helpers of every Ansible module: reject numbers out of range, and fail in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from .messages import plain
from .ranges import out_of_range
from .types import Message


def fail(module: Any, *failures: Message, **facts: Any) -> NoReturn:
    """Fail a module with ``msg`` in English for Ansible and ``failures`` for the operator's language."""
    module.fail_json(msg="; ".join(plain(failure) for failure in failures), failures=list(failures), **facts)
    raise AssertionError("fail_json returned")


def require_ranges(module: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Fail a module when a number is out of its range (:func:`.ranges.out_of_range`)."""
    problem = out_of_range(module.params, ranges)
    if problem is not None:
        module.fail_json(msg=problem)
