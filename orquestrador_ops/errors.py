"""Errors that reach an operator: one line that says what, where, and what to do next."""

from __future__ import annotations


class OpsError(Exception):
    """Base of the errors that are shown as they are, without a traceback."""

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(str(text).split()))


class HistoryError(OpsError):
    """The history store could not be opened, read or written."""
