"""Where copies may go, and when a copy is one."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from orquestrador.backup import offsite
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain

ID, NEWER = "20260102T030405Z-0a1b2c", "20260103T030405Z-0a1b2c"


def put(directory: Path, backup_id: str = ID, content: bytes = b"data", **changes: Any) -> dict[str, Any]:
    directory.mkdir(exist_ok=True)
    manifest = {"format": 1, "kind": "code", "id": backup_id, "file": f"{backup_id}.tar.zst.age", "verified": None}
    manifest.update(bytes_file=len(content), sha256=hashlib.sha256(content).hexdigest(), **changes)
    (directory / str(manifest["file"])).write_bytes(content)
    (directory / f"{backup_id}.json").write_text(json.dumps(manifest))
    return manifest


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory that counts as another file system."""
    target = tmp_path / "elsewhere"
    target.mkdir()
    real = offsite.Mounted.__init__

    def init(self: offsite.Mounted, path: str, deadline: float, directories: Any) -> None:
        real(self, path, deadline, [])

    monkeypatch.setattr(offsite.Mounted, "__init__", init)
    return target


def copy(tmp_path: Path, to: Path, **options: Any) -> dict[str, Any]:
    locations = [{"kind": "code", "path": str(tmp_path / "backups")}]
    return offsite.copy_all(locations, str(to), "web", **{"timeout_s": 10, **options})


def test_copies_are_proven_recorded_and_not_made_again(tmp_path: Path, elsewhere: Path) -> None:
    manifest = put(tmp_path / "backups")
    assert copy(tmp_path, elsewhere, check_mode=True)["copied"] == [ID]
    assert list(elsewhere.iterdir()) == []
    first = copy(tmp_path, elsewhere)
    assert (first["copied"], first["failures"]) == ([ID], [])
    target = elsewhere / "web" / "code"
    assert (target / manifest["file"]).read_bytes() == b"data"
    assert (target / manifest["file"]).stat().st_mode & 0o777 == 0o600
    manifest_after = json.loads((tmp_path / "backups" / f"{ID}.json").read_text())
    assert manifest_after["copies"][0]["to"] == str(elsewhere)
    assert manifest_after["copies"][0]["sha256"] == manifest["sha256"]
    assert (target / f"{ID}.json").read_bytes() == (tmp_path / "backups" / f"{ID}.json").read_bytes()
    second = copy(tmp_path, elsewhere)
    assert (second["changed"], second["copied"], second["present"]) == (False, [], [ID])


def test_a_copy_that_was_damaged_is_made_again(tmp_path: Path, elsewhere: Path) -> None:
    manifest = put(tmp_path / "backups")
    copy(tmp_path, elsewhere)
    (elsewhere / "web" / "code" / manifest["file"]).write_bytes(b"dama")
    assert copy(tmp_path, elsewhere)["copied"] == [ID]
    assert (elsewhere / "web" / "code" / manifest["file"]).read_bytes() == b"data"


def test_a_damaged_backup_is_not_taken_for_a_copy(tmp_path: Path, elsewhere: Path) -> None:
    manifest = put(tmp_path / "backups")
    put(tmp_path / "backups", NEWER)
    (tmp_path / "backups" / manifest["file"]).write_bytes(b"dama")
    result = copy(tmp_path, elsewhere)
    assert [failure["args"]["path"] for failure in result["failures"]] == [str(tmp_path / "backups" / manifest["file"])]
    assert json.loads((tmp_path / "backups" / f"{ID}.json").read_text()).get("copies") is None
    assert (elsewhere / "web" / "code" / f"{NEWER}.tar.zst.age").exists(), "the others still are"


def test_the_same_file_system_is_no_place_for_copies(tmp_path: Path) -> None:
    put(tmp_path / "backups")
    with pytest.raises(OperatorError) as caught:
        copy(tmp_path, tmp_path)
    assert "same file system" in plain(caught.value.message)


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("relative/path", "is relative/path: give"),
        ("controler", "is controler: give"),
        ("rclone:", "is rclone:: give"),
        ("rclone:remote", "is rclone:remote: give"),
        ("rsync:", "is rsync:: give"),
        ("rsync:--rsh=sh", "is rsync:--rsh=sh: give"),
        ("rclone::sftp,host=h,pass=abcdefgh:/x", "holds a credential"),
        ("/nowhere/at/all", "/nowhere/at/all can't be used"),
    ],
)
def test_destinations_that_are_none(to: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsite, "require_program", lambda program: program)
    with pytest.raises(OperatorError) as caught:
        offsite.open_destination(to, time.monotonic() + 5, [])
    assert says in plain(caught.value.message)


def test_a_destination_that_does_not_answer_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "backups")
    slow = tmp_path / "rsync"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(offsite, "require_program", lambda program: str(slow))
    started = time.monotonic()
    result = copy(tmp_path, Path("rsync:host:/x"), timeout_s=1)
    assert time.monotonic() - started < 15
    assert "time allowed is over" in plain(result["failures"][0])
    assert (tmp_path / "backups" / f"{ID}.json").exists()


def test_recording_keeps_what_changed_meanwhile(tmp_path: Path) -> None:
    manifest = put(tmp_path / "backups", verified={"at": "now"}, copies=[{"to": "a", "at": "x", "sha256": "y"}])
    offsite.record_copy(str(tmp_path / "backups"), "code", ID, "b", str(manifest["sha256"]))
    manifest_after = json.loads((tmp_path / "backups" / f"{ID}.json").read_text())
    assert manifest_after["verified"] == {"at": "now"}
    assert [copy_record["to"] for copy_record in manifest_after["copies"]] == ["a", "b"]
    with pytest.raises(OperatorError):
        offsite.record_copy(str(tmp_path / "backups"), "code", ID, "b", "another")
