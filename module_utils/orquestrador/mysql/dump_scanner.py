"""Scan a dump's stream: exact row counts and digests of its tables, in bounded memory, at pipe speed.

A dump is text: comments and DDL in lines, and ``INSERT INTO `t` … VALUES (…),(…);`` statements, each about a
megabyte long and ended by ``;`` and a line feed. Inside literals the dump tools escape line feeds and quotes with a
backslash (they empty the session's ``sql_mode`` first), so the two bytes that end a statement never occur in a
literal. Outside literals an opening parenthesis occurs once per row.

Rows are counted by their separator, ``),(``. When a quote before or after every separator of a piece proves that it
lies outside of literals, counting separators is enough; since many tables begin with a number and end with a time, this
is the common case, at a sixth of the cost. Otherwise opening parentheses outside of quotes are counted, after deleting
all bytes but parentheses and quotes.
"""

from __future__ import annotations

import hashlib
import re
from operator import itemgetter
from typing import Any, Optional

# A name has at most 64 characters, a table at most 4096 columns: no head of a statement is longer than this.
MAX_HEAD = 4 * 1024 * 1024
TAIL = 256  # enough for the last line of a dump
_NAME = rb"`(?:[^`]|``)+`"
_HEAD = re.compile(
    rb"INSERT (?:IGNORE )?INTO (" + _NAME + rb")(?: \(" + _NAME + rb"(?:, ?" + _NAME + rb")*\))? VALUES[ \n]"
)
_START = b"INSERT "
# Bodies of triggers, routines and events stand between lines that change the delimiter; INSERTs there are code.
_DELIMITER = b"DELIMITER "
_OTHER_DELIMITER = re.compile(rb"DELIMITER (?!;\n)[^\n]*\n")
_COMPLETED = re.compile(rb"(?:\A|\n)-- Dump completed(?: on [^\n]*)?\n*\Z")
_BETWEEN, _BETWEEN_LINES = b"),(", b"),\n("  # rows; MariaDB begins a line with each
_FIRST, _LAST = itemgetter(slice(2)), itemgetter(slice(-2, None))
_NO_MARK = bytes(byte for byte in range(256) if byte not in b"('")


_OWNER = re.compile(rb"DEFINER=(?:`(?:[^`]|``)*`@`(?:[^`]|``)*`)")
_DROP_CODE = re.compile(rb"/\*!\d+ DROP (?:FUNCTION|PROCEDURE|EVENT|TRIGGER|PACKAGE)\b")


class CodeFilter:
    """Filter that removes triggers, routines and events from a dump, and the definers of its views.

    The output, tables with their rows and views, contains no stored code and no objects of another account.
    """

    def __init__(self) -> None:
        self._pending = b""  # the beginning of a line
        self._in_long_line = False  # the beginning of this long line has been passed on
        self._code = False

    def feed(self, data: bytes) -> bytes:
        """Return the filtered output for the next piece."""
        *lines, last = (self._pending + data).split(b"\n")
        passing = []
        for line in lines:
            passing.append(line + b"\n" if self._in_long_line else self._line(line + b"\n"))
            self._in_long_line = False
        self._pending = last
        if self._in_long_line or (len(last) > MAX_HEAD and not self._code):
            # It holds rows, since no code is that long: pass it on unbuffered.
            passing.append(last)
            self._pending, self._in_long_line = b"", True
        return b"".join(passing)

    def end(self) -> bytes:
        """Return the remaining output at the end of the dump."""
        return b"" if self._code else self._pending

    def _line(self, line: bytes) -> bytes:
        if line.startswith(_DELIMITER):
            self._code = line != b"DELIMITER ;\n"
            return b""
        if self._code or _DROP_CODE.match(line):
            return b""
        return _OWNER.sub(b"", line, 1) if line.startswith(b"/*!50013 DEFINER=") else line


class Table:
    """Row count and digest of one table's data in the dump."""

    __slots__ = ("_digest", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Hash bytes of the table's INSERT statements."""
        self._digest.update(data)

    def summary(self) -> dict[str, Any]:
        """Return ``{rows, sha256}``; the digest is of all its INSERT statements, in order."""
        return {"rows": self.rows, "sha256": self._digest.hexdigest()}


class Ending:
    """Size of a dump and whether it ends with its last line, for a file with a verified SHA-256."""

    def __init__(self) -> None:
        self.bytes = 0
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Look at the next piece."""
        self.bytes += len(data)
        self._tail = (self._tail + data)[-TAIL:] if len(data) < TAIL else data[-TAIL:]

    @property
    def complete(self) -> bool:
        """Whether the dump ends with the line that dump programs write last."""
        return _COMPLETED.search(self._tail) is not None


class DumpScanner:
    """Scanner of a dump in pieces of any size: rows and digest of each table, and completeness."""

    def __init__(self) -> None:
        self.bytes = 0
        self._ending = Ending()
        self.table: Optional[str] = None  # table of the current INSERT statement
        self._tables: dict[str, dict[str, Any]] = {}
        self._current: Optional[Table] = None
        self._current_name = ""
        self._inside = False  # of an INSERT's values
        self._first = False  # none of them has been counted yet
        self._between = _BETWEEN
        self._code = False  # another delimiter is in force
        self._pending = b""  # undecided bytes: the beginning of a line, or the last bytes of a piece
        self._quoted = False

    def feed(self, data: bytes) -> None:
        """Look at the next piece."""
        self._ending.feed(data)
        self.bytes = self._ending.bytes
        if self._pending:
            data = self._pending + data
            self._pending = b""
        position = 0
        while position < len(data):
            position = self._values(data, position) if self._inside else self._line(data, position)

    @property
    def complete(self) -> bool:
        """Whether the dump ends with the line that dump programs write last."""
        return not self._inside and self._ending.complete

    def tables(self) -> dict[str, dict[str, Any]]:
        """Return ``{name: {rows, sha256}}`` of the tables that have rows."""
        self._finish()
        return dict(self._tables)

    def _line(self, data: bytes, start: int) -> int:
        """Outside of INSERT: skip a line, or recognise the head of a statement."""
        begin = data[start : start + len(_DELIMITER)]
        if self._code or not begin.startswith(_START):
            end = data.find(b"\n", start)
            if begin.startswith(_DELIMITER) and end >= 0:
                self._code = _OTHER_DELIMITER.match(data, start) is not None
            if end >= 0:
                return end + 1
            if begin.startswith(_DELIMITER) or _START.startswith(begin) or _DELIMITER.startswith(begin):
                self._pending = data[start:]
                return len(data)
            # The remainder of the line is ignored; the marker keeps it from being parsed as the start of a line.
            self._pending = b"-"
            return len(data)
        head = _HEAD.match(data, start)
        if head is None:
            if len(data) - start > MAX_HEAD:
                raise ValueError("a statement of the dump has no end of its head")
            # Names may hold line feeds, so an incomplete head needs more data.
            if _is_other(data, start):
                return data.index(b"\n", start) + 1
            self._pending = data[start:]
            return len(data)
        name = head.group(1)[1:-1].replace(b"``", b"`").decode("utf-8", "surrogateescape")
        if self._current is None or name != self._current_name:
            self._finish()
            self._current, self._current_name = Table(), name
        self.table = name
        self._current.add(head.group())
        self._inside, self._quoted, self._first = True, False, True
        self._between = _BETWEEN_LINES if head.group().endswith(b"\n") else _BETWEEN
        return head.end()

    def _values(self, data: bytes, start: int) -> int:
        end = data.find(b";\n", start)
        if end >= 0:
            self._count(data[start : end + 2])
            self._inside = False
            return end + 2
        stop = self._undecided(data, start)
        if stop > start:
            self._count(data[start:stop])
        self._pending = data[stop:]
        return len(data)

    def _undecided(self, data: bytes, start: int) -> int:
        """Return where the trailing bytes begin that can only be interpreted with the next piece."""
        stop = len(data)
        for size in range(len(self._between) - 1, 0, -1):
            if data.endswith(self._between[:size]):
                return max(stop - size, start)
        if data.endswith(b";"):
            return max(stop - 1, start)
        while stop > start and data[stop - 1] == 0x5C:
            stop -= 1
        return len(data) - (len(data) - stop) % 2

    def _count(self, piece: bytes) -> None:
        table = self._current
        if table is None:
            raise ValueError("values without a table")
        table.add(piece)
        first, self._first = self._first, False
        rows = piece.split(self._between)
        if len(rows) > 1 and (self._between is _BETWEEN_LINES or _outside(rows)):
            table.rows += len(rows) - 1 + first
            self._quoted = False
            self._parentheses(rows[-1])  # only for the quote that it may leave open; no row begins in it
        else:
            table.rows += self._parentheses(piece)

    def _parentheses(self, piece: bytes) -> int:
        """Count opening parentheses outside of literals and update whether the piece ends in a literal."""
        if b"\\\\" in piece:
            piece = piece.replace(b"\\\\", b"")  # or the second backslash would seem to escape a quote
        if b"\\'" in piece:
            piece = piece.replace(b"\\'", b"")
        # Adjacent quotes can go: what remains are literals that contain parentheses.
        marks = piece.translate(None, _NO_MARK).replace(b"''", b"")
        if b"'" not in marks:
            return 0 if self._quoted else len(marks)
        parts = marks.split(b"'")
        rows = sum(map(len, parts[1 if self._quoted else 0 :: 2]))
        self._quoted ^= len(parts) % 2 == 0
        return rows

    def _finish(self) -> None:
        if self._current is None:
            return
        if self._current_name in self._tables:
            raise ValueError(f"the dump comes back to table {self._current_name!r}")
        self._tables[self._current_name] = self._current.summary()
        self._current = None


def _outside(rows: list[bytes]) -> bool:
    """Whether no split of a piece at the row separator lies within a literal.

    A quote before ``),(`` closes a literal unless it is escaped (a backslash before it) or opens one (a comma, a
    parenthesis or, as in ``_binary '``, a space before it); one behind it opens a literal unless it closes one (a comma
    or a parenthesis behind it). Two quotes side by side are left to the exact count.
    """
    last = set(map(_LAST, rows[:-1]))
    if all(len(end) == 2 and end[1] == 0x27 and end[0] not in b",( \\'" for end in last):
        return True
    first = set(map(_FIRST, rows[1:]))
    return all(len(begin) == 2 and begin[0] == 0x27 and begin[1] not in b",)'" for begin in first)


def _is_other(data: bytes, start: int) -> bool:
    """Whether a line that begins with INSERT is not the dump program's but of a routine's body."""
    end = data.find(b"\n", start)
    return end >= 0 and not data.startswith((b"INSERT INTO `", b"INSERT IGNORE INTO `"), start)
