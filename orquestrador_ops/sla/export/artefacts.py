"""Generated files for other systems from the objectives: rules, their tests, dashboards, OpenSLO documents.

Those of the default objectives are in ``roles/sla/files``, written by
``python -m orquestrador_ops.sla.export.artefacts``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ...core.files import write_atomic
from ...core.i18n import DEFAULT_TIMEZONE
from ..evaluate.objectives import Objectives
from . import grafana, openslo, prometheus, rule_tests

COMMITTED = Path(__file__).resolve().parents[3] / "roles" / "sla" / "files"


def artefacts(objectives: Objectives, *, timezone: str = DEFAULT_TIMEZONE) -> dict[str, str]:
    """Return relative path → text of every file. ``timezone`` is the one that months begin in."""
    files = {
        prometheus.RULES: prometheus.rules(objectives),
        rule_tests.PATH: rule_tests.tests(objectives),
        "grafana/orquestrador.json": grafana.dashboard(objectives),
        "grafana/orquestrador.pt_BR.json": grafana.dashboard(objectives, locale="pt_BR"),
    }
    documents = openslo.documents(objectives, timezone=timezone)
    return files | {f"openslo/{name}": text for name, text in documents.items()}


def write(directory: Path, objectives: Objectives, *, timezone: str = DEFAULT_TIMEZONE) -> list[Path]:
    """Write every file below ``directory``, world-readable; return their paths. Raises ``OSError``."""
    written = []
    for name, text in artefacts(objectives, timezone=timezone).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode(), mode=0o644)
        written.append(path)
    return written


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else COMMITTED, Objectives())
