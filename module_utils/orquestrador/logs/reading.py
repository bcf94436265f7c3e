"""Read an open log on: complete lines in pieces, within a share of bytes and a time, and where to begin.

A last line without a newline is left for the next run, because its writer may not be done; it is counted when it did
not change from one run to the next, or when nothing was written to the file for :data:`PARTIAL_AGE_S`. If it goes on
after all, what follows belongs to the line that was counted.
"""

from __future__ import annotations

import itertools
import os
import time
from typing import Any, NamedTuple, Optional, Protocol

from .events import LINE_TIMESTAMP, MAX_LINE, line_time

CHUNK = 1 << 20
PARTIAL_AGE_S = 10.0


class Parser(Protocol):
    """What counts lines, and can be stopped and resumed between any two."""

    binary_lines: int

    def feed(self, data: bytes) -> None:
        """Count complete lines: ``data`` ends with a newline."""

    def state(self) -> dict[str, Any]:
        """Where it stands, as JSON."""

    @property
    def last_timestamp(self) -> Optional[float]:
        """The last time seen, epoch seconds, not later than now."""


class Held:
    """Whether an unfinished last line is finished after all."""

    def __init__(self, remembered: Optional[list[int]], info: os.stat_result, now: float) -> None:
        self._remembered = remembered
        self._idle = now - info.st_mtime > PARTIAL_AGE_S

    def settled(self, offset: int, length: int) -> bool:
        return self._idle or self._remembered == [offset, length]


class Reached(NamedTuple):
    """How far a file was read: the offset of the next line, and whether all there is was read."""

    offset: int
    skip: bool  # the rest of a line that was counted already comes first
    part: Optional[list[int]]  # the unfinished last line, ``[offset, length]``
    read: int
    complete: bool = True


def feed_lines(
    fd: int, size: int, offset: int, skip: bool, share: int, parser: Parser, held: Held, stop_at: float
) -> Reached:
    """Feed complete lines up to ``size``, ``share`` bytes at most, until ``stop_at`` of the monotonic clock."""
    read = 0
    while offset < size:
        too_much = read > 0 and read + min(CHUNK, size - offset) > share
        if too_much or time.monotonic() >= stop_at:
            return Reached(offset, skip, None, read, complete=False)
        data = os.pread(fd, min(CHUNK, size - offset), offset)
        if not data:
            break  # truncated while being read: the next run begins again
        if skip:
            cut = data.find(b"\n") + 1
            used, skip = cut or len(data), not cut
        elif last := data.rfind(b"\n") + 1:
            parser.feed(data[:last])
            used = last
        elif len(data) == CHUNK or held.settled(offset, len(data)):
            # One line longer than a chunk, or one that will not be finished: its beginning says what it is.
            parser.feed(data[:MAX_LINE].replace(b"\n", b"") + b"\n")
            used, skip = len(data), True
        else:
            return Reached(offset, skip, [offset, len(data)], read)
        offset, read = offset + used, read + used
    return Reached(offset, skip, None, read)


def find_time(fd: int, size: int, target: float) -> Optional[int]:
    """The start of a line after which every timestamp is at or after ``target``; ``None`` without timestamps.

    Good for files whose times rise; where they don't, the parser looks at each event's own time anyway.
    """
    low, high = 0, size
    seen = False
    for _ in range(64):
        if high - low <= 65536:
            break
        middle = (low + high) // 2
        data = os.pread(fd, 65536, middle)
        newline = data.find(b"\n") + 1
        found = None
        if newline:
            for match in itertools.islice(LINE_TIMESTAMP.finditer(data, newline), 8):
                when = line_time(match.group(0))
                if when is not None:
                    found = (middle + match.start(), when)
                    break
        if found is None:
            high = middle  # no time to be seen here: look earlier, which reads more rather than less
            continue
        seen = True
        if found[1] < target and found[0] < high:
            low = found[0]
        else:
            high = middle
    return low if seen else None


# --- memory ----------------------------------------------------------------------------------------------------------
