"""Error events of log files since the last run, whatever happened to the files in between.

Each file is read from a remembered offset, so that a run costs what was written since the last one. Files are known by
inode and a hash of their head: a rotated file is read to its end under its new name before its successor is begun, a
truncated one is begun again. Bounded in time, bytes read, memory held and memory left for the next run.
"""

from __future__ import annotations

import contextlib
import errno
import glob as globbing
import itertools
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import Any, Optional

from ..core.errors import os_reason
from ..core.jsonable import iso
from ..core.messages import finding, msg
from ..core.types import Finding, LogState, Message
from . import baseline
from .events import QUIET, EventParser
from .reading import CHUNK, Held, Parser, feed_lines, find_time
from .tally import BUCKET_S, Tally

MAX_MATCHES = 4096
MAX_SIBLINGS = 5000
KEEP_S = 7 * 86400  # how long a file that is gone is remembered
# Clocks without a zone repeat an hour once a year, so that much is read before the window's beginning.
_DST_MARGIN_S = 3900.0
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


class Collection:
    """One call of :func:`collect`; what reads other things of logs the same way inherits it."""

    def __init__(self, memory: Any, *, now: float, deadline_s: float, max_bytes: int, day_s: int) -> None:
        self.now, self.day_s = now, day_s
        self.stop_at = time.monotonic() + deadline_s
        self.budget = max(0, max_bytes)
        loaded = baseline.load(memory)
        self.first = loaded is None
        self.memory = loaded or {"at": now, "files": {}, "day": {}, "known": {}}
        self.last_run = min(float(self.memory["at"]), now)
        self.tally = Tally(self.memory, now, day_s)
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
            self.reports.extend(_report(str(g), missing=True) for g in globs[: baseline.MAX_FILES])
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
            "v": baseline.VERSION,
            "at": self.now,
            "files": dict(list(self.kept.items())[: 2 * baseline.MAX_FILES]),
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
        if len(files) > baseline.MAX_FILES:
            self._find(
                "too_many_files",
                msg("{count} log files match, the {limit} newest are read", count=len(files), limit=baseline.MAX_FILES),
                msg("Narrow logs_error_globs to the files being written"),
            )
            files = sorted(files, key=lambda item: (-item[1].st_mtime, item[0]))[: baseline.MAX_FILES]
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
                        if item.inode() == old["ino"] and baseline.is_still(item.path, old):
                            return None if (old["dev"], old["ino"]) in self.done else item.path
            except OSError:
                continue
        return None

    def _left_behind(self, matched: set[str]) -> None:
        """Remembered files that no glob matches now: rotated without a successor yet, or rotated and still written."""
        for path, entry in self.entries.items():
            if path in self.kept or path in matched or (entry["dev"], entry["ino"]) in self.done:
                continue
            if baseline.is_still(path, entry):
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
            msg("{path} cannot be read: {reason}", path=path, reason=os_reason(error)),
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
            gone_on = (e for name, e in self.entries.items() if e["off"] and not baseline.is_still(name, e))
            entry = next((e for e in gone_on if baseline.continues(fd, size, e)), None)
            report["rotated"] = entry is not None
        if entry is not None and not baseline.continues(fd, size, entry):
            report["truncated"] = True
            entry, begin = None, {"truncated": True}
        offset, state, skip, cutoff = self._start(fd, info, entry, share, report, begin)
        # Nothing in the file was written later than its last change.
        undated = max(min(self.now, info.st_mtime), min(self.last_run, self.now) if not self.first else 0.0)
        parser = self._parser(path, state, undated)
        self.tally.since, self.tally.ignore_before = cutoff, begin.get("ignore_before")
        ahead = 0 if skip else self._ahead(fd, offset, min(size, offset + share), parser) - offset
        held = Held(entry["part"] if entry is not None else None, info, self.now)
        reached = feed_lines(fd, size, offset + ahead, skip, max(0, share - ahead), parser, held, self.stop_at)
        report["read_bytes"] = ahead + reached.read
        self.budget -= report["read_bytes"]
        if parser.binary_lines:
            self._find(
                "binary",
                msg("{path} holds {count} lines that are no text", path=path, count=parser.binary_lines),
                msg("See whether logs_error_globs matches a file that is no log"),
            )
        report["complete"] = report["complete"] and reached.complete
        self.complete = self.complete and report["complete"]
        times = [t for t in (parser.last_timestamp, entry["ts"] if entry is not None else None) if t is not None]
        whole = reached.offset + (reached.part[1] if reached.part else 0) >= size
        return {
            **baseline.identity(fd, info, reached.offset),
            "skip": reached.skip,
            "ts": max(times, default=None),
            "st": parser.state(),
            "part": reached.part,
            "cut": None if whole else cutoff,
            "at": self.now,
            "gone": False,
        }

    def _start(
        self,
        fd: int,
        info: os.stat_result,
        entry: Optional[dict[str, Any]],
        share: int,
        report: dict[str, Any],
        begin: dict[str, Any],
    ) -> tuple[int, Optional[dict[str, Any]], bool, Optional[float]]:
        """Where a file is read from, the parser's state there, whether in the middle of a line, and the window."""
        if entry is not None:
            return entry["off"], entry["st"], entry["skip"], entry["cut"]
        if begin:  # all that is in it was written after a truncation or a rotation
            return 0, begin.get("st"), False, None
        cutoff = self.now - self.day_s if self.first else min(self.last_run, self.now)
        offset, skip = self._first_offset(fd, info, share, report)
        return offset, {"m": QUIET} if offset else None, skip, cutoff

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

    def _first_offset(self, fd: int, info: os.stat_result, share: int, report: dict[str, Any]) -> tuple[int, bool]:
        """Where a file that is new to us is to be read from, and whether that is in the middle of a line."""
        size, cutoff = info.st_size, self.now - self.day_s
        if info.st_mtime < cutoff:
            return size, False
        if size <= CHUNK:
            return 0, False
        found = find_time(fd, size, cutoff - _DST_MARGIN_S)
        start = found or 0
        if size - start > share:
            report["complete"] = False
            return size - share, True
        return start, False

    def _find(self, code: str, message: Message, hint: Message) -> None:
        self.findings.append(finding("logs", code, message, hint))


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
