"""Signals that end this program, recorded instead of raised: the waiting code polls them."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Protocol

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests(Protocol):
    """Signals that end a run."""

    @property
    def received(self) -> list[int]:
        """Numbers of the received signals."""


class Signals:
    """Context manager that collects the numbers of SIGINT, SIGTERM and SIGHUP in ``received``."""

    def __init__(self) -> None:
        self._received: list[int] = []
        self.first_at: float | None = None  # monotonic
        self._before: dict[int, Any] = {}

    @property
    def received(self) -> list[int]:
        """Numbers of the received signals, in their order."""
        return self._received

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
        self._received.append(number)
        if self.first_at is None:
            self.first_at = time.monotonic()


class GracefulStop:
    """Signals for a cycle of the watch: SIGTERM lets it finish, for a limited time."""

    def __init__(self, signals: Signals, bound_s: float) -> None:
        self._signals, self._bound_s = signals, bound_s

    @property
    def received(self) -> list[int]:
        """Numbers of the signals that end the cycle now."""
        signals = self._signals
        late = signals.first_at is not None and time.monotonic() - signals.first_at > self._bound_s
        return [number for number in signals.received if late or number != signal.SIGTERM]
