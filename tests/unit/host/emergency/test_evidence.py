"""What is kept before anything is changed: bounded, newest first, for nobody else to read."""

from __future__ import annotations

import json
import os
import pwd
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.emergency import evidence as emergency_evidence
from orquestrador.emergency.evidence import Record, changed_files, last_events, summary
from orquestrador.system.identity import Owner

ME = Owner(pwd.getpwuid(os.geteuid()).pw_name)


def record(tmp_path: Path, run: str, keep: int = 2) -> Record:
    params = {"lease_path": str(tmp_path / "lease.json"), "lease_run_id": run, "evidence_keep": keep}
    return Record(params, ME)


def test_a_record_is_whole_private_and_one_of_few(tmp_path: Path) -> None:
    for run in ("a", "b", "c", "c"):
        assert record(tmp_path, run).write({"run": run, "odd": "\udcff"}) is None
    folder = tmp_path / "emergencies"
    assert sorted(path.name for path in folder.iterdir()) == ["b.json", "c.json"]
    assert json.loads((folder / "c.json").read_text())["run"] == "c"
    assert stat.S_IMODE((folder / "c.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_record_that_cannot_be_kept_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "emergencies").write_text("in the way")
    wrong = record(tmp_path, "a").write({})
    assert wrong is not None
    assert "could not be kept" in wrong["text"]


def test_a_link_that_waits_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "emergencies").mkdir()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("a.json", "a.json.part"):
        (tmp_path / "emergencies" / name).symlink_to(victim)
    assert record(tmp_path, "a").write({"run": "a"}) is None
    assert victim.read_text() == "mine"
    assert not (tmp_path / "emergencies" / "a.json").is_symlink()


def test_the_newest_changes_come_first_and_dependencies_are_passed_over(tmp_path: Path) -> None:
    for at, name in enumerate(("old.js", "dist/server/index.js", "node_modules/x.js", "logs/out.log", "dist/logs/y")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * at)
        os.utime(path, (1_700_000_000 + at, 1_700_000_000 + at))
    found = changed_files(str(tmp_path), 5)
    assert [item["path"] for item in found] == ["dist/logs/y", "dist/server/index.js", "old.js"]
    assert found[0]["file_bytes"] == 4
    assert changed_files(str(tmp_path / "none"), 5) == []


def test_many_files_are_not_all_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emergency_evidence, "MAX_SEEN", 30)
    for folder in range(10):
        (tmp_path / str(folder)).mkdir()
        for name in range(10):
            (tmp_path / str(folder) / str(name)).touch()
    assert len(changed_files(str(tmp_path), 5)) == emergency_evidence.MAX_CHANGED


row = st.tuples(
    st.none() | st.sampled_from(["app", b"root"]) | st.text(max_size=200),
    st.none() | st.sampled_from(["Sleep", "Query"]),
    st.none() | st.integers() | st.floats() | st.text(max_size=3),
)


@given(st.lists(row, max_size=40))
def test_sessions_are_summed_up_whatever_the_server_says(rows: list[Any]) -> None:
    found = summary(rows)
    assert len(found) <= emergency_evidence.MAX_SESSIONS
    assert sum(item["count"] for item in found) <= len(rows)
    assert [item["count"] for item in found] == sorted((item["count"] for item in found), reverse=True)


def test_sessions_by_user_and_command() -> None:
    rows = [("app", "Sleep", 3), (b"app", b"Sleep", "7"), ("root", "Query", None)]
    assert summary(rows) == [
        {"user": "app", "command": "Sleep", "count": 2, "longest_s": 7.0},
        {"user": "root", "command": "Query", "count": 1, "longest_s": 0.0},
    ]


def test_the_newest_kinds_of_error_come_first() -> None:
    prints = [{"last_at": f"2026-01-0{day}", "count": day, "sample": "x", "fingerprint": "f"} for day in range(1, 9)]
    found = last_events(prints)
    assert [item["count"] for item in found] == [8, 7, 6, 5, 4]
    assert set(found[0]) == {"last_at", "count", "sample"}
