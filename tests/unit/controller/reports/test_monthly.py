"""The sections of the monthly report: in the playbook's order, honest about what was not measured."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador.core.messages import msg
from orquestrador_ops.core.i18n import translator
from orquestrador_ops.reports.monthly import monthly

TR = translator("en", "UTC")
SECTIONS = ["uptime", "health", "tests", "error-logs", "actions", "next"]


def shown(name: str, **changed: Any) -> dict[str, Any]:
    return {"id": name, "title": name, "word": "done", "note": "", "status": "ok", "tone": "good", **changed}


def report(record: Any = None, snapshot: Any = None, verdict: Any = None, *steps: dict[str, Any]) -> dict[str, Any]:
    found = monthly(record or {}, snapshot or {}, verdict or {}, list(steps), TR)
    assert [one["id"] for one in found] == SECTIONS
    return {one["id"]: one for one in found}


def test_what_was_not_measured_is_not_called_good() -> None:
    found = report()
    assert "not known" in found["uptime"]["paragraphs"][0]
    assert found["tests"]["paragraphs"] == ["The tests were not run."]
    assert [item["done"] for item in found["next"]["items"]] == [False, False]
    assert found["actions"].get("items", []) == []


def test_probes_are_told_as_a_share_with_what_they_leave_open() -> None:
    period = {"since_at": "2026-10-01T00:00:00+00:00", "probes": 200, "probes_good": 199}
    (words,) = report({"period": period})["uptime"]["paragraphs"]
    assert "200, of which 199 good (99.5%)" in words
    assert "not known to be good" in words


def test_what_was_done_is_ticked_and_what_failed_is_to_be_done() -> None:
    audit = {"id": "npm_audit", "evidence": {"after": {"high": 2, "low": 1, "info": None}}}
    logs = {"id": "log_errors", "evidence": {"errors": 0}}
    failed = shown("database_backup", status="failed", tone="bad", note="no room")
    found = report({"steps": [audit, logs]}, None, None, failed, shown("pm2_reload", status="changed"))
    done = {item["text"]: item["done"] for item in found["actions"]["items"]}
    assert done == {"database_backup: done – no room": False, "pm2_reload: done": True}
    todo = {item["text"]: item["done"] for item in found["next"]["items"]}
    assert todo == {
        "database_backup: no room": False,
        "Review the error logs: 0 events": True,
        "Plan updates of dependencies: 3 known vulnerabilities": False,
    }


@pytest.mark.parametrize("wild", [None, "x", 7, [None], {"a": 1}])
def test_a_hostile_host_stays_in_its_cells(wild: Any) -> None:
    process = {"name": "a\x1b[31m\nb", "pid": wild, "status": wild, "uptime_s": wild, "restarts": wild}
    check = {
        "id": "http.latency",
        "status": "warn",
        "title": msg("T"),
        "observed": msg("{x}", x="\x1b"),
        "hint": msg("H"),
    }
    found = report(None, {"pm2": {"processes": [wild, process]}}, {"checks": [wild, check]})
    row = found["uptime"]["tables"][0]["rows"][-1]
    assert "\x1b" not in str(row[0])
    assert "\n" not in str(row[0])
    assert "T: H" in [item["text"] for item in found["next"]["items"]]
