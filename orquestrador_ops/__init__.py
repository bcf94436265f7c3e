"""What runs on the controller: run record, history, reports and their languages."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("orquestrador") is None:
    # A plain checkout, in which nothing is installed, has the host package where Ansible wants it.
    sys.path.append(str(Path(__file__).resolve().parents[1] / "module_utils"))
