"""Values on their way to the controller, and numbers among arguments."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core import jsonable, ranges

ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
)


@given(ANY)
def test_whatever_is_cleaned_is_json_in_utf8(value: Any) -> None:
    expected = json.dumps(jsonable.clean(value), allow_nan=False, ensure_ascii=False).encode()
    assert jsonable.clean(json.loads(expected)) == json.loads(expected)


def test_a_file_name_that_is_no_text_and_a_figure_that_is_none_are_replaced() -> None:
    assert jsonable.clean({"name": b"a\xff".decode(errors="surrogateescape"), "at": math.nan}) == {
        "name": "a?",
        "at": None,
    }


def test_nesting_ends() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert json.dumps(jsonable.clean(deep)).count("[") == 31


@pytest.mark.parametrize(
    ("value", "number"),
    [(3, 3.0), ("2.5", 2.5), (True, None), ("x", None), (None, None), ("inf", None), (math.nan, None), ([], None)],
)
def test_a_number_is_finite_and_no_truth_value(value: Any, number: float | None) -> None:
    assert jsonable.number(value) == number


@pytest.mark.parametrize(
    ("value", "text"), [(0, "1970-01-01T00:00:00Z"), ("86400.9", "1970-01-02T00:00:00Z"), (1e300, None), ("", None)]
)
def test_a_time_is_given_to_the_second_in_utc(value: Any, text: str | None) -> None:
    assert jsonable.iso(value) == text


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"ttl_s": 1, "limit": 100}, None),
        ({"ttl_s": 0.9, "limit": 100}, "ttl_s is 0.9; give a number from 1 to 60"),
        ({"ttl_s": 60, "limit": 101}, "limit is 101; give a number from 0 to 100"),
        ({"ttl_s": math.nan, "limit": 500}, "ttl_s is nan; give a number from 1 to 60"),
        ({"ttl_s": math.inf, "limit": 1}, "ttl_s is inf; give a number from 1 to 60"),
    ],
)
def test_the_first_number_out_of_its_range_is_named(params: dict[str, float], expected: str | None) -> None:
    assert ranges.out_of_range(params, {"ttl_s": (1, 60), "limit": (0, 100)}) == expected
