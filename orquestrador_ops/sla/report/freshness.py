"""When a report of service levels is written: not too often, and once more when its period is over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...core.i18n import Translator
from ..data import periods
from ..evaluate import measure
from ..evaluate.measure import Measured
from ..evaluate.objectives import Objectives
from . import writer

if TYPE_CHECKING:
    from ...history.store import History


def keep(
    store: History,
    found: Measured,
    objectives: Objectives,
    *,
    asked: str | None,
    reports_dir: Path,
    tr: Translator,
    every_s: float = 0.0,
) -> dict[str, str]:
    """Write the report of what was found, unless it is younger than ``every_s``; ``{format: path}``, ``{}`` if not.

    ``asked`` is the name by which the period was asked for. Where that is one of the calendar and the one before it has
    a report from when it was not over yet, that is written once more, whole. Raises ``OSError``, ``HistoryError``.
    """
    now, host = found.facts.now, found.facts.host
    before = None
    if asked in periods.CALENDAR:
        last = periods.parse(f"last-{asked}", now=now, timezone=found.facts.period.timezone)
        written_at = _written_at(reports_dir, host, last.name)
        if written_at is not None and written_at < last.end:
            before = measure.of_history(store, host, last, objectives, now)
            writer.write(before.document, reports_dir=reports_dir, tr=tr, facts=before.facts)
    written_at = _written_at(reports_dir, host, found.facts.period.name)
    # After the one before, so that the newest is the one that "latest" names.
    if before is None and written_at is not None and 0 <= now - written_at < every_s:
        return {}
    return writer.write(found.document, reports_dir=reports_dir, tr=tr, facts=found.facts)


def _written_at(reports_dir: Path, host: str, period: str) -> float | None:
    """When the report of a period was written, in epoch seconds; ``None`` where there is none."""
    document = {"host": host, "period": {"name": period}}
    try:
        return writer.path_of(document, reports_dir, "html").stat().st_mtime
    except OSError:
        return None
