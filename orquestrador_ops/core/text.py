"""Text from elsewhere made fit for a terminal or a page: no control characters, bounded, measured in columns."""

from __future__ import annotations

import re
import unicodedata

# C0 and C1 controls, line and paragraph separators, bidirectional overrides, half surrogates: in a log sample they
# are an attack on the reader or broken data.
_BREAKS = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_HOSTILE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb]")
MAX_TEXT = 2000


def clean(value: object, limit: int = MAX_TEXT) -> str:
    """One line of printable text: breaks become a space, other controls ``\ufffd``, more than ``limit`` is cut."""
    text = str(value)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return _HOSTILE.sub("\ufffd", _BREAKS.sub(" ", text))


def excerpt(value: object, limit: int) -> str:
    """The beginning of a text as one line, without any mark where it was cut."""
    return " ".join(str(value).split())[:limit]


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """``text`` in at most ``width`` columns, with ``…`` where something is missing."""
    if columns(text) <= width:
        return text
    if width < 1:
        return ""
    kept, used = [], 1
    for character in text:
        used += _columns(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + "…"


def wrap(text: str, width: int, lines: int) -> list[str]:
    """Break ``text`` at spaces into at most ``lines`` lines of ``width`` columns; the last one is cut."""
    done: list[str] = []
    rest = text.split(" ")
    while rest and len(done) < lines - 1:
        line = rest.pop(0)
        while rest and columns(line) + 1 + columns(rest[0]) <= width:
            line += " " + rest.pop(0)
        done.append(cut(line, width))
    if rest:
        done.append(cut(" ".join(rest), width))
    return done


def ascii_only(text: str) -> str:
    """``text`` for a stream that is not UTF-8: accents go, what has no like becomes ``?``."""
    plain = (c for c in unicodedata.normalize("NFKD", text.translate(_LIKE)) if not unicodedata.combining(c))
    return "".join(plain).encode("ascii", "replace").decode()


_LIKE = str.maketrans(
    {"…": "...", "—": "-", "–": "-", "·": "-", "→": "->", "✔": "+", "✘": "x", "↻": "+", "\ufffd": "?"}
)
