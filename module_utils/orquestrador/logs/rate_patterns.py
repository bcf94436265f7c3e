"""What a request looks like in a log: presets, and an operator's own regular expression.

A pattern is searched in each line by itself. Its group ``status`` is the status of the answer, ``at`` (optional) the
time of the request, ``latency_ms`` (optional) how long the answer took. Presets know a second way, for speed: many
lines at once, with expressions that could run over the end of a line where it is none of this format. That they did not
is proven by counting: as many matches as there are newlines, each of which takes one at least.
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from typing import NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from .events import line_time

MAX_PATTERN = 2000
_STATUS = rb"[1-5]\d\d"
# A quote in a request is written with a backslash before it.
_REQUEST = rb'"[^"\n]*(?:(?<=\\)"[^"\n]*)*(?<!\\)"'
_MONTHS = {b"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * n : 3 * n + 3]: n + 1 for n in range(12)}
_CLF = re.compile(rb"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")


class PatternError(OperatorError, ValueError):
    """A pattern that can't be used; carries the message for the operator."""


class Blocks(NamedTuple):
    """The second way: ``head``, a time, ``between``, a status and ``tail`` make an expression for a line and the
    newline before it. ``minutes`` is where minutes and seconds begin in the time, of the form ``MM:SS``."""

    head: bytes
    time: bytes
    between: bytes
    tail: bytes
    minutes: int

    def all(self) -> re.Pattern[bytes]:
        """Gives ``(time, status)`` of each line, the time empty where the line has none."""
        return re.compile(self.head + b"(" + self.time + b")" + self.between + b"(" + _STATUS + b")" + self.tail)

    def hour_of(self, time: bytes) -> tuple[bytes, bytes]:
        """What a time has in common with those of the same hour."""
        return time[: self.minutes], time[self.minutes + 5 :]

    def of_hour(self, time: bytes) -> re.Pattern[bytes]:
        """Gives the first digit of the status of each line of one hour."""
        before, after = map(re.escape, self.hour_of(time))
        return re.compile(self.head + before + b".{5}" + after + self.between + rb"([1-5])\d\d" + self.tail)


class Pattern(NamedTuple):
    """``line`` is searched in one line, ``time`` as well where the time stands apart; ``blocks`` for many lines at
    once, where there is such a way; ``each`` gives ``(time, status)`` of those of many lines that are requests, where
    no line without a time matters."""

    name: str
    line: re.Pattern[bytes]
    time: Optional[re.Pattern[bytes]] = None
    blocks: Optional[Blocks] = None
    each: Optional[re.Pattern[bytes]] = None


PRESETS = {
    # remote - user [22/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 12, and whatever follows
    "combined": Pattern(
        "combined",
        re.compile(rb"\[(?P<at>[^\]\n]{26})\] " + _REQUEST + rb" (?P<status>" + _STATUS + rb") "),
        # Bounded, so that text without brackets costs no more than its length times the bound.
        blocks=Blocks(rb"\n[^\[]{0,200}\[", rb".{26}", rb'\] "[^"]{0,8000}(?<!\\)" ', b" ", 15),
        each=re.compile(rb"\[([^\]\n]{26})\] " + _REQUEST + rb" (" + _STATUS + rb") [^\n]*"),
    ),
    # GET / 200 12 - 3.456 ms
    "morgan-tiny": Pattern(
        "morgan-tiny",
        re.compile(rb"(?:^|(?<=: ))[A-Z]{3,10} [^ \n]+ (?P<status>" + _STATUS + rb") (?:\d+|-) - \d+\.\d+ ms$"),
        blocks=Blocks(
            rb"\n",
            rb"(?:\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?: ?[^ \n]{1,6})?: )?",
            rb"[A-Z]{3,10} [^ ]{1,8000} ",
            rb" (?:\d+|-) - \d+\.\d+ ms(?![^\n])",
            14,
        ),
    ),
    # pino-http, bunyan, winston, nginx with escape=json: {"time":…,"res":{"statusCode":200},…}
    "json": Pattern(
        "json",
        re.compile(
            rb'"status(?:Code|_code)?" ?: ?"?(?P<status>' + _STATUS + rb')"?[ ,}]'
            rb'(?:.*"(?:responseTime|response_time_ms|latency_ms)" ?: ?"?(?P<latency_ms>\d+(?:\.\d+)?))?'
        ),
        time=re.compile(rb'"(?:time|timestamp|@timestamp|time_local|time_iso8601)" ?: ?"?([^",}\n]{1,40})'),
    ),
}


def compiled(text: str) -> Pattern:
    """The preset of that name, or the regular expression.

    Raises:
        PatternError: it does not compile, or has no group ``status``.
    """
    if text in PRESETS:
        return PRESETS[text]
    presets = ", ".join(PRESETS)
    if len(text) > MAX_PATTERN:
        raise PatternError(
            msg(
                "logs_access_pattern has {count} characters: give one of at most {limit}",
                count=len(text),
                limit=MAX_PATTERN,
            )
        )
    try:
        pattern = re.compile(text.encode())
    except (re.error, ValueError, OverflowError, RecursionError, MemoryError) as error:
        raise PatternError(
            msg(
                "logs_access_pattern {pattern} is no regular expression ({reason}): correct it, or give one of"
                " {presets}",
                pattern=text[:200],
                reason=str(error) or type(error).__name__,
                presets=presets,
            )
        ) from None
    if "status" not in pattern.groupindex:
        raise PatternError(
            msg(
                "logs_access_pattern {pattern} has no group (?P<status>...): add it, or give one of {presets}",
                pattern=text[:200],
                presets=presets,
            )
        )
    return Pattern("pattern", pattern)


def when(text: bytes) -> Optional[float]:
    """Epoch seconds of a time as logs write it: ISO 8601, that of access logs, seconds or milliseconds since 1970.

    Without a zone it is local time of the host. ``None`` when it is none of these.
    """
    match = _CLF.match(text)
    if match is not None:
        day, month, year, hour, minute, second, sign, ahead_h, ahead_m = match.groups()
        try:
            local = datetime(int(year), _MONTHS.get(month, 0), int(day), int(hour), int(minute), min(int(second), 59))
        except ValueError:
            return None
        shift = int(ahead_h) * 3600 + int(ahead_m) * 60
        return float(timegm(local.timetuple()) + (shift if sign == b"-" else -shift))
    if len(text) <= 20 and text.replace(b".", b"", 1).isdigit():
        number = float(text)
        # A time of these years in milliseconds has thirteen digits, in seconds ten.
        return number / 1000 if number >= 1e11 else number
    return line_time(text)
