"""Preload, conclude a run and print which modules of ours were loaded only then."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from orquestrador_ops.core.host_results import ProbeResult
from orquestrador_ops.core.settings import Settings
from orquestrador_ops.runs import lifecycle

told = json.loads(Path(sys.argv[1]).read_text())
lifecycle.preload()
before = set(sys.modules)
run = lifecycle.open_run(procedure="daily", host="web-01", budget_s=300, operator="me", check_mode=False)
probe = ProbeResult(told["snapshot"], told["verdict"], memory={})
settings = Settings(Path(sys.argv[2]), None, "pt_BR", "UTC")
assert lifecycle.conclude(run, probe, {}, settings).reports
print(sorted(name for name in set(sys.modules) - before if name.startswith("orquestrador")))
