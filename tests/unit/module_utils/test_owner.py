"""Whose rights a process has is asked of the kernel, in processes of their own: tests must not change who they are."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from module_utils.orquestrador.backup_clients import BackupError
from module_utils.orquestrador.owner import Owner

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = """
import json, os, subprocess, sys, time
from module_utils.orquestrador.backup_pipe import Pipeline
from module_utils.orquestrador.owner import Owner

owner = Owner("nobody")
ids = ["cat", "/proc/self/status"]

def users(status):
    return {line.split(":")[0]: line.split()[1:] for line in status.splitlines() if line[:4] in ("Uid:", "Gid:")}

def child():
    with Pipeline(time.monotonic() + 20, 20) as pipeline:
        process = pipeline.start("x", ids, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        said = process.stdout.read().decode()
        process.wait()
        return users(said)

found = {"before": os.getresuid()}
with owner.at_work():
    found["inside"] = [os.geteuid(), os.getegid()]
    found["child"] = child()
    with owner.privileged():
        found["root"] = child()
    found["run"] = users(owner.run(ids, timeout_s=20).stdout.decode())
    found["environment"] = owner.run(["env"], timeout_s=20).stdout.decode().split()
    found["again"] = os.geteuid()
found["after"] = [*os.getresuid(), *os.getresgid()]
print(json.dumps(found))
"""


def test_the_present_user_needs_no_rights() -> None:
    owner = Owner(pwd.getpwuid(os.geteuid()).pw_name)
    with owner.at_work(), owner.privileged():
        done = owner.run(["sh", "-c", "echo $USER $PM2_HOME"], timeout_s=10, env={"PM2_HOME": "/x"})
    assert done.stdout.decode().split() == [owner.name, "/x"]


def test_an_unknown_user_is_one_line() -> None:
    with pytest.raises(BackupError, match="no user"):
        Owner("nobody-of-that-name")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody; the integration tests do it as well")
def test_children_are_whom_the_process_is_at_that_moment_and_can_not_go_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=PROJECT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    entry = pwd.getpwnam("nobody")
    uid, gid = entry.pw_uid, entry.pw_gid
    assert found["inside"] == [uid, gid]
    nobody = {"Uid": [str(uid)] * 4, "Gid": [str(gid)] * 4}
    assert found["child"] == found["run"] == nobody
    assert found["root"] == {"Uid": ["0"] * 4, "Gid": ["0"] * 4}
    assert {line.split("=")[0] for line in found["environment"]} == {"HOME", "USER", "LOGNAME", "PATH", "LC_ALL"}
    assert found["again"] == uid
    assert found["after"] == [0] * 6
