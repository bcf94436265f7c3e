"""A file that is written in one go, and when it counts as written already."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from orquestrador.system import whole_file
from orquestrador.system.whole_file import is_whole, write_whole


@pytest.fixture
def wide_open() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


def test_the_mode_is_there_before_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide_open: object
) -> None:
    seen: list[tuple[int, int]] = []
    real = os.fchmod

    def watched(handle: int, mode: int) -> None:
        seen.append((stat.S_IMODE(os.fstat(handle).st_mode), os.fstat(handle).st_size))
        real(handle, mode)

    monkeypatch.setattr(whole_file.os, "fchmod", watched)
    write_whole(str(tmp_path / "secret"), b"password", 0o600)
    assert seen == [(0o600, 0)]
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("of somebody else")
    (tmp_path / "file").symlink_to(tmp_path / "target")
    assert not is_whole(str(tmp_path / "file"), b"of somebody else", 0o644)
    write_whole(str(tmp_path / "file"), b"ours", 0o644)
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "target").read_text() == "of somebody else"


@pytest.mark.parametrize(
    ("content", "mode", "same"),
    [
        (b"text", 0o600, True),
        (b"text", 0o640, False),
        (b"Text", 0o600, False),
        (b"tex", 0o600, False),
        (b"text\n", 0o600, False),
    ],
)
def test_what_is_there_already(tmp_path: Path, content: bytes, mode: int, same: bool) -> None:
    write_whole(str(tmp_path / "file"), b"text", 0o600)
    assert is_whole(str(tmp_path / "file"), content, mode) is same


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file", 0o600)
    assert not is_whole(str(tmp_path / "file"), b"", 0o600)


def test_nothing_is_left_when_it_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "in it").touch()
    with pytest.raises(OSError, match="director"):
        write_whole(str(tmp_path / "file"), b"text", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
