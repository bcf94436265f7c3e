"""Tests of the watch and of what runs by itself begin on a machine that is well, as those of emergencies do."""

from full_disk import disk  # noqa: F401 - a fixture
from mending import faults, mended  # noqa: F401 - fixtures
