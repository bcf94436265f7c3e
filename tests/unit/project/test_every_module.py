"""No module of the product without a test that names it: one that is only run on the way is proven by nobody."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = {"orquestrador": ROOT / "module_utils" / "orquestrador", "orquestrador_ops": ROOT / "orquestrador_ops"}
# Reached through the package's other modules only, so far: a name leaves this list with its first test of its own.
NOT_YET = {
    "orquestrador.app.build",
    "orquestrador.backup.arguments",
    "orquestrador.backup.code",
    "orquestrador.backup.database",
    "orquestrador.backup.restore_files",
    "orquestrador.backup.verify",
    "orquestrador.core.module",
    "orquestrador.emergency.arguments",
    "orquestrador.emergency.diagnosis.performance",
    "orquestrador.emergency.ladders.disk",
    "orquestrador.emergency.ladders.observation",
    "orquestrador.emergency.ladders.performance",
    "orquestrador.health.checks.host",
    "orquestrador.health.checks.http",
    "orquestrador.health.checks.logs",
    "orquestrador.health.checks.mysql",
    "orquestrador.health.checks.pm2",
    "orquestrador.health.evaluate",
    "orquestrador.lease.module",
    "orquestrador.mysql.scratch_schema",
    "orquestrador.mysql.throwaway_server",
    "orquestrador.sla",
    "orquestrador_ops.adapters.base",
    "orquestrador_ops.adapters.host_action",
    "orquestrador_ops.adapters.service_levels",
    "orquestrador_ops.cli.app",
    "orquestrador_ops.cli.commands.completion",
    "orquestrador_ops.cli.commands.history",
    "orquestrador_ops.cli.commands.sla_app",
    "orquestrador_ops.cli.options",
    "orquestrador_ops.history.engine",
    "orquestrador_ops.incidents.assessment",
    "orquestrador_ops.incidents.postmortem",
    "orquestrador_ops.procedures.emergencies",
    "orquestrador_ops.procedures.operations",
    "orquestrador_ops.reports.monthly",
    "orquestrador_ops.sla.data.facts",
    "orquestrador_ops.sla.evaluate.recovery",
    "orquestrador_ops.sla.evaluate.success",
    "orquestrador_ops.sla.export.grafana",
    "orquestrador_ops.sla.report.context",
    "orquestrador_ops.sla.report.levels",
    "orquestrador_ops.sla.report.summary",
    "orquestrador_ops.sla.settle",
}


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
    missing = set(modules()) - found
    assert sorted(missing - NOT_YET) == [], "no test names these"
    assert sorted(NOT_YET & found) == [], "named by now: take them off the list"
