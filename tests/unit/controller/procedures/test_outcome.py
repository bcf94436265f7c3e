from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import msg
from orquestrador.health.checks import CHECK_IDS
from orquestrador_ops.core.i18n import translator
from orquestrador_ops.procedures import outcome as routines
from orquestrador_ops.procedures.descriptor import Procedure
from orquestrador_ops.procedures.routines import DAILY, UPTIME
from orquestrador_ops.reports import view

Make = Callable[..., dict[str, Any]]
FILES_OK = {"files": {"current": True, "missing": [], "files": []}}


def statuses(steps: list[dict[str, Any]]) -> dict[str, str]:
    return {step["id"]: step["status"] for step in steps}


def test_daily_has_the_five_steps_of_the_playbook_and_the_backup() -> None:
    assert [step.id for step in DAILY.steps] == [
        "pm2_status",
        "health_check",
        "error_logs",
        "api",
        "resources",
        "critical_files",
    ]


def test_every_check_belongs_to_exactly_one_step_of_the_daily_routine() -> None:
    assert sorted(check for step in DAILY.steps for check in step.checks) == sorted(CHECK_IDS)


def test_healthy_is_met(make_verdict: Make) -> None:
    steps, outcome = routines.conclude("daily", FILES_OK, make_verdict(), {})
    assert outcome == "met"
    assert set(statuses(steps).values()) == {"ok"}


@pytest.mark.parametrize("check", CHECK_IDS)
@pytest.mark.parametrize(
    ("status", "overall", "shown"),
    [("warn", "degraded", "warn"), ("unknown", "unknown", "unknown"), ("critical", "critical", "failed")],
)
def test_one_check_that_is_not_ok_fails_its_step_and_the_health_check(
    make_verdict: Make, check: str, status: str, overall: str, shown: str
) -> None:
    verdict = make_verdict(overall, **{check.replace(".", "_"): status})
    steps, outcome = routines.conclude("daily", FILES_OK, verdict, {})
    owner = next(step.id for step in DAILY.steps if check in step.checks)
    expected = {step.id: "ok" for step in DAILY.steps} | {owner: shown, "health_check": shown}
    assert (statuses(steps), outcome) == (expected, "not_met")


@pytest.mark.parametrize(
    ("files", "result", "status", "outcome"),
    [
        ({"current": True}, None, "ok", "met"),
        ({"current": True}, {}, "ok", "met"),
        ({"current": True}, {"skipped": True, "changed": False}, "ok", "met"),
        ({"current": False}, {"changed": True, "files": [{"name": ".env"}]}, "changed", "met"),
        ({"current": False}, {"changed": False}, "ok", "met"),
        ({"current": False}, {}, "failed", "not_met"),
        ({"current": False}, {"skipped": True}, "failed", "not_met"),
        ({"current": False, "missing": [".env"]}, {}, "failed", "not_met"),
        ({"current": True}, {"failed": True, "msg": "no space left on /backups"}, "failed", "not_met"),
        ({"current": True}, {"unreachable": True, "msg": "gone"}, "unknown", "not_met"),
        ({"current": True}, {"status": "skipped"}, "skipped", "not_met"),
        ({"current": True}, {"status": "splendid"}, "unknown", "not_met"),
        (None, None, "unknown", "not_met"),
    ],
)
def test_backup_of_critical_files(make_verdict: Make, files: Any, result: Any, status: str, outcome: str) -> None:
    results = None if result is None else {"critical_files": result}
    steps, got = routines.conclude("daily", {"files": files}, make_verdict(), results)
    assert (steps[-1]["status"], got) == (status, outcome)
    if status in {"failed", "unknown"} and "status" not in (result or {}):
        assert steps[-1]["note"] is not None


def test_failed_action_says_why(make_verdict: Make) -> None:
    result = {"failed": True, "msg": "no space left on /backups"}
    steps, _ = routines.conclude("daily", FILES_OK, make_verdict(), {"critical_files": result})
    assert steps[-1]["note"]["args"] == {"error": "no space left on /backups"}


def test_failed_action_says_why_in_the_modules_own_messages(make_verdict: Make) -> None:
    """They can be translated; what a module puts into ``msg`` is English."""
    failures = [
        msg("{path} does not exist: restore it or correct its path", path="/a/.env"),
        {"text": "{path} is odd", "args": {"path": "b"}},
    ]
    result = {"failed": True, "msg": "English", "failures": failures}
    steps, _ = routines.conclude("daily", FILES_OK, make_verdict(), {"critical_files": result})
    assert steps[-1]["note"] == failures
    shown = view.build({"steps": steps}, {}, {}, translator("pt_BR"))["steps"][-1]
    assert (shown["status"], shown["note"]) == (
        "failed",
        "/a/.env não existe: restaure-o ou corrija o caminho; b is odd",
    )


def test_a_refusal_names_the_holder_in_a_message_that_can_be_translated(make_verdict: Make) -> None:
    failure = {"text": "held by run {run_id}", "args": {"run_id": "r1"}}
    result = {"failed": True, "msg": "held by run r1", "failures": [failure], "files": [], "holder": {"run_id": "r1"}}
    steps, outcome = routines.conclude("daily", FILES_OK, make_verdict(), {"critical_files": result})
    assert (steps[-1]["note"], outcome) == ([failure], "not_met")
    assert steps[-1]["evidence"]["holder"] == {"run_id": "r1"}


@pytest.mark.parametrize(
    ("result", "status"),
    [(None, "unknown"), ({"skipped": True}, "unknown"), ({"changed": False, "lease": {"run_id": "r1"}}, "ok")],
)
def test_bootstrap_without_a_lease_is_not_met(make_verdict: Make, result: Any, status: str) -> None:
    steps, outcome = routines.conclude("bootstrap", FILES_OK, make_verdict(), {"lease": result} if result else {})
    assert (steps[0]["id"], steps[0]["status"]) == ("lease", status)
    assert (outcome == "met") == (status == "ok")
    assert steps[0]["evidence"] == ({"lease": {"run_id": "r1"}} if status == "ok" else {})


def test_result_of_a_step_never_hides_a_failed_check(make_verdict: Make) -> None:
    verdict = make_verdict("critical", logs_errors="critical")
    steps, _ = routines.conclude("daily", FILES_OK, verdict, {"error_logs": {"status": "ok"}})
    assert statuses(steps)["error_logs"] == "failed"


@pytest.mark.parametrize("verdict", [None, {}, {"overall": "healthy", "checks": []}, {"checks": None}, {"checks": [3]}])
def test_missing_checks_are_unknown_not_ok(verdict: Any) -> None:
    steps, outcome = routines.conclude("daily", FILES_OK, verdict, {})
    assert outcome == "not_met"
    assert statuses(steps)["pm2_status"] == "unknown"


def test_host_without_a_snapshot_is_unreachable(make_verdict: Make) -> None:
    steps, outcome = routines.conclude("daily", None, None, {})
    assert (set(statuses(steps).values()), outcome) == ({"unknown"}, "unreachable")


def test_unknown_routine_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="daily"):
        routines.conclude("hourly", None, None, {})


@given(st.lists(st.sampled_from(["ok", "warn", "critical", "unknown"]), min_size=15, max_size=15), st.data())
def test_met_only_when_every_check_is_ok(found: list[str], data: st.DataObject) -> None:
    overall = data.draw(st.sampled_from(["healthy", "degraded", "critical", "unknown"]))
    checks = [{"id": name, "status": status} for name, status in zip(CHECK_IDS, found, strict=True)]
    _, outcome = routines.conclude("daily", FILES_OK, {"overall": overall, "checks": checks}, {})
    assert (outcome == "met") == (set(found) == {"ok"} and overall == "healthy")


@pytest.mark.parametrize(
    ("result", "status", "outcome"),
    [
        ({"changed": True}, "changed", "met"),
        ({"failed": True, "msg": "no space"}, "failed", "not_met"),
        ({}, "unknown", "not_met"),
        ({"skipped": True}, "unknown", "not_met"),
    ],
)
def test_a_backup_that_was_not_made_is_not_met_however_healthy_the_host(
    make_verdict: Make, result: dict[str, Any], status: str, outcome: str
) -> None:
    results = {"lease": {"changed": False}, "database_backup": result, "database_verify": {"changed": True}}
    steps, got = routines.conclude("backup", FILES_OK, make_verdict(), results)
    assert (steps[1]["status"], got) == (status, outcome)


TAKEN = "2026-01-09T20:00:00+00:00"
DAY = 86400


def up(uptime_s: Any) -> dict[str, Any]:
    return {"taken_at": TAKEN, "pm2": {"app": {"name": "app", "uptime_s": uptime_s}}}


@pytest.fixture
def weekly(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Judges a routine whose only step is the time since the last start."""
    plan = Procedure("weekly", msg("Weekly routine"), steps=(UPTIME,))
    monkeypatch.setattr(routines, "PROCEDURES", {"weekly": plan})

    def judge(snapshot: Any, result: Any = None, **facts: Any) -> dict[str, Any]:
        given_facts = {"health_uptime_min_days": 7, **facts}
        steps, _ = routines.conclude("weekly", snapshot, None, {"uptime": result or {}}, given_facts)
        return steps[0]

    return judge


@pytest.mark.parametrize(
    ("snapshot", "facts", "status", "said"),
    [
        (up(7 * DAY + 1), {}, "ok", "Up for"),
        (up(7 * DAY), {}, "warn", "no planned restart explains it"),
        (up(3 * DAY), {"health_uptime_min_days": "2.5"}, "ok", "Up for"),  # from a command line
        (up(3600), {"planned_restart_at": "2026-01-09T19:00:00+00:00"}, "ok", "since a planned restart"),
        (up(3600), {"planned_restart_at": "2026-01-09T16:01:30-03:00"}, "ok", "since a planned restart"),
        (up(5000), {"planned_restart_at": "2026-01-09T19:00:00+00:00"}, "ok", "since a planned restart"),
        # It started again after what was planned.
        (up(600), {"planned_restart_at": "2026-01-09T19:00:00+00:00"}, "warn", "no planned restart"),
        (up(DAY), {"planned_restart_at": "2026-01-09T19:00:00+00:00"}, "warn", "no planned restart"),
        (up(600), {"planned_restart_at": "yesterday"}, "warn", "no planned restart"),
        (up(None), {}, "unknown", "does not say"),
        (up(float("nan")), {}, "unknown", "does not say"),
        ({"pm2": None}, {}, "unknown", "does not say"),
        (None, {}, "unknown", "does not say"),
        (up(9 * DAY), {"health_uptime_min_days": "a week"}, "unknown", "no number of days"),
        (up(9 * DAY), {"health_uptime_min_days": None}, "unknown", "no number of days"),
    ],
)
def test_uptime_is_judged_with_the_reason_where_it_is_known(
    weekly: Callable[..., dict[str, Any]], snapshot: Any, facts: dict[str, Any], status: str, said: str
) -> None:
    step = weekly(snapshot, **facts)
    assert step["status"] == status
    assert said in str(step["note"]["text"])


def test_uptime_is_recorded_raw_whatever_explains_it(weekly: Callable[..., dict[str, Any]]) -> None:
    step = weekly(up(3600), planned_restart_at="2026-01-09T19:00:00+00:00")
    assert step["evidence"] == {
        "uptime_s": 3600,
        "expected_s": 7 * DAY,
        "planned_restart_at": "2026-01-09T19:00:00+00:00",
    }


def test_what_an_action_reported_counts_before_what_the_snapshot_shows(weekly: Callable[..., dict[str, Any]]) -> None:
    assert weekly(up(9 * DAY), {"status": "warn", "note": msg("x")})["status"] == "warn"


def test_only_procedures_with_judged_steps_need_variables(weekly: Callable[..., dict[str, Any]]) -> None:
    assert routines.judged("weekly") == ("health_uptime_min_days",)
    assert routines.judged("unknown") == ()


def test_the_daily_routine_asks_for_no_variable() -> None:
    assert routines.judged("daily") == ()


def test_an_optional_step_that_was_not_asked_for_is_no_step_of_the_run(make_verdict: Make) -> None:
    done = {"lease": {"changed": False}, "pm2_reload": {"changed": True}}
    steps, outcome = routines.conclude("reload", {}, make_verdict(), done)
    assert (list(statuses(steps)), outcome) == (["lease", "pm2_reload", "application"], "met")
    steps, outcome = routines.conclude(
        "reload", {}, make_verdict(), {**done, "app_build": {"failed": True, "msg": "x"}}
    )
    assert (statuses(steps)["app_build"], outcome) == ("failed", "not_met")


def test_a_backup_that_was_not_to_be_proven_says_so_and_is_met(make_verdict: Make) -> None:
    results = {"lease": {"changed": False}, "database_backup": {"changed": True}, "database_verify": {"skipped": True}}
    steps, outcome = routines.conclude("backup", FILES_OK, make_verdict(), results)
    assert statuses(steps)["database_verify"] == "skipped"
    assert "backup_prove is off" in next(step for step in steps if step["id"] == "database_verify")["note"]["text"]
    assert outcome == "met"


def test_a_proof_that_did_not_run_is_not_taken_for_one_that_was_not_wanted(make_verdict: Make) -> None:
    results = {"lease": {"changed": False}, "database_backup": {"changed": True}, "database_verify": {}}
    steps, outcome = routines.conclude("backup", FILES_OK, make_verdict(), results)
    assert (statuses(steps)["database_verify"], outcome) == ("unknown", "not_met")


def test_what_a_step_needs_is_known_by_its_id() -> None:
    assert routines.needed_result("database_optimize", "monthly") == "backup_verify_result"
    assert routines.needed_result("database_backup", "monthly") == ""
    with pytest.raises(ValueError, match=r"^monthly has no step 'uptime': use one of lease, "):
        routines.needed_result("uptime", "monthly")


def test_results_are_found_under_the_names_that_tasks_register() -> None:
    registered = {"backup_database_result": {"changed": True}, "app_lease_result": None, "elsewhere": {"changed": True}}
    found = routines.results("backup", registered)
    assert found == {"lease": {}, "database_backup": {"changed": True}, "database_verify": {}}
    with pytest.raises(ValueError, match=r"^no procedure 'watch': use one of "):
        routines.results("watch", registered)
