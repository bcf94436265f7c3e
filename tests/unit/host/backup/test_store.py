"""What counts as a backup, and what becomes of what a killed run left."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.backup import store
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain
from orquestrador.system import files

ID = "20260102T030405Z-0a1b2c"
NEWER = "20260103T030405Z-0a1b2c"
SUFFIX = store.SUFFIXES["database"]


def manifest(backup_id: str = ID, **changes: Any) -> dict[str, Any]:
    base = {"format": store.FORMAT, "kind": "database", "id": backup_id, "file": backup_id + SUFFIX}
    return {**base, "verified": None, **changes}


def put(directory: Path, backup_id: str = ID, **changes: Any) -> None:
    (directory / (backup_id + SUFFIX)).write_bytes(b"data")
    (directory / f"{backup_id}.json").write_text(json.dumps(manifest(backup_id, **changes)))


def ids(directory: Path) -> list[str]:
    return [str(stored["id"]) for stored in store.list_backups(str(directory))]


def test_backups_are_listed_oldest_first(tmp_path: Path) -> None:
    put(tmp_path, NEWER)
    put(tmp_path, ID)
    assert ids(tmp_path) == [ID, NEWER]


@pytest.mark.parametrize(
    "changes",
    [{"format": 2}, {"kind": "code"}, {"id": NEWER}, {"file": "../x"}, {"id": None}, {"file": f"{NEWER}.sql.zst.age"}],
)
def test_other_files_are_no_manifest(tmp_path: Path, changes: dict[str, Any]) -> None:
    put(tmp_path, **changes)
    assert ids(tmp_path) == []


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"x"', "[" * 100_000, "\x00"])
def test_a_manifest_that_can_not_be_read_does_not_count(tmp_path: Path, text: str) -> None:
    put(tmp_path)
    (tmp_path / f"{ID}.json").write_text(text)
    assert ids(tmp_path) == []


@pytest.mark.parametrize("missing", [f"{ID}.json", ID + SUFFIX])
def test_half_a_backup_does_not_count(tmp_path: Path, missing: str) -> None:
    put(tmp_path)
    (tmp_path / missing).unlink()
    assert ids(tmp_path) == []


@given(st.binary(max_size=200))
def test_any_bytes_in_a_manifests_place_are_survived(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / f"{ID}.json").write_bytes(data)
    assert store.list_backups(str(directory)) == []


def test_sweep_removes_partial_files_and_nothing_else(tmp_path: Path) -> None:
    put(tmp_path)
    (tmp_path / f".partial-{NEWER}{SUFFIX}").write_bytes(b"half")
    (tmp_path / f".partial-{NEWER}.json").write_text("{}")
    (tmp_path / ".partial-notes.txt").write_text("somebody's")
    (tmp_path / "orphan.sql.zst.age").write_text("somebody's")
    swept = store.sweep(str(tmp_path))
    assert swept == [f".partial-{NEWER}.json", f".partial-{NEWER}{SUFFIX}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".partial-notes.txt",
        f"{ID}.json",
        ID + SUFFIX,
        "orphan.sql.zst.age",
    ]


def test_a_kill_in_the_middle_of_a_manifest_leaves_the_one_that_was_there(tmp_path: Path) -> None:
    put(tmp_path)
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))  # SIGXFSZ at the eleventh byte
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        store.replace_manifest(str(tmp_path), manifest(verified={"at": "2026-01-02T03:04:09Z"}))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGXFSZ
    assert len(store.sweep(str(tmp_path))) == 1
    assert ids(tmp_path) == [ID]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{ID}.json", ID + SUFFIX]


def test_a_backup_is_completed_after_a_kill_between_its_two_renames(tmp_path: Path) -> None:
    (tmp_path / (ID + SUFFIX)).write_bytes(b"data")
    store.write_manifest(str(tmp_path), f".partial-{ID}.json", manifest())
    assert ids(tmp_path) == []
    store.sweep(str(tmp_path))
    assert ids(tmp_path) == [ID]


def test_manifest_is_replaced_at_once_and_private(tmp_path: Path) -> None:
    put(tmp_path)
    store.replace_manifest(str(tmp_path), manifest(verified={"rto_s": 1}))
    (stored,) = store.list_backups(str(tmp_path))
    assert stored["verified"] == {"rto_s": 1}
    assert (tmp_path / f"{ID}.json").stat().st_mode & 0o777 == 0o600


def test_second_run_is_refused_with_the_holder_of_the_lock(tmp_path: Path) -> None:
    with files.locked(str(tmp_path), "database_backup", 0.0) as lock:
        lock.tell(action="database_backup", since_at="1970-01-01T00:00:00Z", bytes=42)
        with pytest.raises(OperatorError) as caught, files.locked(str(tmp_path), "database_verify", 1.0):
            pass
    message = plain(caught.value.message)
    assert f"process {os.getpid()}" in message
    assert "database_backup" in message
    assert "42" in message
    with files.locked(str(tmp_path), "database_verify", 1.0):
        pass


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"bytes": "many"}'])
def test_a_lock_file_of_garbage_still_refuses(tmp_path: Path, text: str) -> None:
    with files.locked(str(tmp_path), "database_backup", 0.0):
        (tmp_path / files.LOCK).write_text(text)
        with pytest.raises(OperatorError), files.locked(str(tmp_path), "database_backup", 0.0):
            pass


def test_names_sort_by_time() -> None:
    assert files.new_id(0) < files.new_id(86400) < files.new_id(4e9)
    assert files.new_id(0).startswith("19700101T000000Z-")


def test_each_kind_of_backup_has_its_own_ending_and_is_no_other_kind(tmp_path: Path) -> None:
    for kind, ending in store.SUFFIXES.items():
        directory = tmp_path / kind
        directory.mkdir()
        (directory / (ID + ending)).write_bytes(b"data")
        content = {**manifest(), "kind": kind, "file": ID + ending}
        store.write_manifest(str(directory), f".partial-{ID}.json", content)
        assert store.sweep(str(directory), kind) == [f".partial-{ID}.json"]
        assert [stored["id"] for stored in store.list_backups(str(directory), kind)] == [ID]
        for other in store.SUFFIXES.keys() - {kind}:
            assert store.list_backups(str(directory), other) == []
