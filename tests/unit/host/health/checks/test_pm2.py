"""The daemon, its instances, and restarts: counted by instance since the last run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import plain
from orquestrador.health.checks import pm2
from tests.unit.host.health.checks.judged import STATUSES, WILD, judge, status, wild


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("online", "ok"),
        ("dead", "critical"),
        ("missing", "critical"),
        ("foreign", "critical"),
        ("unresponsive", "critical"),
        (None, "unknown"),
        ("\x1b", "unknown"),
    ],
)
def test_the_daemon_by_its_state(state: Any, said: str) -> None:
    assert status("pm2.daemon", pm2={"daemon": state, "home": "/h", "foreign": [None, {"user": "u"}]}) == said


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ({"app": {"instances": 2, "online": 2}}, "ok"),
        ({"app": {"instances": 2, "online": 1, "statuses": {"errored": 1, "online": 1}}}, "critical"),
        ({"app": {"instances": 0, "online": 0}}, "critical"),
        ({"app": None, "daemon": "dead"}, "critical"),
        ({"app": None, "daemon": "online"}, "critical"),
        ({"app": None, "daemon": "unresponsive"}, "unknown"),
    ],
)
def test_every_instance_has_to_be_online(seen: dict[str, Any], said: str) -> None:
    assert status("pm2.online", pm2=seen) == said


def pm2_of(*restarts: int, **app: Any) -> dict[str, Any]:
    processes = [{"name": "a", "pm_id": number, "restarts": count} for number, count in enumerate(restarts)]
    return {"processes": processes, "app": {"name": "a", "restarts": sum(restarts), **app}}


def test_a_process_that_was_created_anew_restarted_nothing() -> None:
    remembered = {"restarts": {"count": 9, "by_id": {"0": 2, "5": 7}}, "taken_at": "2026-01-02T03:04:05Z"}
    assert pm2.restarts_by_id(pm2.instances_of(pm2_of(2, 3))) == {"0": 2, "1": 3}
    assert status("pm2.restarts", remembered, pm2=pm2_of(2, 3)) == "ok"
    found = judge("pm2.restarts", remembered, pm2=pm2_of(4, 3))
    assert found["status"] == "warn"
    assert plain(found["observed"]) == "2 unplanned since 2026-01-02T03:04:05Z"


@pytest.mark.parametrize(("uptime_s", "said"), [(5, "critical"), (3600, "ok")])
def test_a_young_process_with_unstable_restarts_does_not_stay_up(uptime_s: int, said: str) -> None:
    app = pm2_of(0, unstable_restarts=1, uptime_s=uptime_s, statuses={"online": 1})
    assert status("pm2.restarts", pm2=app) == said


@given(st.dictionaries(st.sampled_from(["daemon", "home", "app", "processes", "foreign"]), WILD))
def test_anything_at_all_is_judged(value: dict[str, Any]) -> None:
    assert wild(pm2.__name__, "pm2", value) <= STATUSES
