"""Whose rights a process has is asked of the kernel, in processes of their own: tests must not change who they are."""

from __future__ import annotations

import ast
import json
import os
import pwd
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from orquestrador.core.errors import OperatorError
from orquestrador.system.identity import Owner
from tests.unit import children

PROJECT = Path(__file__).resolve().parents[4]


def test_the_present_user_needs_no_rights() -> None:
    owner = Owner(pwd.getpwuid(os.geteuid()).pw_name)
    with owner.at_work(), owner.privileged():
        done = owner.run(["sh", "-c", "echo $USER $PM2_HOME"], timeout_s=10, env={"PM2_HOME": "/x"})
    assert done.stdout.decode().split() == [owner.name, "/x"]


def test_an_unknown_user_is_one_line() -> None:
    with pytest.raises(OperatorError, match="no user"):
        Owner("nobody-of-that-name")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody; the integration tests do it as well")
def test_children_are_whom_the_process_is_at_that_moment_and_can_not_go_back() -> None:
    done = subprocess.run(children.command("become_nobody"), cwd=PROJECT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    entry = pwd.getpwnam("nobody")
    uid, gid = entry.pw_uid, entry.pw_gid
    assert found["inside"] == [uid, gid]
    nobody = {"Uid": [str(uid)] * 4, "Gid": [str(gid)] * 4, "Groups": [str(gid)]}
    assert found["as the user"] == dict.fromkeys(found["as the user"], nobody)
    assert found["outside"] == nobody
    for child in found["as root"].values():
        assert (child["Uid"], child["Gid"]) == (["0"] * 4, ["0"] * 4)
    assert {line.split("=")[0] for line in found["environment"]} == {"HOME", "USER", "LOGNAME", "PATH", "LC_ALL"}
    assert found["again"] == uid
    assert found["after"] == [*[0] * 6, 0, 4]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody")
def test_a_collector_that_is_held_up_goes_on_as_nobody() -> None:
    """Root's own threads would be root again when the look is over, and do as they are told by who held them up."""
    entry = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory() as place:  # that nobody may look into, unlike pytest's
        os.chown(place, entry.pw_uid, entry.pw_gid)
        argv = children.command("held_up_collector", place)
        done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found == {"told": ["timeout"], "uids": [0, 0, 0], "left": ["began", "go"], "holder seen": True}


# Who may start a process, or signal one by its number, and what for. Everybody else does it by these.
STARTERS = {
    "system/command.py": {"subprocess.Popen", "os.fork"},
    "system/isolate.py": {"os.fork"},
    "system/supervisor.py": {"os.fork"},
}
SIGNALLERS = {
    "system/signals.py": {"signal.pidfd_send_signal"},
    # Children of their own that nobody has waited for yet, and this process.
    "app/reload.py": {"os.killpg"},
    "lease/keeper.py": {"os.kill"},
    "system/command.py": {"os.killpg"},
    "system/isolate.py": {"os.kill", "os.killpg"},
    "system/long_command.py": {"os.killpg"},
    "system/pipeline.py": {"os.kill", "os.killpg"},
    "system/supervisor.py": {"os.kill"},
}
HOST = PROJECT / "module_utils" / "orquestrador"
_STARTS = re.compile(
    r"subprocess\.(?:Popen|run|call|check_call|check_output|getoutput|getstatusoutput)"
    r"|os\.(?:fork|forkpty|system|popen|posix_spawnp?|spawn\w+|exec\w+)|pty\.\w+|multiprocessing\.\w+"
)
_SIGNALS = re.compile(r"os\.(?:kill|killpg)|signal\.(?:pidfd_send_signal|pthread_kill)")


@pytest.mark.parametrize("path", [*HOST.rglob("*.py"), *PROJECT.glob("library/*.py")],
                         ids=lambda path: path.relative_to(PROJECT).as_posix())  # fmt: skip
def test_processes_are_started_and_signalled_in_few_places(path: Path) -> None:
    name = path.relative_to(HOST).as_posix() if path.is_relative_to(HOST) else ""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    hidden = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
              and node.module in ("os", "subprocess", "multiprocessing", "signal", "pty")]  # fmt: skip
    assert hidden == [], "by their whole names, so that this test sees them"
    assert {one for one in called if _STARTS.fullmatch(one)} == STARTERS.get(name, set())
    assert {one for one in called if _SIGNALS.fullmatch(one)} == SIGNALLERS.get(name, set())
