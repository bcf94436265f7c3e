"""A lease lasts as long as the module at work under it, and not longer; who loses it ends."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from orquestrador.core.messages import plain
from orquestrador.lease import keeper as lease_keeper
from orquestrador.lease import lease_file as lease
from tests.unit import children
from tests.unit.fakes.loading import load

ROOT = Path(__file__).resolve().parents[4]
ME = pwd.getpwuid(os.geteuid()).pw_name


def take(path: Path, run_id: str = "mine", ttl_s: float = 60.0, **more: Any) -> None:
    lease.acquire(
        str(path),
        lease.request(run_id=run_id, owner="ana@one", procedure="weekly", ttl_s=ttl_s, **more),
    )


def options(path: Path, ttl_s: float = 60.0) -> dict[str, Any]:
    return {"path": str(path), "run_id": "mine", "ttl_s": ttl_s, "user": ME}


def holder(path: Path) -> str | None:
    """Who has the lease now: read without the project."""
    with suppress(FileNotFoundError):
        found = json.loads(path.read_text())
        if time.clock_gettime(time.CLOCK_BOOTTIME) < found["boot_s"] + found["ttl_s"]:
            return str(found["run_id"])
    return None


def wait_for(what: Callable[[], Any], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def module(path: Path, ttl_s: float) -> Iterator[subprocess.Popen[str]]:
    """A module at work."""
    argv = children.command("module_under_lease", path, "mine", ttl_s, ME)
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_is_kept_for_as_long_as_the_work_takes_and_not_longer(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lease.json"
    take(path, ttl_s=1.0)
    until = time.monotonic() + 2.5
    with lease_keeper.kept(options(path, 1.0)):
        while time.monotonic() < until:
            assert holder(path) == "mine"
            time.sleep(0.01)
    wait_for(lambda: holder(path) is None, 1.5)
    assert lease.release(str(path), run_id="mine")["changed"], "giving it back is its procedure's"


def test_without_a_lease_nothing_is_kept() -> None:
    with lease_keeper.kept(None):
        pass


@pytest.mark.parametrize("other", [None, "theirs"])
def test_who_does_not_have_it_does_nothing(tmp_path: Path, other: str | None) -> None:
    path = tmp_path / "state" / "lease.json"
    if other:
        take(path, other)
    with pytest.raises(lease.LeaseError) as refused, lease_keeper.kept(options(path)):
        pytest.fail("it was let in")
    assert "does not have the lease" in plain(refused.value.message) or "to run theirs" in plain(refused.value.message)
    assert bool(refused.value.holder) is bool(other)
    assert holder(path) == other


def test_one_that_expired_and_nobody_took_is_renewed(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lease.json"
    take(path, ttl_s=1.0)
    wait_for(lambda: holder(path) is None)
    with lease_keeper.kept(options(path)):
        assert holder(path) == "mine"


def test_a_full_disk_ends_nobody_who_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state" / "lease.json"
    take(path)

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lease, "_replace", full)
    with lease_keeper.kept(options(path)):
        assert holder(path) == "mine"


def test_a_module_that_loses_it_ends_in_order_and_says_to_whom(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lease.json"
    take(path)
    with module(path, 60) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        wanted = lease.request(run_id="theirs", owner="bob@two", procedure="offline", ttl_s=60, preempt=True)
        lease.acquire(str(path), wanted)
        said = process.stdout.readline()
        assert process.wait(15) == 3
    assert "has lost the lease" in said
    assert Path(f"{path}.unwound").exists()
    assert holder(path) == "theirs"


def test_a_module_that_nobody_listens_to_ends_in_order_and_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lease.json"
    take(path)
    with module(path, 60) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        process.stdout.close()
        assert process.wait(15) == 128 + signal.SIGHUP
    assert Path(f"{path}.unwound").exists()
    assert not path.exists()


def test_a_module_that_is_killed_leaves_a_lease_that_ends_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "state" / "lease.json"
    take(path)
    with module(path, 1.0) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        before = children_of(process.pid)
        process.kill()
        process.wait(5)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))
        wait_for(lambda: holder(path) is None, 1.5)
    assert before, "nobody renewed"


def test_who_asks_all_of_a_run_to_end_does_not_end_what_renews(tmp_path: Path) -> None:
    """Ending a run signals each of its processes; putting back what was begun still needs the lease."""
    path = tmp_path / "state" / "lease.json"
    take(path)
    with module(path, 60) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        (pid,) = children_of(process.pid)
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGHUP)
        assert children_of(process.pid) == [pid]
        os.kill(pid, signal.SIGKILL)
        assert "not renewed any more" in process.stdout.readline()
        assert process.wait(15) == 3


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_nothing_of_roots_is_left_to_what_renews(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    path = Path(f"/tmp/lease-of-nobody-{os.getpid()}") / "lease.json"
    path.parent.mkdir(mode=0o700)
    try:
        take(path)
        for one in (path.parent, path, Path(f"{path}.lock")):
            os.chown(one, nobody.pw_uid, nobody.pw_gid)
        with lease_keeper.kept({**options(path), "user": "nobody"}):
            ours = children_of(os.getpid())
            status = [Path(f"/proc/{pid}/status").read_text() for pid in ours]
            assert [re.search(r"^Uid:\t(.*)$", one, re.M)[1].split() for one in status if "Uid" in one] == [  # type: ignore[index]
                [str(nobody.pw_uid)] * 4
            ]
            for pid in ours:
                open_files = [str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir()]
                assert all(name == "/dev/null" or name.startswith("pipe:") for name in open_files), open_files
        assert path.stat().st_uid == nobody.pw_uid
    finally:
        for one in path.parent.iterdir():
            one.unlink()
        path.parent.rmdir()


# Modules that work under no lease of their procedure's, and why.
WITHOUT = {
    "critical_files": "takes one for its own call",
    "emergency": "takes one for its own life, which goes on without a controller",
    "health_probe": "only looks, for seconds",
    "host_lease": "is the lease",
    "log_rates": "only reads, for procedures without a lease",
    "schedule": "works on the controller",
    "sla_evaluate": "works on the controller",
    "whole_file": "writes one small file",
}


def test_every_module_that_works_under_a_lease_keeps_it() -> None:
    names = {path.stem for path in (ROOT / "library").glob("*.py")}
    framed = {name for name in names if "with at_work(module, " in source(name)}
    keeping = framed | {name for name in names if "with lease_keeper.under(module):" in source(name)}
    assert names - keeping == set(WITHOUT)
    for name in keeping:
        assert load(f"library/{name}.py").ARGUMENT_SPEC["lease"] == lease_keeper.OPTION, name
        assert name in framed or "end_on_signals()\n    with lease_keeper.under(module):" in source(name), name
    frame = (ROOT / "module_utils/orquestrador/lease/module.py").read_text()
    assert "end_on_signals()\n    with keeper.under(module):" in frame
    tasks = [task for path in (ROOT / "roles").glob("*/tasks/*.yml") for task in flat(yaml.safe_load(path.read_text()))]
    used = [(name, task[name].get("lease")) for task in tasks for name in keeping & set(task)]
    assert {name for name, _ in used} == keeping
    assert {given for _, given in used} == {"{{ app_lease }}"}


def source(name: str) -> str:
    return (ROOT / "library" / f"{name}.py").read_text()


def flat(tasks: Any) -> Iterator[dict[str, Any]]:
    for task in tasks or ():
        yield task
        for section in ("block", "rescue", "always"):
            yield from flat(task.get(section))
