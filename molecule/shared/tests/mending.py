"""Fixtures for tests that break a machine: each begins on one that is well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faults import Faults
from machine import Machine


@pytest.fixture(scope="session")
def faults(machine: Machine) -> Iterator[Faults]:
    """Ways to break the machine, and the one way to mend all of them."""
    found = Faults(machine)
    yield found
    found.mend()


@pytest.fixture(autouse=True)
def mended(faults: Faults) -> None:
    """Every test begins on a machine that is well, with nothing counted and nothing logged."""
    faults.mend()
