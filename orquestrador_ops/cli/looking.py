"""What is on record."""
from __future__ import annotations
from pathlib import Path
from typing import Any
def status(state_dir: Path | None) -> dict[str, Any]:
    return {}
def status_lines(document: dict[str, Any]) -> list[str]:
    return []
