"""The module around the copies: arguments, check and diff mode, failing last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from orquestrador.lease import lease_file, model
from tests.unit.fakes.loading import load


def run(capsys: pytest.CaptureFixture[str], **args: Any) -> tuple[int, dict[str, Any]]:
    module = load("library/critical_files.py")
    with patch_module_args(args), pytest.raises(SystemExit) as ended:
        module.main()
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


@pytest.fixture
def args(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "env").write_text("PASSWORD=hunter2hunter2\n")
    return {"dest": str(tmp_path / "critical"), "files": [{"name": ".env", "path": str(tmp_path / "env")}]}


def test_copies_and_is_idempotent(capsys: pytest.CaptureFixture[str], args: dict[str, Any]) -> None:
    code, first = run(capsys, **args)
    assert (code, first["changed"], first["failures"]) == (0, True, [])
    assert Path(first["files"][0]["copy"]).read_text() == "PASSWORD=hunter2hunter2\n"
    code, second = run(capsys, **args)
    assert (code, second["changed"]) == (0, False)


def test_check_mode_changes_nothing_and_diff_shows_no_content(
    capsys: pytest.CaptureFixture[str], args: dict[str, Any]
) -> None:
    code, result = run(capsys, **args, _ansible_check_mode=True, _ansible_diff=True)
    assert (code, result["changed"]) == (0, True)
    assert not Path(args["dest"]).exists()
    assert result["files"][0]["sha256"] in result["diff"]["after"]
    assert "hunter2" not in json.dumps(result["diff"])


def test_fails_last_naming_what_was_not_copied(
    capsys: pytest.CaptureFixture[str], args: dict[str, Any], tmp_path: Path
) -> None:
    args["files"].insert(0, {"name": "gone", "path": str(tmp_path / "gone")})
    code, result = run(capsys, **args)
    assert code == 1
    assert result["msg"] == f"{tmp_path / 'gone'} does not exist: restore it or correct its path"
    assert result["changed"] is True
    assert result["files"][1]["copy"]


@pytest.fixture
def lease(tmp_path: Path) -> dict[str, Any]:
    return {
        "path": str(tmp_path / "ops" / "lease.json"),
        "run_id": "run-1",
        "owner": "ana@one",
        "procedure": "daily",
        "ttl_s": 120,
    }


def test_copies_under_a_lease_and_gives_it_back(
    capsys: pytest.CaptureFixture[str], args: dict[str, Any], lease: dict[str, Any]
) -> None:
    code, result = run(capsys, **args, lease=lease)
    assert (code, result["changed"], result["note"], result["lease"]["run_id"]) == (0, True, None, "run-1")
    assert not Path(lease["path"]).exists()


def test_a_held_lease_refuses_the_copying_naming_the_holder(
    capsys: pytest.CaptureFixture[str], args: dict[str, Any], lease: dict[str, Any]
) -> None:
    other = model.request(run_id="run-9", owner="bob@two", procedure="restore", ttl_s=60)
    lease_file.acquire(lease["path"], other)
    code, result = run(capsys, **args, lease=lease)
    assert (code, result["changed"], result["files"]) == (1, False, [])
    assert "held by run run-9 (restore, bob@two)" in result["msg"]
    assert "\n" not in result["msg"]
    assert result["failures"][0]["args"]["run_id"] == "run-9"
    assert not Path(args["dest"]).exists()
    code, checked = run(capsys, **args, lease=lease, _ansible_check_mode=True)
    assert (code, checked["changed"], checked["note"]["args"]["run_id"]) == (0, True, "run-9")


def test_a_failed_copy_gives_the_lease_back(
    capsys: pytest.CaptureFixture[str], args: dict[str, Any], lease: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "env").unlink()
    assert run(capsys, **args, lease=lease)[0] == 1
    assert not Path(lease["path"]).exists()


@pytest.mark.parametrize(
    "bad",
    [
        {"files": "x"},
        {"files": [{"name": "a"}]},
        {"dest": None},
        {"files": [{"name": "a", "path": "b", "c": 1}]},
        {"lease": {"path": "/x"}},
    ],
)
def test_unusable_arguments_are_one_line(
    capsys: pytest.CaptureFixture[str], args: dict[str, Any], bad: dict[str, Any]
) -> None:
    code, result = run(capsys, **{**args, **bad})
    assert code == 1
    assert "\n" not in result["msg"]
