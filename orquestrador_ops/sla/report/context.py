"""Common data of all parts of a report of service levels: the document, its wording, the period's borders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.i18n import Translator, epoch
from .cards import Cards, mapping
from .wording import PeriodDates, Wording, dates_of, in_timezone

if TYPE_CHECKING:
    from ..data.facts import Facts

Doc = Mapping[str, Any]


class ReportContext:
    """One document in one language; ``facts`` adds the runs and the timeline."""

    def __init__(self, document: Doc, tr: Translator, facts: Facts | None) -> None:
        period = mapping(document.get("period"))
        self.document, self.facts, self.period = document, facts, period
        self.tr = in_timezone(tr, period.get("timezone") or tr.zone_name())
        self.wording = Wording(self.tr)
        self.cards = Cards(self.wording)
        self.dates: PeriodDates = dates_of(period, self.tr)
        self.start, self.end = epoch(period["from"]) or 0.0, epoch(period["to"]) or 0.0
        until = epoch(period.get("until"))
        self.until = self.end if until is None else min(max(until, self.start), self.end)
        self.days, self.hours = mappings(document.get("days")), mappings(document.get("hours"))
        self.slas = mappings(document.get("slas"))
        started = [(epoch(run.get("started_at")), run) for run in mappings(getattr(facts, "runs", None))]
        self.runs = [run for at, run in started if at is not None and self.start <= at < self.end]


def mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []
