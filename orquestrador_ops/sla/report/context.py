"""What every part of a report of service levels reads: parts of the document, its words, borders of the period."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.i18n import Translator, epoch
from .cards import Levels, mapping
from .wording import Stretch, Words, at_home, stretch

if TYPE_CHECKING:
    from ..data.facts import Facts

Doc = Mapping[str, Any]


class ReportContext:
    """One document in one language; ``facts`` adds what only the store knows."""

    def __init__(self, document: Doc, tr: Translator, facts: Facts | None) -> None:
        period = mapping(document.get("period"))
        self.document, self.facts, self.period = document, facts, period
        self.tr = at_home(tr, period.get("timezone") or tr.zone_name())
        self.words = Words(self.tr)
        self.levels = Levels(self.words)
        self.stretch: Stretch = stretch(period, self.tr)
        self.start, self.end = epoch(period["from"]) or 0.0, epoch(period["to"]) or 0.0
        until = epoch(period.get("until"))
        self.until = self.end if until is None else min(max(until, self.start), self.end)
        self.days, self.hours = mappings(document.get("days")), mappings(document.get("hours"))
        self.slas = mappings(document.get("slas"))
        begun = [(epoch(run.get("started_at")), run) for run in mappings(getattr(facts, "runs", None))]
        self.runs = [run for at, run in begun if at is not None and self.start <= at < self.end]


def mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []
