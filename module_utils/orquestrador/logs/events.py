"""Error events in the bytes of a log: pure, incremental, bounded.

An *event* is one error with everything that belongs to it: its stack trace, the source excerpt that Node prints above
it, the dump of its fields, causes, blank lines. PM2 writes its timestamp once per write, so a line without one is not
necessarily a continuation; what a line looks like decides, and its timestamp only helps:

* blank lines, frames (``at …``), closing brackets, ``^``, ``[cause]:``, ``Caused by``, ``Node.js v20…`` continue;
* indented lines continue, unless their own timestamp is more than :data:`SAME_WRITE_S` away from the event's;
* lines at an explicit level below error (``[INFO]``, ``warn:``, JSON ``"level":30``, Node's own warnings) are no
  errors, nor is what continues them;
* ``file.js:12`` alone opens an event whose title is still to come;
* every other line is an error of its own: in a log of errors nothing is lost by guessing.

In a file that is no error log (``levels_only``: ``out.log``, ``health-monitor.log``) only explicit errors count.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import time
from collections.abc import Mapping
from typing import Any, Optional, Protocol

MAX_LINE = 8192
MAX_TITLE = 500
# One error can reach PM2 in several writes; they are this close together (our own figure, generous for a busy disk).
SAME_WRITE_S = 2.0
# A clock may be a little ahead of ours; anything later than this is a wrong clock or a missing zone.
FUTURE_S = 60.0
_MEMO = 1024

NONE, QUIET, HEADER, EVENT = "none", "quiet", "header", "event"

_DATE = rb"(?:19[7-9]\d|2\d{3})[-/](?:0[1-9]|1[0-2])[-/](?:0[1-9]|[12]\d|3[01])"
_CLOCK = rb"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_TAIL = rb"\]?(?: ?[-|] |:? ?)"
_ZONE = rb"Z|UTC|GMT|[+-]\d\d:?\d\d"
_TS = rb"\[?" + _DATE + rb"[T ]" + _CLOCK + rb"(?:[.,]\d{1,9})?(?: ?(?:" + _ZONE + rb"))?" + _TAIL
_TIMESTAMP = re.compile(
    rb"\[?(" + _DATE + rb")[T ](" + _CLOCK + rb")(?:[.,](\d{1,9}))?(?: ?(" + _ZONE + rb"))?" + _TAIL
)
# A timestamp at the start of any line: for finding one's place in a file.
LINE_TIMESTAMP = re.compile(rb"^\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d[^\n]{0,20}", re.M)
_TAGS = rb"(?:\[(?!(?i:err|fatal|crit|alert|emerg|sev|warn|info|debug|trace|notice))[^\]\n]{1,40}\] ?){0,2}"
_LOW = rb"(?:warn(?:ing)?|info|debug|trace|notice|verbose|silly|http)"
_QUIET = (
    rb"(?:[\[<(](?i:" + _LOW + rb")[\]>)]"
    rb"|(?:WARN(?:ING)?|INFO|DEBUG|TRACE|NOTICE|VERBOSE)(?=[\s:|-])"
    rb"|(?i:" + _LOW + rb"):(?=\s)"
    rb"|\(node:\d{1,9}\) (?:\[\w+\] )?(?!UnhandledPromise)\w*Warning:"
    rb"|npm (?i:warn)\b"
    rb'|\{"level":(?:[1234]0|"' + _LOW + rb'"),)'
)
# Runs of lines are taken at once: that is where the speed for logs without errors comes from. The count is bounded
# because the expression engine keeps a mark for every turn. Lines with and without a timestamp are runs of their own,
# so that a run's last line tells the time of the whole, wherever the bytes were split.
_DATED_RUN = re.compile(
    rb"(?:" + _TS + rb"(?:" + _TS + rb")?(?:" + _QUIET + rb"|" + _TAGS + _QUIET + rb")[^\n]*\n){1,400}"
)
_QUIET_RUN = re.compile(rb"(?:" + _TAGS + _QUIET + rb"[^\n]*\n){1,400}")
_INDENTED_RUN = re.compile(rb"(?:[ \t][^\n]*\n|\r?\n){1,400}")
_BLANK_RUN = re.compile(rb"(?:[ \t]*\r?\n){1,400}")
_QUIET_BODY = re.compile(_TAGS + _QUIET)
_LOUD_BODY = re.compile(
    _TAGS + rb"(?:[\[<(](?i:err(?:or)?|fatal|critical|crit|alert|emerg(?:ency)?|severe)[\]>)]"
    rb"|(?:ERROR|ERR|FATAL|CRITICAL|EMERG|SEVERE)(?=[\s:|-])|(?i:error|fatal|critical):|Uncaught |Unhandled"
    rb"|[A-Z]\w*(?:Error|Exception)(?: \[\w+\])?:)"
)
_CONTINUATION = re.compile(
    rb"(?:[ \t]+at\s+\S|at\s[^()]{1,200}\([^()]{1,400}:\d+\)(?: \{)?$|\s*(?:[\]})^~][\]})^~,;\s]*$"
    rb"|\[(?:cause|errors?)\]:|(?i:caused by)\b|Node\.js v\d|Require stack:|- /"
    rb"|Emitted '|\.\.\. \d+ (?:more|lines)|params: |Thrown at:|From previous event:|\(Use `node --))"
)
_DUMP = re.compile(rb"[{\[](?:\s*$| )")
_SOURCE = re.compile(rb"(?:node:[\w/.-]+|(?:file://)?[^\s:]{0,300}\.(?:[cm]?[jt]sx?|json|node)):\d+\s*$")
_FRAME_LINE = re.compile(rb"^[ \t]*at ([^\n]{1,400})", re.M)
_FRAME = re.compile(r"(?:async )?(?:(?P<name>.*?) )?\(?(?P<path>[^()\s]+?)(?::\d+){1,2}\)?(?: \{)?$")
ANSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_CONTROL = bytes(set(range(32)) - {9, 13, 27}) + b"\x7f"

_NORMAL: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"), "<t>"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.I), "<id>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"), "<ip>"),
    (re.compile(r"(?<![\w:])\[?(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{1,4}\]?(?::\d{1,5})?(?![\w:])", re.I), "<ip>"),
    (re.compile(r"\"[^\"]{0,300}\"|`[^`]{0,300}`|(?<!\w)'[^']{0,300}'(?!\w)"), "<s>"),
    (re.compile(r"(?<=[\w)\]]):\d+(?::\d+)?\b"), ""),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)[0-9a-f]{8,}\b", re.I), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
    (re.compile(r"\s+"), " "),
)


class Sink(Protocol):
    """Where events go."""

    def add(self, fingerprint: str, title: bytes, when: float) -> None:
        """One more event; ``when`` is epoch seconds, never later than now."""

    def refine(self, old: str, new: str, when: float) -> None:
        """An event of an earlier run, already counted as ``old``, turned out to be ``new``."""


def parse_timestamp(match: re.Match[bytes], days: dict[bytes, Optional[float]]) -> Optional[float]:
    """Epoch seconds of a :data:`_TIMESTAMP` match; zone-less ones are local time of the host.

    ``days`` caches the costly half of the conversion. ``None`` when it is no date.
    """
    date, clock, fraction, zone = match.groups()
    hour = int(clock[:2])
    key = date + clock[:2] if zone is None else date
    if key not in days:
        if len(days) >= _MEMO:
            days.clear()
        days[key] = _epoch(int(date[:4]), int(date[5:7]), int(date[8:]), None if zone else hour)
    base = days[key]
    if base is None:
        return None
    value = base + int(clock[3:5]) * 60 + int(clock[6:]) + (float(b"0." + fraction) if fraction else 0.0)
    if zone is not None:
        value += hour * 3600
        if zone[:1] in b"+-":
            shift = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
            value += shift if zone[:1] == b"-" else -shift
    return value


def _epoch(year: int, month: int, day: int, hour: Optional[int]) -> Optional[float]:
    """Epoch seconds of a day in UTC, or of an ``hour`` of it in local time: by the hour, because that is how daylight
    saving time moves. A day that the month doesn't have runs over into the next."""
    try:
        if hour is None:
            return (datetime.date(year, month, 1).toordinal() - 719163 + day - 1) * 86400.0
        return time.mktime((year, month, day, hour, 0, 0, 0, 0, -1))
    except (ValueError, OverflowError):
        return None


def line_time(line: bytes) -> Optional[float]:
    """When the line says it was written; ``None`` when it doesn't say."""
    match = _TIMESTAMP.match(line)
    return parse_timestamp(match, {}) if match else None


def normalise(title: str) -> str:
    """``title`` without what differs between two occurrences of the same error."""
    text = title[:MAX_TITLE]
    for pattern, replacement in _NORMAL:
        text = pattern.sub(replacement, text)
    return text.strip()


def app_frame(frame: str) -> Optional[str]:
    """``function (path)`` of a stack frame of the application itself; ``None`` for libraries and Node's own."""
    match = _FRAME.match(frame.strip())
    if match is None:
        return None
    path = match.group("path")
    if "node_modules" in path or path.startswith(("node:", "internal/", "<", "native", "eval")) or "/" not in path:
        return None
    return f"{match.group('name') or ''} ({path})"


def title_hash(title: bytes) -> str:
    """What identifies the first line of an event."""
    return hashlib.sha1(normalise(title.decode("utf-8", "replace")).encode(), usedforsecurity=False).hexdigest()


def fingerprint(title: str, frame: Optional[str]) -> str:
    """Twelve hex digits for a title hash and the first frame of the application, if there is one."""
    return hashlib.sha1(f"{title}|{frame or ''}".encode(), usedforsecurity=False).hexdigest()[:12]


def is_binary(body: bytes) -> bool:
    """Whether a line is not text: many control characters, or mostly no UTF-8 (Latin-1 prose passes)."""
    head = body[:512]
    if len(head) - len(head.translate(None, _CONTROL)) > len(head) * 0.05:
        return True
    return head.decode("utf-8", "replace").count("\ufffd") > len(head) * 0.3


def _record_level(record: dict[str, Any]) -> str:
    level = record.get("level", record.get("severity"))
    if isinstance(level, (int, float)) and not isinstance(level, bool):
        return QUIET if level < 50 else EVENT
    if isinstance(level, str):
        return QUIET if re.fullmatch(_LOW.decode(), level, re.I) else EVENT
    return QUIET if record.get("type") == "out" else NONE


def _record_time(record: dict[str, Any]) -> Optional[float]:
    for name in ("timestamp", "time"):
        value = record.get(name)
        if isinstance(value, str):
            return line_time(value.encode("utf-8", "replace"))
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 1e11 < value < 1e14:
            return value / 1000  # milliseconds, as pino writes them
    return None


def _record_text(record: dict[str, Any]) -> tuple[list[bytes], list[bytes]]:
    """Lines of the message, and the frames of its stack."""
    found = record.get("err")
    nested = found if isinstance(found, dict) else {}
    texts = [record.get("message"), record.get("msg"), nested.get("message")]
    text = next((item for item in texts if isinstance(item, str) and item.strip()), "")
    lines = [line.encode("utf-8", "replace") for line in text.strip().splitlines()[:400]]
    frames = [line for line in lines[1:] if line.lstrip()[:3] == b"at "]
    for trace in (record.get("stack"), nested.get("stack")):
        if isinstance(trace, str):
            rows = [line.encode("utf-8", "replace") for line in trace.splitlines()[1:200]]
            frames.extend(row for row in rows if row.lstrip()[:3] == b"at ")
    return lines, frames


class EventParser:
    """Turns complete lines into events, and can be stopped and resumed between any two lines.

    :param state: what :meth:`state` gave at the end of the bytes before these; ``None`` at a file's beginning.
    :param now: epoch seconds; events can't be later.
    :param undated: epoch seconds for an event before which no timestamp was seen.
    :param floor: events without a timestamp are no earlier (the time of the last run).
    :param levels_only: count explicit errors only.
    """

    def __init__(
        self,
        sink: Sink,
        state: Optional[Mapping[str, Any]] = None,
        *,
        now: float,
        undated: float,
        floor: float = 0.0,
        levels_only: bool = False,
    ) -> None:
        self._sink = sink
        self._now = now
        self._undated = undated
        self._floor = floor
        self._levels_only = levels_only
        self._days: dict[bytes, Optional[float]] = {}
        self._hashes: dict[bytes, str] = {}
        self._frames: dict[bytes, Optional[str]] = {}
        self.binary_lines = 0
        self._mode = NONE
        self._seen: Optional[float] = None  # the last timestamp, as written
        self._pending = b""  # a quiet line whose timestamp nobody needed yet
        self._title = b""
        self._hash = ""
        self._when = undated
        self._frame: Optional[str] = None
        self._final = False  # the fingerprint can't change any more
        self._counted: Optional[str] = None  # the fingerprint under which an earlier run counted the open event
        self._restore(state or {})

    def _restore(self, state: Mapping[str, Any]) -> None:
        mode, seen, title, counted = state.get("m"), state.get("t"), state.get("h"), state.get("f")
        if isinstance(seen, (int, float)) and not isinstance(seen, bool) and abs(seen) < 1e12:
            self._seen = float(seen)
        if mode in (EVENT, HEADER) and isinstance(title, str) and isinstance(counted, str):
            self._mode, self._hash, self._counted = str(mode), title[:40], counted[:12]
            self._final = state.get("d") is True
            self._when = self._time(None)
        elif mode == QUIET:
            self._mode = QUIET

    def state(self) -> dict[str, Any]:
        """Where the parser stands, as JSON; the open event, if any, has been given to the sink."""
        self._settle()
        state: dict[str, Any] = {"m": self._mode, "t": self._last_seen()}
        if self._mode in (EVENT, HEADER):
            state.update(h=self._hash, f=self._counted, d=self._final)
        return state

    @property
    def last_timestamp(self) -> Optional[float]:
        """The last timestamp seen, clamped to now."""
        seen = self._last_seen()
        return None if seen is None else min(seen, self._now)

    def feed(self, data: bytes) -> None:
        """Parse complete lines: ``data`` ends with a newline."""
        if b"\x00" in data:  # holes, as a truncated file under a writer without O_APPEND has them
            data = data.translate(None, b"\x00")
        if b"\x1b" in data:
            data = ANSI.sub(b"", data)
        pos, end = 0, len(data)
        while pos < end:
            run = _DATED_RUN.match(data, pos)
            if run is not None:
                last = max(pos, data.rfind(b"\n", pos, run.end() - 1) + 1)
                self._quiet(data[last : last + 64])
                pos = run.end()
                continue
            run = _QUIET_RUN.match(data, pos)
            if run is not None:
                self._quiet(b"")
                pos = run.end()
                continue
            run = (_BLANK_RUN if self._mode == NONE else _INDENTED_RUN).match(data, pos)
            if run is not None:
                if self._mode == EVENT and not self._final:
                    self._find_frame(data, pos, run.end())
                pos = run.end()
                continue
            newline = data.find(b"\n", pos)
            newline = end if newline < 0 else newline
            self._line(data[pos : min(newline, pos + MAX_LINE)].rstrip(b"\r"))
            pos = newline + 1

    def _line(self, line: bytes) -> None:
        stamp: Optional[float] = None
        body = line
        match = _TIMESTAMP.match(line)
        if match is not None:
            stamp = parse_timestamp(match, self._days)
            if stamp is not None:
                body = line[match.end() :]
                second = _TIMESTAMP.match(body)  # PM2's and then the application's own
                if second is not None:
                    body = body[second.end() :]
        self._body(stamp, body)

    def _body(self, stamp: Optional[float], body: bytes) -> None:
        text = body.lstrip()
        if not text or self._continues(stamp, body, text):
            return
        if text[:2] == b'{"' and self._record(stamp, text):
            return
        if is_binary(text):
            self.binary_lines += 1
        elif _QUIET_BODY.match(text) or (self._levels_only and not _LOUD_BODY.match(text)):
            self._see(stamp)
            self._quiet(b"")
        elif _SOURCE.match(text):
            self._begin(stamp, text, HEADER)
        elif self._mode == HEADER and self._same_write(stamp):
            self._see(stamp)
            self._mode, self._title, self._hash = EVENT, text, self._hash_of(text)
        else:
            self._begin(stamp, text, EVENT)

    def _continues(self, stamp: Optional[float], body: bytes, text: bytes) -> bool:
        """Whether the line belongs to what is open; the rest of a trace whose beginning is gone belongs to nothing."""
        if _CONTINUATION.match(body) and (self._mode != NONE or text[:3] == b"at " or text[:1] in b"]})^~"):
            if self._mode == EVENT and not self._final:
                self._find_frame(body, 0, len(body))
            return True
        if self._mode == NONE:
            return False
        if body[:1] in (b" ", b"\t"):
            return self._same_write(stamp) and not _QUIET_BODY.match(text)
        return stamp is None and _DUMP.match(body) is not None

    def _record(self, stamp: Optional[float], text: bytes) -> bool:
        """A line that is a JSON record: PM2's ``log_type: json``, pino, winston. False when it is none."""
        try:
            record = json.loads(text)
        except (ValueError, RecursionError):
            return False
        if not isinstance(record, dict):
            return False
        stamp = _record_time(record) if stamp is None else stamp
        level = _record_level(record)
        lines, frames = _record_text(record)
        if level == QUIET:
            self._see(stamp)
            self._quiet(b"")
            return True
        if not lines:
            return False
        if level == EVENT or lines[0][:2] == b'{"':
            self._begin(stamp, lines[0], EVENT)
        else:
            self._body(stamp, lines[0])
        # PM2's record is one write, so what is in it is parsed as a write is; others hold one event each.
        for line in lines[1:] if "type" in record else frames:
            if line[:2] != b'{"':
                self._body(None, line)
        return True

    def _begin(self, stamp: Optional[float], title: bytes, mode: str) -> None:
        self._settle()
        self._see(stamp)
        self._mode, self._title, self._hash = mode, title, self._hash_of(title)
        self._frame, self._final, self._counted = None, False, None
        self._when = self._time(stamp)

    def _quiet(self, line: bytes) -> None:
        self._settle()
        self._mode = QUIET
        if line:
            self._pending = line

    def _settle(self) -> None:
        """Give the open event to the sink; it stays open, so that what continues it can still refine it."""
        if self._mode not in (EVENT, HEADER):
            return
        resumed_final = self._final and self._frame is None
        found = self._counted if resumed_final else fingerprint(self._hash, self._frame)
        if self._counted is None:
            self._sink.add(str(found), self._title, self._when)
        elif found != self._counted:
            self._sink.refine(self._counted, str(found), self._when)
        self._counted = found

    def _find_frame(self, data: bytes, start: int, end: int) -> None:
        for match in _FRAME_LINE.finditer(data, start, end):
            raw = match.group(1)
            if raw not in self._frames:
                if len(self._frames) >= _MEMO:
                    self._frames.clear()
                self._frames[raw] = app_frame(raw.decode("utf-8", "replace"))
            frame = self._frames[raw]
            if frame is not None:
                self._frame, self._final = frame, True
                return

    def _hash_of(self, title: bytes) -> str:
        title = title[: MAX_TITLE * 4]
        found = self._hashes.get(title)
        if found is None:
            if len(self._hashes) >= _MEMO:
                self._hashes.clear()
            found = self._hashes[title] = title_hash(title)
        return found

    def _see(self, stamp: Optional[float]) -> None:
        if stamp is not None:
            self._seen, self._pending = stamp, b""

    def _last_seen(self) -> Optional[float]:
        if self._pending:
            match = _TIMESTAMP.match(self._pending)
            stamp = parse_timestamp(match, self._days) if match else None
            self._seen = self._seen if stamp is None else stamp
            self._pending = b""
        return self._seen

    def _same_write(self, stamp: Optional[float]) -> bool:
        if stamp is None:
            return True
        seen = self._last_seen()
        return seen is not None and abs(stamp - seen) <= SAME_WRITE_S

    def _time(self, stamp: Optional[float]) -> float:
        if stamp is None:
            seen = self._last_seen()
            stamp = None if seen is None else max(seen, self._floor)
        if stamp is None or stamp > self._now + FUTURE_S:
            return self._undated
        return min(stamp, self._now)
