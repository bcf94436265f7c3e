"""The module around a file that is written in one go: idempotent, honest in check mode, failing in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from tests.unit.fakes.loading import load


def run(capsys: pytest.CaptureFixture[str], **args: Any) -> tuple[int, dict[str, Any]]:
    module = load("library/whole_file.py")
    with patch_module_args(args), pytest.raises(SystemExit) as ended:
        module.main()
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


def test_writes_once_and_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    args = {"path": str(tmp_path / "file"), "content": "password = é\n"}
    assert run(capsys, **args, _ansible_check_mode=True)[1]["changed"] is True
    assert list(tmp_path.iterdir()) == []
    assert run(capsys, **args)[1]["changed"] is True
    assert (tmp_path / "file").read_text(encoding="utf-8") == args["content"]
    code, again = run(capsys, **args)
    assert (code, again["changed"]) == (0, False)
    assert "password" not in json.dumps(again)


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [("missing/file", "0600", "missing/file could not be written"), ("file", "rw", "mode is 'rw'")],
)
def test_what_can_not_be_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, mode: str, said: str
) -> None:
    code, result = run(capsys, path=str(tmp_path / name), content="hunter2hunter2", mode=mode)
    assert code != 0
    assert said in result["msg"]
    assert "\n" not in result["msg"]
    assert "hunter2" not in json.dumps(result)
