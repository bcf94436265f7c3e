"""Whose rights a process has is asked of the kernel, in processes of their own: tests must not change who they are."""

from __future__ import annotations

import ast
import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from orquestrador.core.errors import OperatorError
from orquestrador.system.identity import Owner

PROJECT = Path(__file__).resolve().parents[4]
SCRIPT = """
import json, os, stat, subprocess, sys, tempfile, time
from orquestrador.app import reload as pm2_reload
from orquestrador.backup import switch as backup_switch
from orquestrador.system import command as runner
from orquestrador.system import long_command
from orquestrador.system.isolate import apart
from orquestrador.system.pipeline import Pipeline
from orquestrador.system.identity import Owner

owner = Owner("nobody")
ids = ["cat", "/proc/self/status"]
os.setgroups([0, 4])

def users(status):
    lines = [line.split() for line in status.splitlines()]
    return {line[0][:-1]: line[1:] for line in lines if line and line[0] in ("Uid:", "Gid:", "Groups:")}

def status():
    with open("/proc/self/status") as file:
        return file.read()

def piped():
    with Pipeline(time.monotonic() + 20, 20) as pipeline:
        process = pipeline.start("x", ids, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        said = process.stdout.read().decode()
        process.wait()
        return users(said)

def reloading(place):
    # What pm2_reload starts has no output: it leaves a file.
    out = os.path.join(place, "out")
    with open(os.path.join(place, "pm2"), "w") as file:
        file.write("#!/bin/sh\\ncat /proc/self/status > " + out + "\\n")
    os.chmod(file.name, 0o755)
    dist = type("", (), {"way_back": lambda self: False})()
    options = pm2_reload.Options(place, file.name, "app", None, dist, 1, 1, 1)
    process = pm2_reload.Reload(options)._command(0)
    process.wait(20)
    with open(out) as file:
        return users(file.read())

def forked():
    ours, theirs = os.pipe()
    if runner.fork() == 0:
        os.write(theirs, status().encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as file:
        return users(file.read())

def long():
    return users(long_command.run(ids, cwd="/", timeout_s=20, mark="test").output)

found = {"before": os.getresuid()}
place = tempfile.mkdtemp()
os.chown(place, owner.uid, owner.gid)
with owner.at_work():
    found["inside"] = [os.geteuid(), os.getegid()]
    found["as the user"] = {
        "run": users(runner.run(ids, timeout_s=20).stdout.decode()),
        "sh": users(runner.run(["sh", "-c", "cat /proc/self/status"], timeout_s=20).stdout.decode()),
        "long": long(),
        "pipe": piped(),
        "reload": reloading(place),
        "fork": forked(),
        "apart": apart(owner, lambda: {"status": users(status())}, 20)["status"],
        "switch": users(backup_switch._run_isolated(status)),
        "by name": users(owner.run(ids, timeout_s=20).stdout.decode()),
    }
    with owner.privileged():
        found["as root"] = {"pipe": piped(), "fork": forked()}
        found["as root"]["run"] = users(runner.run(ids, timeout_s=20).stdout.decode())
    found["environment"] = owner.run(["env"], timeout_s=20).stdout.decode().split()
    found["again"] = os.geteuid()
found["outside"] = apart(owner, lambda: {"status": users(status())}, 20)["status"]
found["after"] = [*os.getresuid(), *os.getresgid(), *os.getgroups()]
print(json.dumps(found))
"""
ABANDONED = """
import codecs, json, os, socket, sys, time
from orquestrador.health import collect
from orquestrador.emergency.context import Scene
from orquestrador_ops.adapters import emergency as emergencies

for name in ("ascii", "idna"):  # nobody may be unable to load what this Python has not loaded yet
    codecs.lookup(name)
place, go = sys.argv[1], sys.argv[1] + "/go"
def held_up(self, seconds):
    with open(place + "/began", "w"):
        pass
    while not os.path.exists(go):
        time.sleep(0.01)
    with open(place + "/went-on", "w") as file:
        file.write(str(os.geteuid()))

collect.Probe._logs = held_up
listener = socket.create_server(("127.0.0.1", 0))  # root's own, whose process nobody can't see
number = listener.getsockname()[1]
params, problem = emergencies.parameters({
    "procedure": "auto", "budget_s": 30, "lease_path": place + "/lease.json", "lease_run_id": "r", "lease_owner": "o",
    "app_ecosystem_file": place + "/eco.cjs", "pm2_unit": "no-such-unit", "dist": place + "/dist",
    "build_state_dir": place + "/builds",
    "probe": {"app_name": "app", "app_user": "nobody", "app_dir": place, "app_port": number, "pm2_home": place + "/pm2",
              "app_health_url": "http://127.0.0.1:1/", "mysql_defaults_file": place + "/my.cnf",
              "mysql_database": "app", "log_globs": [place + "/*.log"], "collector_timeout": 1, "timeout": 4}})
assert problem is None, problem
scene = Scene(params, check_mode=True)
scene.look()
told = [finding["code"] for finding in scene.snapshot["errors"] if finding["collector"] == "logs"]
open(go, "w").close()
time.sleep(0.5)  # one that goes on would by now
holds = scene.snapshot["port"]["pid"] == os.getpid()
print(json.dumps({"told": told, "uids": os.getresuid(), "left": sorted(os.listdir(place)), "holder seen": holds}))
"""


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
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=PROJECT, capture_output=True, text=True, check=True)
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
        argv = [sys.executable, "-c", ABANDONED, place]
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
