"""The module around the lease: states, idempotence, check and diff mode, refusal in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from tests.unit.fakes.loading import load

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, **args: Any) -> tuple[int, dict[str, Any]]:
    module = load("library/host_lease.py")
    with patch_module_args(args), pytest.raises(SystemExit) as ended:
        module.main()
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


@pytest.fixture
def args(tmp_path: Path) -> dict[str, Any]:
    path = str(tmp_path / "ops" / "lease.json")
    return {"path": path, "run_id": "run-1", "owner": "ana@one", "procedure": "monthly", "ttl_s": 60}


def test_takes_renews_and_gives_back(capsys: Capture, args: dict[str, Any]) -> None:
    code, first = run(capsys, **args)
    assert (code, first["changed"], first["renewed"]) == (0, True, False)
    assert first["diff"] == {"before": "nobody\n", "after": "run-1 (monthly, ana@one)\n"}
    code, second = run(capsys, **args)
    assert (code, second["changed"], second["renewed"]) == (0, False, True)
    release = {"path": args["path"], "run_id": "run-1", "state": "released"}
    for changed in (True, False):
        code, given = run(capsys, **release)
        assert (code, given["changed"], given["note"]) == (0, changed, None)
    assert not Path(args["path"]).exists()


def test_only_who_has_it_renews_it(capsys: Capture, args: dict[str, Any]) -> None:
    renewing = {"path": args["path"], "run_id": "run-1", "state": "renewed", "ttl_s": 500}
    code, result = run(capsys, **renewing)
    assert (code, "does not have the lease of this host any more" in result["msg"]) == (1, True)
    run(capsys, **args)
    code, result = run(capsys, **renewing)
    assert (code, result["changed"], result["lease"]["ttl_s"]) == (0, False, 500)
    assert run(capsys, **renewing, _ansible_check_mode=True)[0] == 0
    code, result = run(capsys, **{**renewing, "run_id": "run-2"})
    assert (code, result["holder"]["run_id"]) == (1, "run-1")


def test_refuses_in_one_line_that_names_the_holder(capsys: Capture, args: dict[str, Any]) -> None:
    run(capsys, **args)
    code, result = run(capsys, **{**args, "run_id": "run-2", "procedure": "weekly"})
    assert (code, result["changed"], result["holder"]["run_id"]) == (1, False, "run-1")
    assert result["msg"].startswith("the lease of this host is held by run run-1 (monthly, ana@one) since ")
    assert "\n" not in result["msg"]
    code, result = run(capsys, **{**args, "run_id": "run-2", "procedure": "offline", "preempt": True})
    assert (code, result["lease"]["took_over"]["run_id"]) == (0, "run-1")


@pytest.mark.parametrize("state", ["held", "released"])
def test_check_mode_agrees_with_what_is_done_and_does_nothing(
    capsys: Capture, args: dict[str, Any], tmp_path: Path, state: str
) -> None:
    wanted = {**args, "state": state}
    code, predicted = run(capsys, **wanted, _ansible_check_mode=True, _ansible_diff=True)
    assert code == 0
    assert list(tmp_path.iterdir()) == []
    _, done = run(capsys, **wanted)
    assert (predicted["changed"], predicted["diff"]) == (done["changed"], done["diff"])
    _, again = run(capsys, **wanted, _ansible_check_mode=True)
    assert again["changed"] is False
    _, other = run(capsys, **{**wanted, "run_id": "run-2"}, _ansible_check_mode=True)
    assert other["changed"] is False
    assert (other["holder"] or {}).get("run_id") == ("run-1" if state == "held" else None)


def test_giving_back_in_check_mode_what_was_never_taken_is_no_loss(capsys: Capture, args: dict[str, Any]) -> None:
    run(capsys, **args)
    code, result = run(capsys, **{**args, "run_id": "run-2", "state": "released"}, _ansible_check_mode=True)
    assert (code, result["changed"], result["note"], result["holder"]["run_id"]) == (0, False, None, "run-1")


@pytest.mark.parametrize("bad", [{"owner": None}, {"ttl_s": 0}, {"ttl_s": "soon"}, {"state": "mine"}, {"run_id": ""}])
def test_unusable_arguments_are_one_line(capsys: Capture, args: dict[str, Any], bad: dict[str, Any]) -> None:
    given = {key: value for key, value in {**args, **bad}.items() if value is not None}
    code, result = run(capsys, **given)
    assert code == 1
    assert "\n" not in result["msg"]
    assert not Path(args["path"]).exists()
