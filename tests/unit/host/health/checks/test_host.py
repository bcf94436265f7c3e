"""What is left of a host, at and around its limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import plain
from orquestrador.health.checks import host
from tests.unit.host.health.checks.judged import STATUSES, WILD, judge, status, wild

MIB = 1024 * 1024


@pytest.mark.parametrize(("mib", "said"), [(399, "ok"), (400, "warn"), (500, "warn"), (501, "critical")])
def test_memory_is_that_of_the_heaviest_instance(mib: int, said: str) -> None:
    app = {"memory_max_bytes": mib * MIB, "memory_bytes": 9000 * MIB}
    assert status("memory.app", pm2={"app": app}) == said


def test_processor_time_that_was_measured_goes_before_what_pm2_reports() -> None:
    pm2 = {"app": {"cpu_percent": 100.0}}
    assert status("cpu.app", pm2=pm2) == "critical"
    assert status("cpu.app", pm2=pm2, resources={"cpu": {"app_percent": 80.0}}) == "ok"


@pytest.mark.parametrize(
    ("disks", "said"),
    [
        ([{"path": "/", "used_percent": 79.9, "inodes_used_percent": 3.0}], "ok"),
        ([{"path": "/", "used_percent": 10.0, "inodes_used_percent": 90.0}], "critical"),
        ([{"path": "/", "used_percent": 10.0}, {"path": "/srv", "used_percent": 80.0}], "warn"),
        ([{"path": "/", "used_percent": 10.0}, {"path": "/srv", "used_percent": None}], "unknown"),
        ([{"path": "/", "used_percent": 95.0}, {"path": "/srv", "used_percent": None}], "critical"),
        ([], "unknown"),
    ],
)
def test_the_fullest_disk_counts_and_one_that_was_not_seen_is_not_good(disks: list[Any], said: str) -> None:
    assert status("host.disk", resources={"disk": disks}) == said


def test_inodes_are_named_as_such() -> None:
    found = judge("host.disk", resources={"disk": [{"path": "/", "used_percent": 1, "inodes_used_percent": 99.5}]})
    assert "of the inodes" in plain(found["observed"])


@given(st.fixed_dictionaries({"cpu": WILD, "memory": WILD, "disk": WILD | st.lists(WILD)}))
def test_anything_at_all_is_judged(value: dict[str, Any]) -> None:
    assert wild(host.__name__, "resources", value) <= STATUSES
