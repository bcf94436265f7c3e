"""The operator's language on the command line, and errors in one line of it."""

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

USAGE = 2  # exit status of an invalid command line
INTERNAL = 70  # of an error of the program


class CliError(Exception):
    """A command that cannot be executed: one line of what, where and what to do next, and the exit status."""

    def __init__(self, message: Message, status: int = USAGE) -> None:
        super().__init__(plain(message))
        self.message = message
        self.status = status


def command_error(error: Exception) -> CliError:
    """Return any failure as an error for the operator."""
    if isinstance(error, CliError):
        return error
    if isinstance(error, HistoryError):
        return CliError(error.message, 1)
    if isinstance(error, SlaError):
        return CliError(error.message)
    if isinstance(error, OSError):
        return CliError(msg("{reason}", reason=str(error)), 1)
    return CliError(msg("internal error: {reason}: set OPS_DEBUG=1 to see where", reason=repr(error)), INTERNAL)


def locale_of(environ: Mapping[str, str]) -> str:
    """Return ``OPS_LOCALE``, else the terminal's language, else the project's; always one with a catalog."""
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
    """Return the translator of this terminal; times are in ``OPS_TIMEZONE``, else in the project's time zone."""
    locale = locale_of(os.environ)
    try:
        return i18n.translator(locale, os.environ.get("OPS_TIMEZONE") or i18n.DEFAULT_TIMEZONE)
    except ValueError:
        return i18n.translator(locale)


def t(text: str, /, **args: Any) -> str:
    """Return ``text`` in the operator's language."""
    return translator().t(text, **args)


def translated(message: Any) -> str:
    """Return a message in the operator's language."""
    return translator().message(message)


def no_project() -> CliError:
    """Return the error for a missing project."""
    return CliError(msg("no project here: go into its directory, or name it in OPS_PROJECT"))


def fail(error: CliError, *, as_json: bool) -> int:
    """Print an error in one line; return its exit status."""
    line = " ".join(translated(error.message).split())
    if as_json:
        print(json.dumps({"schema": 1, "error": line}, ensure_ascii=False))
    else:
        print(f"runbook: {line}", file=sys.stderr)
    return error.status
