"""Check names, docstrings and task names against ``tools/language.toml``; part of ``make lint``.

``python tools/language.py [PATH…]`` prints one line per finding and exits with 1 when there is one.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
RULES = tomllib.loads((ROOT / "tools" / "language.toml").read_text(encoding="utf-8"))
PYTHON = (
    "module_utils",
    "orquestrador_ops",
    "library",
    "action_plugins",
    "callback_plugins",
    "filter_plugins",
    "tools",
)
TASKS = ("playbooks", "roles")
NO_TASKS = {"defaults", "files", "meta", "templates", "vars"}
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_TASK_NAME = re.compile(r"^\s*- name: +(.+?)\s*$")


def main(paths: list[str]) -> int:
    """Check the given files and folders, the whole project without any."""
    findings = [line for path in files(paths) for line in check(path)]
    print("\n".join(findings)) if findings else None
    return 1 if findings else 0


def files(paths: list[str]) -> Iterator[Path]:
    """The Python and YAML files under ``paths``."""
    for top in (Path(path).resolve() for path in paths) if paths else (ROOT / name for name in (*PYTHON, *TASKS)):
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            inner = path.relative_to(ROOT).parts
            tasks = path.suffix == ".yml" and inner[0] in TASKS and not NO_TASKS & set(inner)
            if tasks or (path.suffix == ".py" and "migrations" not in inner):
                yield path


def check(path: Path) -> Iterator[str]:
    """Findings of one file."""
    text = path.read_text(encoding="utf-8")
    findings = of_tasks(text) if path.suffix == ".yml" else of_python(ast.parse(text))
    for line, message in findings:
        yield f"{path.relative_to(ROOT)}:{line}: {message}"


def of_python(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Findings in the names that a module defines and in the first lines of its docstrings."""
    for node in ast.walk(tree):
        for name in defined(node):
            for hint in name_hints(name):
                yield getattr(node, "lineno", 1), f"{name}: {hint}"
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            for pattern, hint in RULES["docstrings"].items():
                if re.search(pattern, first):
                    yield getattr(node, "lineno", 1), f"{first!r}: {hint}"


def defined(node: ast.AST) -> list[str]:
    """Names that a node defines."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            return [name]
    return []


def name_hints(name: str) -> Iterator[str]:
    """What to say instead of a name; nothing for a good one."""
    names, parts = RULES["identifiers"]["names"], RULES["identifiers"]["parts"]
    bare = name.strip("_").lower()
    if bare in names:
        yield names[bare]
    yield from (parts[part.lower()] for part in _PART.findall(name) if part.lower() in parts)


def of_tasks(text: str) -> Iterator[tuple[int, str]]:
    """Findings in the names of plays and tasks."""
    rules: dict[str, Any] = RULES["tasks"]
    for number, line in enumerate(text.splitlines(), 1):
        if match := _TASK_NAME.match(line):
            name = str(yaml.safe_load(match[1]))
            if name.split(maxsplit=1)[0].strip(",") not in rules["verbs"]:
                yield number, f"{name}: begin with a verb of tools/language.toml, in the imperative"
            if banned := next((item for item in rules["banned"] if re.search(rf"\b{item}\b", name)), None):
                yield number, f"{name}: not {banned!r}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
