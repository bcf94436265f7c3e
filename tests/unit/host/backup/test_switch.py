"""A prepared tree takes the place of another wholly, whatever ends the process that does it, and whenever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orquestrador.backup import switch
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain

ID = "20260102T030405Z-0a1b2c"
OLD = {"same": "old", "changed": "old", "gone": "old", "folder/x": "old", "logs/l": "kept", "turned/d": "old"}
NEW = {"same": "old", "changed": "new", "come": "new", "folder/y": "new", "turned": "new", "logs/l": "kept"}


def put(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def files(root: Path) -> dict[str, str]:
    contents = {}
    for path in root.rglob("*"):
        if path.is_file():
            contents[str(path.relative_to(root))] = path.read_text()
    return contents


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path, OLD)
    new = switch.prepare(str(tmp_path), ID)
    put(Path(new), {name: content for name, content in NEW.items() if not name.startswith("logs")})
    return tmp_path


def test_the_new_tree_is_in_place_and_nothing_else_is_left(root: Path) -> None:
    inode, logs_inode = root.stat().st_ino, (root / "logs").stat().st_ino
    switch.switch(str(root), ID, {"logs"})
    assert files(root) == NEW
    assert ((root / "logs").stat().st_ino, root.stat().st_ino) == (logs_inode, inode)
    assert switch.recover(str(root)) == []


class EndError(BaseException):
    """The end of the machine."""


@pytest.mark.parametrize("renames", range(12))
def test_an_end_after_any_rename_is_finished_by_the_next_run(
    root: Path, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    remaining = renames
    real = os.rename

    def rename(source: str, target: str) -> None:
        nonlocal remaining
        if remaining == 0:
            raise EndError
        remaining -= 1
        real(source, target)

    stage = str(root / f".restore-{ID}")
    plan = {
        "new": sorted(path.name for path in (root / stage / "new").iterdir()),
        "old": ["changed", "folder", "gone", "same", "turned"],
    }
    switch._write_journal(stage, plan)
    monkeypatch.setattr(os, "rename", rename)
    try:
        switch.rename_forward(str(root), stage, plan)
    except EndError:
        assert switch.has_pending(str(root))
    else:
        assert renames >= 10, "the test does not reach every rename"
    monkeypatch.setattr(os, "rename", real)
    assert switch.recover(str(root)) == [f".restore-{ID}"]
    assert files(root) == NEW
    assert not switch.has_pending(str(root))


@pytest.mark.parametrize("renames", range(10))
def test_a_rename_that_fails_is_undone_with_all_before_it(
    root: Path, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, renamed = switch._rename, []

    def rename(source: str, target: str) -> None:
        if len(renamed) == renames:
            renamed.append(target)
            raise OSError(16, "Device or resource busy")
        renamed.append(target)
        real(source, target)

    monkeypatch.setattr(switch, "_rename", rename)
    with pytest.raises(OperatorError) as caught:
        switch.switch(str(root), ID, {"logs"})
    assert "Device or resource busy" in plain(caught.value.message)
    switch.discard(str(root), ID)
    assert files(root) == OLD


def test_a_stage_that_was_never_complete_is_removed(root: Path) -> None:
    assert not switch.has_pending(str(root))
    assert switch.recover(str(root)) == [f".restore-{ID}"]
    assert files(root) == OLD


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"new": ["../x"], "old": []}', '{"new": 1, "old": []}', "\xff"])
def test_a_journal_of_garbage_moves_nothing(root: Path, text: str) -> None:
    (root / f".restore-{ID}" / "journal.json").write_text(text)
    switch.recover(str(root))
    assert files(root) == OLD


def test_names_of_others_are_not_touched(tmp_path: Path) -> None:
    put(tmp_path, {".restore-mine/x": "x", "elsewhere/y": "y"})
    (tmp_path / f".restore-{ID}").symlink_to(tmp_path / "elsewhere")
    assert switch.recover(str(tmp_path)) == []
    assert (tmp_path / "elsewhere" / "y").exists()


def test_a_directory_that_can_not_be_written_to_is_removed(tmp_path: Path) -> None:
    put(tmp_path, {"closed/inner/x": "x"})
    (tmp_path / "closed" / "inner").chmod(0o500)
    (tmp_path / "closed").chmod(0o500)
    switch.remove_tree(str(tmp_path / "closed"))
    assert not (tmp_path / "closed").exists()
