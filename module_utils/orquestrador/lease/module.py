"""The frame of a module that changes a host under the lease of its procedure."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import OperatorError
from ..core.module import fail, require_ranges
from ..system.pipeline import end_on_signals
from . import keeper


@contextlib.contextmanager
def at_work(module: Any, ranges: Mapping[str, tuple[float, float]]) -> Iterator[None]:
    """Work in order: numbers in their ranges, files for their owner only, the lease kept, errors told in one line."""
    require_ranges(module, ranges)
    os.umask(0o077)
    end_on_signals()
    with keeper.under(module):
        try:
            yield
        except OperatorError as error:
            fail(module, *error.failures)
