"""What nobody can be sure of the shape of."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.core import coerce

ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.sets(st.integers()),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@given(ODD)
def test_whatever_comes_has_the_type_that_is_wanted(value: Any) -> None:
    coerce.mapping(value).get("x")
    assert isinstance(coerce.items(value), list)
    assert all(hasattr(one, "get") for one in coerce.mappings(value))
    coerce.dig(value, "a", "b")
    found = coerce.number(value)
    assert found is None or (math.isfinite(found) and not isinstance(found, bool))
    coerce.text(value).encode("utf-8")
    json.dumps(coerce.jsonable(value), allow_nan=False, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (0.5, 0.5),
        ("7", None),
        (True, None),
        (float("inf"), None),
        pytest.param(10**400, None, id="beyond any float"),
        (None, None),
        ([1], None),
    ],
)
def test_numbers(value: Any, number: Any) -> None:
    assert coerce.number(value) == number


def test_a_path_that_leads_nowhere() -> None:
    assert coerce.dig({"a": {"b": 1}}, "a", "b") == 1
    assert coerce.dig({"a": [1]}, "a", "b") is None
    assert coerce.dig(None, "a") is None
