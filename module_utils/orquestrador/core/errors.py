"""Errors that reach an operator in one line."""

from __future__ import annotations

from .types import Message


class BackupError(Exception):
    """A backup or its proof can't go on; carries the one line for the operator."""

    def __init__(self, message: Message) -> None:
        super().__init__(message["text"])
        self.message = message
