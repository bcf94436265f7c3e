"""What checks read, and what is said where there is nothing to read."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador.core.messages import msg, plain
from orquestrador.core.types import CRITICAL, OK, UNKNOWN, WARN
from orquestrador.health.checks import registry
from orquestrador.health.checks.view import View, as_message, shown


def view(*findings: dict[str, Any], **snapshot: Any) -> View:
    return View({**snapshot, "errors": list(findings)}, {}, None)


def finding(collector: str, code: str, text: str = "") -> dict[str, Any]:
    return {"collector": collector, "code": code, "message": {"text": text or code}}


@pytest.mark.parametrize("odd", [None, [], "x", {"pm2": 3, "errors": "none", "logs": []}])
def test_anything_can_be_a_snapshot(odd: Any) -> None:
    found = View(odd, {}, odd)
    assert (found.pm2, found.app, found.logs, found.findings, found.remembered) == (None, None, None, [], None)


def test_a_remark_about_a_mode_is_no_reason_while_there_is_another() -> None:
    seen = view(finding("mysql", "loose_permissions"), finding("mysql", "refused"), finding("http", "timeout"))
    assert (seen.finding("mysql") or {})["code"] == "refused"
    assert (seen.finding("mysql", "loose_permissions") or {})["code"] == "loose_permissions"
    assert (view(finding("mysql", "loose_permissions")).finding("mysql") or {})["code"] == "loose_permissions"
    assert seen.finding("logs") is None


def test_only_what_was_said_of_this_very_code_is_its_word() -> None:
    seen = view(finding("http", "refused", "nobody listens"))
    assert seen.said("http", "timeout") is None
    assert seen.said("http", "refused") == {"text": "nobody listens", "args": {}}


@pytest.mark.parametrize("value", [None, "text", {"text": 1}, {"args": {}}])
def test_what_is_no_message_is_none(value: Any) -> None:
    assert as_message(value) is None


def test_long_words_are_cut() -> None:
    assert (shown(None), shown(0), len(shown("x" * 999))) == ("?", "0", 200)


def test_a_check_that_saw_nothing_says_why() -> None:
    known = registry.unseen(view(finding("http", "refused", "nobody listens")), "http")
    assert (known.status, plain(known.observed)) == (UNKNOWN, "nobody listens")
    assert known.evidence == {"collector": "http", "finding": "refused"}
    silent = registry.unseen(view(), "http")
    assert plain(silent.observed) == "not observed"
    assert silent.hint is not None
    gone = registry.unseen(view(pm2={"daemon": "online"}), "pm2")
    assert gone.observed == registry.NO_PROCESS


@pytest.mark.parametrize(("value", "status"), [(79.9, OK), (80, WARN), (89.9, WARN), (90, CRITICAL)])
def test_a_limit_is_above_from_itself_on(value: float, status: str) -> None:
    assert registry.above(value, 80, 90) == status


def test_a_hint_is_given_only_where_something_is_wrong() -> None:
    hint = msg("do this")
    for status, expected in ((OK, None), (WARN, hint)):
        judged = registry.Result(status, msg("x"), hint)
        one = registry.Definition("a.b", msg("t"), "chapter", lambda _: msg("e"), lambda _, it=judged: it)  # type: ignore
        assert one.run(view())["hint"] == expected
