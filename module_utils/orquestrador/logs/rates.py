"""Requests and errors per hour from the logs of an application: what an error rate is made of.

Requests and failed ones (5xx) come from the logs that a pattern finds requests in, error events from the error logs as
the probe counts them (one stack trace is one error). A request that fails mostly leaves both, so they are not added up:
the errors of an hour are the more numerous of the two.

Files are followed as the probe follows them (:mod:`.errors`): by inode and head, over rotation, truncation and lines
that are written in pieces. Hours of which something is missing are not given at all, because a count that is too low
looks like a good rate; they come with the next call, once they were read.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import pwd
import shutil
import tarfile
import tempfile
import time
import zlib
from typing import Any, Callable, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import finding, msg
from ..core.types import Finding, LogState, Message
from ..system.identity import Owner
from ..system.isolate import apart
from . import baseline, tarball
from .errors import Collection, collect, expanded
from .period import copy_bounded, unpack, unread
from .rate_patterns import Pattern, PatternError, compiled, when
from .rate_scan import HOUR_S, REQUESTS, Hours, RateParser, by_two
from .reading import Parser
from .rotation import KEPT, parse, rotated_name

VERSION = 1
ALONE = 32 * 1024 * 1024  # less is read as quickly by one
GRACE_S = 5.0  # a piece of a log takes milliseconds; a pattern that takes longer than this for one is no good
MAX_HOURS = 366 * 24

_TEXTS = {
    "missing": msg("Correct logs_access_globs, or see whether the application writes its requests anywhere"),
    "not_a_file": msg("Exclude it from logs_access_globs, or find out why it is there"),
    "too_many_files": msg("Narrow logs_access_globs to the files being written"),
}


class Options(NamedTuple):
    """What to count. ``since`` and ``until`` in epoch seconds; an hour is counted whole, that of ``since`` as well."""

    pattern: str
    access_globs: list[str]
    error_globs: list[str]
    archive_dir: str
    since: float
    until: float
    memory: Optional[dict[str, Any]] = None
    max_bytes: int = 4 * 1024 * 1024 * 1024
    timeout_s: float = 120.0
    fast_ms: float = 200.0


def count(options: Options, now: float) -> dict[str, Any]:
    """Count in a process of its own, which ends at its limit whatever the pattern does.

    :param now: epoch seconds.
    :returns: ``{rates: [{start_at, seconds, requests, errors, failed, error_events, timed, fast}], totals, complete,
        source, memory, findings}``; ``start_at`` in epoch seconds, ``memory`` for the next call.

    Raises:
        PatternError: the pattern is no good, or takes too long. OperatorError: the process was killed.
    """
    pattern = compiled(options.pattern)
    began = time.monotonic()
    limit = options.timeout_s + GRACE_S

    def work() -> dict[str, Any]:
        return _Call(options, pattern, now, folder).run()

    with tempfile.TemporaryDirectory(prefix="orquestrador-rates-") as folder:
        try:
            return apart(Owner(pwd.getpwuid(os.geteuid()).pw_name), work, limit)
        except OperatorError:
            if time.monotonic() - began < limit:
                raise
            raise PatternError(
                msg(
                    "logs_access_pattern {pattern} was not done within {limit_s}: it tries too many ways to match a"
                    " line; write what may repeat without overlaps",
                    pattern=options.pattern[:200],
                    limit_s=limit,
                )
            ) from None


def moment(name: str, text: str, default: float) -> float:
    """Epoch seconds of an argument. Raises :class:`PatternError` for what is no time."""
    if not text:
        return default
    found = when(text.strip().encode())
    if found is None:
        raise PatternError(
            msg(
                "{name} is {value}: give a time as 2026-11-22T12:00:00Z or seconds since 1970",
                name=name,
                value=text[:80],
            )
        )
    return found


class _Call:
    """One call of :func:`count`; ``folder`` is a private directory that is removed afterwards."""

    def __init__(self, options: Options, pattern: Pattern, now: float, folder: str) -> None:
        self.options, self.pattern, self.now, self.folder = options, pattern, now, folder
        self.stop_at = time.monotonic() + options.timeout_s
        self.since = int(options.since // HOUR_S) * HOUR_S
        self.key = hashlib.sha1(repr((VERSION, options.pattern)).encode(), usedforsecurity=False).hexdigest()
        self.memory = _loaded(options.memory, self.key)
        self.findings: list[Finding] = []
        self.complete = True
        self.lost: list[list[float]] = []
        self.source = "access"

    def run(self) -> dict[str, Any]:
        options = self.options
        access, errors = list(options.access_globs), list(options.error_globs)
        if self.memory is None:
            self._archived(access, errors)
        day_s = max(int(self.now) - self.since, HOUR_S)
        known = self.memory or {"access": None, "errors": None, "hours": {}, "from": self.since, "lost": []}
        state, memory, found = collect(
            errors,
            known["errors"],
            now=self.now,
            deadline_s=max((self.stop_at - time.monotonic()) / 3, 0.5),
            max_bytes=options.max_bytes,
            day_s=day_s,
        )
        self.findings += [one for one in found if one["code"] != "missing"]
        missing = any(one["code"] == "missing" for one in found)
        self.complete &= missing or bool(state["window"]["complete"])
        self.source = "access" if missing else "access+errors"
        reader = _Reader(self, known, day_s)
        reader.run(access)
        self.findings += reader.findings
        self.complete &= reader.complete
        return self._told(reader, memory, known)

    def _told(self, reader: _Reader, errors: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
        events: dict[int, int] = {}
        for bucket, number in errors["day"].items():
            hour = int(bucket) * 300 // HOUR_S * HOUR_S
            events[hour] = events.get(hour, 0) + number
        hours = {hour: counts for hour, counts in reader.sink.hours.items() if self.since <= hour <= self.now}
        lost = [pair for pair in [*known["lost"], *self.lost, *reader.lost] if pair[1] >= self.since]
        begin = max(self.since, reader.known_from)
        end = min(self.options.until, self.now, reader.known_until)
        rates = []
        if reader.read_any and not self._of_another_format(reader):
            for hour in range(begin, begin + MAX_HOURS * HOUR_S, HOUR_S):
                if hour >= end:
                    break
                if not any(start < hour + HOUR_S and hour <= stop for start, stop in lost):
                    rates.append(_row(hour, hours.get(hour, [0, 0, 0, 0]), events.get(hour, 0)))
        names = ("requests", "failed", "error_events", "errors")
        totals = {name: sum(row[name] for row in rates) for name in names}
        return {
            "rates": rates,
            "totals": {
                **totals,
                "lines": reader.sink.lines,
                "unmatched": reader.sink.unmatched,
                "undated": reader.sink.undated,
                "read_bytes": sum(report["read_bytes"] for report in reader.reports),
            },
            "complete": self.complete,
            "source": self.source,
            "memory": {
                "v": VERSION,
                "key": self.key,
                "from": begin,
                "access": self._without_folder(reader.memory_after()),
                "errors": self._without_folder(errors),
                "hours": {str(hour): counts for hour, counts in sorted(hours.items())},
                "lost": lost[-100:],
            },
            "findings": self.findings,
        }

    def _of_another_format(self, reader: _Reader) -> bool:
        """Whether nothing that was ever read was a request: then the pattern is wrong, not the traffic away."""
        if any(counts[REQUESTS] for counts in reader.sink.hours.values()) or not reader.sink.unmatched:
            return False
        self.complete = False
        self.findings.append(
            finding(
                "logs",
                "no_request",
                msg(
                    "none of {count} lines matches logs_access_pattern {pattern}",
                    count=reader.sink.unmatched,
                    pattern=self.options.pattern[:200],
                ),
                msg("Compare the pattern with a line of the log, or correct logs_access_globs"),
            )
        )
        return True

    def _without_folder(self, memory: dict[str, Any]) -> dict[str, Any]:
        files = {path: entry for path, entry in memory["files"].items() if not path.startswith(self.folder)}
        return {**memory, "files": files}

    # --- what was rotated and packed before the first call -----------------------------------------------------------

    def _archived(self, access: list[str], errors: list[str]) -> None:
        """Unpack what was written since the beginning, and have it read with the rest."""
        options = self.options
        current = {path for pattern in [*access, *errors] for path in expanded(pattern)}
        packed = sorted({path for pattern in access for path in expanded(pattern) if path.endswith(".gz")})
        for kind, globs, names in (("a", options.access_globs, access), ("e", options.error_globs, errors)):
            place = os.path.join(self.folder, kind)
            os.mkdir(place, 0o700)
            names.append(os.path.join(place, "*", "*"))
            for number, path in enumerate(tarball.archives(options.archive_dir)):
                self._opened(path, self._unpack, os.path.join(place, str(number)), globs, current)
        os.mkdir(os.path.join(self.folder, "a", "gz"), 0o700)
        for number, path in enumerate(packed):
            target = os.path.join(self.folder, "a", "gz", f"{number}-{os.path.basename(path)[:-3]}")
            self._opened(path, self._gunzip, target)

    def _opened(self, path: str, work: Callable[..., None], *arguments: Any) -> None:
        written = self.now
        try:
            written = os.stat(path).st_mtime
            if written >= self.since:  # else whatever it holds was written before
                work(path, *arguments)
        except (OSError, EOFError, tarfile.TarError, ValueError, zlib.error) as error:
            self.complete = False
            self.lost.append([float(self.since), written])
            self.findings.append(unread(path, str(error) or type(error).__name__))

    def _unpack(self, path: str, into: str, globs: list[str], current: set[str]) -> None:
        unpack(path, into, globs, self.options.max_bytes, self.stop_at, _still_there(path, current))

    def _gunzip(self, path: str, target: str) -> None:
        with gzip.open(path) as source:
            copy_bounded(source.read, target, self.options.max_bytes, self.stop_at)
        shutil.copystat(path, target)


def _row(hour: int, counts: list[int], events: int) -> dict[str, Any]:
    requests, failed, timed, fast = counts
    row = {"start_at": hour, "seconds": HOUR_S, "requests": requests, "timed": timed, "fast": fast}
    return {**row, "failed": failed, "error_events": events, "errors": max(failed, events)}


def _still_there(archive: str, current: set[str]) -> frozenset[str]:
    """Members of an archive whose logs are kept beside and read there."""
    kept = set()
    for entry in (tarball.read_manifest(archive) or {}).get("files") or []:
        item = parse(os.path.join(os.path.dirname(entry["path"]), entry["spool"]))
        if item is not None and rotated_name(item.log, item.id, KEPT) in current:
            kept.add(entry["name"])
    return frozenset(kept)


class _Reader(Collection):
    """Reads the logs of requests as errors are read."""

    def __init__(self, call: _Call, known: dict[str, Any], day_s: int) -> None:
        left = max(call.stop_at - time.monotonic(), 0.5)
        super().__init__(known["access"], now=call.now, deadline_s=left, max_bytes=call.options.max_bytes, day_s=day_s)
        self.pattern, self._globs = call.pattern, call.options.access_globs
        self.sink = Hours(call.options.fast_ms)
        for hour, counts in known["hours"].items():
            self.sink.add(hour, counts)
        self.known_from = int(known["from"])
        self.known_until = call.options.until
        self.lost: list[list[float]] = []  # stretches of which lines were never seen
        self.read_any = False
        self._memory: dict[str, Any] = {}
        self._begun_late = False

    def run(self, globs: list[str]) -> tuple[LogState, dict[str, Any], list[Finding]]:
        state, self._memory, findings = super().run(globs)
        return state, self._memory, findings

    def memory_after(self) -> dict[str, Any]:
        """What the next call has to know of the files."""
        return self._memory

    def _match(self, globs: list[str]) -> list[tuple[str, os.stat_result]]:
        return [(path, info) for path, info in super()._match(globs) if not path.endswith(".gz")]

    def _file(self, path: str, info: os.stat_result, share: int) -> None:
        super()._file(path, info, max(share, self.budget))  # one log may be all there is; time is what is short

    def _parser(self, path: str, state: Optional[dict[str, Any]], undated: float) -> Parser:
        self.sink.first_seen = self.sink.ignore_before = None
        floor = 0.0 if self.first else self.last_run
        return RateParser(self.sink, self.pattern, state, now=self.now, undated=undated, floor=floor)

    def _ahead(self, fd: int, offset: int, end: int, parser: Parser) -> int:
        """The most of a long stretch, by two processes at once."""
        self.sink.ignore_before = self.tally.ignore_before
        while isinstance(parser, RateParser) and end - offset >= ALONE and time.monotonic() < self.stop_at:
            come = by_two(fd, offset, end, parser, self.stop_at)
            if come == offset:
                break
            offset = come
        return offset

    def _first_offset(self, fd: int, info: os.stat_result, share: int, report: dict[str, Any]) -> tuple[int, bool]:
        offset, skip = super()._first_offset(fd, info, share, report)
        self._begun_late = skip
        return offset, skip

    def _rotated(self, path: str, old: dict[str, Any], share: int) -> None:
        before = len(self.findings)
        super()._rotated(path, old, share)
        if any(one["code"] == "rotated_away" for one in self.findings[before:]):
            self._lose(old)

    def _read(self, path: str, entry: Optional[dict[str, Any]], share: int, **how: Any) -> Optional[dict[str, Any]]:
        self._begun_late = False
        number = len(self.reports)
        new = super()._read(path, entry, share, **how)
        report = self.reports[number]
        if new is None:  # it can't be read now; what it holds comes later
            seen = None if entry is None else entry["ts"]
            self.known_until = min(self.known_until, self.known_from if seen is None else seen // HOUR_S * HOUR_S)
            return None
        self.read_any = True
        if report["truncated"]:
            self._lose(entry)
        if self._begun_late:  # the hour in which reading began is known in part only
            seen = self.sink.first_seen
            self.known_from = max(self.known_from, int((self.now if seen is None else seen) // HOUR_S + 1) * HOUR_S)
        if new["part"] is None and new["off"] < report["size_bytes"]:
            self.known_until = min(self.known_until, float(new["ts"] or 0.0) // HOUR_S * HOUR_S)
        return new

    def _lose(self, entry: Optional[dict[str, Any]]) -> None:
        at = self.known_from if entry is None else entry["at"] if entry["ts"] is None else entry["ts"]
        self.lost.append([float(at), self.now])

    def _find(self, code: str, message: Message, hint: Message) -> None:
        if code == "missing":  # without the places of what was unpacked
            message = msg("no log file matches {globs}", globs=", ".join(self._globs)[:300])
        super()._find(code, message, _TEXTS.get(code, hint))


def _loaded(memory: Any, key: str) -> Optional[dict[str, Any]]:
    """A checked copy of what an earlier call returned for this pattern; ``None`` when it is nothing of the kind."""
    if not isinstance(memory, dict) or memory.get("v") != VERSION or memory.get("key") != key:
        return None
    hours, lost, begin = memory.get("hours"), memory.get("lost"), memory.get("from")
    usable = isinstance(hours, dict) and isinstance(lost, list) and isinstance(begin, (int, float))
    if not usable or any(baseline.load(memory.get(name)) is None for name in ("access", "errors")):
        return None
    try:
        counts = {int(hour): [int(number) for number in found] for hour, found in (hours or {}).items()}
        stretches = [[float(start), float(stop)] for start, stop in lost or []]
    except (TypeError, ValueError, OverflowError):
        return None
    if any(len(found) != 4 or min(found) < 0 for found in counts.values()):
        return None
    return {**memory, "hours": counts, "lost": stretches, "from": int(begin or 0)}
