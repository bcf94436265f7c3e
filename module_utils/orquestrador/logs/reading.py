"""Error events of log files since the last run, whatever happened to the files in between.

Each file is read from a remembered offset, so that a run costs what was written since the last one. Files are known by
inode and a hash of their head: a rotated file is read to its end under its new name before its successor is begun, a
truncated one is begun again. Bounded in time, bytes read, memory held and memory left for the next run.

A last line without a newline is left for the next run, because its writer may not be done; it is counted when it did
not change from one run to the next, or when nothing was written to the file for :data:`PARTIAL_AGE_S`. If it goes on
after all, what follows belongs to the line that was counted.
"""

from __future__ import annotations

import contextlib
import errno
import glob as globbing
import hashlib
import itertools
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import Any, Optional, Protocol

from ..core import redact
from ..core.jsonable import iso
from ..core.messages import msg
from ..core.types import Finding, LogState, Message
from .events import LINE_TIMESTAMP, MAX_LINE, QUIET, EventParser, line_time

CHUNK = 1 << 20
HEAD = 256
BUCKET_S = 300  # granularity of the count of a day, seconds
PARTIAL_AGE_S = 10.0
MAX_FILES = 64
MAX_MATCHES = 4096
MAX_SIBLINGS = 5000
MAX_KNOWN = 500
MAX_PRINTS = 2000
MAX_SAMPLE = 300
SHOWN_PRINTS = 20
KEEP_S = 7 * 86400  # how long a file that is gone is remembered
# Clocks without a zone repeat an hour once a year, so that much is read before the window's beginning.
_DST_MARGIN_S = 3900.0
_VERSION = 1
# Not error logs: what has no level there is no error.
_LEVELS_ONLY = re.compile(r"(?:^|[-_.])(?:out|stdout|access|combined|health-monitor)(?:[-_.]|\d|$)", re.I)


def collect(
    globs: list[str],
    memory: Optional[dict[str, Any]],
    *,
    now: float,
    deadline_s: float,
    max_bytes: int,
    day_s: int = 86400,
) -> tuple[LogState, dict[str, Any], list[Finding]]:
    """Read what is new in the files that ``globs`` match.

    :param memory: what the last call returned; ``None``, or anything that isn't such a memory, makes this a first run,
        which looks at the last ``day_s`` seconds.
    :param now: epoch seconds.
    :param deadline_s: seconds this call may take; what is not read by then is read next time.
    :param max_bytes: bytes this call may read, shared by the files; at least one chunk of 1 MiB each. A first run reads
        the end of a longer file, a later run the next part of it.
    :returns: the state (``errors``: events since the last run, in a first run of the last day; ``errors_day``: in the
        last day, to five minutes), the memory for the next call (JSON, bounded, without any log text), findings.
    """
    return Collection(memory, now=now, deadline_s=deadline_s, max_bytes=max_bytes, day_s=day_s).run(globs)


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


class _Tally:
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
        entry = self.known.setdefault(fingerprint, [when, 0])
        entry[0] = max(entry[0], when)
        entry[1] += 1
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

    def refine(self, old: str, new: str, when: float) -> None:
        entry = self.known.get(old)
        if entry is not None:
            entry[1] -= 1
            if entry[1] <= 0:
                del self.known[old]
        entry = self.known.setdefault(new, [when, 0])
        entry[0] = max(entry[0], when)
        entry[1] += 1
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


class Collection:
    """One call of :func:`collect`; what reads other things of logs the same way inherits it."""

    def __init__(self, memory: Any, *, now: float, deadline_s: float, max_bytes: int, day_s: int) -> None:
        self.now, self.day_s = now, day_s
        self.stop_at = time.monotonic() + deadline_s
        self.budget = max(0, max_bytes)
        loaded = known_memory(memory)
        self.first = loaded is None
        self.memory = loaded or {"at": now, "files": {}, "day": {}, "known": {}}
        self.last_run = min(float(self.memory["at"]), now)
        self.tally = _Tally(self.memory, now, day_s)
        self.entries: dict[str, dict[str, Any]] = self.memory["files"]
        self.kept: dict[str, dict[str, Any]] = {}
        self.done: dict[tuple[int, int], Any] = {}  # inode: the parser's state at the end of the file
        self.reports: list[dict[str, Any]] = []
        self.findings: list[Finding] = []
        self.complete = True

    def run(self, globs: list[str]) -> tuple[LogState, dict[str, Any], list[Finding]]:
        matches = self._match(globs)
        if not matches and not self.reports:
            shown = ", ".join(str(g) for g in globs)[:300]
            for folder in sorted({folder for folder in map(_closed_to_us, globs) if folder}):
                self._find(
                    "unreadable",
                    msg("{path} cannot be read: {reason}", path=folder, reason=os.strerror(errno.EACCES)),
                    msg("Give the application's user the right to read it"),
                )
            self._find(
                "missing",
                msg("no log file matches {globs}", globs=shown),
                msg("Correct logs_error_globs, or see whether the application ever wrote an error log"),
            )
            self.complete = False
            self.reports.extend(_report(str(g), missing=True) for g in globs[:MAX_FILES])
        order = [m for m in matches if self._known_at(m[0], m[1]) is not None]
        order += [m for m in matches if m not in order]
        for index, (path, info) in enumerate(order):
            share = max(CHUNK, self.budget // (len(order) - index))
            self._file(path, info, share)
        self._left_behind({path for path, _ in matches})
        return self._result()

    def _result(self) -> tuple[LogState, dict[str, Any], list[Finding]]:
        tally = self.tally
        since = self.now - self.day_s if self.first else self.last_run
        state: LogState = {
            "errors": tally.errors,
            "errors_day": tally.errors_day(),
            "window": {
                "since": iso(since),
                "until": iso(self.now),
                "first": self.first,
                "complete": self.complete,
                "fingerprints_total": len(tally.prints),
                "fingerprints_new": tally.new_prints(),
            },
            "fingerprints": tally.fingerprints(),
            "files": self.reports,
        }
        tally.forget()
        oldest = int((self.now - self.day_s) // BUCKET_S)
        newest = int(self.now // BUCKET_S) + 1
        memory = {
            "v": _VERSION,
            "at": self.now,
            "files": dict(list(self.kept.items())[: 2 * MAX_FILES]),
            "day": {str(b): n for b, n in sorted(tally.days.items()) if oldest <= b <= newest},
            "known": dict(tally.known),
        }
        return state, memory, self.findings

    # --- which files -------------------------------------------------------------------------------------------------

    def _match(self, globs: list[str]) -> list[tuple[str, os.stat_result]]:
        """Regular files, each once, the most recently written first when there are too many."""
        found: dict[tuple[int, int], tuple[str, os.stat_result]] = {}
        for pattern in globs:
            for path in sorted(itertools.islice(expanded(pattern), MAX_MATCHES)):
                try:
                    info = os.stat(path)
                except OSError:
                    continue  # gone since, or a dangling link: no log
                if stat.S_ISREG(info.st_mode):
                    found.setdefault((info.st_dev, info.st_ino), (path, info))
                elif not stat.S_ISDIR(info.st_mode):
                    self._find(
                        "not_a_file",
                        msg("{path} is no regular file", path=path),
                        msg("Exclude it from logs_error_globs, or find out why it is there"),
                    )
        files = sorted(found.values(), key=lambda item: item[0])
        if len(files) > MAX_FILES:
            self._find(
                "too_many_files",
                msg("{count} log files match, the {limit} newest are read", count=len(files), limit=MAX_FILES),
                msg("Narrow logs_error_globs to the files being written"),
            )
            files = sorted(files, key=lambda item: (-item[1].st_mtime, item[0]))[:MAX_FILES]
        return files

    def _known_at(self, path: str, info: os.stat_result) -> Optional[tuple[str, dict[str, Any]]]:
        """The remembered entry of the file with this inode, under this path before any other."""
        key = (info.st_dev, info.st_ino)
        for name in [path, *self.entries]:
            entry = self.entries.get(name)
            if entry is not None and (entry["dev"], entry["ino"]) == key:
                return name, entry
        return None

    def _file(self, path: str, info: os.stat_result, share: int) -> None:
        if (info.st_dev, info.st_ino) in self.done:
            return
        known = self._known_at(path, info)
        old = self.entries.get(path)
        if known is not None:
            self._read(path, known[1], share, rotated=known[0] != path)
        elif old is not None:
            self._rotated(path, old, share)
        else:
            self._read(path, None, share)

    def _rotated(self, path: str, old: dict[str, Any], share: int) -> None:
        """Another file stands where the remembered one was: read the rest of that one first."""
        begin: dict[str, Any] = {"rotated": True}
        moved = self._find_moved(path, old)
        if moved is not None:
            last = self._read(moved, old, share, rotated=True, gone=True)
            if last is not None:
                begin["st"] = last["st"]
        elif (old["dev"], old["ino"]) in self.done:
            begin["st"] = self.done[(old["dev"], old["ino"])]
        else:
            if old["off"] or old["ts"]:
                begin["ignore_before"] = old["ts"]
            self.complete = False
            self._find(
                "rotated_away",
                msg("{path} was replaced and what it was before cannot be found", path=path),
                msg("Keep the newest rotated log uncompressed beside its successor, or in archive/"),
            )
        self._read(path, None, share, begin=begin)

    def _find_moved(self, path: str, old: dict[str, Any]) -> Optional[str]:
        """Where the file with the remembered inode is now: beside its old place or in ``archive/`` below it."""
        folder = os.path.dirname(path) or "."
        for place in (folder, os.path.join(folder, "archive")):
            try:
                with os.scandir(place) as items:
                    for item in itertools.islice(items, MAX_SIBLINGS):
                        if item.inode() == old["ino"] and _is_still(item.path, old):
                            return None if (old["dev"], old["ino"]) in self.done else item.path
            except OSError:
                continue
        return None

    def _left_behind(self, matched: set[str]) -> None:
        """Remembered files that no glob matches now: rotated without a successor yet, or rotated and still written."""
        for path, entry in self.entries.items():
            if path in self.kept or path in matched or (entry["dev"], entry["ino"]) in self.done:
                continue
            if _is_still(path, entry):
                if not entry["gone"]:
                    continue  # log_globs no longer asks for it
                here: Optional[str] = path
            else:
                here = self._find_moved(path, entry)
            if here is not None:
                self._read(here, entry, max(CHUNK, self.budget), rotated=here != path, gone=True, store=path)
            elif entry["at"] > self.now - KEEP_S and not entry["gone"]:
                self.kept[path] = entry

    # --- one file ----------------------------------------------------------------------------------------------------

    def _read(
        self,
        path: str,
        entry: Optional[dict[str, Any]],
        share: int,
        *,
        rotated: bool = False,
        gone: bool = False,
        store: Optional[str] = None,
        begin: Optional[dict[str, Any]] = None,
    ) -> Optional[dict[str, Any]]:
        """Read one file on; its new entry, or ``None`` when it can't be read."""
        begin = begin or {}
        report = _report(path, rotated=rotated or bool(begin.get("rotated")))
        self.reports.append(report)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0))
        except OSError as error:
            self._unreadable(path, error, report, entry, store)
            return None
        try:
            info = os.fstat(fd)
            new = self._read_open(fd, info, entry, share, report, begin)
        except OSError as error:
            self._unreadable(path, error, report, entry, store)
            return None
        finally:
            os.close(fd)
        self.done[(info.st_dev, info.st_ino)] = new["st"]
        new["gone"] = gone
        if gone:
            # Followed while its writer may still hold it open, then forgotten.
            new["at"] = self.now if report["read_bytes"] or entry is None else entry["at"]
        if not gone or new["at"] > self.now - self.day_s:
            self.kept[store or path] = new
        return new

    def _unreadable(
        self,
        path: str,
        error: OSError,
        report: dict[str, Any],
        entry: Optional[dict[str, Any]],
        store: Optional[str],
    ) -> None:
        report.update(readable=False, complete=False)
        self.complete = False
        if entry is not None:
            self.kept[store or path] = entry
        self._find(
            "unreadable",
            msg("{path} cannot be read: {reason}", path=path, reason=error.strerror or type(error).__name__),
            msg("Give the application's user the right to read it"),
        )

    def _read_open(
        self,
        fd: int,
        info: os.stat_result,
        entry: Optional[dict[str, Any]],
        share: int,
        report: dict[str, Any],
        begin: dict[str, Any],
    ) -> dict[str, Any]:
        size, path = info.st_size, report["path"]
        report["size_bytes"] = size
        if entry is None and not begin:
            # Copied and truncated: the copy goes on where the original was left.
            gone_on = (e for name, e in self.entries.items() if e["off"] and not _is_still(name, e))
            entry = next((e for e in gone_on if _continues(fd, size, e)), None)
            report["rotated"] = entry is not None
        if entry is not None and not _continues(fd, size, entry):
            report["truncated"] = True
            entry = None
            # What is in it now was written after the truncation.
            offset, state, skip, cutoff = 0, None, False, None
        elif entry is not None:
            offset, state, skip, cutoff = entry["off"], entry["st"], entry["skip"], entry["cut"]
        elif begin:
            offset, state, skip, cutoff = 0, begin.get("st"), False, None
        else:
            cutoff = self.now - self.day_s if self.first else min(self.last_run, self.now)
            offset, skip = self._first_offset(fd, info, share, report)
            state = {"m": QUIET} if offset else None
        # Nothing in the file was written later than its last change.
        undated = max(min(self.now, info.st_mtime), min(self.last_run, self.now) if not self.first else 0.0)
        parser = self._parser(path, state, undated)
        self.tally.since, self.tally.ignore_before = cutoff, begin.get("ignore_before")
        held = entry["part"] if entry is not None else None
        ahead = 0 if skip else self._ahead(fd, offset, min(size, offset + share), parser) - offset
        offset, share = offset + ahead, max(0, share - ahead)
        offset, skip, part = self._chunks(fd, size, offset, skip, share, parser, report, _Held(held, info, self.now))
        report["read_bytes"] += ahead
        self.budget -= ahead
        if parser.binary_lines:
            self._find(
                "binary",
                msg("{path} holds {count} lines that are no text", path=path, count=parser.binary_lines),
                msg("See whether logs_error_globs matches a file that is no log"),
            )
        if not report["complete"]:
            self.complete = False
        state = parser.state()
        head = min(HEAD, size)
        before = entry["ts"] if entry is not None else None
        times = [t for t in (parser.last_timestamp, before) if t is not None]
        return {
            "dev": info.st_dev,
            "ino": info.st_ino,
            "off": offset,
            "skip": skip,
            "hn": head,
            "hh": _hash(fd, 0, head),
            "th": _hash(fd, max(0, offset - HEAD), min(HEAD, offset)),
            "ts": max(times) if times else None,
            "st": state,
            "part": part,
            "cut": None if offset + (part[1] if part else 0) >= size else cutoff,
            "at": self.now,
            "gone": False,
        }

    def _parser(self, path: str, state: Optional[dict[str, Any]], undated: float) -> Parser:
        """What counts the lines of a file."""
        return EventParser(
            self.tally,
            state,
            now=self.now,
            undated=undated,
            floor=0.0 if self.first else self.last_run,
            levels_only=_LEVELS_ONLY.search(os.path.basename(path)) is not None,
        )

    def _ahead(self, fd: int, offset: int, end: int, parser: Parser) -> int:
        """Count some of what is to be read in a quicker way, if there is one; where to go on."""
        return offset

    def _chunks(
        self,
        fd: int,
        size: int,
        offset: int,
        skip: bool,
        share: int,
        parser: Parser,
        report: dict[str, Any],
        held: _Held,
    ) -> tuple[int, bool, Optional[list[int]]]:
        """Feed complete lines up to ``size``; the offset of the next line, whether the rest of a counted line is to be
        skipped first, and the unfinished last line as ``[offset, length]``."""
        read = 0
        while offset < size:
            too_much = read > 0 and read + min(CHUNK, size - offset) > share
            if too_much or time.monotonic() >= self.stop_at:
                report["complete"] = False
                break
            data = os.pread(fd, min(CHUNK, size - offset), offset)
            if not data:
                break  # truncated while being read: the next run begins again
            full = len(data) == CHUNK
            last = data.rfind(b"\n") + 1
            if skip:
                cut = data.find(b"\n") + 1
                used = cut or len(data)
                offset, read, skip = offset + used, read + used, not cut
                continue
            if last:
                parser.feed(data[:last])
                offset, read = offset + last, read + last
            elif full or held.settled(offset, len(data)):
                # One line longer than a chunk, or one that will not be finished: its beginning says what it is.
                parser.feed(data[:MAX_LINE].replace(b"\n", b"") + b"\n")
                offset, read, skip = offset + len(data), read + len(data), True
            else:
                report["read_bytes"] = read
                self.budget -= read
                return offset, skip, [offset, len(data)]
        report["read_bytes"] = read
        self.budget -= read
        return offset, skip, None

    def _first_offset(self, fd: int, info: os.stat_result, share: int, report: dict[str, Any]) -> tuple[int, bool]:
        """Where a file that is new to us is to be read from, and whether that is in the middle of a line."""
        size, cutoff = info.st_size, self.now - self.day_s
        if info.st_mtime < cutoff:
            return size, False
        if size <= CHUNK:
            return 0, False
        found = _bisect(fd, size, cutoff - _DST_MARGIN_S)
        start = found or 0
        if size - start > share:
            report["complete"] = False
            return size - share, True
        return start, False

    def _find(self, code: str, message: Message, hint: Message) -> None:
        self.findings.append({"collector": "logs", "code": code, "message": message, "hint": hint})


class _Held:
    """Whether an unfinished last line is finished after all."""

    def __init__(self, remembered: Optional[list[int]], info: os.stat_result, now: float) -> None:
        self._remembered = remembered
        self._idle = now - info.st_mtime > PARTIAL_AGE_S

    def settled(self, offset: int, length: int) -> bool:
        return self._idle or self._remembered == [offset, length]


def _bisect(fd: int, size: int, target: float) -> Optional[int]:
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


def _hash(fd: int, start: int, length: int) -> str:
    return hashlib.sha1(os.pread(fd, length, start), usedforsecurity=False).hexdigest()


def _continues(fd: int, size: int, entry: dict[str, Any]) -> bool:
    """Whether the file is the remembered one, or a copy of it, with at most something appended.

    Its head and what stands before the remembered offset must be unchanged: one alone can be the same in two files
    whose writers started with the same error.
    """
    offset: int = entry["off"]
    if size < offset or _hash(fd, 0, entry["hn"]) != entry["hh"]:
        return False
    before: str = entry["th"]
    return _hash(fd, max(0, offset - HEAD), min(HEAD, offset)) == before


def _is_still(path: str, entry: dict[str, Any]) -> bool:
    """Whether the remembered file is at ``path``: an inode alone is reused as soon as it is free."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return False
    try:
        info = os.fstat(fd)
        same = stat.S_ISREG(info.st_mode) and (info.st_dev, info.st_ino) == (entry["dev"], entry["ino"])
        return same and _continues(fd, info.st_size, entry)
    except OSError:
        return False
    finally:
        os.close(fd)


def expanded(pattern: Any) -> Iterator[str]:
    """Paths that match; a pattern the glob module chokes on (a NUL, say) matches nothing."""
    try:
        yield from globbing.iglob(str(pattern), recursive=True)
    except (ValueError, OSError, re.error):
        return


def _closed_to_us(pattern: Any) -> Optional[str]:
    """The directory that keeps a pattern from matching because this user may not look into it."""
    folder = str(pattern).split("*", 1)[0].split("?", 1)[0].split("[", 1)[0]
    while folder not in ("", "/"):
        folder = os.path.dirname(folder)
        with contextlib.suppress(ValueError, OSError):
            if stat.S_ISDIR(os.stat(folder).st_mode):
                return None if os.access(folder, os.R_OK | os.X_OK) else folder
    return None


def _report(path: str, *, missing: bool = False, rotated: bool = False) -> dict[str, Any]:
    return {
        "path": path,
        "size_bytes": 0,
        "read_bytes": 0,
        "rotated": rotated,
        "truncated": False,
        "complete": not missing,
        "missing": missing,
        "readable": not missing,
    }


# --- memory ----------------------------------------------------------------------------------------------------------


def known_memory(memory: Any) -> Optional[dict[str, Any]]:
    """A checked copy of what an earlier call returned; ``None`` when it is nothing of the kind.

    It has been on another machine in between, so nothing is assumed about it.
    """
    if not isinstance(memory, dict) or memory.get("v") != _VERSION or not _is_number(memory.get("at")):
        return None
    files: dict[str, dict[str, Any]] = {}
    for path, entry in list(_items(memory.get("files")))[: 2 * MAX_FILES]:
        checked = _load_entry(entry)
        if checked is not None:
            files[str(path)] = checked
    days: dict[int, int] = {}
    for bucket, count in _items(memory.get("day")):
        if isinstance(bucket, str) and re.fullmatch(r"[0-9]{1,10}", bucket) and _is_count(count):
            days[int(bucket)] = count
    known: dict[str, list[float]] = {}
    for fingerprint, item in _items(memory.get("known")):
        if isinstance(item, list) and len(item) == 2 and _is_number(item[0]) and _is_count(item[1]):
            known[str(fingerprint)] = [item[0], item[1]]
    return {"at": float(memory["at"]), "files": files, "day": days, "known": known}


def _load_entry(entry: Any) -> Optional[dict[str, Any]]:
    if not isinstance(entry, dict):
        return None
    if not all(_is_count(entry.get(name)) for name in ("dev", "ino", "off", "hn")):
        return None
    if not isinstance(entry.get("hh"), str) or not isinstance(entry.get("th"), str):
        return None
    if entry["hn"] > HEAD or not _is_number(entry.get("at")):
        return None
    part = entry.get("part")
    if not (isinstance(part, list) and len(part) == 2 and all(_is_count(n) for n in part)):
        part = None
    return {
        "dev": entry["dev"],
        "ino": entry["ino"],
        "off": entry["off"],
        "skip": entry.get("skip") is True,
        "hn": entry["hn"],
        "hh": entry["hh"],
        "th": entry["th"],
        "ts": entry["ts"] if _is_number(entry.get("ts")) else None,
        "st": entry["st"] if isinstance(entry.get("st"), dict) else None,
        "part": part,
        "cut": entry["cut"] if _is_number(entry.get("cut")) else None,
        "at": entry["at"],
        "gone": entry.get("gone") is True,
    }


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e12 < value < 1e12


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
