"""Fixtures that tests of the routines share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from machine import Machine

REGISTRY_PORT = 4873


@pytest.fixture(scope="session")
def registry(machine: Machine) -> Callable[[str], str]:
    """The lab's registry for npm; gives its address by how it is to behave (``image/setup/registry.py``)."""

    def address(mode: str) -> str:
        return f"http://127.0.0.1:{REGISTRY_PORT}/{mode}/"

    up = f"curl -fs {address('clean')}sound"
    machine.wait("the registry", lambda: machine.sh(up, check=False).returncode == 0)
    return address
