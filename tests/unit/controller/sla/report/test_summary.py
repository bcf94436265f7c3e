"""Service levels in one line each, for the output of a play."""

from __future__ import annotations

from typing import Any

from orquestrador.core.messages import msg
from orquestrador_ops.core.i18n import translator
from orquestrador_ops.sla.report import summary
from tests.unit.controller.sla import known

TR = translator("en", "UTC")


def test_a_month_in_words() -> None:
    document = known.document()
    lines = summary.host_lines([document, document], TR)
    assert lines[0] == f"Service levels of {known.HOST} (2026-10, 2026-10)"
    levels = [line for line in lines[1:] if not line.startswith("  To do: ")]
    assert len(levels) == len(document["slas"])
    twice = "2026-10 99.876% not proven (20 min 38 s left)"
    assert levels[0] == f"  Uptime ≥ 99.9%: {twice}; {twice}"
    assert levels[-1].endswith("2026-10 22 min MISSED")
    assert len(lines) == 1 + len(levels) + 1  # what is to be done about it, once
    assert all("\n" not in line for line in lines)


def test_only_what_is_missed_is_in_the_line_of_a_failure() -> None:
    document = known.document()
    missed = [sla for sla in document["slas"] if sla["verdict"] == "missed"]
    assert missed
    assert summary.missed([document], TR).count(";") == len(missed) - 1
    met = [{**sla, "verdict": "met"} for sla in document["slas"]]
    assert summary.missed([{**document, "slas": met}], TR) == ""
    assert summary.missed([], TR) == ""


def test_a_host_of_which_nothing_was_evaluated_has_no_lines() -> None:
    assert summary.host_lines([], TR) == []


def test_a_hostile_name_stays_in_its_line() -> None:
    document = {**known.document(), "host": "web\x1b[31m\nroot"}
    assert all("\n" not in line and "\x1b" not in line for line in summary.host_lines([document], TR))


def test_messages_are_translated_at_any_depth_and_nothing_else_is_touched() -> None:
    told: dict[str, Any] = {"a": [msg("met"), {"text": "met"}], "n": None, "b": {"c": msg("{n} days", n=2)}}
    found = summary.translate_messages(told, translator("pt_BR", "UTC"))
    assert found["a"] == [summary.verdict("met", translator("pt_BR", "UTC")), {"text": "met"}]
    assert (found["n"], found["a"][0] != "met") == (None, True)
