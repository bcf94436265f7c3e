"""Error events while they are counted: by day, since the last run, and by fingerprint."""

from __future__ import annotations

from typing import Any, Optional

from ..core import redact
from ..core.jsonable import iso

BUCKET_S = 300  # granularity of the count of a day, seconds
MAX_KNOWN = 500
MAX_PRINTS = 2000
MAX_SAMPLE = 300
SHOWN_PRINTS = 20


class Tally:
    """Counts; the sink of the parsers."""

    def __init__(self, memory: dict[str, Any], now: float, day_s: int) -> None:
        self.now, self.day_s = now, day_s
        self.errors = 0
        self.undated = 0
        self.since: Optional[float] = None  # events before it are not "since the last run"
        self.ignore_before: Optional[float] = None  # seen in an earlier life of the file
        self.days: dict[int, int] = memory["day"]
        self.known: dict[str, list[float]] = memory["known"]
        self._before = frozenset(self.known)
        self.prints: dict[str, dict[str, Any]] = {}

    def add(self, fingerprint: str, title: bytes, when: float) -> None:
        if self.ignore_before is not None and when < self.ignore_before:
            return
        self._see(fingerprint, when)
        if when >= self.now - self.day_s:
            bucket = int(when // BUCKET_S)
            self.days[bucket] = self.days.get(bucket, 0) + 1
        if self.since is not None and when < self.since:
            return
        self.errors += 1
        shown = self.prints.get(fingerprint)
        if shown is not None:
            shown["count"] += 1
            shown["first"], shown["last"] = min(shown["first"], when), max(shown["last"], when)
        elif len(self.prints) < MAX_PRINTS:
            self.prints[fingerprint] = {"title": title[:2000], "count": 1, "first": when, "last": when}
        if len(self.known) > 4 * MAX_KNOWN:
            self.forget()

    def _see(self, fingerprint: str, when: float) -> None:
        entry = self.known.setdefault(fingerprint, [when, 0])
        entry[0] = max(entry[0], when)
        entry[1] += 1

    def refine(self, old: str, new: str, when: float) -> None:
        entry = self.known.get(old)
        if entry is not None:
            entry[1] -= 1
            if entry[1] <= 0:
                del self.known[old]
        self._see(new, when)
        shown = self.prints.pop(old, None)
        if shown is not None and new not in self.prints and shown["count"] == 1:
            self.prints[new] = shown

    def forget(self) -> None:
        if len(self.known) > MAX_KNOWN:
            keep = sorted(self.known.items(), key=lambda item: (-item[1][0], item[0]))[:MAX_KNOWN]
            self.known.clear()
            self.known.update(keep)

    def errors_day(self) -> int:
        return sum(n for bucket, n in self.days.items() if (bucket + 1) * BUCKET_S > self.now - self.day_s)

    def fingerprints(self) -> list[dict[str, Any]]:
        order = sorted(self.prints.items(), key=lambda item: (-item[1]["count"], -item[1]["last"], item[0]))
        return [
            {
                "fingerprint": fingerprint,
                "sample": redact.scrub_text(shown["title"].decode("utf-8", "replace"))[:MAX_SAMPLE],
                "count": shown["count"],
                "first_at": iso(shown["first"]),
                "last_at": iso(shown["last"]),
                "new": fingerprint not in self._before,
            }
            for fingerprint, shown in order[:SHOWN_PRINTS]
        ]

    def new_prints(self) -> int:
        return sum(1 for fingerprint in self.prints if fingerprint not in self._before)


# --- memory ----------------------------------------------------------------------------------------------------------
