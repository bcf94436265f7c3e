"""Fixtures that tests of the routines share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import Machine

REGISTRY_PORT = 4873
PROGRAM = "/usr/local/lib/tests-registry.py"
UNIT = "tests-registry"


@pytest.fixture(scope="session")
def registry(machine: Machine) -> Iterator[Callable[[str], str]]:
    """A registry for npm on the host's loopback; gives its address by how it is to behave (see ``registry.py``)."""

    def address(mode: str) -> str:
        return f"http://127.0.0.1:{REGISTRY_PORT}/{mode}/"

    machine.sh(f"cat > {PROGRAM}", stdin=(Path(__file__).parent / "registry.py").read_text())
    machine.sh(f"systemctl stop {UNIT} 2>/dev/null || true")
    machine.sh(f"systemd-run -q --collect --unit={UNIT} python3 {PROGRAM} {REGISTRY_PORT}")
    try:
        up = f"curl -fs {address('clean')}sound"
        machine.wait("the registry", lambda: machine.sh(up, check=False).returncode == 0)
        yield address
    finally:
        machine.sh(f"systemctl stop {UNIT}; rm -f {PROGRAM}")
