"""The operator's language on the command line, and what is refused in one line of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from orquestrador.core.messages import msg, plain
from orquestrador.core.types import Message

from ..core import i18n
from ..core.errors import HistoryError, SlaError

USAGE = 2  # the exit status of what was not even begun
INTERNAL = 70  # of what should never happen


class Refused(Exception):  # noqa: N818 - it is no error of the program
    """What cannot be done as asked: one line that says what, where and what to do next."""

    def __init__(self, message: Message, status: int = USAGE) -> None:
        super().__init__(plain(message))
        self.message = message
        self.status = status


def refused(error: Exception) -> Refused:
    """What an operator is told of a failure, whichever it is."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, HistoryError):
        return Refused(error.message, 1)
    if isinstance(error, SlaError):
        return Refused(error.message)
    if isinstance(error, OSError):
        return Refused(msg("{reason}", reason=str(error)), 1)
    return Refused(msg("internal error: {reason}: set OPS_DEBUG=1 to see where", reason=repr(error)), INTERNAL)


def locale_of(environ: Mapping[str, str]) -> str:
    """``OPS_LOCALE``, else the language of the terminal, else the project's own; never one without a catalog."""
    named = environ.get("OPS_LOCALE", "")
    if named in i18n.LOCALES:
        return named
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        language = environ.get(name, "").partition(".")[0].partition("_")[0].lower()
        if language in {"", "c", "posix"}:
            continue
        return next((locale for locale in i18n.LOCALES if locale.partition("_")[0] == language), i18n.DEFAULT_LOCALE)
    return i18n.DEFAULT_LOCALE


@lru_cache(maxsize=1)
def translator() -> i18n.Translator:
    """The translator of this terminal; times are in ``OPS_TIMEZONE``, the project's own where that is unknown."""
    locale = locale_of(os.environ)
    try:
        return i18n.translator(locale, os.environ.get("OPS_TIMEZONE") or i18n.DEFAULT_TIMEZONE)
    except ValueError:
        return i18n.translator(locale)


def t(text: str, /, **args: Any) -> str:
    """``text`` in the operator's language."""
    return translator().t(text, **args)


def said(message: Any) -> str:
    """A message in the operator's language."""
    return translator().message(message)


def no_project() -> Refused:
    """There is nothing to run here."""
    return Refused(msg("no project here: go into its directory, or name it in OPS_PROJECT"))


def fail(refused: Refused, *, as_json: bool) -> int:
    """Say in one line what cannot be done; its exit status."""
    line = " ".join(said(refused.message).split())
    if as_json:
        print(json.dumps({"schema": 1, "error": line}, ensure_ascii=False))
    else:
        print(f"runbook: {line}", file=sys.stderr)
    return refused.status
