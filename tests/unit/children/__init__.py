"""Programs that tests start as processes of their own: ``python -m tests.unit.children.<name>``."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]  # where they are started


def command(name: str, *arguments: object) -> list[str]:
    """The command line of one of them."""
    return [sys.executable, "-m", f"tests.unit.children.{name}", *map(str, arguments)]
