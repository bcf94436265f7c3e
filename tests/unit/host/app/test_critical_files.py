"""Copies are proven, private, and made only when needed; one file's failure is its own."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from orquestrador.app import critical_files
from orquestrador.core.messages import plain
from orquestrador.system import dated_copies

NOW = 1_762_000_000.0


def item(path: Path, name: str = "env", required: bool = True) -> dict[str, Any]:
    return {"name": name, "path": str(path), "required": required}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def copies(dest: Path, name: str = "env") -> list[Path]:
    return sorted((dest / name).iterdir()) if (dest / name).is_dir() else []


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "app.env"
    path.write_text("A=1\n")
    path.chmod(0o644)
    return path


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "critical"


def run(source: Path, dest: Path, now: float = NOW, **options: Any) -> dict[str, Any]:
    return critical_files.copy_all([item(source)], str(dest), now=now, **options)


def test_a_copy_is_identical_private_and_named_by_time_and_digest(source: Path, dest: Path) -> None:
    result = run(source, dest)
    digest = hashlib.sha256(b"A=1\n").hexdigest()
    (copy,) = copies(dest)
    assert copy.name == f"20251101T122640Z-{digest[:12]}"
    assert copy.read_bytes() == b"A=1\n"
    assert (mode(copy), mode(dest), mode(dest / "env")) == (0o600, 0o700, 0o700)
    assert result["changed"] is True
    assert result["failures"] == []
    assert result["files"] == [
        {"name": "env", "path": str(source), "sha256": digest, "copy": str(copy), "changed": True}
    ]
    assert result["diff"] == {"before": "env no copy\n", "after": f"env {digest}\n"}


def test_content_and_directory_are_synced(source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[bool] = []
    fsync = os.fsync

    def watching(fd: int) -> None:
        kinds.append(stat.S_ISDIR(os.fstat(fd).st_mode))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watching)
    run(source, dest)
    assert kinds == [False, True]


def test_an_unchanged_file_is_not_copied_again(source: Path, dest: Path) -> None:
    run(source, dest)
    result = run(source, dest, NOW + 60)
    assert result["changed"] is False
    assert result["files"][0]["copy"] == str(copies(dest)[0])
    assert len(copies(dest)) == 1


def test_a_changed_file_gets_a_new_copy_and_keeps_the_old(source: Path, dest: Path) -> None:
    run(source, dest)
    source.write_text("A=2\n")
    assert run(source, dest, NOW + 60)["changed"] is True
    assert [c.read_text() for c in copies(dest)] == ["A=1\n", "A=2\n"]


def test_a_file_that_returns_to_an_older_content_is_copied_again(source: Path, dest: Path) -> None:
    for number, text in enumerate(("A=1\n", "A=2\n", "A=1\n")):
        source.write_text(text)
        run(source, dest, NOW + number)
    assert [c.read_text() for c in copies(dest)] == ["A=1\n", "A=2\n", "A=1\n"]


@pytest.mark.parametrize("harm", ["content", "mode"])
def test_a_damaged_or_readable_newest_copy_is_replaced(source: Path, dest: Path, harm: str) -> None:
    run(source, dest)
    (first,) = copies(dest)
    if harm == "content":
        first.write_text("A=")
    else:
        first.chmod(0o644)
    result = run(source, dest)  # within the same second, too
    assert result["changed"] is True
    newest = copies(dest)[-1]
    assert newest != first
    assert newest.read_text() == "A=1\n"
    assert mode(newest) == 0o600
    assert mode(first) == 0o600
    assert run(source, dest)["changed"] is False


def test_a_clock_that_went_back_does_not_hide_the_newest_copy(source: Path, dest: Path) -> None:
    run(source, dest)
    source.write_text("A=2\n")
    run(source, dest, NOW - 86400)
    assert copies(dest)[-1].read_text() == "A=2\n"
    assert run(source, dest, NOW - 86000)["changed"] is False


def test_check_mode_predicts_and_touches_nothing(source: Path, dest: Path) -> None:
    predicted = run(source, dest, check_mode=True)
    assert not dest.parent.exists()
    done = run(source, dest)
    assert predicted["changed"] is done["changed"] is True
    assert predicted["diff"] == done["diff"]
    assert predicted["files"][0]["copy"] is None
    assert run(source, dest, check_mode=True)["changed"] is False
    (dest / "env").chmod(0o755)
    assert run(source, dest, check_mode=True)["changed"] is True
    assert mode(dest / "env") == 0o755
    assert run(source, dest)["changed"] is True
    assert mode(dest / "env") == 0o700


def test_missing_files_fail_only_when_required_and_the_others_are_copied(source: Path, dest: Path) -> None:
    gone = source.with_name("gone")
    result = critical_files.copy_all(
        [item(gone, "gone"), item(gone, "optional", required=False), item(source)], str(dest), now=NOW
    )
    assert [plain(f) for f in result["failures"]] == [f"{gone} does not exist: restore it or correct its path"]
    assert [f["copy"] is not None for f in result["files"]] == [False, False, True]


def test_a_link_is_followed_and_a_dangling_one_fails(source: Path, dest: Path) -> None:
    link = source.with_name("link")
    link.symlink_to(source)
    assert run(link, dest)["failures"] == []
    assert copies(dest)[0].read_text() == "A=1\n"
    assert not copies(dest)[0].is_symlink()
    link.unlink()
    link.symlink_to("nowhere")
    assert "cannot be read" in plain(run(link, dest)["failures"][0])
    optional = critical_files.copy_all([item(link, required=False)], str(dest))
    assert len(optional["failures"]) == 1


@pytest.mark.parametrize("kind", ["directory", "fifo", "large"])
def test_what_is_no_configuration_file_fails_at_once(
    source: Path, dest: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.unlink()
    if kind == "directory":
        source.mkdir()
    elif kind == "fifo":
        os.mkfifo(source)
    else:
        monkeypatch.setattr(dated_copies, "MAX_BYTES", 1000)
        source.write_bytes(b"x" * 1001)
    result = run(source, dest)
    assert len(result["failures"]) == 1
    assert "\n" not in plain(result["failures"][0])
    assert copies(dest) == []


@pytest.mark.parametrize("where", ["dest", "parent", "name"])
def test_a_destination_that_is_a_file_fails_once(source: Path, dest: Path, where: str) -> None:
    blocked = {"dest": dest, "parent": dest.parent, "name": dest / "env"}[where]
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("in the way")
    result = run(source, dest)
    assert len(result["failures"]) == 1
    assert "cannot be used for copies" in plain(result["failures"][0])
    assert result["files"][0]["changed"] is False
    assert blocked.read_text() == "in the way"


def test_a_full_disk_leaves_no_temporary_and_stops_only_that_file(
    source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = source.with_name("other")
    other.write_text("B=1\n")
    write = os.write

    def full(fd: int, data: Any) -> int:
        if bytes(data) == b"A=1\n":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr(os, "write", full)
    result = critical_files.copy_all([item(source), item(other, "other")], str(dest), now=NOW)
    assert [plain(f) for f in result["failures"]] == [
        f"{source} was not copied, no space left in {dest / 'env'}: free some there"
    ]
    assert copies(dest) == []
    assert len(copies(dest, "other")) == 1
    assert result["files"][0]["changed"] is False


@pytest.mark.parametrize(("changes", "failures"), [(1, 0), (9, 1)])
def test_a_file_changing_while_it_is_copied_is_tried_twice(
    source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch, changes: int, failures: int
) -> None:
    original = critical_files._write
    left = [changes]

    def racing(path: str, temporary: str) -> str:
        digest: str = original(path, temporary)
        if left[0]:
            left[0] -= 1
            source.write_text(f"A={left[0]} changed\n")
        return digest

    monkeypatch.setattr(critical_files, "_write", racing)
    result = run(source, dest)
    assert len(result["failures"]) == failures
    assert [c.read_bytes() for c in copies(dest)] == ([] if failures else [source.read_bytes()])


def test_a_copy_that_reads_back_differently_is_a_failure(
    source: Path, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def corrupting(old: str, new: str) -> None:
        rename(old, new)
        Path(new).write_text("rubbish")

    monkeypatch.setattr(os, "rename", corrupting)
    assert "is not what was written" in plain(run(source, dest)["failures"][0])


def test_the_leftover_of_a_killed_run_is_removed_when_old(source: Path, dest: Path) -> None:
    (dest / "env").mkdir(parents=True)
    old, young = dest / "env" / ".tmp-1-1", dest / "env" / ".tmp-2-2"
    for path, age in ((old, 7200), (young, 10)):
        path.write_text("half")
        os.utime(path, (NOW - age, NOW - age))
    run(source, dest)
    assert not old.exists()
    assert young.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\0b", "x" * 300])
def test_names_that_leave_the_destination_are_refused(source: Path, dest: Path, name: str) -> None:
    result = critical_files.copy_all([item(source, name)], str(dest))
    assert "is no name for a critical file" in plain(result["failures"][0])
    state, findings = dated_copies.inspect([item(source, name)], str(dest))
    assert state["current"] is False or not state["files"][0]["exists"]
    assert len(findings) == 1


def test_two_files_of_one_name_are_refused(source: Path, dest: Path) -> None:
    result = critical_files.copy_all([item(source), item(source)], str(dest))
    assert len(result["failures"]) == 1
    assert len(copies(dest)) == 1


def test_inspect_agrees_with_what_copying_would_do(source: Path, dest: Path) -> None:
    def current() -> bool:
        state, findings = dated_copies.inspect([item(source)], str(dest))
        assert findings == []
        assert state["current"] is state["files"][0]["current"]
        assert state["current"] is not run(source, dest, check_mode=True)["changed"]
        return state["files"][0]["current"]

    assert current() is False
    assert not dest.parent.exists()
    run(source, dest)
    assert current() is True
    copies(dest)[0].chmod(0o640)
    assert current() is False
    run(source, dest)
    assert current() is True
    source.write_text("A=3\n")
    assert current() is False
    run(source, dest)
    assert current() is True


def test_inspect_reports_each_file(source: Path, dest: Path) -> None:
    run(source, dest)
    gone, folder = source.with_name("gone"), source.with_name("folder")
    folder.mkdir()
    state, findings = dated_copies.inspect(
        [item(source), item(gone, "gone"), item(gone, "optional", required=False), item(folder, "folder")], str(dest)
    )
    digest = hashlib.sha256(b"A=1\n").hexdigest()
    assert state["missing"] == ["gone"]
    assert state["current"] is False  # because of the folder
    assert state["files"][0] == {
        "name": "env",
        "path": str(source),
        "exists": True,
        "required": True,
        "sha256": digest,
        "mode": "0644",
        "copy": {
            "path": str(copies(dest)[0]),
            "sha256": digest,
            "mode": "0600",
            "taken_at": "2025-11-01T12:26:40Z",
        },
        "current": True,
    }
    assert [f["current"] for f in state["files"]] == [True, False, True, False]
    assert [(f["collector"], f["code"]) for f in findings] == [("files", "unreadable")]


def test_inspect_survives_items_that_are_none(dest: Path) -> None:
    state, findings = dated_copies.inspect([{}, {"name": 5, "path": "a\0b"}, "rubbish"], str(dest))  # type: ignore[list-item]
    assert len(state["files"]) == 3
    assert findings
