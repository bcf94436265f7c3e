"""What pyproject.toml cannot say: a build compiles the catalogs, an editable install those of the checkout."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT / "module_utils")]

from orquestrador_ops.core import compiled  # noqa: E402 - found by the line above


class BuildCatalogs(build_py):
    """Copy the package's files, then compile the catalogs among them."""

    def run(self) -> None:
        """Called by setuptools."""
        super().run()
        for po in (ROOT if self.editable_mode else Path(self.build_lib)).glob("orquestrador_ops/core/locale/*/*/*.po"):
            compiled.write(po)


setup(cmdclass={"build_py": BuildCatalogs})
