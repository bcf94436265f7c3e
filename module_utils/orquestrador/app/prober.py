"""Ask the application all the time while something is done to it, and count what a client would have noticed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Optional
from urllib.parse import SplitResult

from .health_endpoint import Reply, request

TIMEOUT_S = 5.0
MAX_ASKED = 200_000
BAD_STATUS = 400


class Asked(NamedTuple):
    """One request: when it began and ended (monotonic seconds), and what was wrong with its answer."""

    began: float
    ended: float
    error: Optional[str]


def summary(asked: Sequence[Asked]) -> dict[str, Any]:
    """``{requests, failures, longest_gap_s, errors}``.

    A gap is the time without a good answer: from the beginning of the first request that failed to the end of the next
    one that did not, or to the last end there is.
    """
    errors: dict[str, int] = {}
    longest, since = 0.0, None
    for one in sorted(asked, key=lambda item: item.ended):
        if one.error is not None:
            errors[one.error] = errors.get(one.error, 0) + 1
            since = one.began if since is None else min(since, one.began)
            longest = max(longest, one.ended - since)
        elif since is not None:
            longest, since = max(longest, one.ended - since), None
    return {
        "requests": len(asked),
        "failures": sum(errors.values()),
        "longest_gap_s": round(longest, 3),
        "errors": errors,
    }


class Prober:
    """``with Prober(parts, rate) as prober: …; prober.counted()``; every request opens a connection of its own."""

    def __init__(
        self,
        parts: SplitResult,
        rate: float,
        threads: int = 2,
        ask: Callable[[SplitResult, float], Reply] = request,
    ) -> None:
        self._parts, self._ask = parts, ask
        self._interval = threads / rate
        self._asked: list[Asked] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number / rate,), daemon=True) for number in range(threads)
        ]

    def __enter__(self) -> Prober:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin no more requests, and wait for those that are under way."""
        self._over.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S + 1)

    def counted(self) -> dict[str, Any]:
        """What was counted; see :func:`summary`."""
        return summary(list(self._asked))

    def _work(self, delay: float) -> None:
        due = time.monotonic() + delay
        while not self._over.wait(max(due - time.monotonic(), 0)) and len(self._asked) < MAX_ASKED:
            began = time.monotonic()
            reply = self._ask(self._parts, began + TIMEOUT_S)
            bad = reply.status is not None and reply.status >= BAD_STATUS
            error = reply.error or (f"HTTP {reply.status}" if bad else None)
            self._asked.append(Asked(began, time.monotonic(), error))
            # From now on rather than from when it was due: what was not asked in time is not asked in a burst.
            due = max(due + self._interval, time.monotonic() + self._interval / 4)
