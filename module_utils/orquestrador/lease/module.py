"""The frame of a module that changes a host under the lease of its procedure."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from ..core.errors import OperatorError
from ..core.module import fail, require_ranges
from ..system.pipeline import end_on_signals
from . import keeper


@contextlib.contextmanager
def at_work(module: Any, ranges: Mapping[str, tuple[float, float]], umask: Optional[int] = 0o077) -> Iterator[None]:
    """Work in order: numbers in their ranges, files for their owner only, the lease kept, errors told in one line.

    What the application itself makes gets the modes that it chooses: without an ``umask``.
    """
    require_ranges(module, ranges)
    if umask is not None:
        os.umask(umask)
    end_on_signals()
    with keeper.under(module):
        try:
            yield
        except OperatorError as error:
            fail(module, *error.failures)
