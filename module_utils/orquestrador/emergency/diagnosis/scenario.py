"""What may be behind an alert; :mod:`.diagnose` and its siblings find which it is."""

from __future__ import annotations

from typing import NamedTuple, Optional

from ...core.types import Message


class Scenario(NamedTuple):
    """What is behind an alert. ``level`` is whom to tell at once when nothing here can heal it; None: the operator."""

    name: str
    reasons: list[Message]
    proposals: list[Message]
    level: Optional[str] = None
