"""What all parts of a report read of a document, with nothing assumed about what is in it."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador_ops.core.i18n import epoch, translator
from orquestrador_ops.sla.report.context import ReportContext, mappings
from tests.unit.controller.sla import known

TR = translator("en", "UTC")


def test_a_real_document_with_its_facts() -> None:
    month = known.month()
    context = ReportContext(known.document(month), TR, known.facts(month))
    assert (context.start, context.end, context.until) == (month.period.start, month.period.end, month.period.end)
    assert context.tr.zone_name() == known.ZONE  # the period's, not the reader's
    assert len(context.days) == 31
    assert {run["run_id"] for run in context.runs} == {run["run_id"] for run in month.plan.runs}
    assert ReportContext(known.document(month), TR, None).runs == []


@pytest.mark.parametrize(
    ("until", "kept"),
    [
        ("2026-10-09T00:00:00Z", "2026-10-09T00:00:00Z"),
        ("1999-01-01T00:00:00Z", "start"),
        ("2999-01-01T00:00:00Z", "end"),
        ("soon", "end"),
        (None, "end"),
    ],
)
def test_what_can_be_judged_ends_within_the_period(until: Any, kept: str) -> None:
    document = known.document()
    context = ReportContext({**document, "period": {**document["period"], "until": until}}, TR, None)
    assert context.until == {"start": context.start, "end": context.end}.get(kept, epoch(kept))


@pytest.mark.parametrize("wild", [None, 7, "days", {"a": 1}, [None, 7, "x"]])
def test_what_is_no_list_of_mappings_is_none(wild: Any) -> None:
    assert mappings(wild) == []
    context = ReportContext({**known.document(), "days": wild, "slas": wild}, TR, None)
    assert (context.days, context.slas) == ([], [])
