"""Errors that reach an operator in one line: ``str()`` is English, ``message`` is for a translator (:mod:`.i18n`)."""

from __future__ import annotations

from orquestrador.core.errors import OperatorError
from orquestrador.core.types import Message


class HistoryError(OperatorError, OSError):
    """The history store could not be opened, read or written.

    An ``OSError``, so that whoever writes history and files catches one thing, and can do so without importing the
    database library.
    """


class SlaError(OperatorError, ValueError):
    """What was asked of a service level can't be told: no such period, an objective that is none."""


def reason_of(error: Exception) -> Message | str:
    """What an error says: its message where it has one for the operator."""
    return error.message if isinstance(error, OperatorError) else str(error)
