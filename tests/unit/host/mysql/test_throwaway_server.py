"""A server to restore into is gone afterwards, whether it came up or not; a host that can't have one says why."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain
from orquestrador.mysql import throwaway_server as throwaway
from orquestrador.system.files import SCRATCH

SERVER: dict[str, Any] = {"product": "mysql", "lower_case_table_names": 0, "charset": "utf8mb4", "collation": "x"}


def start(directory: Path, *, size_bytes: int = 1) -> None:
    room = {"size_bytes": size_bytes, "reserve_bytes": 0, "deadline": time.monotonic() + 20}
    with throwaway.throwaway_server(str(directory), SERVER, "app", **room):
        raise AssertionError("a script is no server")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that programs are looked for in first."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path), prepend=":")
    return path


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo first; echo 'no rights here' >&2; exit 1", "no rights here"),
        ('case "$*" in *--initialize*) exit 0;; esac; echo "profile forbids it" >&2; exit 1', "profile forbids it"),
    ],
    ids=["prepared", "started"],
)
def test_a_host_that_can_have_none_says_why_and_keeps_nothing(
    tmp_path: Path, programs: Path, script: str, said: str
) -> None:
    (programs / "mysqld").write_text(f"#!/bin/sh\n{script}\n")
    (programs / "mysqld").chmod(0o755)
    place = tmp_path / "b"
    place.mkdir()
    with pytest.raises(throwaway.NoServerError) as raised:
        start(place)
    assert said in plain(raised.value.message)
    assert list(place.iterdir()) == []


def test_a_disk_without_room_is_no_reason_to_look_for_another_way(tmp_path: Path, programs: Path) -> None:
    (programs / "mysqld").write_text("#!/bin/sh\n")
    (programs / "mysqld").chmod(0o755)
    with pytest.raises(OperatorError, match="free some") as raised:
        start(tmp_path, size_bytes=2**60)
    assert not isinstance(raised.value, throwaway.NoServerError)


def test_what_a_killed_run_left_is_ended_and_nothing_else_touched(tmp_path: Path) -> None:
    left, kept, link = tmp_path / f"{SCRATCH}abc", tmp_path / "data", tmp_path / f"{SCRATCH}link"
    left.mkdir(), kept.mkdir(), link.symlink_to(kept)
    idle = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen([*idle, f"--datadir={left}/data"]) as ours,
        subprocess.Popen([*idle, f"{left}/data"]) as other,
    ):
        try:
            throwaway.sweep_servers(str(tmp_path))
            assert ours.wait(10) != 0
            assert other.poll() is None
        finally:
            ours.kill(), other.kill()
    assert (left.exists(), kept.exists(), link.is_symlink()) == (False, True, True)
