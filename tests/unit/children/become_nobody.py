"""Work as nobody by every way there is, and print whose rights each child had, as the kernel tells."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time

from orquestrador.app import reload as pm2_reload
from orquestrador.backup import switch as backup_switch
from orquestrador.system import command as runner
from orquestrador.system import long_command
from orquestrador.system.identity import Owner
from orquestrador.system.isolate import apart
from orquestrador.system.pipeline import Pipeline

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
        file.write("#!/bin/sh\ncat /proc/self/status > " + out + "\n")
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
