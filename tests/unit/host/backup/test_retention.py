"""What retention may never do, whatever backups there are, and what it leaves alone in a directory."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.backup import retention
from orquestrador.backup.store import SUFFIXES
from orquestrador.core.errors import OperatorError
from orquestrador.core.messages import plain
from orquestrador.system.files import locked

DAY = 86400.0
NOW = 1_800_000_000.0


def backup(age_days: float, verified: bool = True, whole: bool = True, safety: bool = False) -> retention.Backup:
    return retention.Backup(f"{NOW - age_days * DAY:015.3f}", NOW - age_days * DAY, verified, whole, safety)


BACKUPS = st.lists(
    st.builds(backup, st.floats(-40, 400), st.booleans(), st.booleans(), st.booleans()),
    max_size=12,
    unique_by=lambda item: item.id,
)


@given(BACKUPS, st.integers(1, 200), st.integers(1, 6))
def test_invariants(backups: list[retention.Backup], days: int, keep: int) -> None:
    decision = retention.decide(backups, NOW, days, keep)
    by_id = {item.id: item for item in backups}
    deleted = [by_id[name] for name in decision.delete]
    stays = [by_id[name] for name in decision.keep]
    assert sorted(decision.delete + decision.keep) == sorted(by_id)
    assert all(NOW - item.made_at > days * DAY for item in deleted), "one that is not old enough"
    good = sorted(
        (item for item in backups if item.verified and item.whole and item.made_at <= NOW + 300),
        key=lambda b: b.made_at,
    )
    assert not good or good[-1].id in decision.keep, "the newest verified one"
    counted = [item for item in stays if item in good]
    assert len(counted) >= min(keep, len(good)), "fewer than the minimum"
    if deleted:
        present = [item for item in backups if item.made_at <= NOW + 300 and (item.verified or not item.safety)]
        newest = max(present, key=lambda item: (item.made_at, item.id))
        assert newest.verified
        assert newest.whole
        assert NOW - newest.made_at <= days * DAY
    assert set(decision.ahead) == {item.id for item in backups if item.made_at > NOW + 300}
    assert not set(decision.ahead) & set(decision.delete)
    again = retention.decide(stays, NOW, days, keep)
    assert again.delete == [], "a second run has nothing to do"


@pytest.mark.parametrize(
    ("backups", "reason", "deleted"),
    [
        ([], None, 0),
        ([backup(1)], None, 0),
        ([backup(100)], "stale", 0),
        ([backup(100), backup(99), backup(98), backup(97), backup(1)], None, 2),
        ([backup(100), backup(99), backup(98), backup(97), backup(1), backup(0, verified=False)], "unverified", 0),
        ([backup(100), backup(99), backup(98), backup(97), backup(1), backup(0, whole=False)], "damaged", 0),
        # Made before a restore, and not proven: no reason to stop.
        ([backup(100), backup(99), backup(98), backup(1), backup(0, verified=False, safety=True)], None, 1),
        # Damaged and unverified ones do not count as sets, so that the old good ones stay.
        ([backup(120), backup(110), backup(2, whole=False), backup(2.5, verified=False), backup(1)], None, 0),
        ([backup(120, verified=False), backup(110, whole=False), backup(1)], None, 2),
        ([backup(-10), backup(120), backup(110), backup(100), backup(1)], None, 1),
        ([backup(-10), backup(120), backup(110), backup(100)], "stale", 0),
    ],
)
def test_cases(backups: list[retention.Backup], reason: str | None, deleted: int) -> None:
    decision = retention.decide(backups, NOW, 90, 3)
    assert (decision.reason, len(decision.delete)) == (reason, deleted)


def put(directory: Path, age_days: float, kind: str = "code", short: str = "0a1b2c", **changes: Any) -> str:
    backup_id = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(NOW - age_days * DAY)) + f"-{short}"
    manifest = {"format": 1, "kind": kind, "id": backup_id, "file": backup_id + SUFFIXES[kind], "bytes_file": 4}
    manifest.update({"verified": {"at": "x"}, **changes})
    (directory / manifest["file"]).write_bytes(b"data")
    (directory / f"{backup_id}.json").write_text(json.dumps(manifest))
    return backup_id


def apply(directory: Path, **options: Any) -> dict[str, Any]:
    return retention.apply(str(directory), "code", **{"days": 90, "keep_minimum": 1, "now": NOW, **options})


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {".lock"}


def test_old_ones_go_with_their_manifests_and_again_there_is_nothing_to_do(tmp_path: Path) -> None:
    old, new = put(tmp_path, 100), put(tmp_path, 1)
    assert apply(tmp_path, check_mode=True)["deleted"] == [old]
    assert len(names(tmp_path)) == 4
    result = apply(tmp_path)
    assert (result["deleted"], result["kept"]) == ([old], [new])
    assert result["freed_bytes"] > 4
    assert names(tmp_path) == {f"{new}.json", f"{new}.tar.zst.age"}
    assert apply(tmp_path)["deleted"] == []


def test_other_files_are_not_touched(tmp_path: Path) -> None:
    put(tmp_path, 1)
    foreign = tmp_path / "elsewhere"
    foreign.write_text("mine")
    other_kind = put(tmp_path, 200, kind="database", short="111111")
    no_manifest = tmp_path / "20200102T030405Z-0a1b2c.tar.zst.age"
    no_manifest.write_text("x")
    unknown = put(tmp_path, 210, short="222222", format=99)
    elsewhere = put(tmp_path, 220, short="333333", file="../elsewhere")
    linked = put(tmp_path, 230, short="444444")
    (tmp_path / f"{linked}.tar.zst.age").unlink()
    (tmp_path / f"{linked}.tar.zst.age").symlink_to(foreign)
    link = tmp_path / "20200102T030405Z-0a1b2d.json"
    link.symlink_to(tmp_path / f"{put(tmp_path, 2, short='555555')}.json")
    no_moment = tmp_path / "20209999T030405Z-0a1b2c.json"
    manifest = {"format": 1, "kind": "code", "id": no_moment.stem, "file": f"{no_moment.stem}.tar.zst.age"}
    no_moment.write_text(json.dumps(manifest))
    before = names(tmp_path)
    assert apply(tmp_path)["deleted"] == []
    assert names(tmp_path) == before
    assert {other_kind, unknown, elsewhere}
    assert foreign.read_text() == "mine"


def test_a_kill_between_data_and_manifest_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = put(tmp_path, 100), put(tmp_path, 1)
    real, calls = os.unlink, []

    def unlink(path: str) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(path)

    monkeypatch.setattr(os, "unlink", unlink)
    with pytest.raises(KeyboardInterrupt):
        apply(tmp_path)
    monkeypatch.setattr(os, "unlink", real)
    assert names(tmp_path) == {f"{old}.json", f"{new}.json", f"{new}.tar.zst.age"}, "the data goes first"
    assert apply(tmp_path)["deleted"] == [old]
    assert names(tmp_path) == {f"{new}.json", f"{new}.tar.zst.age"}


def test_a_directory_at_work_is_refused_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    put(tmp_path, 100)
    put(tmp_path, 1)
    with locked(str(tmp_path), "code_backup", 0.0), pytest.raises(OperatorError) as caught:
        apply(tmp_path)
    assert "code_backup" in plain(caught.value.message)
    assert apply(tmp_path / "none")["kept"] == []
