"""Error events of log files, read incrementally: skeleton of the public interface."""

from __future__ import annotations

from typing import Any, Optional

from .types import Finding, LogState


def collect(
    globs: list[str],
    memory: Optional[dict[str, Any]],
    *,
    now: float,
    deadline_s: float,
    max_bytes: int,
    day_s: int = 86400,
) -> tuple[LogState, dict[str, Any], list[Finding]]:
    """Read what is new in the files that ``globs`` match; ``now`` is epoch seconds, ``deadline_s`` a duration."""
    raise NotImplementedError
