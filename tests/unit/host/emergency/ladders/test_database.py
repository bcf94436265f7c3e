"""Which rungs a database emergency would climb, by what is behind it and by what was approved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from orquestrador.core.messages import plain
from orquestrador.emergency.ladders import database as emergency_database
from orquestrador.emergency.ladders import offline as emergency_offline

ONLINE = {"daemon": "online", "app": {"statuses": {"online": 1}}}
STOPPED = {"daemon": "online", "app": {"statuses": {"stopped": 1}}}
DELETED: dict[str, Any] = {"daemon": "online", "app": None}
DEAD: dict[str, Any] = {"daemon": "dead", "app": None}
RETURN = ("reconnect", "restart", "start_anew")


def scene(scenario: str, state: dict[str, Any], **approved: bool) -> Any:
    params = {
        "mysql_service": "mysql",
        "kill_idle_connections": False,
        "app_ecosystem_file": "/app/ecosystem.config.cjs",
        **approved,
    }
    app = SimpleNamespace(state=lambda: state, restart=None, start_anew=None, resurrect=None)
    return SimpleNamespace(
        params=params, check_mode=True, diagnosis={"scenario": scenario}, app=app, owner=SimpleNamespace(uid=1000)
    )


@pytest.mark.parametrize(
    ("scenario", "state", "rungs"),
    [
        ("service_stopped", ONLINE, ("service", *RETURN)),
        ("service_failed", STOPPED, ("service", "restart", "start_anew")),
        ("service_starting", ONLINE, ("wait", *RETURN)),
        ("service_stopped", DELETED, ("service", "start_anew", "resurrect")),
        ("service_stopped", DEAD, ("service", "daemon", "resurrect", "start_anew")),
        ("server_halted", ONLINE, ("server_go_on", "service_restart", *RETURN)),
        ("server_hung", ONLINE, ("wait", "service_restart", *RETURN)),
        ("full_by_app", ONLINE, ("restart", "start_anew")),
        ("full_by_idle", ONLINE, ()),
        ("full_by_work", ONLINE, ()),
        ("not_reconnected", ONLINE, ("restart", "start_anew")),
        ("crashed_tables", ONLINE, ("tables",)),
        ("wrong_password", ONLINE, ()),
        ("read_only", ONLINE, ()),
        ("blocked", ONLINE, ()),
        ("masked", STOPPED, ()),
        ("disk_full", ONLINE, ()),
        ("socket_lost", ONLINE, ()),
        ("unclear", ONLINE, ("service", *RETURN)),
    ],
)
def test_the_rungs_of_a_scenario(scenario: str, state: dict[str, Any], rungs: tuple[str, ...]) -> None:
    names = [rung.id for rung in emergency_database.ladder(scene(scenario, state))]
    assert tuple(names) == rungs


def test_idle_connections_are_ended_only_when_approved() -> None:
    approved = emergency_database.ladder(scene("full_by_idle", ONLINE, kill_idle_connections=True))
    assert next(iter(approved)).id == "idle_connections"


def test_check_mode_says_of_each_rung_what_it_would_do() -> None:
    for name in emergency_database.SERVER:
        for rung in emergency_database.ladder(scene(name, ONLINE, kill_idle_connections=True)):
            assert "would" in plain(rung.would)


def test_a_rung_of_another_procedure_is_made_by_its_name() -> None:
    made = emergency_offline.chosen(scene("unclear", ONLINE), "restart", "resurrect")
    assert [rung.id for rung in made] == ["restart", "resurrect"]
