"""Shares, periods and days as people write them, and charts as a page takes them."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.core.i18n import translator
from orquestrador_ops.sla.data import periods, spans
from orquestrador_ops.sla.report import calendar, charts, pictures, sheet
from orquestrador_ops.sla.report.words import Stretch, Words, at_home, stretch
from tests.unit.controller.sla import known
from tests.unit.fakes.pages import Page

PT, EN = translator("pt_BR"), translator("en")
NOW = known.at("2026-11-22T12:00")


# ------------------------------------------------------------------ shares


@pytest.mark.parametrize(
    ("value", "against", "written"),
    [
        (0.99951, 0.999, "99,951%"),
        (1, 0.999, "100%"),
        (1.0, None, "100%"),
        (0.9999999, None, "99,99999%"),
        (0.999, 0.999, "99,9%"),
        (0.99899999, 0.999, "99,899999%"),
        (0.9990000000001, 0.999, "99,9%"),
        (0, 0.001, "0%"),
        (0.0000004, 0.001, "0,00004%"),
        (0.0012, 0.001, "0,12%"),
        (None, 0.999, "desconhecido"),
        (float("nan"), 0.999, "desconhecido"),
    ],
)
def test_a_share_never_looks_like_what_it_is_not(value: Any, against: float | None, written: str) -> None:
    assert Words(PT).share(value, against) == written


@given(st.floats(0, 1), st.sampled_from([0.999, 0.95, 0.001]))
def test_rounding_crosses_no_objective(value: float, objective: float) -> None:
    shown = float(Words(EN).share(value, objective).rstrip("%")) / 100
    assert shown == pytest.approx(value, abs=0.5e-5 + 1e-9)
    if abs(value - objective) > 1e-8 and min(abs(value), abs(1 - value)) > 1e-8:
        assert (shown > objective, shown < objective) == (value > objective, value < objective)
        assert 0 < shown < 1


def test_counts_are_grouped() -> None:
    assert (Words(PT).count(3153600), Words(EN).count(3153600)) == ("3.153.600", "3,153,600")


# ------------------------------------------------------------------ periods


@pytest.mark.parametrize(
    ("name", "kind", "days", "pt", "en"),
    [
        ("2026-11-22", "day", 1, "22 de novembro de 2026", "November 22, 2026"),
        ("2026-W47", "week", 7, "Semana 47 de 2026 (16–22 de nov. de 2026)", "Week 47 of 2026 (Nov 16–22, 2026)"),
        ("2025-W01", "week", 7, "Semana 1 de 2025 (", "Week 1 of 2025 ("),
        ("2026-02", "month", 28, "fevereiro de 2026", "February 2026"),
        ("2024-02", "month", 29, "fevereiro de 2024", "February 2024"),
        ("2026-Q4", "quarter", 92, "4º trimestre de 2026", "4th quarter 2026"),
        ("2024", "year", 366, "2024", "2024"),
        ("7d", "range", 8, "15–22 de nov. de 2026", "Nov 15–22, 2026"),
    ],
)
def test_periods_have_names(name: str, kind: str, days: int, pt: str, en: str) -> None:
    period = periods.parse(name, now=NOW, timezone=known.ZONE)
    told = {"name": name, "kind": period.kind, "from": period.start, "to": period.end}
    found = stretch(told, PT)
    assert (found.kind, found.name, found.days) == (kind, name, days)
    for tr, wanted in ((PT, pt), (EN, en)):
        written = re.sub(r"\s*–\s*", "–", Words(tr).period(found))
        assert written.startswith(wanted)


def test_dates_are_those_of_the_zone_of_the_period() -> None:
    told = {"name": "2026-11", "kind": "month", "from": "2026-11-01T03:00:00Z", "to": "2026-12-01T03:00:00Z"}
    found = stretch(told, PT)
    assert (found.first, found.last) == (date(2026, 11, 1), date(2026, 11, 30))


# ------------------------------------------------------------------ days


@pytest.mark.parametrize(
    ("day", "state"),
    [
        ({"up_s": 86400}, "up"),
        ({"up_s": 86399.9, "unknown_s": 0.1}, "up"),
        ({"up_s": 80000, "unknown_s": 6400}, "gaps"),
        ({"up_s": 20000, "unknown_s": 66400}, "unknown"),
        ({"unknown_s": 86400}, "unknown"),
        ({}, "unknown"),
        ({"up_s": 86340, "planned_down_s": 60}, "planned"),
        ({"up_s": 86300, "planned_down_s": 60, "down_s": 40}, "down"),
        ({"down_s": 1, "unknown_s": 86399}, "down"),
        ({"up_s": None, "down_s": None, "unknown_s": 5}, "unknown"),
    ],
)
def test_a_day_is_what_was_worst_of_it(day: dict[str, Any], state: str) -> None:
    assert calendar.state(day) == state


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(1, 400))
def test_every_day_stands_once_under_its_weekday(first: date, days: int) -> None:
    last = first + timedelta(days=days - 1)
    told = [{"date": (first + timedelta(days=number)).isoformat(), "up_s": 1} for number in range(days)]
    found = calendar.build(told, Stretch("range", "x", first, last), Words(EN))
    cells = [cell for month in found["months"] for week in month["weeks"] for cell in week if cell]
    assert [cell["number"] for cell in cells] == [str((first + timedelta(days=n)).day) for n in range(days)]
    assert {cell["state"] for cell in cells} == {"up"}
    if days > 7:
        assert found["weekdays"][0] == "Mon"
        day = first
        for week in (week for month in found["months"] for week in month["weeks"]):
            for weekday, cell in enumerate(week):
                if cell:
                    assert day.weekday() == weekday
                    day += timedelta(days=1)


# ------------------------------------------------------------------ charts


def test_a_drawing_fits_a_page_and_is_the_same_each_time() -> None:
    lines = [charts.Line("a $x$ <b>", [1.0, None, 3.0], "first"), charts.Line("b", [2.0, 2.0, 2.0], "second", "--")]
    plot = charts.Plot([0.5, 1.5, 2.5], (0, 3), lines, [(0.5, "1")], [(0.0, "0")], 4.0, goal=(2.0, "goal"))
    strip = charts.Strip(
        ["1", "2"],
        24.0,
        [(0.0, "0h")],
        {"down": [(0, 1.0, 0.001)], "gap": [(1, 2.0, 3.0)]},
        {"down": "down & out", "gap": "?"},
    )
    drawn = (
        charts.plot("one", plot, "<t>", "d & d"),
        charts.plot("two", plot, "t", "d"),
        charts.strip("s", strip, "t", "d"),
    )
    assert drawn[0] == charts.plot("one", plot, "<t>", "d & d")
    found = Page("".join(drawn))
    ids = [of["id"] for _, of in found.tags if "id" in of]
    assert len(ids) == len(set(ids))
    assert {"a $x$ <b>", "down & out"} <= {word.strip() for word in found.words}
    assert not re.search("|".join(charts.INKS.values()), "".join(drawn))
    assert "<style" not in drawn[0]
    assert all(of.get("role") == "img" for tag, of in found.tags if tag == "svg")


def test_bars_are_those_of_their_rows_and_none_is_lost() -> None:
    edges = [0.0, 86400.0, 2 * 86400.0]
    found = pictures._bars(spans.of([(86000, 87000), (90000, 90060), (100000, 100001), (100003, 100004)]), edges)
    assert [row for row, _, _ in found] == [0, 1, 1, 1]
    assert found[0][1:] == (pytest.approx(86000 / 3600), pytest.approx(400 / 3600))
    assert found[1][1:] == (0, pytest.approx(600 / 3600))
    assert found[3][1:] == (pytest.approx(13600 / 3600), pytest.approx(4 / 3600))  # the eye sees one


@given(st.lists(st.tuples(st.floats(0, 172_000), st.floats(200, 5000)), max_size=20))
def test_bars_are_as_long_as_their_stretches(pairs: list[tuple[float, float]]) -> None:
    wanted = spans.cut(spans.of((start, start + length) for start, length in pairs), 0, 172_800)
    found = pictures._bars(wanted, [0.0, 86400.0, 172800.0])
    total = sum(length for _, _, length in found) * 3600
    assert wanted.seconds - 1e-3 <= total <= wanted.seconds + 144 * len(wanted) + 1e-3
    assert all(0 <= start <= 24 and 0 < start + length <= 24 + 1e-9 for _, start, length in found)


def test_the_budget_is_burnt_when_it_was_down() -> None:
    facts = known.facts(known.month())
    document = known.document()
    drawn = pictures.Pictures(sheet._Sheet(document, EN, facts))
    at, left = drawn.burnt(44.64) or ([], [])
    steps = [(a, b) for a, b in itertools.pairwise(left) if b != a]
    assert [round(a - b, 6) for a, b in steps] == [2.0, 22.0]
    assert at[-1] == pytest.approx(31)
    assert left[-1] == pytest.approx(44.64 - 24)


def test_a_day_of_25_hours_is_drawn_whole() -> None:
    zone = "America/New_York"
    now = datetime(2026, 11, 10, tzinfo=ZoneInfo(zone)).timestamp()
    period = periods.parse("2026-11-01", now=now, timezone=zone)
    made = known.built(period, now, 300.0, known.Plan(), logs=False)
    tr = translator("en", zone)
    shown = pictures.Pictures(sheet._Sheet(known.document(made), tr, known.facts(made)))
    assert shown.span[1] == pytest.approx(25 / 24)
    strip = shown.strip()
    assert strip is not None
    up = shown.states()["up"]
    assert up.seconds == 25 * 3600
    edges = [period.start, period.end]
    assert pictures._bars(up, edges) == [(0, 0.0, pytest.approx(25.0))]


def test_levels_of_a_scale_are_round() -> None:
    assert charts.levels(224) == [0, 50, 100, 150, 200]
    assert charts.levels(45, -20) == [-20, 0, 20, 40]
    assert np.all(np.diff(charts.levels(1e-3)) > 0)


def test_times_are_told_in_utc_where_the_zone_is_unknown() -> None:
    assert at_home(EN, "Nowhere/Land") is EN
    assert at_home(EN, "UTC").zone.utcoffset(datetime.now(UTC)) == timedelta(0)
