"""What the module ``sla_evaluate`` takes: one specification for its documentation and its action plugin."""

from __future__ import annotations

from typing import Any, Dict

ARGUMENT_SPEC: Dict[str, Dict[str, Any]] = {
    "host": {"type": "str"},
    "period": {"type": "str"},
    "from": {"type": "raw"},
    "to": {"type": "raw"},
    "objectives": {"type": "dict"},
    "samples": {
        "type": "list",
        "elements": "dict",
        "options": {
            "at": {"type": "raw", "required": True},
            "ok": {"type": "bool", "required": True},
            "latency_ms": {"type": "float"},
        },
    },
    "report": {"type": "bool", "default": False},
    "report_every_s": {"type": "float", "default": 0},
}
