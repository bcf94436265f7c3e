"""Where a full disk takes no lease, its lock keeps others off; and who may be sent the signal for a heap snapshot."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from orquestrador.app import heap_snapshot
from orquestrador.core.messages import msg, plain
from orquestrador.lease import lease_file, model


def wanted(run_id: str) -> model.Request:
    return model.request(run_id=run_id, owner="somebody@here", procedure="disk", ttl_s=60)


def test_others_wait_in_vain_while_the_lock_is_held(tmp_path: Path) -> None:
    path = str(tmp_path / "state" / "lease.json")
    with lease_file.by_lock(path, wanted("a")) as note:
        assert "kept off by its lock" in plain(note)
        assert not Path(path).exists()
        with pytest.raises(model.LeaseError, match="stays locked"):
            lease_file.acquire(path, wanted("b"), wait_s=0.1)
    assert lease_file.acquire(path, wanted("b"))["changed"]


def test_a_lease_of_somebody_else_counts_without_room_as_well(tmp_path: Path) -> None:
    path = str(tmp_path / "state" / "lease.json")
    lease_file.acquire(path, wanted("a"))
    with pytest.raises(model.LeaseError) as refused, lease_file.by_lock(path, wanted("b")):
        pass
    assert refused.value.holder


@pytest.mark.parametrize(("number", "expected"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)])
def test_only_a_full_disk_is_no_room(number: int, expected: bool) -> None:
    error = model.LeaseError(msg("no"))
    error.__cause__ = OSError(number, os.strerror(number))
    assert lease_file.no_room(error) is expected
    assert not lease_file.no_room(model.LeaseError(msg("no")))


def test_a_process_that_the_signal_would_end_is_not_sent_it() -> None:
    plain_process = subprocess.Popen(["sleep", "30"])
    catching = subprocess.Popen(
        ["sh", "-c", "trap : USR1; echo ready; while :; do sleep 0.2; done"], stdout=subprocess.PIPE
    )
    try:
        assert catching.stdout is not None
        catching.stdout.readline()
        assert not heap_snapshot.catches(plain_process.pid)
        assert heap_snapshot.catches(catching.pid)
        assert not heap_snapshot.catches(-1)
    finally:
        for process in (plain_process, catching):
            process.kill()
            process.wait()
