"""The error with a message for the operator, and the reason of an ``OSError``."""

from __future__ import annotations

import errno
from typing import Any, Optional

from .messages import plain
from .types import Message


class OperatorError(Exception):
    """A failure with a message for the operator: what failed, where, and what to do next.

    ``failures`` is that message and further ones, in order; ``evidence`` supports them. ``str()`` is one English line.
    """

    def __init__(self, message: Message, *others: Message, evidence: Optional[dict[str, Any]] = None) -> None:
        super().__init__(" ".join(plain(message).split()))
        self.message = message
        self.failures = [message, *others]
        self.evidence = evidence or {}


def os_reason(error: BaseException) -> str:
    """Return the system's text for an error, such as "Permission denied"; else its class."""
    return getattr(error, "strerror", None) or type(error).__name__


def is_full(error: Optional[BaseException]) -> bool:
    """Return whether a disk or a quota is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
