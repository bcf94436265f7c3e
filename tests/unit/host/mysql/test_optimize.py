"""When a rebuild is worthwhile, and the meaning of the server's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain
from orquestrador.mysql import optimize
from orquestrador.mysql.optimize import AnswerRow, Limits, Table

MB = 1 << 20
LIMITS = Limits(min_free_bytes=64 * MB, min_free_ratio=0.2, everything=False, lock_wait_s=5, timeout_s=900.0)
ROWS = [
    ("message", "BASE TABLE", "InnoDB", 100 * MB, 20 * MB, 80 * MB),
    (b"aiModel", b"BASE TABLE".decode(), "InnoDB", 16384, 16384, 0),
    ("seen", "VIEW", None, None, None, None),
    ("kept", "BASE TABLE", "MEMORY", 10, 0, 0),
]


def table(size: int, free: int, **changes: Any) -> Table:
    return Table("t", "t", "BASE TABLE", "InnoDB", size, free)._replace(**changes)


@pytest.mark.parametrize(
    ("size", "free", "changes", "worthwhile"),
    [
        (200 * MB, 64 * MB, {}, True),
        (200 * MB, 64 * MB - 1, {}, False),
        (1000 * MB, 199 * MB, {}, False),  # much, but little of it
        (1000 * MB, 200 * MB, {}, True),
        (200 * MB, 200 * MB, {"shared": True}, False),  # what is free belongs to others too
        (0, 0, {}, False),
    ],
)
def test_a_rebuild_pays_where_much_of_the_file_is_free(
    size: int, free: int, changes: dict[str, Any], worthwhile: bool
) -> None:
    assert optimize.is_worthwhile(table(size, free, **changes), LIMITS) is worthwhile
    assert optimize.is_worthwhile(table(size, free, **changes), LIMITS._replace(everything=True))


@pytest.mark.parametrize(
    ("listed", "any_case", "name", "similar", "reason"),
    [
        ("message", False, "message", None, None),
        ("aiModel", False, "aiModel", None, None),
        ("aimodel", False, None, "aiModel", "missing"),
        ("aimodel", True, "aiModel", None, None),
        ("nowhere", True, None, None, "missing"),
        ("seen", False, "seen", None, "view"),
        ("kept", False, "kept", None, "unsupported"),
    ],
)
def test_a_listed_table_is_found_by_its_name(
    listed: str, any_case: bool, name: str | None, similar: str | None, reason: str | None
) -> None:
    found_table = optimize.find_table(listed, ROWS, any_case=any_case)
    assert (found_table.name, found_table.similar, optimize.reason_unsupported(found_table)) == (name, similar, reason)


def test_a_table_is_as_large_as_what_it_holds_and_what_is_free() -> None:
    found_table = optimize.find_table("message", ROWS, any_case=False)
    assert (found_table.size_bytes, found_table.free_bytes) == (200 * MB, 80 * MB)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (
            [
                AnswerRow("note", "Table does not support optimize, doing recreate + analyze instead"),
                AnswerRow("status", "OK"),
            ],
            "optimized",
        ),
        ([AnswerRow("status", "Table is already up to date")], "optimized"),
        ([AnswerRow("error", "Table 'a.b' doesn't exist"), AnswerRow("status", "Operation failed")], "missing"),
        (
            [AnswerRow("error", "Lock wait timeout exceeded; try restarting"), AnswerRow("status", "Operation failed")],
            "locked",
        ),
        ([AnswerRow("error", "Query execution was interrupted"), AnswerRow("status", "Operation failed")], "timed_out"),
        ([AnswerRow("error", "The table is full"), AnswerRow("status", "Operation failed")], "failed"),
        ([AnswerRow("error", "odd"), AnswerRow("status", "OK")], "failed"),
        ([AnswerRow("status", "Operation failed")], "failed"),
        ([], "failed"),
    ],
)
def test_an_answer_is_believed_by_its_errors_and_its_status(answer: list[AnswerRow], state: str) -> None:
    assert optimize.outcome_of(answer)[0] == state


@given(st.lists(st.builds(AnswerRow, st.sampled_from(["note", "error", "status", "warning"]), st.text())))
def test_any_answer_has_a_meaning_and_only_a_status_makes_it_good(answer: list[AnswerRow]) -> None:
    state, reason = optimize.outcome_of(answer)
    assert len(reason) <= 200
    if state == "optimized":
        assert any(row.kind == "status" for row in answer)
        assert not any(row.kind == "error" for row in answer)


@given(st.text())
def test_a_quoted_name_can_not_leave_its_quotes(name: str) -> None:
    quoted = optimize.quoted(name)
    assert quoted[0] == quoted[-1] == "`"
    assert "`" not in quoted[1:-1].replace("``", "")


def entry(state: str, name: str = "t", before: int = 0, after: int = 0) -> dict[str, Any]:
    return {"table": name, "state": state, "before_bytes": before, "after_bytes": after, "engine": "InnoDB"}


@pytest.mark.parametrize(
    ("states", "changed", "status", "failures"),
    [
        (["not_needed"], False, None, 0),
        (["optimized", "not_needed"], True, None, 0),
        (["would_optimize"], True, None, 0),
        (["optimized", "missing"], True, "warn", 0),
        (["view", "shared"], False, "warn", 0),
        (["unsupported"], False, None, 0),
        (["optimized", "locked", "missing"], True, "failed", 1),
        (["no_room", "timed_out", "failed"], False, "failed", 3),
        ([], False, None, 0),
    ],
)
def test_the_worst_table_gives_the_status(states: list[str], changed: bool, status: str | None, failures: int) -> None:
    result = optimize.summary([entry(state) for state in states], LIMITS)
    assert (result["changed"], result.get("status"), len(result["failures"])) == (changed, status, failures)


def test_what_was_given_back_is_added_up() -> None:
    entries = [entry("optimized", before=10, after=4), entry("optimized", before=3, after=5), entry("locked", before=9)]
    assert optimize.summary(entries, LIMITS)["evidence"]["reclaimed_bytes"] == 6


def test_who_is_known_by_another_case_is_named() -> None:
    message = optimize.message_for({**entry("missing", "aimodel"), "similar": "aiModel"}, LIMITS)
    assert plain(message) == "There is no table aimodel, but aiModel: correct mysql_optimize_tables"


def test_a_stopped_server_is_reported_in_one_line(tmp_path: Path) -> None:
    socket = str(tmp_path / "mysqld.sock")
    with pytest.raises(OperatorError) as raised:
        optimize.optimize(["t"], schema="app", defaults_file="", socket=socket, limits=LIMITS, check_mode=False)
    assert plain(raised.value.message) == f"The database server at {socket} can't be asked about app: no_socket"


def test_free_space_is_of_the_tables_file_system(tmp_path: Path) -> None:
    assert optimize.free_space(str(tmp_path), "app")
    assert optimize.free_space(str(tmp_path / "nowhere"), "app") is None
