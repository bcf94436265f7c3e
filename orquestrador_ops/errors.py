"""Errors that reach an operator: one line that says what, where, and what to do next."""

from __future__ import annotations


class HistoryError(OSError):
    """The history store could not be opened, read or written.

    An ``OSError``, so that whoever writes history and files catches one thing, and can do so without importing the
    database library.
    """

    def __init__(self, text: str) -> None:
        super().__init__(" ".join(str(text).split()))
