"""Evaluate the service levels of one host and period, from the history or from samples."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..core.i18n import Translator
from ..core.settings import Settings
from ..history import access
from ..sla.evaluate import measure
from ..sla.evaluate.objectives import Objectives
from ..sla.report import summary


def evaluate(
    arguments: Mapping[str, Any], targets: Objectives, settings: Settings, tr: Translator, host: str, check_mode: bool
) -> dict[str, Any]:
    """Evaluate the period in the task's ``arguments``; in check mode nothing is written.

    Raises:
        ValueError: the period or a sample is invalid.
        OSError: the history cannot be read, or the report not be written.
    """
    now, requested, samples = time.time(), arguments["period"], arguments["samples"]
    period = measure.period_of(requested, arguments["from"], arguments["to"], now=now, timezone=settings.timezone)
    reports: dict[str, str] = {}
    if samples is None and access.absent(settings.state_dir, settings.history_url):
        samples = []
    if samples is not None:
        result = measure.of_samples(samples, host, period, targets, now)
    else:
        with access.open_history(settings.state_dir, settings.history_url) as store:
            result = measure.of_history(store, host, period, targets, now)
            if arguments["report"] and not check_mode:
                from ..sla.report import freshness

                reports_dir, every_s = settings.state_dir / "reports", arguments["report_every_s"]
                reports = freshness.write_if_due(
                    store, result, targets, requested=requested, reports_dir=reports_dir, tr=tr, every_s=every_s
                )
    verdict = measure.verdict(result.document)
    return {
        "changed": bool(reports),
        "asked": requested,
        "document": result.document,
        "burn": result.document["burn"],
        "verdict": verdict,
        "met": {measure.MET: True, measure.MISSED: False}.get(verdict),
        "lines": summary.host_lines([result.document], tr),
        "missed": summary.missed([result.document], tr),
        "reports": reports,
    }
