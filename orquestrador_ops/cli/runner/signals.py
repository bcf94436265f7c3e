"""Signals that ask this program to end, noted rather than raised: whoever waits looks at what came."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Protocol

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Asked(Protocol):
    """What a run looks at to know whether it is to end."""

    @property
    def got(self) -> list[int]:
        """Numbers of the signals that came."""


class Signals:
    """While it is entered, ``got`` grows by the number of every signal that asks to end."""

    def __init__(self) -> None:
        self._got: list[int] = []
        self.first_at: float | None = None  # monotonic
        self._before: dict[int, Any] = {}

    @property
    def got(self) -> list[int]:
        """Numbers of the signals that came, in their order."""
        return self._got

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _NUMBERS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._got.append(number)
        if self.first_at is None:
            self.first_at = time.monotonic()


class Patient:
    """Signals as a cycle of the watch sees them: SIGTERM lets it come to its end, for a bounded time."""

    def __init__(self, signals: Signals, bound_s: float) -> None:
        self._signals, self._bound_s = signals, bound_s

    @property
    def got(self) -> list[int]:
        """What ends the cycle now."""
        signals = self._signals
        late = signals.first_at is not None and time.monotonic() - signals.first_at > self._bound_s
        return [number for number in signals.got if late or number != signal.SIGTERM]
