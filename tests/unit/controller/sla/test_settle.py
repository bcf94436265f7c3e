"""What is left when service levels were evaluated: roll-ups and metrics."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
SETTLE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from orquestrador_ops.history.access import open_history
from orquestrador_ops.sla import settle
with open_history(Path(sys.argv[1])) as store:
    wanted = {"raw_days": 7, "fine_days": 30, "textfile": sys.argv[2]}
    done = settle.settle(SimpleNamespace(store=store, now=1e9), {}, {}, wanted, "UTC")
print(done.textfile, "prometheus_client" in sys.modules)
"""


@pytest.mark.parametrize("textfile", ["", "a.prom"])
def test_the_library_of_metrics_is_loaded_only_where_metrics_are_written(tmp_path: Path, textfile: str) -> None:
    wanted = str(tmp_path / textfile) if textfile else ""
    command = [sys.executable, "-c", SETTLE, tmp_path / "state", wanted]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == [wanted or "None", str(bool(textfile))], done.stderr
    assert (tmp_path / "a.prom").exists() is bool(textfile)
