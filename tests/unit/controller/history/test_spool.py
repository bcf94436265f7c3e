"""Samples that the history could not take are kept, and stored once it can."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orquestrador_ops.core.errors import HistoryError
from orquestrador_ops.core.host_results import ProbeResult
from orquestrador_ops.core.settings import Settings
from orquestrador_ops.history import spool
from orquestrador_ops.history.access import open_history
from orquestrador_ops.history.rows import sample_row
from orquestrador_ops.runs import lifecycle as runs
from orquestrador_ops.sla.data import blocks
from orquestrador_ops.sla.data import store as stores
from orquestrador_ops.watch import cycle as watch_cycle
from orquestrador_ops.watch import decisions as watch
from orquestrador_ops.watch import store as watch_store
from tests.unit import children
from tests.unit.controller.sla.data.test_blocks import look
from tests.unit.controller.sla.filled import DAY, MONDAY

Break = Callable[[Path], Any]


def seen(at: float, ok: bool = True) -> dict[str, Any]:
    _, snapshot, verdict, _ = look(at, ok)
    return {
        "snapshot": snapshot,
        "verdict": {**verdict, "procedure": "none" if ok else "offline"},
        "trouble": None if ok else watch.FAILING,
        "memory": {"taken_at": "x"},
    }


def record(kept: Settings, looks: dict[str, Any], **more: Any) -> watch_cycle.Recorded:
    cycle = watch_cycle.Cycle(sources=("i",), hosts=tuple(looks), owner="me", budget_s=300, late_s=45, patience=3)
    read = {host: watch.HostObservation.read(one) for host, one in looks.items()}
    return watch_cycle.record(cycle, kept, read, **{"number": None, "started": MONDAY, "check_mode": False, **more})


def kept_in(tmp_path: Path, url: str | None = None) -> Settings:
    return Settings(tmp_path / "state", url, "en", "UTC")


def garbage(state: Path) -> None:
    (state / "history.sqlite3").write_bytes(b"no database, but what was left of one" * 200)


def gone(state: Path) -> None:
    (state / "history.sqlite3").unlink()
    (state / "history.sqlite3").mkdir()


@pytest.fixture
def no_space() -> Iterator[None]:
    """No file can grow beyond 16 KB: what a full disk does to a database."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


@pytest.mark.parametrize("damage", [garbage, gone])
def test_cycle_that_cannot_be_recorded_keeps_what_it_saw(tmp_path: Path, damage: Break) -> None:
    kept = kept_in(tmp_path)
    open_history(kept.state_dir).close()
    damage(kept.state_dir)
    path = spool.path_of(kept.state_dir)
    with pytest.raises(HistoryError) as error:
        record(kept, {"web": seen(MONDAY), "other": seen(MONDAY + 1, False)})
    assert f" - 2 sample(s) are kept in {path} and stored as soon as" in str(error.value)
    assert "\n" not in str(error.value)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(HistoryError):
        record(kept, {"web": seen(MONDAY + 60)})
    store = kept.state_dir / "history.sqlite3"
    store.rmdir() if store.is_dir() else store.unlink()
    with open_history(kept.state_dir) as again:
        assert [row["at"] for row in again.samples("web")] == [MONDAY, MONDAY + 60]
        assert [(row["ok"], row["data"]["trouble"]) for row in again.samples("other")] == [(False, "failing")]
    assert path.read_bytes().strip(b"\n") == b""
    assert not spool.waiting(kept.state_dir)


def test_full_disk_keeps_what_was_seen(tmp_path: Path, no_space: None) -> None:
    kept = kept_in(tmp_path)
    with pytest.raises(HistoryError, match=r"the disk is full.* - 1 sample"):
        record(kept, {"web": seen(MONDAY)})
    assert spool.waiting(kept.state_dir)


def test_store_that_can_only_be_read_keeps_what_was_seen(tmp_path: Path) -> None:
    with open_history(tmp_path / "other") as store:
        watch_store.record(store, [look(MONDAY)], {})
        path = store.name
    kept = kept_in(tmp_path, f"sqlite:///file:{path}?mode=ro&uri=true")
    with open_history(kept.state_dir, kept.history_url) as store:
        assert len(stores.series(store, "web", 0, MONDAY + DAY)) == 1, "looking needs no right to write"
    with pytest.raises(HistoryError, match=r"cannot be written.* - 1 sample"):
        record(kept, {"web": seen(MONDAY + 60)})
    with open_history(kept.state_dir, f"sqlite:///{path}") as store:
        assert len(store.samples("web")) == 2


def test_locked_store_keeps_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orquestrador_ops.history.engine.BUSY_TIMEOUT_S", 0.05)
    kept = kept_in(tmp_path)
    open_history(kept.state_dir).close()
    other = sqlite3.connect(kept.state_dir / "history.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(HistoryError, match=r"another process holds it.* - 1 sample"):
        record(kept, {"web": seen(MONDAY)})
    with open_history(kept.state_dir) as store:  # still locked: what waits waits on
        assert store.samples("web") == []
    assert spool.waiting(kept.state_dir)
    other.execute("ROLLBACK")
    other.close()
    with open_history(kept.state_dir) as store:
        assert len(store.samples("web")) == 1


def test_database_that_is_down_stops_no_look(tmp_path: Path) -> None:
    kept = kept_in(tmp_path, "mysql+pymysql://ops:hunter2@127.0.0.1:1/ops")
    cycle = watch_cycle.Cycle(sources=("i",), hosts=("web",), owner="me", budget_s=300, late_s=45, patience=3)
    begun = watch_cycle.begin(cycle, kept, pid=os.getpid(), due="", check_mode=False)
    assert begun == (watch.RUNNING, None, None)
    with pytest.raises(HistoryError, match=r"does not answer.* - 1 sample") as error:
        record(kept, {"web": seen(MONDAY, False)})
    assert "hunter2" not in str(error.value)
    with open_history(kept.state_dir) as store:
        assert [row["ok"] for row in store.samples("web")] == [False]


def test_cycle_whose_history_came_back_acts_only_if_no_other_does(tmp_path: Path, mysql_url: str) -> None:
    kept = kept_in(tmp_path, mysql_url)
    looks = {"web": seen(MONDAY, False)}
    done = record(kept, looks, started=time.time())
    assert done.decisions["web"]["kind"] == watch.RECOVER
    with pytest.raises(HistoryError, match="another controller has a cycle of this watch"):
        record(kept, {"web": seen(MONDAY + 60, False)})
    with open_history(kept.state_dir, mysql_url) as store:
        assert len(store.samples("web")) == 2, "what was seen is stored all the same"
    assert not spool.waiting(kept.state_dir)


def test_check_mode_keeps_nothing(tmp_path: Path) -> None:
    kept = kept_in(tmp_path)
    open_history(kept.state_dir).close()
    garbage(kept.state_dir)
    with pytest.raises(HistoryError):
        record(kept, {"web": seen(MONDAY)}, check_mode=True)
    assert not spool.waiting(kept.state_dir)


def test_neither_history_nor_file_names_both(tmp_path: Path) -> None:
    kept = kept_in(tmp_path)
    open_history(kept.state_dir).close()
    garbage(kept.state_dir)
    (kept.state_dir / "spool").write_text("in the way")
    with pytest.raises(HistoryError) as error:
        record(kept, {"web": seen(MONDAY)})
    text = str(error.value)
    assert "history.sqlite3: the file is damaged" in text
    assert f"1 sample(s) are lost, because {spool.path_of(kept.state_dir)} cannot be written either: " in text


def test_run_that_cannot_be_recorded_keeps_its_sample(tmp_path: Path, healthy: Any) -> None:
    record_, snapshot, verdict = healthy
    kept = kept_in(tmp_path)
    open_history(kept.state_dir).close()
    garbage(kept.state_dir)
    run = runs.open_run(procedure="daily", host="web-01", budget_s=300, operator="me", check_mode=False)
    concluded = runs.conclude(run, ProbeResult(snapshot, verdict, memory={}), {}, kept)
    assert not concluded.met
    (problem,) = concluded.problems
    assert "The history could not be written: " in problem
    assert " - 1 sample(s) are kept in " in problem
    (kept.state_dir / "history.sqlite3").unlink()
    for _ in range(2):
        with open_history(kept.state_dir) as store:
            (sample,) = store.samples("web-01")
            assert (sample["run_id"], sample["source"], sample["ok"]) == (run["run_id"], "daily", True)
    assert record_


@pytest.mark.parametrize("reserved", [False, True])
def test_half_written_line_is_left_out_and_stops_no_other(tmp_path: Path, reserved: bool) -> None:
    state = tmp_path / "state"
    first, second, third = (sample_row("web", *look(MONDAY + n)[1:3], "watch", None) for n in range(3))
    spool.append(state, [first])
    if reserved:
        spool.reserve(state)
    with spool.path_of(state).open("r+b") as stream:
        stream.seek(len(stream.read().rstrip(b"\n")) + 1)
        stream.write(json.dumps(second)[:40].encode())
    spool.append(state, [third])
    with spool.path_of(state).open("a") as stream:
        stream.write('[1]\n{"host": 3, "at": 1}\n{"host": "web", "at": "x"}\n{"host": "web", "at": NaN}\n{"ho')
    with open_history(state) as store:
        assert [row["at"] for row in store.samples("web")] == [MONDAY, MONDAY + 2]


@pytest.mark.parametrize("moved", [False, True])
def test_replaying_again_changes_nothing(opener: Any, tmp_path: Path, moved: bool) -> None:
    state = tmp_path / "state"
    rows = [sample_row("web", *look(MONDAY + 60.0 * n)[1:3], "watch", None) for n in range(100)]
    rows += [sample_row("web", *look(MONDAY + 7)[1:3], "daily", "run-1")]
    with opener() as store:
        for _ in range(3):
            spool.append(state, rows)
            spool.replay(store, state)
            if moved:
                blocks.compact(store, MONDAY + 9 * DAY)
        assert len(stores.series(store, "web", 0, MONDAY + DAY)) == 101
        assert store.tally("web", 0)["probes"] == 101
        spool.append(state, rows)
    opener().close()
    assert not spool.waiting(state)


def test_replay_that_is_interrupted_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_CHUNK", 10)
    state = tmp_path / "state"
    with open_history(state) as store:
        spool.append(state, [sample_row("web", *look(MONDAY + n)[1:3], "watch", None) for n in range(35)])
        real, calls = spool._store, []

        def killed(*args: Any) -> int:
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(spool, "_store", killed)
        with pytest.raises(KeyboardInterrupt):
            spool.replay(store, state)
        assert len(store.samples("web")) == 20
    with open_history(state) as store:
        assert len(store.samples("web")) == 35


def _append(state: str, part: int) -> None:
    for number in range(20):
        spool.append(Path(state), [sample_row(f"h{part}", *look(MONDAY + number)[1:3], "watch", None)])


def test_writers_side_by_side_tear_no_line(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append, args=(str(tmp_path / "state"), part)) for part in range(3)]
    for writer in writers:
        writer.start()
    with open_history(tmp_path / "state") as store:
        for writer in writers:
            spool.replay(store, tmp_path / "state")
            writer.join(30)
        spool.replay(store, tmp_path / "state")
        assert [len(store.samples(f"h{part}")) for part in range(3)] == [20, 20, 20]


@pytest.mark.parametrize("reserved", [False, True])
def test_full_disk_leaves_the_file_as_it_was(tmp_path: Path, reserved: bool) -> None:
    state = tmp_path / "state"
    row = sample_row("web", *look(MONDAY)[1:3], "watch", None)
    spool.append(state, [row])
    if reserved:
        with spool.path_of(state).open("ab") as stream:
            stream.write(b"\n" * 500)
    before = spool.path_of(state).read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, old[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            spool.append(state, [row] * 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert spool.path_of(state).read_bytes() == before


def test_room_is_kept_and_written_into(tmp_path: Path) -> None:
    state, path = tmp_path, spool.path_of(tmp_path)
    row = sample_row("web", *look(MONDAY)[1:3], "watch", None)
    rows = [{**row, "at": MONDAY + number} for number in range(6000)]
    spool.reserve(state)
    assert path.read_bytes() == b"\n" * spool.RESERVE_BYTES
    assert not spool.waiting(state)
    for number in range(3):
        spool.append(state, rows[number : number + 1])
        spool.reserve(state)
    assert spool.waiting(state)
    assert path.stat().st_size == spool.RESERVE_BYTES
    spool.append(state, rows[3:])
    assert path.stat().st_size > spool.RESERVE_BYTES, "more than there is room for"
    with open_history(state) as store:
        assert [one["at"] for one in store.samples("web")] == [one["at"] for one in rows]
    assert path.read_bytes() == b"\n" * spool.RESERVE_BYTES
    spool.append(state, [{**row, "at": MONDAY - 1}])
    with open_history(state) as store:
        assert len(store.samples("web")) == 6001


def test_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("x")
    (tmp_path / "state/spool").mkdir(parents=True)
    spool.path_of(tmp_path / "state").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        spool.append(tmp_path / "state", [sample_row("web", *look(MONDAY)[1:3], "watch", None)])
    with open_history(tmp_path / "state"):
        pass
    assert target.read_text() == "x"


def test_opening_without_anything_waiting_is_quick(tmp_path: Path) -> None:
    with open_history(tmp_path) as store:
        watch_store.record(store, [look(MONDAY)], {})
    assert not spool.path_of(tmp_path).exists()


def test_disk_that_is_full_keeps_what_was_seen(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mount = f'mount -t tmpfs -o size=3m tmpfs {place} && exec "$@"'
    own = ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no file system of one's own can be mounted here")
    argv = [*own, *children.command("fill_disk", place)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=children.ROOT)
    assert done.returncode == 0, done.stderr
    problem, told = done.stdout.splitlines()
    assert "the disk is full" in problem
    assert " - 20 sample(s) are kept in " in problem
    assert told.startswith("all ")
