"""Periods by name and by their borders, in time zones whose days are not all of 24 hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.sla.data import periods

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC).timestamp()  # a Sunday; 12:30 in São Paulo
SAO_PAULO = "America/Sao_Paulo"


def local(period: periods.Period) -> tuple[str, str]:
    zone = ZoneInfo(period.timezone)
    start, end = (datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M") for at in (period.start, period.end))
    return start, end


@pytest.mark.parametrize(
    ("name", "called", "kind", "start", "end"),
    [
        ("day", "2026-11-22", "day", "2026-11-22 00:00", "2026-11-23 00:00"),
        ("week", "2026-W47", "week", "2026-11-16 00:00", "2026-11-23 00:00"),
        ("month", "2026-11", "month", "2026-11-01 00:00", "2026-12-01 00:00"),
        ("quarter", "2026-Q4", "quarter", "2026-10-01 00:00", "2027-01-01 00:00"),
        ("year", "2026", "year", "2026-01-01 00:00", "2027-01-01 00:00"),
        ("last-day", "2026-11-21", "day", "2026-11-21 00:00", "2026-11-22 00:00"),
        ("last-week", "2026-W46", "week", "2026-11-09 00:00", "2026-11-16 00:00"),
        ("last-month", "2026-10", "month", "2026-10-01 00:00", "2026-11-01 00:00"),
        ("last-quarter", "2026-Q3", "quarter", "2026-07-01 00:00", "2026-10-01 00:00"),
        ("last-year", "2025", "year", "2025-01-01 00:00", "2026-01-01 00:00"),
        ("24h", "24h", "rolling", "2026-11-21 12:30", "2026-11-22 12:30"),
        ("30d", "30d", "rolling", "2026-10-23 12:30", "2026-11-22 12:30"),
        (" 2024-02 ", "2024-02", "month", "2024-02-01 00:00", "2024-03-01 00:00"),
        ("2020-W53", "2020-W53", "week", "2020-12-28 00:00", "2021-01-04 00:00"),
        ("2026-W01", "2026-W01", "week", "2025-12-29 00:00", "2026-01-05 00:00"),
        ("2026-Q1", "2026-Q1", "quarter", "2026-01-01 00:00", "2026-04-01 00:00"),
        ("2024-02-29", "2024-02-29", "day", "2024-02-29 00:00", "2024-03-01 00:00"),
    ],
)
def test_a_period_by_its_name(name: str, called: str, kind: str, start: str, end: str) -> None:
    found = periods.parse(name, now=NOW, timezone=SAO_PAULO)
    assert (found.name, found.kind, *local(found)) == (called, kind, start, end)


@pytest.mark.parametrize(
    ("name", "zone", "word"),
    [
        ("fortnight", "UTC", "There is no period"),
        ("", "UTC", "There is no period"),
        ("last-30d", "UTC", "There is no period"),
        ("2026-13", "UTC", "There is no period"),
        ("2026-02-29", "UTC", "There is no period"),
        ("2026-Q5", "UTC", "There is no period"),
        ("2026-W54", "UTC", "There is no period"),
        ("2021-W53", "UTC", "There is no period"),
        ("0000", "UTC", "There is no period"),
        ("9999-12-31", "UTC", "There is no period"),
        ("٢٠٢٦", "UTC", "There is no period"),
        ("2027", "UTC", "in the future"),
        ("2026-11-23", "UTC", "in the future"),
        ("2026-Q4\n", "Mars/Base", "ops_timezone"),
        ("day", "", "ops_timezone"),
        ("day", "../etc/passwd", "ops_timezone"),
    ],
)
def test_a_period_that_there_is_not_is_told_in_one_line(name: str, zone: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        periods.parse(name, now=NOW, timezone=zone)
    assert "\n" not in str(caught.value)


# Hours of a date, from the rules of each zone: clocks forward, back, and where they skip or repeat midnight.
@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        (SAO_PAULO, "2018-11-04", 23),  # 00:00 became 01:00
        (SAO_PAULO, "2018-02-17", 25),  # 24:00 became 23:00
        (SAO_PAULO, "2026-11-01", 24),  # no longer
        ("America/Havana", "2026-11-01", 25),  # 01:00 became 00:00: midnight twice
        ("America/Toronto", "2026-11-01", 25),
        ("Pacific/Apia", "2011-12-29", 24),
        ("UTC", "2024-02-29", 24),
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it(zone: str, day: str, hours: float) -> None:
    found = periods.parse(day, now=NOW, timezone=zone)
    assert found.seconds / 3600 == hours
    assert found.days().tolist() == [found.start, found.end]
    assert found.dates() == [day]


def test_a_date_begins_when_clocks_skip_its_midnight_in_their_stride() -> None:
    # Toronto, 1919-03-30: 23:30 became 00:30 of the 31st.
    zone = ZoneInfo("America/Toronto")
    begun = periods.start_of_date(date(1919, 3, 31), zone)
    assert datetime.fromtimestamp(begun, zone).strftime("%d %H:%M") == "31 00:30"
    assert datetime.fromtimestamp(begun - 1, zone).strftime("%d %H:%M:%S") == "30 23:29:59"


def test_a_date_that_a_zone_left_out_is_no_day() -> None:
    found = periods.parse("2011-12", now=NOW, timezone="Pacific/Apia")
    assert len(found.days()) == 31
    assert "2011-12-30" not in found.dates()
    assert len(found.dates()) == 30


def test_weeks_and_months_within() -> None:
    quarter = periods.parse("2026-Q1", now=NOW, timezone="Europe/Berlin")
    zone = ZoneInfo("Europe/Berlin")
    mondays = [datetime.fromtimestamp(at, zone) for at in quarter.weeks()[1:-1].tolist()]
    assert {moment.strftime("%a %H:%M") for moment in mondays} == {"Mon 00:00"}
    assert len(mondays) == 13
    firsts = [datetime.fromtimestamp(at, zone).strftime("%m-%d %H:%M") for at in quarter.months().tolist()]
    assert firsts == ["01-01 00:00", "02-01 00:00", "03-01 00:00", "04-01 00:00"]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        ("2026-11-01", "2026-11-15", ("2026-11-01 00:00", "2026-11-15 00:00")),
        ("2026-11-01T08:00", "2026-11-01 09:30", ("2026-11-01 08:00", "2026-11-01 09:30")),
        ("2026-11-01T08:00Z", "2026-11-01T08:00:00-03:00", ("2026-11-01 05:00", "2026-11-01 08:00")),
        (0, 86400.0, ("1969-12-31 21:00", "1970-01-01 21:00")),
        (datetime(2026, 11, 1), datetime(2026, 11, 2, tzinfo=UTC), ("2026-11-01 00:00", "2026-11-01 21:00")),
        ("2026-11-22", None, ("2026-11-22 00:00", "2026-11-22 12:30")),
        ("2026-11-22", "2027-01-01", ("2026-11-22 00:00", "2027-01-01 00:00")),
    ],
)
def test_a_period_between_two_times(start: object, end: object, found: tuple[str, str]) -> None:
    between = periods.between(start, end, now=NOW, timezone=SAO_PAULO)
    assert local(between) == found
    assert between.kind == "between"
    assert not set(between.name) & set("/: \\")


@pytest.mark.parametrize(
    ("start", "end", "word"),
    [
        ("2026-11-02", "2026-11-01", "not after it begins"),
        ("2026-11-01", "2026-11-01", "not after it begins"),
        ("2026-11-23", "2026-11-24", "in the future"),
        ("2027-01-01", None, "not after it begins"),
        ("yesterday", None, "is not a time"),
        ("", None, "is not a time"),
        (None, None, "is not a time"),
        (True, None, "is not a time"),
        (float("nan"), None, "is not a time"),
        (float("inf"), None, "is not a time"),
        (1e20, None, "is not a time"),
        ("0001-01-01", None, "is not a time"),
        ("2026-02-30", None, "is not a time"),
    ],
)
def test_a_period_that_cannot_be_is_told_in_one_line(start: object, end: object, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        periods.between(start, end, now=NOW, timezone="UTC")
    assert "\n" not in str(caught.value)


ZONES = (
    "UTC",
    SAO_PAULO,
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Kathmandu",
)


@given(
    st.sampled_from(periods.NAMES),
    st.sampled_from(ZONES),
    st.floats(min_value=1e8, max_value=4e9, allow_nan=False),
)
def test_days_make_up_the_period_and_begin_with_their_date(name: str, zone: str, now: float) -> None:
    found = periods.parse(name, now=now, timezone=zone)
    edges = found.days()
    assert edges[0] == found.start
    assert edges[-1] == found.end
    assert np.all(np.diff(edges) > 0)
    where = ZoneInfo(zone)
    dates = found.dates()
    assert len(dates) == len(edges) - 1
    assert all(
        datetime.fromtimestamp(at, where).date() == datetime.fromtimestamp(at - 1, where).date() + timedelta(days=1)
        for at in edges[1:-1].tolist()
    )
    if not name.startswith("last-"):
        assert found.start <= now <= found.end
    else:
        assert found.end <= now
    if found.kind != "rolling":
        assert periods.parse(found.name, now=now + 1, timezone=zone) == found
