"""A tree goes into a tar and comes back as it was, and what must not come back does not."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orquestrador.backup import tree
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of a test was written just now."""
    monkeypatch.setattr(tree, "PAUSE_S", 0.0)


def packed(root: Path, *exclude: str) -> tuple[bytes, tree.Packer]:
    stream = io.BytesIO()
    packer = tree.Packer(str(root), lambda data: stream.write(data) and None)
    packer.pack(tree.scan_tree(str(root), exclude))
    return stream.getvalue(), packer


def unpacked(data: bytes, target: Path | None = None) -> tree.Listing:
    unpacker = tree.Unpacker(None if target is None else str(target))
    unpacker.unpack(io.BytesIO(data), lambda name: None)
    return unpacker.listing


NAME = st.binary(min_size=1, max_size=40).filter(lambda name: b"/" not in name and b"\0" not in name)
USABLE = NAME.filter(lambda name: name not in (b".", b".."))


@settings(max_examples=60)
@given(
    files=st.dictionaries(st.tuples(USABLE, USABLE), st.binary(max_size=2000), max_size=6),
    links=st.dictionaries(USABLE, NAME, max_size=3),
)
def test_any_tree_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[bytes, bytes], bytes], links: dict[bytes, bytes]
) -> None:
    root, target = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("target")
    for (folder, name), content in files.items():
        path = root / os.fsdecode(folder) / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    for name, to in links.items():
        if not (root / os.fsdecode(name)).exists():
            (root / os.fsdecode(name)).symlink_to(os.fsdecode(to))
    data, packer = packed(root)
    assert packer.unstable == set()
    assert unpacked(data, target) == packer.listing == tree.list_tree(str(target), ()) == tree.list_tree(str(root), ())


@pytest.mark.parametrize(
    "name",
    [b"two\nlines", b" spaces ", "emoji 😀".encode(), b"\xff\xfe no utf-8", b"-rf", b"n" * 255, b"a'\"\\`$(id)"],
)
def test_hard_names(tmp_path: Path, name: bytes) -> None:
    root, target = tmp_path / "root", tmp_path / "target"
    root.mkdir()
    target.mkdir()
    (root / os.fsdecode(name)).write_bytes(b"content")
    data, packer = packed(root)
    assert list(packer.listing) == [os.fsdecode(name)]
    assert unpacked(data, target) == packer.listing
    assert tree.printable(os.fsdecode(name)).isprintable()


def test_modes_come_back_also_of_a_directory_that_can_not_be_written_to(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "target"
    (root / "closed").mkdir(parents=True)
    target.mkdir()
    (root / "closed" / "secret").write_text("x")
    (root / "closed" / "secret").chmod(0o400)
    (root / "closed").chmod(0o555)
    data, packer = packed(root)
    unpacked(data, target)
    assert tree.list_tree(str(target), ()) == packer.listing
    assert packer.listing["closed"][1] == "0555"


def test_only_top_level_names_are_left_out(tmp_path: Path) -> None:
    for path in ("logs/a", "src/logs/b", "logs.txt", ".restore-20260102T030405Z-0a1b2c/new/x", ".restore-mine/y"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    scan = tree.scan_tree(str(tmp_path), ("logs",))
    files = {item.path for item in scan.entries if "/" not in item.path or item.path.endswith(("b", "y", "x", "a"))}
    assert files == {"src", "src/logs/b", "logs.txt", ".restore-mine", ".restore-mine/y"}
    assert scan.excluded == [".restore-20260102T030405Z-0a1b2c", "logs"]


def test_special_files_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    scan = tree.scan_tree(str(tmp_path), ())
    assert (scan.entries, scan.special) == ([], ["fifo"])


def test_what_can_not_be_read_is_a_failure_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").write_text("x")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OperatorError) as caught:
        tree.scan_tree(str(tmp_path), ())
    assert "closed" in plain(caught.value.message)


def test_a_missing_tree_and_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperatorError) as caught:
        tree.scan_tree(str(tmp_path / "none"), ())
    assert "does not exist" in plain(caught.value.message)
    monkeypatch.setattr(tree, "MAX_ENTRIES", 1)
    (tmp_path / "a").write_text("")
    (tmp_path / "b").write_text("")
    with pytest.raises(OperatorError) as caught:
        tree.scan_tree(str(tmp_path), ())
    assert "backup_code_exclude" in plain(caught.value.message)


@pytest.mark.parametrize("size", [100, tree.SMALL + 100])
@pytest.mark.parametrize("change", ["grow", "cut", "vanish"])
def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path, size: int, change: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    scan = tree.scan_tree(str(tmp_path), ())
    before = tree.signatures(scan)
    stream = io.BytesIO()

    def write(data: bytes) -> None:
        if not stream.tell() and change == "grow":
            with path.open("ab") as file:
                file.write(b"more")
        if not stream.tell() and change == "cut":
            os.truncate(path, 10)
        stream.write(data)

    if change == "vanish":
        path.unlink()
    packer = tree.Packer(str(tmp_path), write)
    packer.pack(scan)
    noticed = packer.unstable | set(tree.differing(before, tree.signatures(tree.scan_tree(str(tmp_path), ()))))
    assert noticed == {"file"}
    # The archive is whole all the same, and what is listed is what is in it.
    assert unpacked(stream.getvalue()) == packer.listing


def tar(*members: tuple[str, bytes, str]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            archive.addfile(member)
    return stream.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("/etc/cron.d/x", tarfile.REGTYPE, "")],
        [("../x", tarfile.REGTYPE, "")],
        [("a/../../x", tarfile.REGTYPE, "")],
        [("./x", tarfile.REGTYPE, "")],
        [("a//x", tarfile.REGTYPE, "")],
        [("nowhere/x", tarfile.REGTYPE, "")],
        [("out", tarfile.SYMTYPE, "/etc"), ("out/x", tarfile.REGTYPE, "")],
        [("x", tarfile.REGTYPE, ""), ("x", tarfile.SYMTYPE, "/etc")],
        [("x", tarfile.REGTYPE, ""), ("y", tarfile.LNKTYPE, "x")],
        [("x", tarfile.CHRTYPE, "")],
        [("x", tarfile.BLKTYPE, "")],
        [("x", tarfile.FIFOTYPE, "")],
    ],
)
def test_unsafe_members_are_refused(tmp_path: Path, members: list[Any]) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(tree.RefutedError):
        unpacked(tar(*members), target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target"]


@given(st.binary(max_size=3000))
def test_any_bytes_are_survived(data: bytes) -> None:
    with contextlib.suppress(tree.RefutedError):
        unpacked(data)


@pytest.mark.parametrize(
    ("path", "target", "outside"),
    [
        ("a", "b", False),
        ("a", "../b", True),
        ("d/a", "../b", False),
        ("d/a", "../../b", True),
        ("d/e/a", "../../../x", True),
        ("a", "/etc/passwd", True),
        ("a", "/srv/app/b", False),
        ("a", "/srv/app/../b", True),
        ("a", "/srv/application", True),
        ("a", "d/../../b", True),
        ("a", "..", True),
        ("d/a", "..", False),
    ],
)
def test_links_that_lead_out_are_found(path: str, target: str, outside: bool) -> None:
    assert tree.links_outside({path: ["l", "0777", 0, target]}, "/srv/app") == ([path] if outside else [])
