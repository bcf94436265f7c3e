"""Requests and failed requests per hour in the bytes of a log: pure, incremental, bounded in memory.

A line's time is what the pattern's ``at`` says, else the time that the line begins with (as PM2 writes it, once per
write), else that of the line before, because a writer's lines follow one another.

A long stretch is read by two processes in stripes. What is found in one before its first time belongs to where the one
before ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Optional

from ..system.command import fork
from .events import ANSI, FUTURE_S, MAX_LINE
from .rate_patterns import Pattern, when

HOUR_S = 3600
BLOCK = 256 * 1024  # fits the processor's cache, where scanning is fastest
STRIPE = 16 * 1024 * 1024
MAX_STRIPES = 64
RETRY_BLOCKS = 16  # for so many blocks lines are looked at one by one after one that was of another format
_MEMO = 4096
_LEAD = re.compile(rb"\[?(\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?)")
REQUESTS = 0  # the first of an hour's counts


class Hours:
    """What was counted: per hour (epoch seconds of its start) requests, failed ones, those with a latency and those
    of them that were fast; over all of it lines, those that are no request (or empty), requests without a time."""

    def __init__(self, fast_ms: float = 200.0) -> None:
        self.fast_ms = fast_ms
        self.hours: dict[int, list[int]] = {}
        self.lines = self.unmatched = self.undated = 0
        self.ignore_before: Optional[float] = None  # seen in an earlier life of the file
        self.first_seen: Optional[float] = None  # the first time in a file, set anew for each

    def add(self, moment: float, counts: Iterable[int]) -> None:
        """Add ``[requests, failed, timed, fast]`` at a moment."""
        hour = int(moment // HOUR_S) * HOUR_S
        entry = self.hours.setdefault(hour, [0, 0, 0, 0])
        for index, count in enumerate(counts):
            entry[index] += count

    def merge(self, told: Mapping[str, Any]) -> None:
        """Add what another process counted."""
        for hour, counts in told["hours"].items():
            self.add(int(hour), counts)
        self.lines += told["lines"]
        self.unmatched += told["unmatched"]
        self.undated += told["undated"]


class RateParser:
    """Counts complete lines, and can be stopped and resumed between any two.

    :param state: what :meth:`state` gave at the end of the bytes before these; ``None`` at a file's beginning.
    :param now: epoch seconds; requests can't be later.
    :param undated: epoch seconds for a request before which no time was seen.
    :param floor: requests without a time of their own are no earlier.
    """

    binary_lines = 0  # lines of another format are told as such, whatever they are

    def __init__(
        self,
        sink: Hours,
        pattern: Pattern,
        state: Optional[Mapping[str, Any]] = None,
        *,
        now: float,
        undated: float,
        floor: float = 0.0,
    ) -> None:
        self.sink, self.pattern = sink, pattern
        self._now, self._undated, self._floor, self._waiting = now, undated, floor, False
        self._has_at = "at" in pattern.line.groupindex
        self._has_latency = "latency_ms" in pattern.line.groupindex
        self._times: dict[bytes, Optional[float]] = {}
        self._all = pattern.blocks.all() if pattern.blocks is not None else None
        self._hour: Optional[tuple[bytes, bytes]] = None
        self._of_hour: Optional[re.Pattern[bytes]] = None
        self._hour_at = 0.0
        self._by_line = 0  # blocks for which the quick ways are not tried
        self.early = [0, 0, 0, 0]
        seen = (state or {}).get("t")
        usable = isinstance(seen, (int, float)) and not isinstance(seen, bool) and abs(seen) < 1e12
        self.seen: Optional[float] = float(seen) if usable and seen is not None else None

    def state(self) -> dict[str, Any]:
        """Where the parser stands, as JSON."""
        return {"t": self.seen}

    @property
    def last_timestamp(self) -> Optional[float]:
        """The last time seen, clamped to now."""
        return None if self.seen is None else min(self.seen, self._now)

    def feed(self, data: bytes) -> None:
        """Count complete lines: ``data`` ends with a newline."""
        self.feed_after(b"\n" + data)

    def feed_after(self, data: bytes) -> None:
        """Count complete lines after the newline that ``data`` begins with."""
        if b"\x00" in data:  # holes, as a truncated file under a writer without O_APPEND has them
            data = data.translate(None, b"\x00")
        if b"\x1b" in data:
            data = ANSI.sub(b"", data)
        start, end = 1, len(data)
        while start < end:
            stop = end if end - start <= BLOCK else data.rfind(b"\n", start, start + BLOCK) + 1
            if stop <= start:  # one line longer than a block
                stop = data.find(b"\n", start) + 1 or end
            self._block(data, start, stop)
            start = stop

    def _block(self, data: bytes, start: int, stop: int) -> None:
        """Count the lines of ``data`` from ``start`` to ``stop``; a newline is before each and after the last."""
        if self._all is not None and not self._by_line:
            # Each match takes a newline at least, so as many as there are newlines is one for each line.
            lines = data.count(b"\n", start - 1, stop - 1)
            if self._of_hour is not None:
                digits = self._of_hour.findall(data, start - 1, stop - 1)
                if len(digits) == lines:
                    self.sink.lines += lines
                    self._add(self._hour_at, [lines, digits.count(b"5"), 0, 0])
                    last = self._all.match(data, data.rfind(b"\n", 0, stop - 1), stop - 1)
                    self.seen = self._hour_at if last is None else self._time(last[1])
                    return
                self._of_hour = None
            rows = self._all.findall(data, start - 1, stop - 1)
            if len(rows) == lines:
                self._rows(rows)
                self._expect(rows[0][0], rows[-1][0])
                return
            self._by_line = RETRY_BLOCKS
        elif self._by_line:
            self._by_line -= 1
        if self.pattern.each is not None:
            rows = self.pattern.each.findall(data, start, stop)
            if all(self._time(text) is not None for text in {text for text, _ in rows}):
                others = data.count(b"\n", start, stop) - len(rows)
                self.sink.lines += others
                self.sink.unmatched += others
                self._rows(rows)
                return
        self._lines(data[start:stop])

    # --- many lines at once ------------------------------------------------------------------------------------------

    def _rows(self, rows: list[tuple[bytes, bytes]]) -> None:
        """Count lines by time and status, in their order. The status of a line that is no request is empty; a request
        with a latency has ``+`` or ``-`` behind its status, for fast or not."""
        self.sink.lines += len(rows)
        counted = Counter(rows)
        times = {text: self._time(text) for text, _ in counted}
        if None not in times.values():
            for (text, status), count in counted.items():
                self._counted(times[text], status, count)
            if rows:
                self._note(times[rows[0][0]])
                self.seen = times[rows[-1][0]]
            return
        # A line without a time belongs to where the one before is; None: to nowhere yet.
        seen = self.seen
        placed: dict[tuple[Optional[float], bool, bytes], int] = {}
        for text, status in rows:
            own = times[text]
            if own is not None:
                seen = own
                self._note(own)
            key = (seen, own is None, status)
            placed[key] = placed.get(key, 0) + 1
        for (moment, carried, status), count in placed.items():
            self._counted(max(moment, self._floor) if carried and moment is not None else moment, status, count)
        self.seen = seen

    def _counted(self, moment: Optional[float], status: bytes, count: int) -> None:
        if not status:
            self.sink.unmatched += count
            return
        speed = status[3:]
        counts = [count, count if status[:1] == b"5" else 0, count if speed else 0, count if speed == b"+" else 0]
        if moment is None and self._waiting:
            for index, number in enumerate(counts):
                self.early[index] += number
        else:
            self._add(moment, counts)

    def _expect(self, first: bytes, last: bytes) -> None:
        """Have the next blocks looked at for one hour only, when whole blocks are of one, which is quicker."""
        blocks, at = self.pattern.blocks, self._time(last)
        if blocks is None or at is None or blocks.hour_of(first) != blocks.hour_of(last):
            return
        hour, before = blocks.hour_of(last), self._hour
        self._hour = hour
        begin, end = (self._time(hour[0] + text + hour[1]) for text in (b"00:00", b"59:59"))
        if hour != before or begin is None or end is None or begin // HOUR_S != end // HOUR_S or end > self._now:
            return
        if self.sink.ignore_before is None or self.sink.ignore_before <= begin:
            self._of_hour, self._hour_at = blocks.of_hour(last), begin

    # --- one by one --------------------------------------------------------------------------------------------------

    def _lines(self, data: bytes) -> None:
        search, apart = self.pattern.line.search, self.pattern.time
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        rows = []
        for whole in lines:
            line = whole if len(whole) <= MAX_LINE else whole[:MAX_LINE]
            if line[-1:] == b"\r":
                line = line[:-1]
            match = search(line)
            status = match["status"] if match is not None else None
            if match is None or status is None or not _is_status(status):
                rows.append((self._lead(line), b""))
                continue
            text = match["at"] if self._has_at else None
            if not text or self._time(text) is None:
                text = self._lead(line)
                if apart is not None and not text:
                    found = apart.search(line)
                    text = found[1] if found is not None else b""
            rows.append((text, status + self._speed(match["latency_ms"]) if self._has_latency else status))
        self._rows(rows)

    def _speed(self, latency: Optional[bytes]) -> bytes:
        try:
            return b"+" if float(latency or b"") < self.sink.fast_ms else b"-"
        except ValueError:
            return b""

    def _add(self, moment: Optional[float], counts: list[int]) -> None:
        if moment is None or moment > self._now + FUTURE_S:
            self.sink.undated += counts[REQUESTS]
            moment = self._undated
        elif self.sink.ignore_before is not None and moment < self.sink.ignore_before:
            return
        self.sink.add(min(moment, self._now), counts)

    def _note(self, moment: Optional[float]) -> None:
        if self.sink.first_seen is None:
            self.sink.first_seen = moment

    def _time(self, text: bytes) -> Optional[float]:
        if text not in self._times:
            if len(self._times) >= _MEMO:
                self._times.clear()
            self._times[text] = when(text) if text else None
        return self._times[text]

    def _lead(self, line: bytes) -> bytes:
        """The time that a line begins with; empty when it does not."""
        found = _LEAD.match(line)
        return found[1] if found is not None else b""

    def waiting(self, sink: Hours) -> RateParser:
        """A parser like this one for another sink and a place farther on, that keeps apart what has no time yet."""
        limits = {"now": self._now, "undated": self._undated, "floor": self._floor}
        other = RateParser(sink, self.pattern, None, **limits)
        other._waiting, other._times = True, self._times
        other._hour, other._of_hour, other._hour_at = self._hour, self._of_hour, self._hour_at
        return other

    def take(self, told: Mapping[str, Any]) -> None:
        """Add what another parser found next."""
        if any(told["early"]):
            self._add(None if self.seen is None else max(self.seen, self._floor), told["early"])
        self.sink.merge(told)
        self._note(told["first_seen"])
        self.seen = self.seen if told["seen"] is None else told["seen"]


def _is_status(text: bytes) -> bool:
    return len(text) == 3 and text.isdigit() and b"100" <= text < b"600"


def by_two(descriptor: int, start: int, end: int, parser: RateParser, stop_at: float) -> int:
    """Count the lines of a file from ``start`` (the beginning of a line) up to the last that ends before ``end``.

    Two processes take stripes of it, each the next one when it is done with its own, so that one on a busy processor
    holds up nothing.

    :param stop_at: of the monotonic clock; no stripe is begun after it.
    :returns: how far it came; everything before is counted, nothing behind.
    """
    borders = _borders(descriptor, start, end)
    take, give = os.pipe()
    os.write(give, bytes(range(len(borders) - 1)))
    os.close(give)
    receive, send = os.pipe()
    pid = fork()
    if pid == 0:
        _helper(descriptor, borders, take, parser, stop_at, send)
    os.close(send)
    try:
        done = _stripes(descriptor, borders, take, parser, stop_at)
        with os.fdopen(receive, "rb") as file:
            said = file.read()
    finally:
        os.close(take)
        os.waitpid(pid, 0)
    with contextlib.suppress(ValueError):  # it was killed: what it took is read again
        done.update((int(number), told) for number, told in json.loads(said).items())
    for number in range(len(borders) - 1):
        if number not in done:
            return borders[number]
        parser.take(done[number])
    return borders[-1]


def _stripes(
    descriptor: int, borders: list[int], take: int, parser: RateParser, stop_at: float
) -> dict[int, dict[str, Any]]:
    """What stripes hold, by number, as many as there is time for."""
    done: dict[int, dict[str, Any]] = {}
    mine = parser
    while time.monotonic() < stop_at:
        taken = os.read(take, 1)
        if not taken:
            break
        number = taken[0]
        sink = Hours(parser.sink.fast_ms)
        sink.ignore_before = parser.sink.ignore_before
        mine = mine.waiting(sink)
        if read(descriptor, borders[number], borders[number + 1], mine):
            counted = {name: getattr(sink, name) for name in ("hours", "lines", "unmatched", "undated", "first_seen")}
            done[number] = {**counted, "early": mine.early, "seen": mine.seen}
    return done


def _helper(descriptor: int, borders: list[int], take: int, parser: RateParser, stop_at: float, send: int) -> None:
    try:
        done = _stripes(descriptor, borders, take, parser, stop_at)
        with os.fdopen(send, "w", encoding="ascii") as file:
            json.dump(done, file)
    finally:
        os._exit(0)


def _borders(descriptor: int, start: int, end: int) -> list[int]:
    """Beginnings of lines about :data:`STRIPE` apart, and the end of the last whole line if it can be found."""
    found = [start]
    for offset in range(start + STRIPE, end, STRIPE)[: MAX_STRIPES - 1]:
        newline = os.pread(descriptor, max(0, min(BLOCK, end - offset)), offset).find(b"\n") + 1
        if newline and offset + newline > found[-1]:
            found.append(offset + newline)
    begin = max(found[-1], min(end, found[-1] + 2 * STRIPE) - BLOCK)
    last = os.pread(descriptor, max(0, min(end, found[-1] + 2 * STRIPE) - begin), begin).rfind(b"\n") + 1
    if last and begin + last > found[-1]:
        found.append(begin + last)
    return found


def read(descriptor: int, start: int, end: int, parser: RateParser) -> bool:
    """Feed whole lines between two beginnings of lines; false when a line is too long or the file too short."""
    while start < end:
        if start:  # with the newline before
            data = os.pread(descriptor, min(BLOCK, end - start + 1), start - 1)
        else:
            data = b"\n" + os.pread(descriptor, min(BLOCK - 1, end), 0)
        used = data.rfind(b"\n")
        if used < 1:
            return False
        parser.feed_after(data[: used + 1])
        start += used
    return True
