"""What a full disk is freed of: what is expired and no more; and what is said of the rest."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from orquestrador.core.messages import plain
from orquestrador.emergency.ladders import disk

DIRECTORIES = ("logs_dir", "logs_archive_dir", "backup_dir", "backup_database_dir", "backup_code_dir")


def archive(folder: Path, number: int, age_days: float) -> Path:
    path = folder / f"logs-20260101-{number}.tar.gz"
    created = time.time() - age_days * 86400
    text = json.dumps({"format": 1, "kind": "logs", "created": created, "files": []}).encode()
    with gzip.open(path, "wb") as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return path


@pytest.fixture
def full(scene: Any, tmp_path: Path) -> Any:
    """A disk that is full whatever is on it."""
    told: dict[str, Any] = {name: str(tmp_path / name) for name in DIRECTORIES}
    for path in told.values():
        Path(path).mkdir()
    told.update(logs_archive_retention_days=90, logs_archive_keep_minimum=1)
    told.update(backup_retention_days=90, backup_keep_minimum=3)
    scene.params.update(disk=told, disk_paths=[str(tmp_path), str(tmp_path / "none")])
    scene.params["expectations"] = {"disk_critical_percent": 0}
    return scene


def test_only_what_is_expired_goes_and_a_disk_that_stays_full_is_told(full: Any, tmp_path: Path) -> None:
    folder = tmp_path / "logs_archive_dir"
    old, young = archive(folder, 2, 100), archive(folder, 3, 1)
    (folder / "logs-20250101.tar.gz").write_bytes(b"not ours")
    (tmp_path / "logs_dir" / "out.log").write_text("not archived yet")
    assert [rung.id for rung in disk.ladder(full)] == ["log_archives"]
    reason, changed = disk.climb(full, lambda _: False)
    assert changed
    assert "is still full" in plain(reason or {})
    assert (old.exists(), young.exists()) == (False, True)
    assert (folder / "logs-20250101.tar.gz").exists()
    assert (tmp_path / "logs_dir" / "out.log").exists()
    assert {name: step["status"] for name, step in full.steps.items()} == {
        "usage": "ok",
        "log_archives": "changed",
        "freed": "failed",
    }


def test_npm_caches_again_what_is_deleted(full: Any, tmp_path: Path) -> None:
    cache = tmp_path / "home" / ".npm" / "_cacache"
    (cache / "content").mkdir(parents=True)
    assert [rung.id for rung in disk.ladder(full)] == ["npm_cache"]
    disk.climb(full, lambda _: False)
    assert not cache.exists()
    assert cache.parent.exists()


def test_nothing_is_deleted_where_there_is_room(full: Any, tmp_path: Path) -> None:
    old = [archive(tmp_path / "logs_archive_dir", number, 100) for number in (2, 3)]
    full.params["expectations"] = {"disk_critical_percent": 101}
    assert disk.critical(full) == []
    assert disk.climb(full, lambda _: False) == (None, False)
    assert all(path.exists() for path in old)
