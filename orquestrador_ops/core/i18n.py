"""The operator's language: gettext catalogs, and numbers, sizes, durations and times as that language writes them.

Messages from managed hosts (:mod:`orquestrador.core.messages`) name the unit of an argument by the ending of
its name. Only two locales are needed, both with few rules, so numbers are written here rather than with Babel, whose
import costs more than a whole checklist takes to render; Babel makes the catalogs (:mod:`.compiled`).
"""

from __future__ import annotations

import gettext
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Any

from . import compiled
from .places import default_state_dir

LOCALE_DIR = Path(__file__).parent / "locale"
DOMAIN = "orquestrador"
FORMER = "former"  # message ids that earlier versions left in a history, and this one does not use any more
DEFAULT_LOCALE = "pt_BR"
DEFAULT_TIMEZONE = "America/Sao_Paulo"

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KIB, _MIB, _GIB, _TIB = 1024.0, 1024.0**2, 1024.0**3, 1024.0**4


@dataclass(frozen=True)
class _Style:
    tag: str  # BCP 47, for HTML
    decimal: str
    date: str
    time: str


# Source of the forms: Unicode CLDR, medium patterns.
_STYLES = {
    "pt_BR": _Style("pt-BR", ",", "%d/%m/%Y", "%H:%M:%S"),
    "en": _Style("en", ".", "%Y-%m-%d", "%H:%M:%S"),
}
LOCALES = tuple(_STYLES)


def parse_time(value: object) -> datetime | None:
    """Read ISO 8601 or epoch seconds; a time without a zone is UTC. ``None`` when it is neither."""
    try:
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        moment = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def epoch(value: object) -> float | None:
    """ISO 8601 or epoch seconds as epoch seconds; ``None`` when it is neither."""
    moment = parse_time(value)
    return None if moment is None else moment.timestamp()


def iso(value: float | None) -> str | None:
    """Epoch seconds as ISO 8601 in UTC."""
    return None if value is None else datetime.fromtimestamp(value, UTC).isoformat()


class Translator:
    """Puts message ids, messages and values into one language. Its methods never raise on bad values."""

    def __init__(self, locale: str, catalog: gettext.NullTranslations, zone: tzinfo) -> None:
        self.locale = locale
        self.catalog = catalog
        self.zone = zone
        self._style = _STYLES[locale]
        self._units: tuple[tuple[str, Callable[[float], str]], ...] = (
            ("_bytes", self.bytes),
            ("_ms", self.milliseconds),
            ("_s", self.seconds),
            ("_percent", self.percent),
        )

    @property
    def tag(self) -> str:
        """The language tag for HTML, e.g. ``pt-BR``."""
        return self._style.tag

    def t(self, text: str, /, **args: Any) -> str:
        """Translate the message id ``text`` and fill in its ``{named}`` arguments, formatted by their endings.

        An argument that is missing stays visible as its placeholder.
        """
        return self._fill(self.catalog.gettext(text) if text else "", args)

    def message(self, message: Any) -> str:
        """Put a message ``{text, args}`` into words; anything else is shown as it is, ``None`` as nothing."""
        if message is None:
            return ""
        if not isinstance(message, dict) or "text" not in message:
            return str(message)
        args = message.get("args")
        return self.t(str(message["text"]), **{str(k): v for k, v in args.items()} if isinstance(args, dict) else {})

    def value(self, name: str, value: object) -> str:
        """Write one argument: the ending of ``name`` gives the unit (see :mod:`orquestrador.core.messages`)."""
        if value is None:
            return self.t("unknown")
        if isinstance(value, bool):
            return self.t("yes") if value else self.t("no")
        if name.endswith("_at"):
            return self.time(value)
        if isinstance(value, int | float):
            for ending, write in self._units:
                if name.endswith(ending):
                    return write(value)
            # Counts, ports and pids: no grouping, a port is not "3.001".
            return str(value) if isinstance(value, int) else self.number(value, 2)
        return self.message(value)

    def number(self, value: float, digits: int = 1) -> str:
        """``1.5`` → ``1,5``: at most ``digits`` decimals, none that are zero."""
        text = f"{value:.{digits}f}"
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return ("0" if text == "-0" else text).replace(".", self._style.decimal)

    def bytes(self, value: float) -> str:
        """Bytes as B, KB, MB, GB or TB of 1024, as PM2 and the operational playbook count them."""
        size = abs(value)
        for unit, name in ((_TIB, "TB"), (_GIB, "GB"), (_MIB, "MB"), (_KIB, "KB")):
            if size >= unit:
                return f"{self.number(value / unit)} {name}"
        return f"{self.number(value, 0)} B"

    def milliseconds(self, value: float) -> str:
        """Milliseconds as ms below one second, as a duration above."""
        return f"{self.number(value)} ms" if abs(value) < 1000 else self.seconds(value / 1000)

    def seconds(self, value: float) -> str:
        """Seconds as the two largest units: ``12,5 s``, ``4 min 10 s``, ``3 h 5 min``, ``7 d 4 h``."""
        if not math.isfinite(value):
            return self.t("unknown")
        if value < 0:
            return "-" + self.seconds(-value)
        if 0 < value < 1:
            return f"{self.number(value * 1000)} ms"
        if value < 60:
            return f"{self.number(value, 2)} s"
        whole = round(value)
        for unit, name, below, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
            if whole >= unit:
                rest = whole % unit // below
                return f"{whole // unit} {name} {rest} {part}" if rest else f"{whole // unit} {name}"
        return f"{whole} s"

    def percent(self, value: float) -> str:
        """``83.4`` → ``83,4%``."""
        return f"{self.number(value)}%"

    def time(self, value: object) -> str:
        """An instant in the operator's time zone, with seconds; the zone itself is named once by :meth:`zone_name`."""
        moment = parse_time(value)
        if moment is None:
            return self.t("unknown") if value is None else str(value)
        return moment.astimezone(self.zone).strftime(f"{self._style.date} {self._style.time}")

    def zone_name(self) -> str:
        """Name of the operator's time zone, e.g. ``America/Sao_Paulo``."""
        return str(getattr(self.zone, "key", self.zone))

    def _fill(self, text: str, args: dict[str, Any]) -> str:
        # Not str.format: values and ids come from elsewhere, and "{a.b}" or a stray brace must neither act nor raise.
        return _PLACEHOLDER.sub(lambda m: self.value(m[1], args[m[1]]) if m[1] in args else m[0], text)


# Of this process, whichever state directory they came from.
_catalogs: dict[str, gettext.NullTranslations] = {"en": gettext.NullTranslations()}


class _FormerMessages(gettext.NullTranslations):
    """Translates what the catalog of today does not know; loaded when the first such text is met."""

    def __init__(self, locale: str, state_dir: Path) -> None:
        super().__init__()
        self._load = lru_cache(maxsize=1)(lambda: compiled.translations(po_path(locale, FORMER), state_dir))

    def gettext(self, message: str) -> str:
        """The translation of ``message``; itself when no version had one."""
        return self._load().gettext(message)


def po_path(locale: str, domain: str = DOMAIN) -> Path:
    """Where a catalog of ``locale`` lies. English is the language of the message ids and has none."""
    return LOCALE_DIR / locale / "LC_MESSAGES" / f"{domain}.po"


@lru_cache(maxsize=8)
def translator(
    locale: str = DEFAULT_LOCALE, timezone: str = DEFAULT_TIMEZONE, state_dir: Path | None = None
) -> Translator:
    """The translator for ``locale`` (``pt_BR`` or ``en``) and an IANA ``timezone``.

    ``state_dir`` is where a catalog that has to be compiled first is kept; the environment's by default. Raises
    ``ValueError``, one line, for a locale without a catalog and for a time zone nobody knows.
    """
    if locale not in _STYLES:
        raise ValueError(f"ops_locale {locale!r} is not available: use one of {', '.join(LOCALES)}")
    if locale not in _catalogs:
        state_dir = state_dir or default_state_dir()
        catalog = compiled.translations(po_path(locale), state_dir)
        catalog.add_fallback(_FormerMessages(locale, state_dir))
        _catalogs[locale] = catalog
    return Translator(locale, _catalogs[locale], _zone(timezone))


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    try:
        ZoneInfo("UTC")
    except (ZoneInfoNotFoundError, OSError):
        return UTC  # no zone database on this machine: times in UTC are better than no report
    raise ValueError(f"ops_timezone {name!r} is not known: use an IANA name such as {DEFAULT_TIMEZONE}")
