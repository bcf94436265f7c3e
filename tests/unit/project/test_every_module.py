"""No module of the product without a test that names it: one that is only run on the way is proven by nobody."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = {"orquestrador": ROOT / "module_utils" / "orquestrador", "orquestrador_ops": ROOT / "orquestrador_ops"}


def modules() -> Iterator[str]:
    """Every module by its dotted name; packages' own files and migrations left out."""
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            if path.name not in ("__init__.py", "__main__.py") and "migrations" not in path.parts:
                yield ".".join((package, *path.relative_to(folder).with_suffix("").parts))


def named(source: str) -> Iterator[str]:
    """What a test imports, and whatever it gives by a dotted name in a string."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{one.name}" for one in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.findall(r"\borquestrador(?:_ops)?(?:\.\w+)+", node.value)


def test_every_module_is_named_by_a_test() -> None:
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    found = {name for path in tests for name in named(path.read_text(encoding="utf-8"))}
    assert len(set(modules())) > 150
    assert sorted(set(modules()) - found) == [], "no test names these"
