"""What results are called: the words, tones and symbols of checks, verdicts, steps and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orquestrador.core.messages import msg

from ..core.i18n import Translator
from ..core.text import clean

STEP_WORDS = {
    "ok": msg("OK"),
    "changed": msg("DONE"),
    "skipped": msg("SKIPPED"),
    "warn": msg("ATTENTION"),
    "unknown": msg("UNKNOWN"),
    "failed": msg("FAILED"),
}


CHECK_WORDS = {"ok": msg("OK"), "warn": msg("ATTENTION"), "critical": msg("CRITICAL"), "unknown": msg("UNKNOWN")}


OVERALL_WORDS = {
    "healthy": msg("HEALTHY"),
    "degraded": msg("DEGRADED"),
    "critical": msg("CRITICAL"),
    "unknown": msg("UNKNOWN"),
}


OUTCOME_WORDS = {
    "met": msg("expected result met"),
    "not_met": msg("expected result NOT met"),
    "unreachable": msg("host could not be reached"),
    "error": msg("the run failed"),
}


COLLECTORS = {
    "pm2": msg("PM2"),
    "port": msg("Port"),
    "http": msg("HTTP"),
    "database": msg("Database"),
    "resources": msg("Resources"),
    "logs": msg("Logs"),
    "files": msg("Critical files"),
    "runner": msg("Probe"),
}


# How a status looks: one tone for colours and symbols in every layout.
TONES = {
    "ok": "good",
    "changed": "good",
    "healthy": "good",
    "met": "good",
    "warn": "warn",
    "degraded": "warn",
    "skipped": "warn",
    "failed": "bad",
    "critical": "bad",
    "not_met": "bad",
    "error": "bad",
    "unreachable": "bad",
}


SYMBOLS = {"good": "✔", "warn": "!", "bad": "✘", "unknown": "?"}


def overall_word(verdict: Mapping[str, Any], tr: Translator) -> str:
    """How a verdict calls the whole, in the operator's language."""
    return clean(tr.message(OVERALL_WORDS.get(str(verdict.get("overall")), OVERALL_WORDS["unknown"])))


def check_word(check: Mapping[str, Any], tr: Translator) -> str:
    """How a check's status is called, in the operator's language."""
    return clean(tr.message(CHECK_WORDS.get(str(check.get("status")), CHECK_WORDS["unknown"])))
