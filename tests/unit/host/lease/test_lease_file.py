"""One holder at a time, whoever races; and nobody blocks anybody for longer than a lease."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.core.messages import plain
from orquestrador.lease import lease_file as lease
from tests.unit import children

ROOT = Path(__file__).resolve().parents[4]
BOOT = "11111111-2222-3333-4444-555555555555"
WALL = 1_762_000_000.0  # 2025-11-01T12:26:40Z


class Host:
    """A host's clocks, which can be moved apart from each other."""

    def __init__(self) -> None:
        self.now = lease.Moment(WALL, 1000.0, BOOT)

    def __call__(self) -> lease.Moment:
        return self.now

    def move(self, boot_s: float, wall_s: float | None = None, boot_id: str = BOOT) -> None:
        moved = boot_s if wall_s is None else wall_s
        self.now = lease.Moment(self.now.wall + moved, self.now.boot_s + boot_s, boot_id)


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ops" / "lease.json"


def wanted(run_id: str = "run-1", procedure: str = "backup", **more: Any) -> lease.Request:
    return lease.request(**{"run_id": run_id, "owner": "ana@one", "procedure": procedure, "ttl_s": 60, **more})


def take(path: Path, host: Host, run_id: str = "run-1", procedure: str = "backup", **more: Any) -> dict[str, Any]:
    return lease.acquire(str(path), wanted(run_id, procedure, **more), clock=host)


def refused(path: Path, host: Host, *args: Any, **more: Any) -> str:
    before = path.read_bytes()
    with pytest.raises(lease.LeaseError) as caught:
        take(path, host, *args, **more)
    assert path.read_bytes() == before
    return plain(caught.value.message)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_lease_is_a_private_file_that_says_who(path: Path, host: Host) -> None:
    result = take(path, host)
    assert (result["changed"], result["renewed"], result["note"]) == (True, False, None)
    assert result["lease"] == {
        "run_id": "run-1",
        "owner": "ana@one",
        "procedure": "backup",
        "since": "2025-11-01T12:26:40Z",
        "expires_at": "2025-11-01T12:27:40Z",
        "ttl_s": 60.0,
        "took_over": None,
    }
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert json.loads(path.read_text())["boot_id"] == BOOT
    assert sorted(p.name for p in path.parent.iterdir()) == ["lease.json", "lease.json.lock"]


def test_the_real_clock_has_what_a_lease_needs() -> None:
    one, two = lease.moment(), lease.moment()
    assert abs(one.wall - time.time()) < 5
    assert 0 < one.boot_s <= two.boot_s
    assert one.boot_id == two.boot_id == Path(lease.BOOT_ID_FILE).read_text().strip()


def test_a_second_run_is_refused_in_one_line_that_names_the_holder(path: Path, host: Host) -> None:
    take(path, host)
    host.move(10)
    assert refused(path, host, "run-2") == (
        "the lease of this host is held by run run-1 (backup, ana@one) since 2025-11-01T12:26:40Z, until"
        " 2025-11-01T12:27:40Z and longer while that run is at work: wait for that run to end, then start this one"
        " again"
    )


def test_the_same_run_renews_and_keeps_its_beginning(path: Path, host: Host) -> None:
    take(path, host)
    host.move(50)
    again = take(path, host)
    assert (again["changed"], again["renewed"], again["note"]) == (False, True, None)
    assert (again["lease"]["since"], again["lease"]["expires_at"]) == ("2025-11-01T12:26:40Z", "2025-11-01T12:28:30Z")
    host.move(50)
    refused(path, host, "run-2")
    extended = lease.renew(str(path), run_id="run-1", ttl_s=600, clock=host)
    assert (extended["ttl_s"], extended["since"]) == (600.0, "2025-11-01T12:26:40Z")
    host.move(599)
    refused(path, host, "run-2")


def test_a_released_lease_is_free_and_another_runs_is_left_alone(path: Path, host: Host) -> None:
    take(path, host)
    other = lease.release(str(path), run_id="run-2", clock=host)
    assert (other["changed"], other["holder"]["run_id"]) == (False, "run-1")
    assert "lost the lease of this host to run run-1" in plain(other["note"])
    assert lease.release(str(path), run_id="run-1", clock=host)["changed"] is True
    assert not path.exists()
    again = lease.release(str(path), run_id="run-1", clock=host)
    assert (again["changed"], again["note"]) == (False, None)
    assert take(path, host, "run-2")["note"] is None


def test_releasing_where_there_never_was_a_lease_creates_nothing(path: Path) -> None:
    assert lease.release(str(path), run_id="run-1")["changed"] is False
    assert not path.parent.parent.exists()


def test_an_expired_lease_is_taken_over_with_a_note(path: Path, host: Host) -> None:
    take(path, host)
    host.move(59.9)
    refused(path, host, "run-2")
    host.move(0.2)
    result = take(path, host, "run-2")
    assert result["changed"] is True
    assert plain(result["note"]) == (
        "The lease of run run-1 (backup, ana@one) expired at 2025-11-01T12:27:40Z without being released: it is taken"
        " over; look at what that run left behind"
    )
    assert result["lease"]["took_over"] == {
        "state": "expired", "run_id": "run-1", "owner": "ana@one", "procedure": "backup",
    }  # fmt: skip
    with pytest.raises(lease.LeaseError) as lost:
        lease.renew(str(path), run_id="run-1", ttl_s=60, clock=host)
    assert "lost the lease of this host to run run-2" in plain(lost.value.message)


@pytest.mark.parametrize(
    ("boot_s", "wall_s", "held"),
    [
        (30, -86400, True),  # set back a day: held, and until its end only
        (61, -86400, False),
        (30, 86400, True),  # set forward a day: nobody else gets in while the holder works
        (61, 0, False),
        (59, 59, True),
    ],
)
def test_a_jump_of_the_wall_clock_neither_extends_nor_ends_a_lease(
    path: Path, host: Host, boot_s: float, wall_s: float, held: bool
) -> None:
    take(path, host)
    host.move(boot_s, wall_s)
    if held:
        refused(path, host, "run-2")
    else:
        assert take(path, host, "run-2")["note"]


@pytest.mark.parametrize(("boot_s", "boot_id"), [(-995.0, "another"), (5.0, "another"), (-5.0, BOOT)])
def test_a_lease_from_before_a_restart_is_over(path: Path, host: Host, boot_s: float, boot_id: str) -> None:
    take(path, host)
    host.move(boot_s, 5, boot_id)
    assert "the host was restarted since" in plain(take(path, host, "run-2")["note"])


def test_a_host_without_a_boot_id_still_has_leases(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lease, "BOOT_ID_FILE", str(tmp_path / "none"))
    lease.acquire(str(path), wanted())
    with pytest.raises(lease.LeaseError):
        lease.acquire(str(path), wanted("run-2"))


GOOD = {
    "schema": 1, "run_id": "run-1", "owner": "ana@one", "procedure": "backup", "since": "2025-11-01T12:26:40Z",
    "ttl_s": 60.0, "boot_id": BOOT, "boot_s": 1000.0, "took_over": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0\0",
        b'{"schema": 1, "run_id": "ru',
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"null",
        b"[" * 60_000,
        b" " * 70_000,
        json.dumps({**GOOD, "schema": 2}).encode(),
        json.dumps({**GOOD, "run_id": ""}).encode(),
        json.dumps({**GOOD, "owner": 5}).encode(),
        json.dumps({**GOOD, "ttl_s": "60"}).encode(),
        json.dumps({**GOOD, "ttl_s": True}).encode(),
        json.dumps({**GOOD, "ttl_s": 1e300}).encode(),
        json.dumps({**GOOD, "ttl_s": float("nan")}).encode(),
        json.dumps({**GOOD, "ttl_s": 10**400}).encode(),
        json.dumps({**GOOD, "boot_s": -1}).encode(),
    ],
)
def test_a_damaged_file_counts_as_expired_and_is_replaced_with_a_note(path: Path, host: Host, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    result = take(path, host, "run-2")
    assert f"The lease file {path} was damaged" in plain(result["note"])
    assert "\n" not in plain(result["note"])
    assert result["lease"]["took_over"]["state"] == "damaged"
    assert mode(path) == 0o600
    refused(path, host, "run-3")


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo"])
def test_what_is_no_regular_file_is_replaced_and_never_followed(path: Path, host: Host, kind: str) -> None:
    path.parent.mkdir(parents=True)
    target = path.with_name("target")
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
        if kind == "link":
            target.write_text("precious")
    assert "was damaged" in plain(take(path, host)["note"])
    assert path.is_file()
    assert not path.is_symlink()
    if kind == "link":
        assert target.read_text() == "precious"


def test_a_directory_in_its_place_is_an_error_in_one_line(path: Path, host: Host) -> None:
    (path / "x").mkdir(parents=True)
    with pytest.raises(lease.LeaseError) as caught:
        take(path, host)
    assert str(path) in plain(caught.value.message)
    assert "\n" not in plain(caught.value.message)


@given(st.binary(max_size=300) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()))  # fmt: skip
def test_no_content_raises_or_holds(content: bytes) -> None:
    assert lease.judge(content, lease.Moment(WALL, 1000.0, BOOT)).state == lease.DAMAGED


@given(st.sampled_from(sorted(GOOD)), st.none() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_no_single_wrong_field_blocks_for_longer_than_a_day(name: str, value: Any) -> None:
    content = json.dumps({**GOOD, name: value}).encode()
    seen = lease.judge(content, lease.Moment(WALL, 1000.0 + lease.MAX_TTL_S, BOOT))
    late = lease.judge(content, lease.Moment(WALL, 1e18, BOOT))
    assert seen.state in {lease.DAMAGED, lease.RESTARTED, lease.EXPIRED, lease.HELD}
    assert late.state != lease.HELD
    assert seen.remaining_s <= lease.MAX_TTL_S


@given(
    ttl=st.floats(1, lease.MAX_TTL_S),
    elapsed=st.floats(0, 2 * lease.MAX_TTL_S),
    jump=st.floats(-1e9, 1e9),
)
def test_a_lease_holds_for_its_length_and_no_longer_whatever_the_wall_clock_does(
    ttl: float, elapsed: float, jump: float
) -> None:
    start = lease.Moment(WALL, 1000.0, BOOT)
    content = json.dumps(lease.taken(lease.Seen(lease.FREE), wanted(ttl_s=ttl), start)).encode()
    seen = lease.judge(content, lease.Moment(WALL + jump, 1000.0 + elapsed, BOOT))
    gone = (1000.0 + elapsed) - 1000.0  # as floats have it
    assert (seen.state == lease.HELD) == (gone < ttl)
    assert 0 <= seen.remaining_s <= ttl


@pytest.mark.parametrize(
    ("holder", "procedure", "preempt", "gets_it", "advice"),
    [
        ("daily", "offline", False, False, "or pre-empt it with -e app_lease_preempt=true"),
        ("daily", "offline", True, True, ""),
        ("monthly", "database", True, True, ""),
        ("restore", "offline", True, False, "only an emergency may pre-empt it, and only a routine's"),
        ("bootstrap", "database", True, False, "only an emergency may pre-empt it, and only a routine's"),
        ("offline", "database", True, False, "only an emergency may pre-empt it, and only a routine's"),
        ("daily", "weekly", True, False, "only an emergency may pre-empt it, and only a routine's"),
        ("daily", "backup", True, False, "only an emergency may pre-empt it, and only a routine's"),
        ("restore", "offline", False, False, "wait for that run to end, then start this one again"),
    ],
)
def test_only_an_emergency_pre_empts_only_a_routine_only_when_told(
    path: Path, host: Host, holder: str, procedure: str, preempt: bool, gets_it: bool, advice: str
) -> None:
    take(path, host, "run-1", holder)
    host.move(5)
    if not gets_it:
        said = refused(path, host, "run-2", procedure, preempt=preempt)
        assert said.startswith(f"the lease of this host is held by run run-1 ({holder}, ana@one)")
        assert said.endswith(advice) or advice in said
        return
    result = take(path, host, "run-2", procedure, preempt=preempt)
    assert "is pre-empted by an emergency" in plain(result["note"])
    recorded = json.loads(path.read_text())["took_over"]
    assert recorded == {"state": "preempted", "run_id": "run-1", "owner": "ana@one", "procedure": holder}
    assert take(path, host, "run-2", procedure)["lease"]["took_over"] == recorded, "a renewal keeps the record"
    assert lease.release(str(path), run_id="run-1", clock=host)["holder"]["run_id"] == "run-2"


def test_a_run_whose_lease_is_gone_is_told_when_it_renews(path: Path, host: Host) -> None:
    take(path, host)
    lease.release(str(path), run_id="run-1", clock=host)
    with pytest.raises(lease.LeaseError) as caught:
        lease.renew(str(path), run_id="run-1", ttl_s=60, clock=host)
    assert "does not have the lease of this host any more" in plain(caught.value.message)


def test_prediction_tells_and_touches_nothing(path: Path, host: Host) -> None:
    free = lease.predict(str(path), wanted(), clock=host)
    assert (free["changed"], free["holder"]) == (True, None)
    assert "would be taken" in plain(free["note"])
    assert not path.parent.parent.exists()
    take(path, host)
    before = sorted((p.name, p.stat().st_mtime_ns) for p in path.parent.iterdir())
    held = lease.predict(str(path), wanted("run-2"), clock=host)
    assert (held["changed"], held["holder"]["run_id"]) == (False, "run-1")
    assert "Run run-1 (backup, ana@one) holds the lease" in plain(held["note"])
    assert lease.predict(str(path), wanted(), clock=host)["changed"] is False
    assert lease.predict_release(str(path), run_id="run-1", clock=host)["changed"] is True
    host.move(61)
    expired = lease.predict(str(path), wanted("run-2"), clock=host)
    assert (expired["changed"], expired["diff"]) == (
        True, {"before": "run-1 (backup, ana@one)\n", "after": "run-2 (backup, ana@one)\n"},
    )  # fmt: skip
    assert "expired at" in plain(expired["note"])
    assert sorted((p.name, p.stat().st_mtime_ns) for p in path.parent.iterdir()) == before


@pytest.mark.parametrize(
    "bad",
    [
        {"run_id": ""}, {"run_id": None}, {"owner": " \n"}, {"procedure": ""}, {"ttl_s": 0}, {"ttl_s": 86401},
        {"ttl_s": float("nan")}, {"ttl_s": "60"}, {"ttl_s": None}, {"ttl_s": True},
    ],
)  # fmt: skip
def test_requests_that_make_no_sense_are_refused_in_one_line(bad: dict[str, Any]) -> None:
    with pytest.raises(lease.LeaseError) as caught:
        wanted(**bad)
    assert "\n" not in plain(caught.value.message)


def test_names_from_elsewhere_stay_one_bounded_line(path: Path, host: Host) -> None:
    take(path, host, owner="ana\n@\udcff" + "x" * 500)
    said = refused(path, host, "run-2")
    assert "\n" not in said
    assert len(said) < 600
    said.encode()


# Faults of the file system.


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_full_disk_is_one_line_and_leaves_what_was(
    path: Path, host: Host, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    take(path, host)
    before = path.read_bytes()
    host.move(61)

    def full(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(lease.LeaseError) as caught:
        patch.setattr(os, call, full)
        take(path, host, "run-2")
    assert plain(caught.value.message) == (f"the lease {path} cannot be written, no space is left there: free some")
    assert path.read_bytes() == before
    assert not path.with_name("lease.json.tmp").exists()
    assert take(path, host, "run-2")["note"]


def test_content_and_directory_are_synced(path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[bool] = []
    fsync = os.fsync

    def watching(fd: int) -> None:
        kinds.append(stat.S_ISDIR(os.fstat(fd).st_mode))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watching)
    take(path, host)
    assert kinds == [False, True]
    lease.release(str(path), run_id="run-1", clock=host)
    assert kinds == [False, True, True]


def as_nobody(path: Path) -> str:
    """What taking the lease says to a user without root's power to write everywhere."""
    return subprocess.run(
        children.command("take_lease", "as-nobody", path, "run-1", 60),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        cwd=ROOT,
    ).stdout.strip()


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """A directory that another user can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="lease-") as directory:
        Path(directory).chmod(0o555)
        yield Path(directory)
        Path(directory).chmod(0o755)


def test_a_directory_that_cannot_be_written_is_one_line(open_tmp: Path) -> None:
    assert as_nobody(open_tmp / "ops" / "lease.json") == (
        f"refused the lease {open_tmp}/ops/lease.json cannot be used: Permission denied: let it and its directory"
        " belong to the application's user"
    )


def test_files_that_cannot_be_opened_are_one_line(open_tmp: Path) -> None:
    mine = open_tmp / "mine"
    open_tmp.chmod(0o755)
    mine.mkdir(mode=0o700)
    (mine / "lease.json.lock").touch(mode=0o000)
    if os.geteuid() == 0:
        os.chown(mine, 65534, 65534)
    said = as_nobody(mine / "lease.json")
    assert said.startswith(f"refused the lease {mine}/lease.json cannot be used: Permission denied")
    assert "\n" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory that belongs to another user")
def test_another_users_directory_is_refused_to_root_too(path: Path, host: Host) -> None:
    path.parent.mkdir(parents=True)
    os.chown(path.parent, 65534, 65534)
    with pytest.raises(lease.LeaseError) as caught:
        take(path, host)
    assert "belongs to another user" in plain(caught.value.message)


def test_a_directory_that_others_may_read_is_closed(path: Path, host: Host) -> None:
    path.parent.mkdir(parents=True, mode=0o755)
    take(path, host)
    assert mode(path.parent) == 0o700


def test_what_a_killed_writer_left_is_used_again(path: Path, host: Host) -> None:
    path.parent.mkdir(parents=True)
    path.with_name("lease.json.tmp").write_text('{"half')
    assert take(path, host)["note"] is None
    assert not path.with_name("lease.json.tmp").exists()


def test_a_process_that_keeps_the_lock_is_given_up_on_in_time(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with path.with_name("lease.json.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        started = time.monotonic()
        with pytest.raises(lease.LeaseError) as caught:
            lease.acquire(str(path), wanted(), wait_s=0.1)
        assert time.monotonic() - started < 5
    assert "stays locked by a process that does not go on" in plain(caught.value.message)
    assert lease.acquire(str(path), wanted(), wait_s=0.1)["changed"] is True


def test_a_lock_file_that_was_removed_meanwhile_does_not_count(
    path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = path.with_name("lease.json.lock")
    flock, removed = fcntl.flock, []

    def racing(fd: int, operation: int) -> None:
        flock(fd, operation)
        if not removed:
            removed.append(os.fstat(fd).st_ino)
            lock.rename(lock.with_name("moved"))  # its inode stays in use, so that a new file gets another

    monkeypatch.setattr(fcntl, "flock", racing)
    assert take(path, host)["changed"] is True
    assert lock.stat().st_ino != removed[0]


# Real processes.


def processes(how: str, count: int, path: Path, ttl_s: float) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            children.command("take_lease", how, path, f"run-{number}", ttl_s),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(count)
    ]


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def end(running: list[subprocess.Popen[str]]) -> None:
    for process in running:
        process.kill()
        process.communicate(timeout=10)


@pytest.mark.parametrize("count", [20, pytest.param(150, marks=pytest.mark.exhaust)])
@pytest.mark.parametrize("before", ["free", "expired", "damaged"])
def test_of_many_processes_exactly_one_wins(path: Path, before: str, count: int) -> None:
    if before != "free":
        lease.acquire(str(path), wanted("run-old", ttl_s=1), clock=lambda: lease.Moment(WALL, 1.0, BOOT))
    if before == "damaged":
        path.write_text("{")
    running = processes("when-told", count, path, 60)
    try:
        assert {line(process) for process in running} == {"ready"}
        for process in running:  # all of them wait for this
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [line(process) for process in running]
    finally:
        end(running)
    winners = [number for number, text in enumerate(said) if text.startswith("got ")]
    assert len(winners) == 1, said
    assert all(f"is held by run run-{winners[0]} " in text for text in said if not text.startswith("got ")), said
    assert json.loads(path.read_text())["run_id"] == f"run-{winners[0]}"
    assert ("None" in said[winners[0]]) == (before == "free")


def test_a_holder_that_is_killed_blocks_for_its_lease_and_no_longer(path: Path) -> None:
    (holder,) = processes("and-stay", 1, path, 2)
    try:
        assert line(holder) == "got None"
        taken_at = time.monotonic()
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
        with pytest.raises(lease.LeaseError):
            lease.acquire(str(path), wanted("run-next"))
        while True:
            try:
                result = lease.acquire(str(path), wanted("run-next"))
                break
            except lease.LeaseError:
                assert time.monotonic() - taken_at < 4
                time.sleep(0.05)
    finally:
        end([holder])
    assert "The lease of run run-0" in plain(result["note"])


# Work under a lease.


def options(path: Path, run_id: str = "run-1", **more: Any) -> dict[str, Any]:
    return {"path": str(path), "run_id": run_id, "owner": "ana@one", "procedure": "daily", "ttl_s": 60.0, **more}


def test_work_is_done_under_the_lease_which_is_given_back(path: Path) -> None:
    def work() -> dict[str, Any]:
        assert lease.inspect(str(path)).state == lease.HELD
        return {"changed": True}

    result = lease.guarded(options(path), work)
    assert (result["changed"], result["note"], result["lease"]["run_id"]) == (True, None, "run-1")
    assert lease.inspect(str(path)).state == lease.FREE
    assert lease.guarded(None, lambda: {"changed": False}) == {"changed": False}


def test_work_that_raises_gives_the_lease_back(path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        lease.guarded(options(path), lambda: {"changed": 1 / 0})
    assert lease.inspect(str(path)).state == lease.FREE


def test_work_is_not_done_without_the_lease(path: Path) -> None:
    lease.acquire(str(path), wanted("run-2"))
    done: list[int] = []
    with pytest.raises(lease.LeaseError) as caught:
        lease.guarded(options(path), lambda: {"done": done.append(1)})
    assert done == []
    assert caught.value.holder
    assert caught.value.holder["run_id"] == "run-2"
    assert lease.inspect(str(path)).state == lease.HELD


def test_work_in_check_mode_takes_no_lease_and_says_who_has_it(path: Path) -> None:
    result = lease.guarded(options(path), lambda: {"changed": True}, check_mode=True)
    assert "would be taken" in plain(result["note"])
    assert not path.parent.exists()
    lease.acquire(str(path), wanted("run-2"))
    result = lease.guarded(options(path), lambda: {"changed": True}, check_mode=True)
    assert "Run run-2 (backup, ana@one) holds the lease" in plain(result["note"])


def test_work_whose_lease_was_pre_empted_meanwhile_says_so(path: Path) -> None:
    def work() -> dict[str, Any]:
        lease.acquire(str(path), wanted("run-2", "offline", preempt=True))
        return {"changed": True}

    result = lease.guarded(options(path), work)
    assert "Run run-1 has lost the lease of this host to run run-2" in plain(result["note"])
    assert lease.inspect(str(path)).lease["run_id"] == "run-2"  # type: ignore[index]


def test_work_whose_lease_another_run_had_and_gave_back_meanwhile_says_so(path: Path) -> None:
    def work() -> dict[str, Any]:
        lease.acquire(str(path), wanted("run-2", "offline", preempt=True))
        lease.release(str(path), run_id="run-2")
        return {"changed": True}

    assert "does not have the lease of this host any more" in plain(lease.guarded(options(path), work)["note"])


def test_a_lease_that_cannot_be_given_back_does_not_undo_the_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(target: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def work() -> dict[str, Any]:
        monkeypatch.setattr(os, "unlink", broken)
        return {"changed": True}

    result = lease.guarded(options(path), work)
    monkeypatch.undo()
    assert result["changed"] is True
    assert "Input/output error" in plain(result["note"])
