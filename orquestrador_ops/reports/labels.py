"""What results are called: the words, tones and symbols of checks, verdicts, steps and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orquestrador.core.messages import msg

from ..core import outcomes
from ..core.i18n import Translator
from ..core.text import clean

STEP_WORDS = {
    outcomes.OK: msg("OK"),
    outcomes.CHANGED: msg("DONE"),
    outcomes.SKIPPED: msg("SKIPPED"),
    outcomes.WARN: msg("ATTENTION"),
    outcomes.UNKNOWN: msg("UNKNOWN"),
    outcomes.FAILED: msg("FAILED"),
}


CHECK_WORDS = {
    outcomes.OK: msg("OK"),
    outcomes.WARN: msg("ATTENTION"),
    outcomes.CRITICAL: msg("CRITICAL"),
    outcomes.UNKNOWN: msg("UNKNOWN"),
}


OVERALL_WORDS = {
    outcomes.HEALTHY: msg("HEALTHY"),
    outcomes.DEGRADED: msg("DEGRADED"),
    outcomes.CRITICAL: msg("CRITICAL"),
    outcomes.UNKNOWN: msg("UNKNOWN"),
}


OUTCOME_WORDS = {
    outcomes.MET: msg("expected result met"),
    outcomes.NOT_MET: msg("expected result NOT met"),
    outcomes.UNREACHABLE: msg("host could not be reached"),
    outcomes.ERROR: msg("the run failed"),
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
    **dict.fromkeys((outcomes.OK, outcomes.CHANGED, outcomes.HEALTHY, outcomes.MET), "good"),
    **dict.fromkeys((outcomes.WARN, outcomes.DEGRADED, outcomes.SKIPPED), "warn"),
    **dict.fromkeys((outcomes.FAILED, outcomes.CRITICAL, outcomes.NOT_MET, *outcomes.OF_PROBE), "bad"),
}


SYMBOLS = {"good": "✔", "warn": "!", "bad": "✘", "unknown": "?"}


def overall_word(verdict: Mapping[str, Any], tr: Translator) -> str:
    """How a verdict calls the whole, in the operator's language."""
    return clean(tr.message(OVERALL_WORDS.get(str(verdict.get("overall")), OVERALL_WORDS[outcomes.UNKNOWN])))


def check_word(check: Mapping[str, Any], tr: Translator) -> str:
    """How a check's status is called, in the operator's language."""
    return clean(tr.message(CHECK_WORDS.get(str(check.get("status")), CHECK_WORDS[outcomes.UNKNOWN])))
