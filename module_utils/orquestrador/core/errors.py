"""The error that reaches an operator in one line, and what an error of the system says in a word."""

from __future__ import annotations

import errno
from typing import Any, Optional

from .messages import plain
from .types import Message


class OperatorError(Exception):
    """Something can't go on; ``message`` says what, where and what to do next.

    ``failures`` is that and what else is to be told, in order; ``evidence`` shows it. ``str()`` is English, one line.
    """

    def __init__(self, message: Message, *others: Message, evidence: Optional[dict[str, Any]] = None) -> None:
        super().__init__(" ".join(plain(message).split()))
        self.message = message
        self.failures = [message, *others]
        self.evidence = evidence or {}


def os_reason(error: BaseException) -> str:
    """Why the system refused, as it says it; the kind of error where it does not."""
    return getattr(error, "strerror", None) or type(error).__name__


def is_full(error: Optional[BaseException]) -> bool:
    """Whether a disk, or what a user may have of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
