"""The document of a period: exactly the known figures, honest about gaps, the same however samples came in."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orquestrador_ops.core.i18n import epoch
from orquestrador_ops.sla.data import periods
from orquestrador_ops.sla.data import series as samples
from orquestrador_ops.sla.data.cells import cells
from orquestrador_ops.sla.data.periods import Period
from orquestrador_ops.sla.data.series import Series
from orquestrador_ops.sla.data.timeline import timeline
from orquestrador_ops.sla.evaluate.evaluate import Facts, edges, evaluate, planned
from orquestrador_ops.sla.evaluate.objectives import Objectives
from tests.unit.controller.sla import known
from tests.unit.controller.sla.strategies import END, FLAGS, GAP_S, SAMPLES, START, STRETCHES, Sample, series, states

OURS = Objectives(gap_s=GAP_S, recovery_s=100)
GOOD, BAD = 3, 1
Document = dict[str, Any]


def facts_of(made: Series, *, now: float = END + 1000, period: Period | None = None, **more: Any) -> Facts:
    of = period or Period("between", START, END, "UTC")
    until = max(min(of.end, now), of.start)
    plan = planned(more.get("windows", ()), more.get("restarts", ()), OURS.restart_allowance_s)
    outside = bool(np.any(made["flags"] & samples.OUTSIDE_SEEN))
    lines = {
        # As a store does: all there is of an incident that began before, or ended after.
        "uptime": timeline(made, "uptime", of.start - 500, min(of.end + 500, now), GAP_S),
        "availability": timeline(made, "availability", of.start, until, GAP_S) if outside else None,
    }
    return Facts("web-01", of, now, lines, cells(made, edges(of, until, plan)), **more)


def evaluated(given_: Iterable[Sample], **more: Any) -> Document:
    found = evaluate(facts_of(series(given_), **more), OURS)
    json.dumps(found, allow_nan=False)
    return found


def sla(document: Document, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in document["slas"] if one["id"] == name)
    return found


def every(step: int, *bad: tuple[int, int], start: int = START, end: int = END) -> list[Sample]:
    """A good sample every ``step`` seconds, bad in some stretches."""
    return [(at, BAD if any(x <= at < y for x, y in bad) else GOOD, 5.0) for at in range(start, end, step)]


# -------------------------------------------------------------------- known histories


@pytest.mark.parametrize(
    "history", [known.month(), known.month(step_s=30), known.year(step_s=60)], ids=["month", "finer", "year"]
)
def test_a_history_of_known_outages_has_exactly_the_known_figures(history: known.Known) -> None:
    document, wanted = known.document(history), history.expected
    down = wanted["down"] + wanted["planned_down"]
    known_s = wanted["seconds"] - wanted["unknown"]
    uptime, available, response = (sla(document, name) for name in ("uptime", "availability", "response"))
    assert document["seconds"]["down"] == wanted["down"]
    assert document["seconds"]["planned_down"] == wanted["planned_down"]
    assert document["seconds"]["unknown"] == wanted["unknown"]
    assert document["seconds"]["up"] == known_s - down
    assert (uptime["total"], uptime["total"] - uptime["good"]) == (wanted["total"], wanted["bad"])
    assert uptime["value"] == pytest.approx((known_s - down) / known_s, abs=1e-12)
    assert uptime["worst"] == pytest.approx((known_s - down) / wanted["seconds"], abs=1e-12)
    assert uptime["best"] == pytest.approx((wanted["seconds"] - down) / wanted["seconds"], abs=1e-12)
    assert uptime["coverage"] == pytest.approx(known_s / wanted["seconds"], abs=1e-12)
    assert uptime["spent_minutes"] == wanted["down"] / 60
    assert uptime["remaining_minutes"] == pytest.approx(wanted["seconds"] * 0.001 / 60 - wanted["down"] / 60, abs=1e-6)
    assert uptime["adjusted"]["down_minutes"] == wanted["down"] / 60
    assert available["measured_by"] == "outside"
    assert available["spent_minutes"] == (wanted["down"] + wanted["network_down"]) / 60
    assert available["total"] - available["good"] == wanted["outside_bad"]
    assert (response["good"], response["total"]) == (wanted["fast"], wanted["latencies"])
    assert response["value"] == pytest.approx(wanted["fast"] / wanted["latencies"], abs=1e-12)
    seen = [(epoch(one["from"]), epoch(one["to"]), one["seconds"]) for one in document["incidents"]]
    assert seen == [(start, end, end - start) for start, end in history.outages]
    longest = max(length for _, length in history.plan.outages)
    assert (sla(document, "recovery")["value"], sla(document, "recovery")["met"]) == (longest, longest <= 300)


def test_thirty_days_have_a_budget_of_forty_three_minutes_and_twelve_seconds() -> None:
    found = evaluated(every(30), period=Period("30d", START, START + 30 * 86400, "UTC"))
    assert sla(found, "uptime")["budget_minutes"] == 43.2


def test_the_document_has_what_was_agreed() -> None:
    document = known.document()
    assert [one["id"] for one in document["slas"]] == ["uptime", "response", "availability", "error_rate", "recovery"]
    common = {
        "id",
        "title",
        "unit",
        "objective",
        "threshold",
        "value",
        "good",
        "total",
        "worst",
        "best",
        "coverage",
        "budget_minutes",
        "spent_minutes",
        "remaining_minutes",
        "budget_events",
        "remaining_events",
        "met",
        "verdict",
        "adjusted",
        "measured_by",
        "action",
    }
    for one in document["slas"]:
        assert common <= set(one)
        assert set(one["adjusted"]) == {"value", "worst", "best", "coverage", "down_minutes"}
        assert (one["action"] is not None) == (one["verdict"] == "missed")
        assert one["met"] == {"met": True, "missed": False}.get(one["verdict"])
    assert {"p50_ms", "p95_ms", "p99_ms"} <= set(sla(document, "response"))
    assert sla(document, "response")["threshold"] == {"latency_ms": 200}
    assert document["period"]["over"] is True
    assert len(document["days"]) == 31
    assert document["maintenance"][0]["reason"] == "Update of the database"
    assert {name: len(items) for name, items in document["metrics"].items()} == {"daily": 3, "weekly": 3, "monthly": 3}
    assert json.loads(json.dumps(document, allow_nan=False)) == document


# -------------------------------------------------------------------- properties


@settings(max_examples=50)
@given(SAMPLES, st.randoms(use_true_random=False))
def test_merged_split_or_shuffled_samples_make_the_same_document(given_: list[Sample], shuffle: random.Random) -> None:
    again = [*given_, *given_[::2]]
    shuffle.shuffle(again)
    cut = shuffle.randint(0, len(again))
    merged = samples.merged(series(again[:cut]), series(again[cut:]))
    whole = evaluated(given_)
    assert evaluated(again) == whole
    assert evaluate(facts_of(merged), OURS) == whole


def figures(document: Document, name: str) -> tuple[float, ...]:
    one = sla(document, name)
    return tuple(
        -1.0 if where[key] is None else where[key]
        for where in (one, one["adjusted"])
        for key in ("value", "worst", "best")
    )


@settings(max_examples=50)
@given(SAMPLES, st.integers(START - 60, END + 60), STRETCHES)
def test_a_bad_sample_more_never_raises_uptime(given_: list[Sample], at: int, windows: list[tuple[int, int]]) -> None:
    more = {"windows": [{"starts_at": x, "ends_at": y} for x, y in windows]}
    before, after = evaluated(given_, **more), evaluated([*given_, (at, 1 | 4, None)], **more)
    down = [document["seconds"]["down"] + document["seconds"]["planned_down"] for document in (before, after)]
    assert down[1] >= down[0]
    for name in ("uptime", "availability"):
        if sla(before, name)["measured_by"] != sla(after, name)["measured_by"]:
            continue  # from inside before, from outside now: another thing was measured
        # Where nothing was known, 0 is no rise; what is best may only be told from less time, never be better.
        pairs = [(a, b) for a, b in zip(figures(before, name), figures(after, name), strict=True) if a >= 0]
        assert all(b <= a for a, b in pairs)


@settings(max_examples=50)
@given(SAMPLES, STRETCHES, st.lists(st.integers(START, END), max_size=3))
def test_the_interval_holds_the_value_and_days_make_up_the_period(
    given_: list[Sample], windows: list[tuple[int, int]], restarts: list[int]
) -> None:
    found = evaluated(given_, windows=[{"starts_at": x, "ends_at": y} for x, y in windows], restarts=restarts)
    for name in ("uptime", "availability"):
        for one in (sla(found, name), sla(found, name)["adjusted"]):
            if one["value"] is not None:
                assert 0 <= one["worst"] <= one["value"] <= one["best"] <= 1
                assert 0 < one["coverage"] <= 1
    recovery = sla(found, "recovery")
    for one in (recovery, recovery["adjusted"]):
        if one["value"] is not None:
            assert one["best"] <= one["value"]
            assert one["worst"] is None or one["value"] <= one["worst"]
    seconds = found["seconds"]
    assert seconds["up"] + seconds["down"] + seconds["planned_down"] + seconds["unknown"] == END - START
    for name in ("up", "down", "planned_down", "unknown"):
        assert sum(day[f"{name}_s"] for day in found["days"]) == seconds[name]
    assert sum(day["total"] for day in found["days"]) == sla(found, "uptime")["total"]


@settings(max_examples=50)
@given(SAMPLES, STRETCHES)
def test_figures_are_what_counting_seconds_gives(given_: list[Sample], windows: list[tuple[int, int]]) -> None:
    found = evaluated(given_, windows=[{"starts_at": x, "ends_at": y} for x, y in windows])
    plan = {second for x, y in windows for second in range(x, y)}
    said = states(given_, "uptime", START, END, GAP_S)
    for one, kept in (
        (sla(found, "uptime"), said),
        (sla(found, "uptime")["adjusted"], [state for s, state in enumerate(said, START) if s not in plan]),
    ):
        up, down = kept.count("up"), kept.count("down")
        assert one["value"] == (pytest.approx(up / (up + down), abs=1e-12) if up + down else None)
        assert one["best"] == (pytest.approx((len(kept) - down) / len(kept), abs=1e-12) if kept else None)
    assert sla(found, "uptime")["spent_minutes"] in (None, round(kept.count("down") / 60, 6))


@settings(max_examples=50)
@given(SAMPLES)
def test_incidents_are_what_looking_at_every_second_gives(given_: list[Sample]) -> None:
    said = states(given_, "uptime", START - 500, END + 500, GAP_S)
    wanted = []
    text = "".join({"up": "u", "down": "d", "unknown": "?"}[state] for state in said)
    at = START - 500
    for is_up, part in groupby(text, lambda letter: letter == "u"):
        letters = "".join(part)
        if not is_up and "d" in letters:
            first, last = at + letters.index("d"), at + letters.rindex("d") + 1
            end = at + len(letters) if at + len(letters) < END + 500 else None
            if (first < END and last > START) or (end is not None and START < end <= END):
                wanted.append((first, end, letters.count("d")))
        at += len(letters)
    found = evaluated(given_)["incidents"]
    assert [(epoch(one["from"]), epoch(one["to"]), one["seconds"]) for one in found] == wanted


# -------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    ("given_", "verdict", "met"),
    [
        ([], "no_data", None),
        ([(START, GOOD, 5.0)], "unproven", None),
        ([(START, BAD, 5.0)], "missed", False),
        (every(30), "met", True),
        (every(30, (1100, 1130)), "missed", False),
        (every(30)[1:], "unproven", None),  # nobody looked in the first thirty seconds
        ([(START - 10 * GAP_S, GOOD, None)], "no_data", None),
        ([(END + 5, BAD, None)], "no_data", None),
        ([(at, 0, 5.0) for at in range(START, END, 30)], "no_data", None),
    ],
)
def test_met_and_missed_are_proven(given_: list[Sample], verdict: str, met: bool | None) -> None:
    one = sla(evaluated(given_), "uptime")
    assert (one["verdict"], one["met"]) == (verdict, met)
    assert (one["value"] is None) == (verdict == "no_data")
    if verdict == "no_data":
        assert (one["coverage"], one["spent_minutes"], one["remaining_minutes"], one["total"]) == (0, None, None, 0)


def test_of_an_empty_history_nothing_is_claimed() -> None:
    found = evaluated([])
    assert {one["verdict"] for one in found["slas"]} == {"no_data"}
    assert {one["value"] for one in found["slas"]} == {None}
    assert found["incidents"] == []
    assert {item["status"] for items in found["metrics"].values() for item in items} == {"unknown"}
    assert all(day["budget_remaining_minutes"] is None and day["fast"] is None for day in found["days"])


@pytest.mark.parametrize(("bad", "met"), [(80, True), (81, True), (82, False)])
def test_exactly_the_objective_is_met(bad: int, met: bool) -> None:
    # 81 x 32 s = 2592 s are a thousandth of thirty days.
    period = Period("30d", START, START + 30 * 86400, "UTC")
    made = samples.empty(int(period.seconds) // 32)
    made["at"], made["flags"] = START + 32 * np.arange(len(made)), GOOD
    made["flags"][500 : 500 + bad] = BAD
    one = sla(evaluate(facts_of(made, period=period, now=period.end + 1), OURS), "uptime")
    assert (one["met"], one["remaining_minutes"]) == (met, pytest.approx((2592 - bad * 32) / 60, abs=1e-6))


def test_of_the_time_after_now_nothing_is_said() -> None:
    found = evaluated(every(30, end=1100), now=1100)
    assert found["period"]["until"] == datetime.fromtimestamp(1100, UTC).isoformat()
    assert found["period"]["over"] is False
    assert found["seconds"]["up"] == 100
    assert sla(found, "uptime")["value"] == 1
    assert sla(found, "uptime")["budget_minutes"] == round(0.001 * (END - START) / 60, 6)
    nothing = evaluated(every(30), now=START)
    assert ({one["verdict"] for one in nothing["slas"]}, nothing["days"]) == ({"no_data"}, [])


def test_a_period_that_is_planned_as_a_whole_proves_nothing() -> None:
    found = evaluated(every(30, (1050, 1200)), windows=[{"starts_at": START, "ends_at": END}])
    assert sla(found, "uptime")["verdict"] == "no_data"
    assert sla(found, "uptime")["value"] < 1
    assert sla(found, "uptime")["adjusted"]["value"] is None
    assert found["seconds"] == {"up": 150, "down": 0, "planned_down": 150, "unknown": 0, "planned": 300}


def test_a_planned_restart_is_no_downtime() -> None:
    given_ = every(10, (1100, 1120))
    assert sla(evaluated(given_), "uptime")["verdict"] == "missed"
    found = evaluated(given_, restarts=[1110])
    assert (sla(found, "uptime")["verdict"], sla(found, "recovery")["total"]) == ("met", 0)
    assert found["incidents"][0]["planned"] is True
    assert found["seconds"]["planned_down"] == 20


def test_a_window_that_was_closed_early_is_planned_until_then() -> None:
    windows = [{"starts_at": 1090, "ends_at": 1300, "ended_at": 1110, "reason": "x"}]
    found = evaluated(every(10, (1100, 1150)), windows=windows)
    assert (found["seconds"]["down"], found["seconds"]["planned_down"]) == (40, 10)
    assert found["maintenance"][0]["to"] == datetime.fromtimestamp(1110, UTC).isoformat()
    assert evaluated(every(10), windows=[{"starts_at": None, "ends_at": 3}])["maintenance"] == []


def test_without_outside_probes_availability_is_measured_inside() -> None:
    found = evaluated(every(30, (1100, 1130)))
    inside, uptime = sla(found, "availability"), sla(found, "uptime")
    assert (inside["measured_by"], inside["value"], inside["total"]) == ("inside", uptime["value"], uptime["total"])
    both = evaluated([(at, 15 if at < 1200 else 3 | 4, 5.0) for at in range(START, END, 30)])
    assert (sla(both, "uptime")["value"], sla(both, "availability")["value"]) == (1, 0.7)


# -------------------------------------------------------------------- response and errors


@pytest.mark.parametrize("latency", [None, float("nan"), float("inf"), -5.0])
def test_samples_without_a_latency_say_nothing_of_response(latency: float | None) -> None:
    found = sla(evaluated([(at, GOOD, latency) for at in range(START, END, 30)]), "response")
    assert (found["verdict"], found["value"], found["total"], found["p95_ms"]) == ("no_data", None, 0, None)


def test_response_counts_good_answers_below_the_threshold() -> None:
    latencies = [10.0] * 18 + [200.0, 5000.0]
    given_ = [(START + 10 * number, GOOD, latency) for number, latency in enumerate(latencies)]
    found = sla(evaluated([*given_, (END - 20, BAD, 1.0)]), "response")
    assert (found["good"], found["total"], found["value"], found["met"]) == (18, 20, 0.9, False)
    assert (found["worst"], found["best"], found["budget_events"], found["remaining_events"]) == (0.9, 0.9, 1, -1)
    assert (found["p50_ms"], found["p95_ms"], found["p99_ms"]) == (10.5, 210, 5250)
    quiet = sla(evaluated(given_, windows=[{"starts_at": START + 180, "ends_at": END}]), "response")
    assert (quiet["value"], quiet["adjusted"]["value"], quiet["met"]) == (0.9, 1, True)
    assert (quiet["budget_events"], quiet["remaining_events"]) == (0.9, 0.9)  # of the eighteen that were not planned


def test_error_rate_from_logs_where_requests_were_logged_else_from_probes() -> None:
    given_ = every(30, (1100, 1130))
    counted = [
        {"start_at": START, "seconds": 100, "requests": 900, "errors": 1},
        {"start_at": START + 100, "seconds": 100, "requests": 100, "errors": 1},
        {"start_at": START - 100, "seconds": 100, "requests": 5, "errors": 5},
    ]
    logged = sla(evaluated(given_, log_counts=counted), "error_rate")
    assert (logged["measured_by"], logged["value"], logged["good"], logged["total"]) == ("logs", 0.002, 998, 1000)
    assert (logged["coverage"], logged["met"], logged["budget_events"]) == (round(2 / 3, 12), False, 1)
    window = [{"starts_at": START + 100, "ends_at": START + 200}]
    assert (
        sla(evaluated(given_, log_counts=counted, windows=window), "error_rate")["adjusted"]["value"] == 0.001111111111
    )
    probed = sla(evaluated(given_, log_counts=[{**counted[0], "requests": 0}]), "error_rate")
    assert (probed["measured_by"], probed["value"], probed["total"]) == ("probes", 0.1, 10)
    more = sla(evaluated(given_, log_counts=[{**counted[0], "requests": 1, "errors": 9}]), "error_rate")
    assert (more["value"], more["good"]) == (1, 0)


# -------------------------------------------------------------------- incidents


def test_an_incident_counts_where_it_ends() -> None:
    given_ = [
        (at, BAD if START - 100 <= at < START + 50 or at >= END - 50 else GOOD, None)
        for at in range(START - 200, END, 10)
    ]
    after = [(at, GOOD, None) for at in range(END + 30, END + 200, 10)]
    found = evaluated([*given_, *[(at, BAD, None) for at in range(END, END + 30, 10)], *after])
    spanned = [(one["seconds"], one["counted"]) for one in found["incidents"]]
    assert spanned == [(150, True), (80, False)]
    recovery = sla(found, "recovery")
    assert (recovery["value"], recovery["total"], recovery["met"]) == (150, 1, False)


def test_an_open_incident_is_not_recovered_from() -> None:
    short = sla(evaluated(every(10, (1280, 1300)), now=END), "recovery")
    assert (short["value"], short["worst"], short["verdict"]) == (20, None, "unproven")
    long = evaluated(every(10, (1150, 1300)), now=END)
    assert sla(long, "recovery")["verdict"] == "missed"
    assert (long["incidents"][0]["to"], long["incidents"][0]["worst_seconds"]) == (None, None)


def test_an_incident_that_ends_unseen_lasted_from_its_last_bad_to_the_next_good_sample() -> None:
    given_ = [sample for sample in every(10, (1100, 1150)) if not 1150 <= sample[0] < 1250]
    found = evaluated(given_)
    one = found["incidents"][0]
    assert (one["seconds"], one["best_seconds"], one["worst_seconds"]) == (80, 80, 150)
    assert epoch(one["to"]) == 1250
    assert sla(found, "recovery")["verdict"] == "unproven"


@pytest.mark.parametrize(
    ("gap_s", "verdict", "worst"),
    [(0, "met", None), (GAP_S + 80, "met", 80), (GAP_S + 100, "met", 100), (GAP_S + 150, "unproven", 150)],
)
def test_an_incident_may_have_gone_unseen_and_taken_as_long_as_nobody_looked(
    gap_s: int, verdict: str, worst: int | None
) -> None:
    last = START + 40
    seen = [one for one in every(10) if not last < one[0] < last + gap_s]
    recovery = sla(evaluated(seen), "recovery")
    assert (recovery["verdict"], recovery["worst"], recovery["total"]) == (verdict, worst, 0)


def test_bad_before_and_after_a_gap_is_one_incident() -> None:
    given_ = [sample for sample in every(10, (1100, 1250)) if not 1130 <= sample[0] < 1220]
    one = evaluated(given_)["incidents"][0]
    assert (one["seconds"], one["best_seconds"], one["worst_seconds"]) == (60 + 30, 60, 150)


def test_an_incident_that_outlasts_its_window_is_as_long_as_what_was_not_planned() -> None:
    found = evaluated(every(10, (1100, 1250)), windows=[{"starts_at": 1050, "ends_at": 1200}])
    recovery = sla(found, "recovery")
    assert (recovery["value"], recovery["adjusted"]["value"], recovery["met"]) == (150, 50, True)
    assert found["incidents"][0]["planned"] is False


def test_an_incident_knows_who_saw_it_when() -> None:
    rows = [
        {"id": 1, "procedure": "capacity", "opened_at": 500, "closed_at": None},
        {"id": 2, "procedure": "sla:page-fast", "opened_at": 1101, "closed_at": 1300},
        {
            "id": 3,
            "procedure": "offline",
            "opened_at": 1110,
            "acted_at": 1112,
            "acknowledged_at": 1120,
            "closed_at": 1152,
        },
        {"id": 4, "procedure": "offline", "opened_at": 1180, "closed_at": 1190},
        {"id": 5, "procedure": "offline", "opened_at": None},
    ]
    one = evaluated(every(10, (1100, 1150)), incidents=rows)["incidents"][0]
    assert (one["id"], one["procedure"], epoch(one["detected_at"]), epoch(one["acted_at"])) == (
        3,
        "offline",
        1110,
        1112,
    )
    assert epoch(one["acknowledged_at"]) == 1120
    assert evaluated(every(10, (1100, 1150)))["incidents"][0]["detected_at"] is None


@pytest.mark.parametrize(
    ("opened", "closed", "found"),
    [(1050, 1090, None), (1050, 1100, 9), (1050, None, 9), (1150, 1160, 9), (1151, 1160, None), (1200, None, None)],
)
def test_only_a_record_that_was_open_meanwhile_is_about_it(opened: int, closed: int | None, found: int | None) -> None:
    rows = [{"id": 9, "procedure": "offline", "opened_at": opened, "closed_at": closed}]
    assert evaluated(every(10, (1100, 1150)), incidents=rows)["incidents"][0]["id"] == found


def test_an_incident_that_goes_on_counts_for_no_period_that_is_over() -> None:
    found = evaluated(every(10, (1250, 1400), end=1400), now=1400)
    assert [(one["to"], one["counted"]) for one in found["incidents"]] == [(None, False)]
    assert sla(found, "recovery")["total"] == 0


def test_an_incident_that_begins_when_the_period_ends_is_none_of_its() -> None:
    assert evaluated(every(10, (END, END + 50), end=END + 100))["incidents"] == []


def test_the_budget_burns_down_from_day_to_day() -> None:
    day = 86400
    period = Period("three", 0, 3 * day, "UTC")
    bad = [(day // 2, day // 2 + 30), (day, day + 60)]
    found = evaluated(every(30, *bad, start=0, end=3 * day), period=period, now=4 * day)
    budget = sla(found, "uptime")["budget_minutes"]
    remaining = [one["budget_remaining_minutes"] for one in found["days"]]
    assert remaining == pytest.approx([budget - 0.5, budget - 1.5, budget - 1.5])
    assert remaining[-1] == pytest.approx(sla(found, "uptime")["remaining_minutes"])


# -------------------------------------------------------------------- success metrics


def statuses(document: Document) -> dict[str, str]:
    return {item["id"]: item["status"] for items in document["metrics"].values() for item in items}


def test_success_of_a_realistic_month() -> None:
    assert statuses(known.document()) == {
        "no_unplanned_downtime": "missed",
        "health_checks": "missed",
        "error_log": "met",
        "uptime": "missed",
        "tests": "met",  # the four days before the first Monday belong to a week of September
        "backup": "met",
        "uptime_sla": "unknown",
        "dependencies": "met",
        "documentation": "unknown",
    }


@pytest.mark.parametrize(
    ("runs", "name", "status"),
    [
        ([{"app_tests": "ok"}], "tests", "met"),
        ([{"app_tests": "failed"}, {"app_tests": "ok"}], "tests", "met"),
        ([{"app_tests": "ok"}, {"app_tests": "failed"}], "tests", "missed"),
        ([{"app_tests": "skipped"}], "tests", "unknown"),
        ([{"database_backup": "failed"}, {"database_backup": "changed"}], "backup", "met"),
        ([{"database_backup": "failed"}], "backup", "missed"),
        ([], "backup", "unknown"),
        ([{"npm_audit": "ok"}], "dependencies", "unknown"),
        ([{"npm_audit": "ok", "npm_outdated": "warn"}], "dependencies", "missed"),
        ([{"npm_audit": "ok"}, {"npm_outdated": "ok"}], "dependencies", "met"),
        ([{"documentation_review": "ok"}], "documentation", "met"),
    ],
)
def test_success_goes_by_the_last_evidence(runs: list[dict[str, str]], name: str, status: str) -> None:
    rows = [
        known.run("weekly", f"1970-01-01T00:{number:02d}", 1, **steps)
        | {"started_at": START, "ended_at": START + number}
        for number, steps in enumerate(runs)
    ]
    assert statuses(evaluated(every(30), runs=rows))[name] == status
    hidden = [{**row, "check_mode": True} for row in rows]
    assert statuses(evaluated(every(30), runs=hidden))[name] == "unknown"


@pytest.mark.parametrize(
    ("errors", "status"), [({}, "unknown"), ({"1970-01-01": 9}, "met"), ({"1970-01-01": 10}, "missed")]
)
def test_errors_of_a_day(errors: dict[str, int], status: str) -> None:
    found = evaluated(every(30), log_errors=errors)
    assert statuses(found)["error_log"] == status
    assert found["days"][0]["errors"] == errors.get("1970-01-01")


def test_a_week_under_way_without_evidence_is_not_held_against_the_month() -> None:
    now = known.at("2026-11-17T12:00")
    runs = [known.run("weekly", f"2026-11-{day:02d}T10:00", 60, app_tests="ok") for day in (1, 2, 9)]
    plan = known.Plan(runs=runs)
    history = known.built(periods.parse("month", now=now, timezone=known.ZONE), now, 300, plan)
    assert statuses(known.document(history))["tests"] == "met"
    assert len(known.document(history)["days"]) == 17


# -------------------------------------------------------------------- calendars


@pytest.mark.parametrize(
    ("zone", "name", "lengths"),
    [
        ("Europe/Berlin", "2026-10", {24.0, 25.0}),
        ("America/New_York", "2026-03", {23.0, 24.0}),
        ("Australia/Lord_Howe", "2026-10", {23.5, 24.0}),
        ("America/Sao_Paulo", "2018-11", {23.0, 24.0}),
        ("UTC", "2024-02", {24.0}),
    ],
)
def test_days_of_other_lengths_are_what_they_are(zone: str, name: str, lengths: set[float]) -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC).timestamp()
    period = periods.parse(name, now=now, timezone=zone)
    made = samples.empty(int(period.seconds // 30))
    made["at"], made["flags"] = period.start + 30 * np.arange(len(made)), GOOD
    found = evaluate(facts_of(made, period=period, now=now), Objectives())
    days = found["days"]
    assert {day["up_s"] / 3600 for day in days} == lengths
    assert sum(day["total"] for day in days) == len(made)
    assert sla(found, "uptime")["met"] is True
    assert sla(found, "uptime")["budget_minutes"] == round(period.seconds * 0.001 / 60, 6)


@pytest.mark.parametrize(
    ("zone", "name", "hours"),
    [
        ("America/Sao_Paulo", "2026-11-20", 24),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("Asia/Kolkata", "2026-11-20", 25),  # begins and ends in the middle of an hour
        ("UTC", "2026-11-22", 1),  # begun just now
        ("UTC", "24h", 25),
        ("UTC", "2026-W46", 0),
    ],
)
def test_the_hours_of_a_day_make_up_the_day(zone: str, name: str, hours: int) -> None:
    now = datetime(2026, 11, 22, 0, 20, tzinfo=UTC).timestamp()
    period = periods.parse(name, now=now, timezone=zone)
    made = samples.empty(int(period.seconds // 40))
    made["at"], made["latency_ms"] = period.start + 40 * np.arange(len(made)), np.arange(len(made)) % 400
    made["flags"] = np.where(np.arange(len(made)) % 50 < 3, BAD, GOOD)
    found = evaluate(facts_of(made, period=period, now=now), Objectives())
    days, pieces = found["days"], found["hours"]
    assert len(pieces) == hours
    if not pieces:
        return
    assert (pieces[0]["from"], pieces[-1]["to"]) == (days[0]["from"], days[-1]["to"])
    assert [one["to"] for one in pieces[:-1]] == [one["from"] for one in pieces[1:]]
    assert all(":00:00" in one["from"] for one in pieces[1:])
    for figure in ("total", "good", "up_s", "down_s", "planned_down_s", "unknown_s"):
        assert sum(one[figure] for one in pieces) == pytest.approx(sum(one[figure] for one in days), abs=1e-5)


def test_every_kind_of_look_is_understood() -> None:
    found = evaluated([(START + 10 * number, flags, 5.0) for number, flags in enumerate(FLAGS)])
    assert sla(found, "uptime")["total"] == 8  # all but the one that saw nothing
