"""Run a function of the host package on a host: over stdin, in one round trip, without writing to its disk.

Ansible's own way of shipping a module parses every source of it on the controller (0.3 s and more), writes an archive
on the host and loads the whole of ``AnsibleModule`` there. A probe that has to be as quick as typed commands, and a
recovery that somebody waits for, can afford none of that: here the modules of ``module_utils/orquestrador`` that a
function imports go through the standard input of the host's Python, which imports them from memory. What runs is the
same code, called by the same function as in ``library``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import zlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).resolve().parents[2] / "module_utils" / "orquestrador"
MARK = "orquestrador-observation:"
# The remote command may last that much longer than the probe says it takes; then it is killed there too.
GRACE_S = 10

# Imports at any depth: a function that imports late runs over there as well.
_IMPORT = re.compile(r"^ *from (\.+)([\w.]*) import (\([^)]*\)|[^\n#]*)", re.MULTILINE)
_TYPES_ONLY = re.compile(r"^if TYPE_CHECKING:\n(?:    .*\n|\n)+", re.MULTILINE)


class Function(NamedTuple):
    """A function of the host package: its module, below ``orquestrador``, and its name there."""

    module: str
    name: str


PROBE = Function("health.probe", "observe")
EMERGENCY = Function("emergency.procedure", "called")

# Reads the program, which is compressed, by its length. What follows on the standard input is the program's to read:
# the sources of the package as one JSON object, compressed as well, and the request.
BOOT = "import sys,zlib;i=sys.stdin.buffer;r=lambda:i.read(int(i.readline()));exec(zlib.decompress(r()))"

PROGRAM = f"""
import hashlib, json, os, sys
from importlib import import_module
from importlib.machinery import ModuleSpec

sent = r()
SOURCES = json.loads(zlib.decompress(sent))
PACKAGES = {{name[:at] for name in SOURCES for at, dot in enumerate(name) if dot == "."}}

class Sent:
    def find_spec(self, name, path=None, target=None):
        if name in SOURCES or name in PACKAGES:
            return ModuleSpec(name, self, is_package=name in PACKAGES)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        name = module.__name__
        exec(compile(SOURCES.get(name, ""), "<" + name + ">", "exec"), module.__dict__)

def place(trace):
    # Where it happened in code of ours. Never the text of an error: it may quote whatever was being read.
    found = "?"
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith("<orquestrador"):
            found = code.co_filename[1:-1] + ":" + str(trace.tb_lineno)
        trace = trace.tb_next
    return found

sys.meta_path.insert(0, Sent())
try:
    request = json.load(i)
    function = getattr(import_module("orquestrador." + request["module"]), request["function"])
    result = function(**request["arguments"])
except Exception as error:
    result = {{"failed": True, "msg": type(error).__name__ + " in " + place(error.__traceback__)}}
answer = {{"digest": hashlib.sha256(sent).hexdigest(), "result": result}}
os.write(1, ({MARK!r} + json.dumps(answer) + "\\n").encode())
os._exit(0)  # a collector that hangs must not hold up the end
"""


class Payload(NamedTuple):
    """The bytes sent before the request, the same for every host, and the digest of their sources."""

    data: bytes
    digest: str


@cache
def payload(function: Function = PROBE) -> Payload:
    """Return the payload of a function; built once, inherited by forked workers."""
    sources = zlib.compress(json.dumps(sources_of(function.module)).encode(), 3)
    program = zlib.compress(PROGRAM.encode(), 3)
    return Payload(_frame(program) + _frame(sources), hashlib.sha256(sources).hexdigest())


def sources_of(root: str) -> dict[str, str]:
    """Return the sources of a module and of all that it imports, by full name; empty ones are left out."""
    sources: dict[str, str] = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        path = PACKAGE.joinpath(*name.split(".")) if name else PACKAGE
        is_package = path.is_dir()
        file = path / "__init__.py" if is_package else path.with_suffix(".py")
        full = f"orquestrador.{name}".rstrip(".")
        if full in sources or not file.is_file():
            continue
        sources[full] = text = file.read_text(encoding="utf-8")
        package = name if is_package else name.rpartition(".")[0]
        if name:
            waiting.append(name.rpartition(".")[0])
        waiting += _imports_in(package.split(".") if package else [], text)
    return {name: text for name, text in sources.items() if text}


def _imports_in(package: list[str], text: str) -> list[str]:
    """Return what ``text`` in ``package`` imports of the host package: modules, and names that may be modules."""
    imports = []
    needed = _TYPES_ONLY.sub("", text) if "TYPE_CHECKING" in text else text
    for dots, module, names in _IMPORT.findall(needed):
        base = package[: len(package) - len(dots) + 1]
        target = ".".join([*base, module] if module else base)
        imports.append(target)
        imports += [f"{target}.{name}".lstrip(".") for name in re.findall(r"(\w+)(?: as \w+)?", names)]
    return imports


def _frame(data: bytes) -> bytes:
    return b"%d\n%s" % (len(data), data)


def command(python: str, timeout_s: float) -> str:
    """Return the shell command that runs a payload, with a time limit on the host."""
    limit = int(timeout_s) + GRACE_S
    # Isolated and in /: nothing of the login account is imported, because root may run this.
    return f"cd / && timeout -k 5 {limit} {shlex.quote(python)} -I -c {shlex.quote(BOOT)}"


def request(function: Function, **arguments: Any) -> bytes:
    """Return the standard input: the payload, then the function to call and its arguments."""
    call = {"module": function.module, "function": function.name, "arguments": arguments}
    return payload(function).data + json.dumps(call).encode()


def reply(function: Function, returned: dict[str, Any]) -> dict[str, Any]:
    """Return the function's result from a command's result (``{rc, stdout, stderr}``).

    Anything else, a host without Python say, becomes ``{failed, msg, module_stderr}`` as Ansible would have it.
    """
    for line in reversed(str(returned.get("stdout", "")).split("\n")):
        if line.startswith(MARK):
            try:
                answer = json.loads(line[len(MARK) :])
            except ValueError:
                break
            if not isinstance(answer, dict) or not isinstance(answer.get("result"), dict):
                break
            if answer.get("digest") != payload(function).digest:
                return {"failed": True, "msg": "the host ran other code than it was sent: see what is between"}
            result: dict[str, Any] = answer["result"]
            return result
    return _failed_reply(returned)


def _failed_reply(returned: dict[str, Any]) -> dict[str, Any]:
    status = returned.get("rc")
    reason = "it did not end in time" if status in (124, 137) else f"status {status}"
    # Without standard error the status is the reason.
    stderr = returned.get("stderr") or reason
    return {"failed": True, "msg": f"the host gave no answer: {reason}", "module_stderr": stderr, "rc": status}
