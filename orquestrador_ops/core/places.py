"""Where the project lies and, unless an inventory says otherwise, what it keeps."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


DEFAULT_STATE_DIR = PROJECT / "var"


def default_state_dir() -> Path:
    """The environment's ``OPS_STATE_DIR``, else ``var/`` of the project."""
    return Path(os.environ.get("OPS_STATE_DIR") or DEFAULT_STATE_DIR).expanduser().resolve()
