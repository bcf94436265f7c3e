"""What a task that evaluates service levels returns: one host and one period, from the history or from samples."""

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
    arguments: Mapping[str, Any], wanted: Objectives, kept: Settings, tr: Translator, host: str, check_mode: bool
) -> dict[str, Any]:
    """Evaluate what the task's ``arguments`` ask for; in check mode nothing is written.

    Raises:
        ValueError: there is no such period, or a sample is none.
        OSError: the history cannot be read, or the report not be written.
    """
    now, asked, samples = time.time(), arguments["period"], arguments["samples"]
    period = measure.period_of(asked, arguments["from"], arguments["to"], now=now, timezone=kept.timezone)
    reports: dict[str, str] = {}
    if samples is None and access.absent(kept.state_dir, kept.history_url):
        samples = []
    if samples is not None:
        found = measure.of_samples(samples, host, period, wanted, now)
    else:
        with access.open_history(kept.state_dir, kept.history_url) as store:
            found = measure.of_history(store, host, period, wanted, now)
            if arguments["report"] and not check_mode:
                from ..sla.report import freshness

                place, every_s = kept.state_dir / "reports", arguments["report_every_s"]
                reports = freshness.write_if_due(
                    store, found, wanted, requested=asked, reports_dir=place, tr=tr, every_s=every_s
                )
    word = measure.verdict(found.document)
    return {
        "changed": bool(reports),
        "asked": asked,
        "document": found.document,
        "burn": found.document["burn"],
        "verdict": word,
        "met": {measure.MET: True, measure.MISSED: False}.get(word),
        "lines": summary.host_lines([found.document], tr),
        "missed": summary.missed([found.document], tr),
        "reports": reports,
    }
