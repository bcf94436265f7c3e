"""The same samples judged by Prometheus: every figure is the one that we give.

Prometheus looks back five minutes for a sample, which is what we take over as the gap that one may cover. Time-weighted
figures are asked of it by looking at evenly spaced instants. All samples are told it five seconds late, so that none
lies on an instant it looks at: then counts of instants are exact, and nothing has to be forgiven. Figures must agree to
the twelve places that ratios are rounded to; burn rates to nine; percentiles to the 5 % of a histogram's bucket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orquestrador_ops.sla.data import periods, spans, timeline
from orquestrador_ops.sla.data import series as samples
from orquestrador_ops.sla.data.cells import cells
from orquestrador_ops.sla.evaluate import burn_rate as burn
from orquestrador_ops.sla.evaluate.evaluate import Facts, edges, evaluate
from orquestrador_ops.sla.evaluate.objectives import Objectives
from tests.integration import monitors
from tests.unit.controller.sla import known

LATE_S = 5.0
FIGURES = ("value", "worst", "best", "coverage")
EXACT = 2e-12
SEEN_AND_GOOD = {"uptime": samples.INSIDE_GOOD, "availability": samples.OUTSIDE_GOOD}
# Without "unless", of what has a value at each instant.
WITHOUT = " unless on () planned == 1"


@dataclass(frozen=True)
class Asked:
    """A running Prometheus over one history, and how to ask it about seconds."""

    server: monitors.Prometheus
    start: float
    end: float

    def seconds(self, expression: str, step_s: float, start: float | None = None, end: float | None = None) -> float:
        """For how long an expression has a value: at how many instants, times their distance."""
        start, end = self.start if start is None else start, self.end if end is None else end
        # Instants are the multiples of the step; those that see [start, end), late as it is, are start + step … end.
        window = f"{int((end - start - step_s / 2) * 1000)}ms:{int(step_s * 1000)}ms"
        return self.server.one(f"count_over_time(({expression})[{window}])", end, 0.0) * step_s

    def counted(self, function: str, metric: str, length_s: float, at: float) -> float:
        """``function`` of the samples of a metric that are later than ``at - length_s``, up to and with ``at``."""
        # A little later than the samples: the one at the window's beginning stays outside, in every version.
        return self.server.one(f"{function}({metric}[{int(length_s * 1000)}ms])", at + LATE_S + 0.2, 0.0)

    def figures(self, metric: str, step_s: float, without: str = "") -> dict[str, float]:
        """Value, worst, best and coverage as seconds give them."""
        up = self.seconds(f"({metric} == 1){without}", step_s)
        seen = self.seconds(f"{metric}{without}", step_s)
        whole = self.seconds(f"vector(1){without}", step_s)
        return {"value": up / seen, "worst": up / whole, "best": (up + whole - seen) / whole, "coverage": seen / whole}


def told(at: Iterable[float], values: Iterable[float]) -> list[tuple[float, float]]:
    return [(float(instant) + LATE_S, float(value)) for instant, value in zip(at, values, strict=True)]


def planned_of(history: known.Known) -> list[tuple[float, float]]:
    """Planned time, said once more: windows, and a minute before and after a restart."""
    found = [(row["starts_at"], row["ends_at"]) for row in history.windows]
    return sorted([*found, *((at - 60, at + 60) for at in history.restarts)])


def series_of(history: known.Known) -> dict[str, list[tuple[float, float]]]:
    at, flags, latency = (history.series[name] for name in ("at", "flags", "latency_ms"))
    timed = np.isfinite(latency)
    minutes = np.arange(history.period.start, history.period.end, 60.0)
    answers = np.full(len(minutes), np.nan)
    answers[np.searchsorted(minutes, at)] = latency  # NaN in each minute without an answer: it is told once, not held
    planned = []
    for start, end in planned_of(history):
        moments = np.append(np.arange(start, end, 10.0), end)
        planned += told(moments, moments < end)
    hours = [row["start_at"] for row in history.log_counts]
    return {
        **{f"good_{name}": told(at, flags & bit != 0) for name, bit in SEEN_AND_GOOD.items()},
        "latency_ms": told(at[timed], latency[timed]),
        "answer_ms": told(minutes, answers),
        "planned": planned,
        **{f"log_{name}": told(hours, [row[name] for row in history.log_counts]) for name in ("requests", "errors")},
    }


@pytest.fixture(scope="module")
def month() -> known.Known:
    """October: two outages, maintenance, a planned restart, a lost network, a gap of two hours; a probe a minute."""
    return known.month()


@pytest.fixture(scope="module")
def document(month: known.Known) -> dict[str, Any]:
    return known.document(month)


@pytest.fixture(scope="module")
def asked(programs: Path, tmp_path_factory: pytest.TempPathFactory, month: known.Known) -> Iterator[Asked]:
    home = tmp_path_factory.mktemp("month")
    monitors.load(programs, home, series_of(month))
    with monitors.prometheus(programs, home, "global: {}\n") as server:
        yield Asked(server, month.period.start, month.period.end)


def level(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(sla for sla in document["slas"] if sla["id"] == name)


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("name", ["uptime", "availability"])
def test_time_weighted_figures(asked: Asked, document: dict[str, Any], name: str) -> None:
    sla = level(document, name)
    found = asked.figures(f"good_{name}", 60.0)
    assert {figure: sla[figure] for figure in FIGURES} == pytest.approx(found, abs=EXACT)
    assert sla["worst"] < sla["value"] < sla["best"], "there is a gap"


@pytest.mark.parametrize("name", ["uptime", "availability"])
def test_figures_without_planned_time(asked: Asked, document: dict[str, Any], name: str) -> None:
    sla = level(document, name)
    found = asked.figures(f"good_{name}", 10.0, WITHOUT)  # planned time ends between two probes
    assert {figure: sla["adjusted"][figure] for figure in FIGURES} == pytest.approx(found, abs=EXACT)
    assert sla["adjusted"]["value"] > sla["value"]
    down = asked.seconds(f"(good_{name} == 0){WITHOUT}", 10.0) / 60
    assert sla["spent_minutes"] == sla["adjusted"]["down_minutes"] == pytest.approx(down, abs=1e-6)
    assert sla["remaining_minutes"] == pytest.approx(0.001 * 31 * 1440 - down, abs=1e-6)


def test_seconds_of_the_month(asked: Asked, document: dict[str, Any]) -> None:
    assert document["seconds"] == pytest.approx(
        {
            "up": asked.seconds("good_uptime == 1", 60.0),
            "down": asked.seconds(f"(good_uptime == 0){WITHOUT}", 10.0),
            "planned_down": asked.seconds("(good_uptime == 0) and on () planned == 1", 10.0),
            "unknown": asked.seconds("vector(1) unless on () good_uptime", 60.0),
            "planned": asked.seconds("planned == 1", 10.0),
        }
    )


def test_every_day(asked: Asked, document: dict[str, Any]) -> None:
    assert len(document["days"]) == 31
    for day in document["days"]:
        start, end = epoch(day["from"]), epoch(day["to"])
        seconds = {
            "up_s": asked.seconds("good_uptime == 1", 60.0, start, end),
            "bad_s": asked.seconds("good_uptime == 0", 60.0, start, end),
            "unknown_s": asked.seconds("vector(1) unless on () good_uptime", 60.0, start, end),
        }
        ours = {**day, "bad_s": day["down_s"] + day["planned_down_s"]}
        assert {name: ours[name] for name in seconds} == pytest.approx(seconds, abs=1e-5), day["date"]
        last = end - LATE_S  # a sample at midnight is the next day's
        assert day["total"] == asked.counted("count_over_time", "good_uptime", end - start, last)
        assert day["good"] == asked.counted("sum_over_time", "good_uptime", end - start, last)


@pytest.mark.parametrize("name", ["uptime", "availability"])
def test_counts_of_probes(asked: Asked, document: dict[str, Any], name: str) -> None:
    whole = asked.end - asked.start
    sla = level(document, name)
    assert sla["total"] == asked.counted("count_over_time", f"good_{name}", whole, asked.end - LATE_S)
    assert sla["good"] == asked.counted("sum_over_time", f"good_{name}", whole, asked.end - LATE_S)


def test_response_times(asked: Asked, document: dict[str, Any]) -> None:
    sla = level(document, "response")
    fast = asked.seconds("answer_ms < 200", 60.0) / 60
    total = asked.counted("count_over_time", "latency_ms", asked.end - asked.start, asked.end - LATE_S)
    assert total == asked.seconds("answer_ms > 0", 60.0) / 60
    assert (sla["good"], sla["total"]) == (fast, total)
    assert sla["value"] == pytest.approx(fast / total, abs=EXACT)
    for percent in (50, 95, 99):
        exact = asked.server.one(f"quantile_over_time({percent / 100}, latency_ms[31d])", asked.end)
        # The upper edge of the bucket it is in.
        assert exact * 0.999 <= sla[f"p{percent}_ms"] <= exact * 1.05


def test_errors_of_the_logs(asked: Asked, document: dict[str, Any]) -> None:
    sla = level(document, "error_rate")
    whole, last = asked.end - asked.start, asked.end - LATE_S
    errors = asked.counted("sum_over_time", "log_errors", whole, last)
    requests = asked.counted("sum_over_time", "log_requests", whole, last)
    assert sla["measured_by"] == "logs"
    assert (sla["good"], sla["total"]) == (requests - errors, requests)
    assert sla["value"] == pytest.approx(errors / requests, abs=EXACT)


def test_incidents(asked: Asked, document: dict[str, Any]) -> None:
    """Each begins with its first bad sample and ends with the first good one."""
    seen = asked.server.range("good_uptime", asked.start + 60, asked.end, 60.0)
    found, begun = [], None
    for at, good in seen:
        if not good and begun is None:
            begun = at
        elif good and begun is not None:
            found.append((begun - 60, at - begun))
            begun = None
    assert [(epoch(one["from"]), one["seconds"]) for one in document["incidents"]] == found
    assert len(found) == 4
    unplanned = [one["seconds"] for one in document["incidents"] if not one["planned"]]
    assert level(document, "recovery")["value"] == max(unplanned)


MOMENTS = {
    "in an outage": "2026-10-13T14:41",
    "minutes after it": "2026-10-13T14:56",
    "hours after it": "2026-10-13T19:10",
    "days after it": "2026-10-16T12:00",
    "in maintenance": "2026-10-20T02:30",
    "after maintenance": "2026-10-20T03:30",
    "in a gap": "2026-10-27T09:00",
    "between two probes": "2026-10-05T03:13:31",
    "a quiet day": "2026-10-30T10:00",
}


@pytest.mark.parametrize("planned", [False, True], ids=["raw", "without planned time"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_burn_rates(asked: Asked, month: known.Known, moment: str, planned: bool) -> None:
    now = known.at(MOMENTS[moment])
    left_out = spans.of(planned_of(month)) if planned else spans.NONE
    rates = burn.rates(month.series, Objectives(), now, left_out)
    assert len(rates) == 4
    for rate in rates:
        for window in ("long", "short"):
            length = float(rate[f"{window}_s"])
            total = asked.counted("count_over_time", "good_uptime", length, now)
            good = asked.counted("sum_over_time", "good_uptime", length, now)
            if planned:
                for start, end in planned_of(month):
                    # Samples of [start, end) that the window holds.
                    last, first = min(end - 1, now), max(start - 1, now - length)
                    if last > first:
                        total -= asked.counted("count_over_time", "good_uptime", last - first, last)
                        good -= asked.counted("sum_over_time", "good_uptime", last - first, last)
            assert (rate[f"total_{window}"], rate[f"bad_{window}"]) == (total, total - good)
            if total:
                burned = (total - good) / total / 0.001
                assert rate[f"{window}_burn"] == pytest.approx(burned, abs=2e-9)
            else:
                assert rate[f"{window}_burn"] is None


def test_the_page_of_an_outage_fires_and_rests(asked: Asked, month: known.Known) -> None:
    """By the very expression of the alert, over samples."""
    ours, theirs = [], []
    for minute in range(0, 60, 3):
        now = known.at("2026-10-13T14:25") + minute * 60
        ours.append(burn.rates(month.series, Objectives(), now)[0]["firing"])
        bad = {
            length: asked.counted("count_over_time", "good_uptime", length, now)
            - asked.counted("sum_over_time", "good_uptime", length, now)
            for length in (3600.0, 300.0)
        }
        theirs.append(
            all(bad[length] / asked.counted("count_over_time", "good_uptime", length, now) > 0.0144 for length in bad)
            and bad[3600.0] >= 3
            and bad[300.0] >= 2
        )
    assert ours == theirs
    assert True in ours
    assert not ours[-1]


@pytest.fixture(scope="module")
def uneven() -> tuple[periods.Period, samples.Series]:
    """A day and a half of probes every 3 to 40 seconds, bad ones alone and in rows, gaps short and long."""
    random = np.random.default_rng(7)
    start = known.at("2026-03-02T00:00")
    distance = random.integers(3, 41, 6000).astype(float)
    for length in (299, 300, 301, 302, 900, 4000):
        distance[random.integers(100, 5900, 3)] = length
    at = start - 200 + np.cumsum(distance)
    found = samples.empty(len(at))
    found["at"] = at
    good = random.random(len(at)) > 0.002
    for first in random.integers(0, 5900, 12):
        good[first : first + random.integers(2, 60)] = False
    found["flags"] = samples.INSIDE_SEEN | np.where(good, samples.INSIDE_GOOD, 0).astype(np.uint8)
    end = start + 3600 * np.floor((at[-1] - start) / 3600)
    return periods.between(start, float(end), now=float(end) + 1e7, timezone=known.ZONE), found


def test_uneven_samples(programs: Path, tmp_path: Path, uneven: tuple[periods.Period, samples.Series]) -> None:
    """Looked at every second, half a second away from any sample."""
    period, series = uneven
    late = [(float(at) + 0.5, float(flags & samples.INSIDE_GOOD != 0)) for at, flags in series[["at", "flags"]]]
    monitors.load(programs, tmp_path, {"good": late})
    facts = Facts(
        host="web-01",
        period=period,
        now=period.end + 10,
        timelines={
            "uptime": timeline.timeline(
                np.random.default_rng(3).permutation(series), "uptime", period.start, period.end, 300.0
            ),
            "availability": None,
        },
        cells=cells(series, edges(period, period.end, spans.NONE)),
    )
    uptime, availability = (level(evaluate(facts, Objectives()), name) for name in ("uptime", "availability"))
    with monitors.prometheus(programs, tmp_path, "global: {}\n") as server:
        found = Asked(server, period.start, period.end).figures("good", 1.0)
    assert {figure: uptime[figure] for figure in FIGURES} == pytest.approx(found, abs=EXACT)
    assert {figure: availability[figure] for figure in FIGURES} == pytest.approx(found, abs=EXACT)
    assert 0.8 < found["worst"] < found["value"] < found["best"] < 0.999
