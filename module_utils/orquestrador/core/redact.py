"""Redaction of secrets in everything that leaves a host.

Two filters, because each is incomplete. The *exact* filter replaces the values of the application's ``.env`` wherever
they occur. The *generic* filter matches patterns (``password=…``, ``user:pass@`` in URLs, bearer tokens, JWTs, PEM
blocks, cookies) and so finds secrets of other sources. Matches become ``***``.

Scrubbing is idempotent and bounded: strings are cut to :data:`MAX_TEXT` characters, nesting to :data:`MAX_DEPTH`.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from typing import Any, Optional
from urllib.parse import quote, unquote

MASK = "***"
MIN_SECRET = 6  # shorter values would blank out ordinary words
MAX_TEXT = 65536
MAX_DEPTH = 64
MAX_ENV_BYTES = 262144
MAX_SECRETS = 500
# Characters beyond the cut, so that a secret across it is matched as a whole before the tail is dropped.
_OVERLAP = 4096
_ROUNDS = 8

_SECRET_KEY = re.compile(r"PASS|PWD|SECRET|TOKEN|KEY|PRIVATE|CREDENTIAL|DSN", re.I)
_USERINFO = re.compile(r"^[a-z][a-z0-9+.-]*://[^\s/@:]*:(.+)@", re.I | re.S)
_ENV_LINE = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*=[ \t]*", re.M)
# A value that is also a word of the snapshot is no secret; replacing it would make the snapshot unreadable.
_WORDS = (
    "online stopped stopping launching errored cluster unresponsive foreign missing connected disconnected healthy"
    " degraded critical unknown refused denied timeout production development staging localhost memory mysql2 mariadb"
    " 127.0.0.1"
)
_VOCABULARY = frozenset(_WORDS.split())

_NAMES = (
    r"(?:(?<![a-z])pass(?:w(?:or)?d|phrase)?|pwd|passwd|password|passphrase|senha|secret|token|api[_-]?key"
    r"|access[_-]?key(?:[_-]?id)?|private[_-]?key|encryption[_-]?key|credentials?)"
)
# The separator of key and value in shell, YAML, JSON (also JSON inside a JSON string) and node's inspect.
_ASSIGNMENT = re.compile(
    r"(?i)" + _NAMES + r"(?:[_-]?(?:hash|value|key|id|\d{1,3}))?\\{0,3}[\"'`]?[ \t]{0,8}(?:=>|[:=])[ \t]{0,8}"
)
_OPENING = re.compile(r"\\{0,3}[\"'`]")
_BARE = re.compile(r"[^\s\"'`&;]+")
_NEXT_PAIR = re.compile(r",(?=[\w.-]+[=:])")
_NO_SECRET = frozenset(("yes", "no", "true", "false", "null", "undefined", "none", "nan", "[object", "{", "[", MASK))

_URL_PASSWORD = re.compile(
    r"\b([a-z][a-z0-9+.-]{1,30}://[^\s/@:'\"<>]{0,256}:)(?!\*{3}@)(?!\d{1,5}[/?#])[^\s'\"<>]{1,1024}@(?=[\w.\[-])", re.I
)
_URL_TOKEN = re.compile(r"\b([a-z][a-z0-9+.-]{1,30}://)[^\s/@:'\"<>*]{16,512}@", re.I)
_AUTHORIZATION = re.compile(
    r"(?i)\b((?:proxy-)?authorization\\{0,3}[\"']?[ \t]{0,8}[:=][ \t]{0,8}\\{0,3}[\"']?)"
    r"(?!\*{3})(?:(?:basic|bearer|digest|token)[ \t]+)?[^\s\"'\\]+"
)
_BEARER = re.compile(r"(?i)\b(bearer[ \t]+)[a-z0-9._~+/=-]{8,}")
_COOKIE = re.compile(r"(?i)\b((?:set-)?cookie\\{0,3}[\"']?[ \t]{0,8}[:=][ \t]{0,8})(?!\*{3})[^\s][^\r\n]*")
_MYSQL_P = re.compile(r"(?i)\b((?:mysql|mariadb)[\w-]*\b[^\r\n]{0,200}?[ \t]-p)(?!\*{3})[^\s\"']+")
_IDENTIFIED = re.compile(
    r"(?i)\b(identified[ \t]+(?:with[ \t]+\S{1,64}[ \t]+)?(?:by|as)[ \t]+)(?!'\*{3}')'[^'\r\n]*(?:'|$)"
)
_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}-----.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)", re.S)
_SHAPES = re.compile(
    r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?"  # JSON Web Token
    r"|\b(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{16}\b"  # AWS key ids
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}"
    r"|\bsk-[A-Za-z0-9_-]{16,}|\bAIza[\w-]{30,}|\bxox[abprs]-[A-Za-z0-9-]{10,}"  # AI providers, Slack
    # The body of a key without its BEGIN line; no hexadecimal digests or paths.
    r"|(?<![\w/+.-])(?![0-9a-fA-F]{60,}\b)(?=[A-Za-z0-9+/]{0,200}[0-9])(?=[A-Za-z0-9+/]{0,200}[A-Z])"
    r"(?=[A-Za-z0-9+/]{0,200}[a-z])[A-Za-z0-9+][A-Za-z0-9+/]{59,}={0,2}"
)
_SENSITIVE_FIELD = re.compile(
    r"(?i)(?:.*[_-])?(?:password|passwd|pwd|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key"
    r"|authorization|cookie|set-cookie|credentials?)"
)
_STRUCTURAL = re.compile(r"[a-z_]{1,40}")


def load_secrets(env_path: str) -> list[str]:
    """Return the values of the ``.env`` at ``env_path`` that are secrets, longest first.

    A value is a secret when its key contains PASS, SECRET, TOKEN, KEY, PRIVATE, CREDENTIAL or DSN, or when it is a URL
    with a password, which is then a secret itself. Values of fewer than :data:`MIN_SECRET` characters are not.
    Empty for a file that is missing, unreadable, not a regular file or not text.
    """
    try:
        fd = os.open(env_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError, TypeError):
        return []
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return []
        data = os.read(fd, MAX_ENV_BYTES)
    except OSError:
        return []
    finally:
        os.close(fd)
    return _secrets_of(data.decode("utf-8", "replace").lstrip("\ufeff").replace("\r\n", "\n"))


def parse_env(text: str) -> list[tuple[str, str]]:
    """Return the pairs of a ``.env`` text as dotenv reads it: ``export``, quotes, multi-line values, comments."""
    pairs: list[tuple[str, str]] = []
    pos = 0
    while True:
        match = _ENV_LINE.search(text, pos)
        if match is None:
            return pairs
        start = match.end()
        quoting = text[start : start + 1]
        end_of_line = text.find("\n", start)
        end_of_line = len(text) if end_of_line < 0 else end_of_line
        closing = -1
        if quoting and quoting in "\"'`":
            closing = text.find(quoting, start + 1)
            while closing > 0 and quoting == '"' and text[closing - 1] == "\\":
                closing = text.find(quoting, closing + 1)
        if closing > end_of_line and _ENV_LINE.search(text, end_of_line, closing):
            closing = -1  # a quote that is never closed must not swallow the assignments after it
        if closing > 0:
            value, pos = text[start + 1 : closing], closing + 1
            if quoting == '"':
                pairs.append((match.group(1), value))
                value = value.replace("\\n", "\n").replace('\\"', '"')
        else:
            value, pos = text[start:end_of_line], end_of_line
            # Shells and dotenv differ on an unquoted "#": both readings are kept.
            pairs.append((match.group(1), value.strip()))
            value = value.lstrip("\"'`")  # an unclosed quote
            value = re.split(r"\s#", value, maxsplit=1)[0].strip()
        pairs.append((match.group(1), value))


def _secrets_of(text: str) -> list[str]:
    values: set[str] = set()
    for key, value in parse_env(text):
        userinfo = _USERINFO.match(value)
        if userinfo:
            values.update((userinfo.group(1), unquote(userinfo.group(1))))
        if userinfo or _SECRET_KEY.search(key):
            values.add(value)
            # A logged PEM loses its line breaks or shows them as \n: its lines are secrets each.
            values.update(line.strip() for line in value.splitlines() if not line.startswith("-----"))
    for value in list(values):
        values.add(quote(value, safe=""))
    secrets = {value for value in values if len(value) >= MIN_SECRET and value.lower() not in _VOCABULARY}
    return sorted(secrets, key=lambda value: (-len(value), value))[:MAX_SECRETS]


def scrub(value: Any, secrets: Sequence[str]) -> Any:
    """Return a copy of ``value`` (JSON) with every secret replaced by ``***``.

    The text of a field that is named like a secret is replaced. The ``text`` of a message is a literal of the code and
    the key of its translation: only the exact filter applies to it.
    """
    return _scrub(value, _exact(secrets), 0)


def scrub_text(text: str, secrets: Sequence[str] = ()) -> str:
    """Return a string with both filters applied."""
    return _text(text, _exact(secrets))


def _exact(secrets: Sequence[str]) -> Optional[re.Pattern[str]]:
    usable = sorted({s for s in secrets if isinstance(s, str) and len(s) >= MIN_SECRET}, key=lambda s: (-len(s), s))
    return re.compile("|".join(re.escape(s) for s in usable[:MAX_SECRETS])) if usable else None


def _scrub(value: Any, exact: Optional[re.Pattern[str]], depth: int) -> Any:
    if isinstance(value, str):
        return _text(value, exact)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if depth >= MAX_DEPTH:
        return MASK
    if isinstance(value, dict):
        is_message = len(value) == 2 and isinstance(value.get("text"), str) and isinstance(value.get("args"), dict)
        result: dict[Any, Any] = {}
        for key, item in value.items():
            name = key
            if isinstance(key, str) and not _STRUCTURAL.fullmatch(key):
                name = _text(key, exact)
            if is_message and key == "text":
                result[name] = _exactly(item, exact)
            elif isinstance(item, str) and item and isinstance(key, str) and _SENSITIVE_FIELD.fullmatch(key):
                result[name] = MASK
            else:
                result[name] = _scrub(item, exact, depth + 1)
        return result
    if isinstance(value, (list, tuple)):
        return [_scrub(item, exact, depth + 1) for item in value]
    return _text(str(value), exact)


def _exactly(text: str, exact: Optional[re.Pattern[str]]) -> str:
    return exact.sub(MASK, text) if exact is not None else text


def _text(text: str, exact: Optional[re.Pattern[str]]) -> str:
    long = len(text) > MAX_TEXT
    if long:
        text = text[: MAX_TEXT + _OVERLAP]
    # A replacement can complete another secret (one that holds asterisks): repeat until nothing changes.
    for _ in range(_ROUNDS):
        before = text
        text = _generic(_exactly(text, exact))
        if text == before:
            break
    return text[:MAX_TEXT] if long else text


def _generic(text: str) -> str:
    if len(text) < MIN_SECRET:
        return text
    if "-----BEGIN" in text:
        text = _PEM.sub(MASK, text)
    if "://" in text:
        text = _URL_PASSWORD.sub(r"\1***@", text)
        text = _URL_TOKEN.sub(r"\1***@", text)
    lowered = text.lower()
    if "cookie" in lowered:
        text = _COOKIE.sub(r"\1***", text)
    if "authorization" in lowered:
        text = _AUTHORIZATION.sub(r"\1***", text)
    if "bearer" in lowered:
        text = _BEARER.sub(r"\1***", text)
    if " -p" in text or "\t-p" in text:
        text = _MYSQL_P.sub(r"\1***", text)
    if "identified" in lowered:
        text = _IDENTIFIED.sub(r"\1'***'", text)
    return _SHAPES.sub(MASK, _assignments(text))


def _assignments(text: str) -> str:
    """Replace values of ``password=…`` and the like; quoted, quoted inside a quoted string, or bare."""
    parts: list[str] = []
    position = 0
    for match in _ASSIGNMENT.finditer(text):
        start = match.end()
        if start < position:
            continue
        opening = _OPENING.match(text, start)
        if opening:
            start = opening.end()
            end = _closing(text, start, opening.group())
            if not text[start:end] or text[start:end].lower() in _NO_SECRET:
                continue
        else:
            bare = _BARE.match(text, start)
            if bare is None:
                continue
            end = start + len(_NEXT_PAIR.split(bare.group(), maxsplit=1)[0].rstrip(",)}]"))
            if end == start or text[start:end].lower() in _NO_SECRET:
                continue
        parts.extend((text[position:start], MASK))
        position = end
    parts.append(text[position:])
    return "".join(parts)


def _closing(text: str, start: int, quoting: str) -> int:
    """Return the end of the quoted value that begins at ``start``; the end of the text when it was cut."""
    if len(quoting) > 1:
        end = text.find(quoting, start)
        return end if end >= 0 else len(text)
    pos = start
    while pos < len(text):
        if text[pos] == "\\":
            pos += 2
        elif text[pos] == quoting:
            return pos
        else:
            pos += 1
    return len(text)
