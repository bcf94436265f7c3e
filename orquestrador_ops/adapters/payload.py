"""Carry code to a host and bring its answer back, in one exchange and nothing on its disk.

Ansible's own way of shipping a module parses every source of it on the controller (0.3 s and more), writes an archive
on the host and loads the whole of ``AnsibleModule`` there. A probe that has to be as quick as typed commands, and a
recovery that somebody waits for, can afford none of that: here the package ``module_utils/orquestrador`` goes as it is
through the standard input of the host's Python, which imports it from memory. What runs is the same code, called by
the same function as in ``library``. A *cargo* is one such program: what it imports and what it calls.
"""

from __future__ import annotations

import json
import shlex
import zlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).resolve().parents[2] / "module_utils" / "orquestrador"


class Cargo(NamedTuple):
    """What is carried: the modules, which of them is called, and the call, an expression over ``request``."""

    modules: tuple[str, ...]
    call: str


# What observing imports, and nothing more: every host receives and every probe waits for it. The verdict stays here.
PROBE = Cargo(
    (
        "__init__",
        "axon",
        "collect",
        "critical_files",
        "database",
        "http_health",
        "jsonable",
        "log_events",
        "logs",
        "messages",
        "observe",
        "pm2",
        "port",
        "redact",
        "resources",
        "runner",
        "types",
    ),
    'carried("observe").observe(request["params"], request["cpu_percent"])',
)
EMERGENCY = Cargo(
    (
        "__init__",
        "apart",
        "app_control",
        "app_dist",
        "arguments",
        "axon",
        "backup_clients",
        "backup_files",
        "backup_retention",
        "collect",
        "critical_files",
        "database",
        "database_login",
        "database_optimize",
        "database_service",
        "database_sessions",
        "database_tables",
        "diagnosis",
        "diagnosis_database",
        "diagnosis_disk",
        "diagnosis_performance",
        "disk_usage",
        "emergency",
        "emergency_arguments",
        "emergency_clues",
        "emergency_database",
        "emergency_database_clues",
        "emergency_disk",
        "emergency_evidence",
        "emergency_guard",
        "emergency_load",
        "emergency_offline",
        "emergency_orphans",
        "emergency_performance",
        "emergency_scene",
        "emergency_watch",
        "expectations",
        "git_integrity",
        "heap_snapshot",
        "http_health",
        "jsonable",
        "judge",
        "lease",
        "log_events",
        "log_tarball",
        "logs",
        "long_command",
        "messages",
        "observe",
        "owner",
        "pm2",
        "pm2_reload",
        "port",
        "prober",
        "processes",
        "ranges",
        "redact",
        "resources",
        "runner",
        "scenario",
        "signals",
        "tcp_owner",
        "trend",
        "types",
        "verdict",
    ),
    'carried("emergency").called(carried("emergency_arguments").at_home(request["params"]),'
    ' check_mode=request["check_mode"])',
)
MARK = "orquestrador-observation:"
# The remote command may last that much longer than the probe says it takes; then it is killed there too.
GRACE_S = 10

# Reads the program, which is compressed, by its length. What follows on the standard input is the program's to read:
# the sources of the package as one JSON object, compressed as well, and the request.
BOOT = "import sys,zlib;i=sys.stdin.buffer;r=lambda:zlib.decompress(i.read(int(i.readline())));exec(r())"

PROGRAM = """
import json, os, sys
from importlib import import_module
from importlib.machinery import ModuleSpec

SOURCES = json.loads(r())

class Carried:
    def find_spec(self, name, path=None, target=None):
        if name in SOURCES:
            return ModuleSpec(name, self, is_package=name == "orquestrador")
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        name = module.__name__
        exec(compile(SOURCES[name], "<" + name + ">", "exec"), module.__dict__)

sys.meta_path.insert(0, Carried())
try:
    carried = lambda name: import_module("orquestrador." + name)
    request = json.load(i)
    result = CALL
except Exception as error:
    result = {"failed": True, "msg": type(error).__name__ + ": " + str(error)}
os.write(1, (MARK + json.dumps(result) + "\\n").encode())
os._exit(0)  # a collector that hangs must not hold up the end
"""


@cache
def program(cargo: Cargo = PROBE) -> bytes:
    """The compressed program, the same for every host; built once, inherited by forked workers."""
    sources = {
        "orquestrador" if path.stem == "__init__" else f"orquestrador.{path.stem}": path.read_text(encoding="utf-8")
        for path in (PACKAGE / f"{name}.py" for name in cargo.modules)
    }
    return _packed(f"MARK = {MARK!r}\n" + PROGRAM.replace("CALL", cargo.call)) + _packed(json.dumps(sources))


def _packed(text: str) -> bytes:
    data = zlib.compress(text.encode(), 1)
    return b"%d\n%s" % (len(data), data)


def command(python: str, timeout_s: float) -> str:
    """The shell command that receives the program, bounded on the host.

    ``-I``: a command starts in the login's directory, and with ``become`` this is root. Nothing that lies there or in a
    home, and no variable, may say what is imported.
    """
    return f"cd / && timeout -k 5 {int(timeout_s) + GRACE_S} {shlex.quote(python)} -I -c {shlex.quote(BOOT)}"


def request(cargo: Cargo, **given: Any) -> bytes:
    """What goes through standard input: the program, the sources, the arguments."""
    return program(cargo) + json.dumps(given).encode()


def reply(returned: dict[str, Any]) -> dict[str, Any]:
    """The observation out of what a command returned (``{rc, stdout, stderr}``).

    Anything else, a host without Python say, becomes ``{failed, msg, module_stderr}`` as Ansible would have it.
    """
    for line in reversed(str(returned.get("stdout", "")).split("\n")):
        if line.startswith(MARK):
            try:
                answer = json.loads(line[len(MARK) :])
            except ValueError:
                break
            return answer if isinstance(answer, dict) else _nothing(returned)
    return _nothing(returned)


def _nothing(returned: dict[str, Any]) -> dict[str, Any]:
    status = returned.get("rc")
    why = "it did not end in time" if status in (124, 137) else f"status {status}"
    # Without a word on standard error the reason has to speak for itself.
    said = returned.get("stderr") or why
    return {"failed": True, "msg": f"the host gave no answer: {why}", "module_stderr": said, "rc": status}
