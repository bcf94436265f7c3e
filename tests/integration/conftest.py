"""Programs of others, of which the tests here ask the same questions as of ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def programs() -> Path:
    """The directory of prometheus, promtool and prometheus-node-exporter; fetched when they are not there yet."""
    told = subprocess.run([ROOT / "tools" / "ensure-prometheus.sh"], capture_output=True, text=True, check=False)
    if told.returncode:
        pytest.fail(told.stderr.strip(), pytrace=False)
    return Path(told.stdout.strip())
