"""Fetching copies to the controller renews the host's lease, which nobody on the host does meanwhile."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orquestrador_ops.adapters import fetch as fetching
from tests.unit.fakes.loading import load

module = load("action_plugins/backup_copy.py")
LEASE = {"path": "/x/lease.json", "run_id": "mine", "ttl_s": 0.6, "user": "flavio"}


class Fetching(module.ActionModule):  # type: ignore[name-defined, misc]
    """The plugin with a host of three pieces behind it."""

    def __init__(self, lease: dict[str, Any] | None, *, lost: bool = False, takes_s: float = 0.0) -> None:
        self.variables: dict[str, Any] = {}
        self._set_renewal(lease)
        self._connection = SimpleNamespace(become=None, fetch_file=lambda *_: self.asked.append("whole"))
        self._left, self._lost, self._takes_s = 3, lost, takes_s
        self.asked: list[Any] = []

    def _low_level_execute_command(self, _command: str) -> dict[str, Any]:
        time.sleep(self._takes_s)
        self._left -= 1
        data = b"x" * (fetching.PIECE_BYTES if self._left else 1)
        return {"rc": 0, "stdout": base64.b64encode(data).decode()}

    def _execute_module(self, **given: Any) -> dict[str, Any]:
        self.asked.append((given["module_name"], given["module_args"]["state"], given["module_args"]["run_id"]))
        return {"failed": True, "msg": "it is another's"} if self._lost else {}


def test_the_lease_is_renewed_between_pieces_when_it_is_time(tmp_path: Path) -> None:
    slow, quick = Fetching(LEASE, takes_s=0.11), Fetching({**LEASE, "ttl_s": 600})
    for one in (slow, quick):
        one._fetch("/backup", tmp_path / "copy")
        assert (tmp_path / "copy").stat().st_size == 2 * fetching.PIECE_BYTES + 1
    assert slow.asked == [("host_lease", "renewed", "mine")] * 2
    assert quick.asked == []


def test_a_lost_lease_ends_the_fetching(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="it is another's"):
        Fetching(LEASE, lost=True, takes_s=0.11)._fetch("/backup", tmp_path / "copy")


def test_without_a_lease_a_file_is_fetched_as_a_whole(tmp_path: Path) -> None:
    one = Fetching(None)
    one._fetch("/backup", tmp_path / "copy")
    assert one.asked == ["whole"]
