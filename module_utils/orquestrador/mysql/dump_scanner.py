"""What a dump's stream contains, counted and hashed while it flows past: exact, in bounded memory, at pipe speed.

A dump is text: comments and DDL in lines, and ``INSERT INTO `t` … VALUES (…),(…);`` statements, each about a
megabyte long and ended by ``;`` and a line feed. Inside literals the dump tools escape line feeds and quotes with a
backslash (they empty the session's ``sql_mode`` first), so the two bytes that end a statement never occur in a
literal. Outside literals an opening parenthesis occurs once per row.

Rows are counted where they meet, ``),(``. Where every such place of a piece can be seen to lie outside of literals,
because a closing quote stands before it or an opening one behind it, counting them is all; as many tables begin with a
number and end with a time, this is the common case, at a sixth of the cost. Otherwise rows are the parentheses outside
quotes, found by deleting everything but parentheses and quotes rather than by parsing.
"""

from __future__ import annotations

import hashlib
import re
from operator import itemgetter
from typing import Any, Optional

# A name is at most 64 characters, a table has at most 4096 columns: longer than this is no head of a statement.
MAX_HEAD = 4 * 1024 * 1024
TAIL = 256  # enough for the last line of a dump
_NAME = rb"`(?:[^`]|``)+`"
_HEAD = re.compile(
    rb"INSERT (?:IGNORE )?INTO (" + _NAME + rb")(?: \(" + _NAME + rb"(?:, ?" + _NAME + rb")*\))? VALUES[ \n]"
)
_START = b"INSERT "
# Bodies of triggers, routines and events stand between lines that change the delimiter; what looks like data is code.
_DELIMITER = b"DELIMITER "
_OTHER_DELIMITER = re.compile(rb"DELIMITER (?!;\n)[^\n]*\n")
_COMPLETED = re.compile(rb"(?:\A|\n)-- Dump completed(?: on [^\n]*)?\n*\Z")
_BETWEEN, _BETWEEN_LINES = b"),(", b"),\n("  # rows; MariaDB begins a line with each
_FIRST, _LAST = itemgetter(slice(2)), itemgetter(slice(-2, None))
_NO_MARK = bytes(byte for byte in range(256) if byte not in b"('")


_OWNER = re.compile(rb"DEFINER=(?:`(?:[^`]|``)*`@`(?:[^`]|``)*`)")
_DROP_CODE = re.compile(rb"/\*!\d+ DROP (?:FUNCTION|PROCEDURE|EVENT|TRIGGER|PACKAGE)\b")


class CodeFilter:
    """Lets a dump pass without its triggers, routines and events, and without the owners of its views.

    What is left runs nothing and gives nothing to another account: tables, their rows, and views.
    """

    def __init__(self) -> None:
        self._pending = b""  # the beginning of a line
        self._rest = False  # the beginning of a line has passed, being long
        self._code = False

    def feed(self, data: bytes) -> bytes:
        """What may pass of what has come so far."""
        *lines, last = (self._pending + data).split(b"\n")
        passing = []
        for line in lines:
            passing.append(line + b"\n" if self._rest else self._line(line + b"\n"))
            self._rest = False
        self._pending = last
        if self._rest or (len(last) > MAX_HEAD and not self._code):
            # Of rows, as no code is that long; it need not be kept to be looked at.
            passing.append(last)
            self._pending, self._rest = b"", True
        return b"".join(passing)

    def end(self) -> bytes:
        """What is left when nothing more comes."""
        return b"" if self._code else self._pending

    def _line(self, line: bytes) -> bytes:
        if line.startswith(_DELIMITER):
            self._code = line != b"DELIMITER ;\n"
            return b""
        if self._code or _DROP_CODE.match(line):
            return b""
        return _OWNER.sub(b"", line, 1) if line.startswith(b"/*!50013 DEFINER=") else line


class Table:
    """Rows and digest of one table's data as they stand in the dump."""

    __slots__ = ("_digest", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Hash bytes of its statements."""
        self._digest.update(data)

    def summary(self) -> dict[str, Any]:
        """``{rows, sha256}``: of the bytes of all its INSERT statements, in order."""
        return {"rows": self.rows, "sha256": self._digest.hexdigest()}


class Ending:
    """How much of a dump has passed, whether with its last line: all there is to ask of bytes that a hash covers."""

    def __init__(self) -> None:
        self.bytes = 0
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Look at the next piece."""
        self.bytes += len(data)
        self._tail = (self._tail + data)[-TAIL:] if len(data) < TAIL else data[-TAIL:]

    @property
    def complete(self) -> bool:
        """Whether the last line is the one that dump tools write when they are done."""
        return _COMPLETED.search(self._tail) is not None


class DumpScanner:
    """Feed it the stream in any pieces; afterwards it knows the tables and whether the dump is whole."""

    def __init__(self) -> None:
        self.bytes = 0
        self._ending = Ending()
        self.table: Optional[str] = None  # the one whose rows are passing
        self._tables: dict[str, dict[str, Any]] = {}
        self._current: Optional[Table] = None
        self._current_name = ""
        self._inside = False  # an INSERT's values
        self._first = False  # none of them has been counted yet
        self._between = _BETWEEN
        self._code = False  # another delimiter is in force
        self._pending = b""  # not decided yet: the beginning of a line, or the last byte of a piece
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
        """Whether the last line is the one that dump tools write when they are done."""
        return not self._inside and self._ending.complete

    def tables(self) -> dict[str, dict[str, Any]]:
        """``{name: {rows, sha256}}`` of the tables that have rows."""
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
            # The rest of the line is of no interest, but that it is no beginning of one has to be remembered.
            self._pending = b"-"
            return len(data)
        head = _HEAD.match(data, start)
        if head is None:
            if len(data) - start > MAX_HEAD:
                raise ValueError("a statement of the dump has no end of its head")
            # Names may hold line feeds, so the end of the line decides nothing; its statement may not be complete.
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
        """Where the end begins that means something only together with what follows."""
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
            self._parentheses(rows[-1])  # for what it leaves open; it holds no row's beginning
        else:
            table.rows += self._parentheses(piece)

    def _parentheses(self, piece: bytes) -> int:
        """Opening ones outside of literals; afterwards it is known whether the piece ends in one."""
        if b"\\\\" in piece:
            piece = piece.replace(b"\\\\", b"")  # or the second one would seem to escape a quote
        if b"\\'" in piece:
            piece = piece.replace(b"\\'", b"")
        # Pairs of adjacent quotes don't change what is inside a literal: what remains are literals with parentheses.
        marks = piece.translate(None, _NO_MARK).replace(b"''", b"")
        if b"'" not in marks:
            return 0 if self._quoted else len(marks)
        parts = marks.split(b"'")
        found = sum(map(len, parts[1 if self._quoted else 0 :: 2]))
        self._quoted ^= len(parts) % 2 == 0
        return found

    def _finish(self) -> None:
        if self._current is None:
            return
        if self._current_name in self._tables:
            raise ValueError(f"the dump comes back to table {self._current_name!r}")
        self._tables[self._current_name] = self._current.summary()
        self._current = None


def _outside(rows: list[bytes]) -> bool:
    """Whether a piece that was split between rows was split nowhere within a literal.

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
    """Whether a line that begins as INSERT is not one of the dump tool's (a line of a routine's body)."""
    end = data.find(b"\n", start)
    return end >= 0 and not data.startswith((b"INSERT INTO `", b"INSERT IGNORE INTO `"), start)
