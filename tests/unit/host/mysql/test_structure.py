"""Structure reduced to digests, and the reported differences."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.mysql import structure

cells = st.one_of(st.none(), st.text(max_size=5), st.binary(max_size=5), st.integers())


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), cells), max_size=8))
def test_digest_does_not_depend_on_the_order_of_rows(rows: list[tuple[str, object]]) -> None:
    shuffled = sorted(rows, key=lambda row: repr(row)[::-1])
    assert structure.digests(rows) == structure.digests(shuffled)


@pytest.mark.parametrize("other", [[("t", "int", "YES")], [("t", "int", None)], [("t", "int", "NO"), ("t", "x", "NO")]])
def test_any_difference_of_an_object_shows(other: list[tuple[object, ...]]) -> None:
    assert structure.digests([("t", "int", "NO")]) != structure.digests(other)


def test_bytes_and_text_of_the_same_are_the_same() -> None:
    assert structure.digests([(b"t", b"int")]) == structure.digests([("t", "int")])


@pytest.mark.parametrize(
    ("expected", "actual", "differing"),
    [
        ({}, {}, []),
        ({"tables": {"a": "1"}}, {"tables": {"a": "1"}}, []),
        ({"tables": {"a": "1"}}, {"tables": {"a": "2"}}, ["tables a"]),
        ({"tables": {"a": "1"}}, {}, ["tables a"]),
        ({}, {"views": {"v": "1"}}, ["views v"]),
        ({"t": {str(n): "1" for n in range(7)}}, {}, ["t 0", "t 1", "t 2", "t 3", "t 4", "+2"]),
    ],
)
def test_differences_are_named(
    expected: dict[str, dict[str, str]], actual: dict[str, dict[str, str]], differing: list[str]
) -> None:
    assert structure.differences(expected, actual) == differing


def test_products_differ_in_columns_only() -> None:
    indexes = next(kind for kind in structure.KINDS if kind.name == "indexes")
    assert "IS_VISIBLE" in structure.statement(indexes, "mysql")
    assert "IS_VISIBLE" not in structure.statement(indexes, "mariadb")
    expected = {"tables", "columns", "indexes", "views", "routines", "triggers", "events"}
    assert {kind.name for kind in structure.KINDS} >= expected
