"""What is fetched to the controller is private, whole and proven, or not there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from orquestrador_ops.adapters import fetch as fetching

DATA = b"encrypted"


def item(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "code",
        "directory": "/backups/code",
        "id": "x",
        "file": "x.tar.zst.age",
        "described": "x.json",
        "sha256": hashlib.sha256(DATA).hexdigest(),
        "bytes": len(DATA),
        "described_bytes": 2,
        "newest": True,
        "recorded": False,
        **changes,
    }


def giving(data: bytes) -> fetching.Fetch:
    def fetch(source: str, target: Path) -> None:
        target.write_bytes(data)

    return fetch


def test_a_backup_and_its_manifest(tmp_path: Path) -> None:
    folder = fetching.copy_directory(tmp_path, "web-01", "code")
    assert folder == tmp_path / "backups" / "web-01" / "code"
    assert not fetching.is_current(folder, item())
    fetching.fetch_backup(folder, item(), giving(DATA))
    assert fetching.is_current(folder, item())
    assert (folder / "x.tar.zst.age").stat().st_mode & 0o777 == 0o600
    assert (folder.stat().st_mode & 0o777, folder.parent.stat().st_mode & 0o777) == (0o700, 0o700)
    assert fetching.fetch_manifest(folder, item(), giving(b"{}"))
    assert not fetching.fetch_manifest(folder, item(), giving(b"{}"))


@pytest.mark.parametrize("data", [b"", b"encrypteX", b"encrypted and more"])
def test_what_is_not_the_file_gets_no_name(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(fetching.FetchError):
        fetching.fetch_backup(tmp_path, item(), giving(data))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "changes", "there"),
    [
        (DATA, {}, True),
        (b"encrypteX", {}, False),
        (b"encrypteX", {"newest": False, "recorded": True}, True),
        (b"encrypteX", {"newest": True, "recorded": True}, False),
        (b"encrypteX", {"newest": False, "recorded": False}, False),
        (b"short", {"newest": False, "recorded": True}, False),
    ],
)
def test_what_counts_as_there(tmp_path: Path, content: bytes, changes: dict[str, Any], there: bool) -> None:
    (tmp_path / "x.tar.zst.age").write_bytes(content)
    assert fetching.is_current(tmp_path, item(**changes)) is there


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".bashrc", "a/b"])
def test_a_host_can_not_choose_where_a_file_goes(tmp_path: Path, name: str) -> None:
    with pytest.raises(fetching.FetchError):
        fetching.fetch_backup(tmp_path, item(file=name), giving(DATA))
    assert list(tmp_path.iterdir()) == []


def test_a_full_controller_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(fetching.FetchError) as caught:
        fetching.fetch_backup(tmp_path, item(bytes=2**60), giving(DATA))
    assert "too little for a copy" in caught.value.message["text"]
