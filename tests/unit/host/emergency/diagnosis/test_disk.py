"""When a full disk is the trouble itself, and when it is what is behind another one."""

from __future__ import annotations

from typing import Any

import pytest

from orquestrador.core.messages import plain
from orquestrador.emergency.diagnosis import disk, scenario


def scene(used: float = 99.9, *, inodes: float = 5.0, status: str = "critical", error: str = "") -> scenario.Scene:
    disks = [{"path": "/", "used_percent": 12.0}, {"path": "/srv", "used_percent": used, "inodes_used_percent": inodes}]
    verdict = {"checks": [{"id": "host.disk", "status": status}]}
    return scenario.Scene({"resources": {"disk": disks}}, verdict, {"last_error": error})


@pytest.mark.parametrize(
    ("seen", "procedure", "explained"),
    [
        (scene(), "offline", True),
        (scene(99.4), "offline", False),
        (scene(50, inodes=99.5), "database", True),
        (scene(90), "none", True),
        (scene(90), "disk", True),
        (scene(90, error="Error: ENOSPC: no space left on device, write"), "offline", True),
        (scene(90, error="ECONNREFUSED"), "offline", False),
        (scene(status="warn"), "disk", False),
    ],
)
def test_it_explains_what_it_can_be_behind(seen: scenario.Scene, procedure: str, explained: bool) -> None:
    assert disk.explains(seen, procedure) is explained


@pytest.mark.parametrize(("seen", "of"), [(scene(99.9), "space"), (scene(50, inodes=100.0), "inodes")])
def test_the_fullest_is_named_with_what_it_lacks(seen: scenario.Scene, of: str) -> None:
    (rule,) = disk.RULES
    found = rule(seen)
    assert found is not None
    assert (found.name, found.level) == ("disk_full", "L4")
    (reason,) = found.reasons
    assert "/srv" in plain(reason)
    assert plain(reason).rstrip().endswith(f"of its {of} {'is' if of == 'space' else 'are'} used")


@pytest.mark.parametrize("resources", [{}, {"disk": None}, {"disk": ["x", {"path": "/"}, {"used_percent": "12"}]}])
def test_where_no_disk_was_seen_nothing_is_said(resources: dict[str, Any]) -> None:
    seen = scenario.Scene({"resources": resources}, {}, {})
    assert disk.fullest(seen) is None
    assert [rule(seen) for rule in disk.RULES] == [None]


def test_a_scene_assumes_nothing_of_what_it_is_given() -> None:
    odd: Any = {"pm2": [], "port": {"listeners": [1, {"of_app": True}, {"of_app": False, "pid": 7}]}, "http": None}
    seen = scenario.Scene(odd, {"checks": [None, {"id": "x"}]}, {})
    assert (seen.app, seen.states, seen.http) == ({}, {}, {})
    assert seen.foreign_listener() == {"of_app": False, "pid": 7}
    assert (seen.bad("x"), seen.last_error()) == (False, "")
