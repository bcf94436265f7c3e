"""Errors that reach an operator: one line that says what, where, and what to do next."""

from __future__ import annotations

from orquestrador.core.messages import plain
from orquestrador.core.types import Message


class HistoryError(OSError):
    """The history store could not be opened, read or written.

    An ``OSError``, so that whoever writes history and files catches one thing, and can do so without importing the
    database library. ``str()`` is English; ``message`` is for :meth:`orquestrador_ops.core.i18n.Translator.message`.
    """

    def __init__(self, message: Message) -> None:
        super().__init__(" ".join(plain(message).split()))
        self.message = message


class SlaError(ValueError):
    """What was asked of a service level can't be told: no such period, an objective that is none.

    ``str()`` is English; ``message`` is for :meth:`orquestrador_ops.core.i18n.Translator.message`.
    """

    def __init__(self, message: Message) -> None:
        super().__init__(" ".join(plain(message).split()))
        self.message = message
