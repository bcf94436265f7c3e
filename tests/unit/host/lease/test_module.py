"""The frame of a module that changes a host: without the lease nothing is done, and what fails is one line."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orquestrador.lease import lease_file, model
from tests.unit import children


def run(lease: Path, kind: str, seconds: str = "5") -> dict[str, Any]:
    """What a module as those of the library are ends with; ``kind`` names what happens in its work."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    command = children.command("framed_module", lease, user, kind, seconds, lease.parent / "made")
    done = subprocess.run(command, cwd=children.ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture
def lease(tmp_path: Path) -> Path:
    path = tmp_path / "lease.json"
    wanted = model.request(run_id="mine", owner="ana@one", procedure="weekly", ttl_s=60.0)
    lease_file.acquire(str(path), wanted)
    return path


def test_what_is_made_under_the_lease_is_its_owners_only(lease: Path) -> None:
    assert run(lease, "well") == {"changed": True}
    assert (lease.parent / "made").stat().st_mode & 0o777 == 0o600


def test_an_error_is_told_in_one_line_and_as_messages(lease: Path) -> None:
    told = run(lease, "error")
    assert told["msg"] == "/srv is full"
    assert told["failures"] == [{"text": "{path} is full", "args": {"path": "/srv"}}]


@pytest.mark.parametrize("seconds", ["nan", "-1", "1e9"])
def test_a_wild_number_ends_it_before_anything_is_done(lease: Path, seconds: str) -> None:
    assert "give a number from 0 to 10" in run(lease, "well", seconds)["msg"]
    assert not (lease.parent / "made").exists()


def test_without_the_lease_nothing_is_done(tmp_path: Path) -> None:
    told = run(tmp_path / "lease.json", "well")
    assert told["failures"]
    assert not (tmp_path / "made").exists()
