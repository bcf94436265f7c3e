"""What is behind an application without its database, told apart by clues; and what is done about each."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import plain
from orquestrador.emergency.diagnosis import database as diagnosis_database
from orquestrador.emergency.diagnosis import diagnose as diagnosis
from orquestrador.emergency.ladders import database as emergency_database

ALERT = {"procedure": "database", "checks": [], "reasons": []}
UP: dict[str, Any] = {"database": {"reachable": True}}
DOWN: dict[str, Any] = {"database": {"reachable": False, "error": "no_socket"}}
FULL: dict[str, Any] = {"database": {"reachable": False, "error": "too_many_connections"}}
RUNS = {"load": "loaded", "active": "active", "sub": "running", "enabled": "enabled", "pid": 5, "process": "S"}
HOME = {"host": "127.0.0.1", "port": 3306, "user": "app", "database": "shop", "local": True}


def service(**changes: Any) -> dict[str, Any]:
    return {"service": {**RUNS, **changes}}


def login(result: str, **changes: Any) -> dict[str, Any]:
    return {"login": {**HOME, "result": result, **changes}, **service()}


def held(count: int, *, app: bool = False, command: str = "Sleep", user: str = "who") -> dict[str, Any]:
    return {"user": user, "host": "localhost", "command": command, "age": "< 10 s", "sessions": count, "app": app}


CASES: tuple[tuple[str, dict[str, Any], dict[str, Any], str | None], ...] = (
    ("service_stopped", DOWN, service(active="inactive"), None),
    ("service_failed", DOWN, service(active="failed", result="exit-code"), None),
    ("service_starting", DOWN, service(active="activating", sub="auto-restart"), None),
    ("server_halted", {"database": {"error": "timeout"}}, service(process="T"), None),
    ("masked", DOWN, service(load="masked", active="inactive"), "L3"),
    ("unit_unknown", DOWN, service(load="not-found", active="inactive"), None),
    ("server_hung", {"database": {"error": "timeout"}}, login("timeout"), "L3"),
    ("server_hung", DOWN, login("unknown"), "L3"),
    ("socket_lost", {**DOWN, "http": {"body": {"database": "connected"}}}, login("unknown"), None),
    ("host_unresolved", UP, login("unknown_host", local=None, host="db.invalid"), "L3"),
    ("remote", DOWN, {"login": {**HOME, "local": False, "result": "refused"}}, "L3"),
    ("address_refused", UP, login("refused", port=3399), "L3"),
    ("wrong_password", UP, login("denied"), "L3"),
    ("wrong_password", UP, {"errors": {"denied": {"last": "Access denied"}}, **service()}, "L3"),
    ("no_rights", UP, login("denied_database"), "L3"),
    ("no_schema", UP, login("unknown_database"), "L3"),
    ("full_unseen", FULL, login("too_many_connections"), "L3"),
    ("full_by_app", FULL, {**login("too_many_connections"), "holders": [held(9, app=True), held(1)]}, "L3"),
    ("full_by_idle", FULL, {**login("too_many_connections"), "holders": [held(9), held(1, app=True)]}, None),
    ("full_by_work", FULL, {**login("too_many_connections"), "holders": [held(9, command="Query")]}, "L4"),
    ("crashed_tables", UP, {**login("ok"), "tables": ["message"]}, "L3"),
    ("read_only", UP, {**login("ok"), "read_only": "super_read_only"}, "L3"),
    ("read_only", UP, {**login("ok"), "read_only": "innodb_force_recovery"}, "L4"),
    ("disk_full", UP, {**login("ok"), "errors": {"disk_full": {"last": "no space"}}}, "L4"),
    ("disk_full", DOWN, {**service(active="activating", sub="start"), "start_error": {"cause": "disk_full"}}, "L4"),
    ("blocked", UP, {**login("ok"), "waits": [{"waiter_user": "app", "blocker": 7, "waited_s": 3.0}]}, "L3"),
    ("not_reconnected", UP, {**login("ok"), "waits": [{"waiter_user": "else", "blocker": 7}]}, None),
    ("unclear", UP, {}, None),
)


@pytest.mark.parametrize(
    ("name", "snapshot", "known", "level"), CASES, ids=[f"{c[0]}-{n}" for n, c in enumerate(CASES)]
)
def test_each_case_has_its_scenario(
    name: str, snapshot: dict[str, Any], known: dict[str, Any], level: str | None
) -> None:
    found = diagnosis.diagnose(snapshot, ALERT, {"database": known})
    assert (found["scenario"], found["level"]) == (name, level)
    if found["level"] and name not in ("server_hung",):
        assert found["proposals"], "who is told has to know what to do"
    assert "{" not in " ".join(plain(text) for text in (*found["reasons"], *found["proposals"])), "arguments missing"


@pytest.mark.parametrize(
    "name", ["wrong_password", "read_only", "blocked", "masked", "host_unresolved", "no_schema", "full_by_work"]
)
def test_what_a_restart_can_not_mend_is_never_restarted(name: str) -> None:
    assert name not in emergency_database.APPLICATION
    assert set(emergency_database.SERVER.get(name, ())) <= set(emergency_database.APPROVALS)


def test_the_first_cause_is_not_hidden_by_what_follows_from_it() -> None:
    known = {**login("refused"), **service(active="inactive"), "errors": {"denied": {"last": "x"}}}
    assert diagnosis.diagnose(DOWN, ALERT, {"database": known})["scenario"] == "service_stopped"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, None),
        ({"tables": ["t"]}, "database"),
        ({"read_only": "read_only"}, None),  # nobody was refused anything
        ({"read_only": "read_only", "errors": {"read_only": {"last": "refused"}}}, "database"),
        ({"errors": {"read_only": {"last": "refused"}}}, None),  # it takes changes by now
    ],
)
def test_an_alert_that_no_check_sees_needs_log_and_server(known: dict[str, Any], expected: str | None) -> None:
    assert diagnosis_database.alert_of({"database": known}) == expected


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_KNOWN = st.dictionaries(
    st.sampled_from(["service", "login", "tables", "errors", "read_only", "waits", "holders"]), _JSON, max_size=5
)


@given(_KNOWN)
def test_whatever_the_clues_hold_it_is_a_diagnosis(known: dict[str, Any]) -> None:
    found = diagnosis.diagnose(DOWN, ALERT, {"database": known})
    assert found["alert"] == "database"
