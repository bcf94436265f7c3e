"""Freshness of reports of service levels: rewritten after some time, and once more when their period is over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...core.i18n import Translator
from ..data import periods
from ..evaluate import measure
from ..evaluate.measure import Evaluation
from ..evaluate.objectives import Objectives
from . import writer

if TYPE_CHECKING:
    from ...history.store import History


def write_if_due(
    store: History,
    evaluation: Evaluation,
    objectives: Objectives,
    *,
    requested: str | None,
    reports_dir: Path,
    tr: Translator,
    every_s: float = 0.0,
) -> dict[str, str]:
    """Write the report of an evaluation, unless it is younger than ``every_s``; ``{format: path}``, ``{}`` if not.

    ``requested`` is the name by which the period was requested. If it is one of the calendar and the one before it has
    a report from before its end, that one is written again. Raises ``OSError``, ``HistoryError``.
    """
    now, host = evaluation.facts.now, evaluation.facts.host
    finished = None
    if requested in periods.CALENDAR:
        previous = periods.parse(f"last-{requested}", now=now, timezone=evaluation.facts.period.timezone)
        written_at = _written_at(reports_dir, host, previous.name)
        if written_at is not None and written_at < previous.end:
            finished = measure.of_history(store, host, previous, objectives, now)
            writer.write(finished.document, reports_dir=reports_dir, tr=tr, facts=finished.facts)
    written_at = _written_at(reports_dir, host, evaluation.facts.period.name)
    # After the previous one, so that "latest" points to the newest.
    if finished is None and written_at is not None and 0 <= now - written_at < every_s:
        return {}
    return writer.write(evaluation.document, reports_dir=reports_dir, tr=tr, facts=evaluation.facts)


def _written_at(reports_dir: Path, host: str, period: str) -> float | None:
    """Return when the report of a period was written, in epoch seconds; ``None`` without one."""
    document = {"host": host, "period": {"name": period}}
    try:
        return writer.path_of(document, reports_dir, "html").stat().st_mtime
    except OSError:
        return None
