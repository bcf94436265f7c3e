"""Reports are not written too often, and once more when their period is over."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from orquestrador_ops.core.i18n import epoch, translator
from orquestrador_ops.history.access import open_history
from orquestrador_ops.sla.data import periods, series
from orquestrador_ops.sla.data import store as stores
from orquestrador_ops.sla.evaluate import measure
from orquestrador_ops.sla.evaluate.objectives import Objectives
from orquestrador_ops.sla.report import freshness

MIDNIGHT = epoch("2026-01-06T00:00:00+00:00") or 0.0


def kept(state: Path, now: float, every_s: float = 900.0, asked: str = "day") -> dict[str, str]:
    """What is written at ``now``, as files' times are by then."""
    with open_history(state) as store:
        period = periods.parse(asked, now=now, timezone="UTC")
        found = measure.of_history(store, "web-01", period, Objectives(), now)
        reports = state / "reports"
        written = freshness.write_if_due(
            store,
            found,
            Objectives(),
            requested=asked,
            reports_dir=reports,
            tr=translator("en", "UTC"),
            every_s=every_s,
        )
    for path in reports.rglob("sla-*"):
        if path.stat().st_mtime > MIDNIGHT + 10 * 86400:  # written just now
            os.utime(path, (now, now))
    return written


def document(state: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((state / "reports/web-01" / f"sla-{name}.json").read_text())
    return found


def test_a_report_is_written_again_when_it_is_old_and_when_its_day_is_over(tmp_path: Path) -> None:
    made = series.empty(2 * 1440)
    made["at"] = MIDNIGHT - 86400 + 60.0 * np.arange(2 * 1440)
    made["flags"] = series.INSIDE_PROBED | series.INSIDE_GOOD
    with open_history(tmp_path) as store:
        stores.write_series(store, "web-01", made, "test")
    assert sorted(kept(tmp_path, MIDNIGHT - 3600)) == ["html", "json", "md"]
    assert kept(tmp_path, MIDNIGHT - 3000) == {}
    assert kept(tmp_path, MIDNIGHT - 3000, every_s=0) != {}
    assert kept(tmp_path, MIDNIGHT - 2000) != {}
    assert document(tmp_path, "2026-01-05")["period"]["over"] is False
    # The next day: yesterday's is finished first, and the latest is today's.
    assert kept(tmp_path, MIDNIGHT + 100)["html"].endswith("sla-2026-01-06.html")
    assert document(tmp_path, "2026-01-05")["period"]["over"] is True
    assert document(tmp_path, "2026-01-05")["slas"][0]["total"] == 1440
    assert (tmp_path / "reports/web-01/latest-sla-day.html").resolve().name == "sla-2026-01-06.html"
    assert kept(tmp_path, MIDNIGHT + 200) == {}


def test_a_day_without_a_report_gets_none_afterwards(tmp_path: Path) -> None:
    assert kept(tmp_path, MIDNIGHT + 100) != {}
    assert [path.name for path in (tmp_path / "reports/web-01").glob("sla-*.html")] == ["sla-2026-01-06.html"]
