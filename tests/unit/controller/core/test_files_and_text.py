from __future__ import annotations

import errno
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador_ops.core import files
from orquestrador_ops.core.files import link_latest, private_dir, safe_name, write_atomic
from orquestrador_ops.core.text import ascii_only, clean, columns, cut, excerpt, wrap

NAMES = st.text() | st.text("./\\\0 aA-_é\ud800", max_size=300)


@pytest.mark.parametrize("name", ["web-01.example.org", "10.0.0.7", "daily", "20261122T120000Z-abc123", "a_b"])
def test_usual_names_stay_as_they_are(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name", ["..", ".", "", "../../etc/passwd", "/etc/passwd", "a/b", "a\0b", ".hidden", "x" * 300]
)
def test_other_names_cannot_leave_their_directory(name: str, tmp_path: Path) -> None:
    made = safe_name(name)
    assert (tmp_path / made).resolve().parent == tmp_path.resolve()
    assert made not in {".", "..", name}
    (tmp_path / f"{made}.json").write_text("")


@given(NAMES)
def test_every_name_becomes_one_component(name: str) -> None:
    made = safe_name(name)
    assert 0 < len(made) <= 120
    assert made.isascii()
    assert "/" not in made
    assert not made.startswith(".")


@given(NAMES, NAMES)
def test_different_names_never_share_a_file(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


def test_write_replaces_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "r.md"
    for content in (b"first", b"second"):
        write_atomic(path, content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["r.md"]


def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.md"
    write_atomic(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.md"]


def test_directories_are_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        private_dir(tmp_path / "a" / "b")
    finally:
        os.umask(old)
    assert [p.stat().st_mode & 0o777 for p in (tmp_path / "a", tmp_path / "a" / "b")] == [0o700, 0o700]
    private_dir(tmp_path / "a" / "b")


def test_latest_points_at_the_newest(tmp_path: Path) -> None:
    for name in ("one.md", "two.md"):
        write_atomic(tmp_path / name, name.encode())
        link_latest(tmp_path / "latest.md", tmp_path / name)
        assert (tmp_path / "latest.md").read_text() == name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest.md", "one.md", "two.md"]


@given(st.text() | st.text("\x1b\x9b\n\r\t\u202e\ud800ab", max_size=50))
def test_clean_text_cannot_drive_a_terminal(text: str) -> None:
    made = clean(text)
    assert not [c for c in made if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in "\u202e\u2066"]
    made.encode("utf-8")
    assert clean(made) == made


def test_clean_text_is_bounded() -> None:
    assert len(clean("x" * 100_000)) == 2000


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 6, "日本語"),
        ("日本語", 5, "日本…"),
        ("日本語", 4, "日…"),
        ("a", 0, ""),
    ],
)
def test_cut(text: str, width: int, shown: str) -> None:
    assert cut(text, width) == shown


@given(st.text().map(clean), st.integers(1, 60), st.integers(1, 5))
def test_wrapped_lines_fit(text: str, width: int, lines: int) -> None:
    made = wrap(text, width, lines)
    assert 1 <= len(made) <= lines
    assert all(columns(line) <= width for line in made)


def test_wrap_breaks_at_spaces_and_says_when_it_cuts() -> None:
    assert wrap("one two three four", 9, 2) == ["one two", "three fo…"]
    assert wrap("one two", 20, 3) == ["one two"]


@given(st.text())
def test_ascii_is_ascii(text: str) -> None:
    assert ascii_only(text).isascii()


def test_ascii_keeps_words_readable() -> None:
    assert ascii_only("✘ CRÍTICO — não há 日… → fim") == "x CRITICO - nao ha ?... -> fim"


def test_an_excerpt_is_the_beginning_as_one_line() -> None:
    assert excerpt(" a\n\tb  c ", 60) == "a b c"
    assert excerpt("a" * 61, 60) == "a" * 60
    assert excerpt(None, 60) == "None"
