"""The arguments of an emergency procedure beside the probe's, and what makes them unusable."""

from __future__ import annotations

import os
from typing import Any, Optional

from ..core.ranges import out_of_range
from ..procedures import AUTO, EMERGENCIES

ARGUMENT_SPEC: dict[str, Any] = {
    "procedure": {"type": "str", "required": True, "choices": [*EMERGENCIES, AUTO]},
    "probe": {"type": "dict", "required": True},
    "budget_s": {"type": "float", "required": True},
    "stable_s": {"type": "float", "default": 1},
    "lease_path": {"type": "path", "required": True},
    "lease_run_id": {"type": "str", "required": True},
    "lease_owner": {"type": "str", "required": True},
    "lease_preempt": {"type": "bool", "default": False},
    "app_ecosystem_file": {"type": "path", "required": True},
    "pm2_unit": {"type": "str", "required": True},
    "mysql_service": {"type": "str", "default": "mysql"},
    "mysql_socket": {"type": "path"},
    "mysql_ops_user": {"type": "str"},
    "dist": {"type": "path", "required": True},
    "build_state_dir": {"type": "path", "required": True},
    "kill_port_holder": {"type": "bool", "default": False},
    "rollback": {"type": "bool", "default": False},
    "kill_idle_connections": {"type": "bool", "default": False},
    "idle_s": {"type": "float", "default": 60},
    "heap_snapshot": {"type": "bool", "default": False},
    "observe_s": {"type": "float", "default": 300},
    "memory_samples": {"type": "list", "elements": "dict", "default": []},
    "disk": {
        "type": "dict",
        "options": {
            "logs_dir": {"type": "path", "required": True},
            "logs_archive_dir": {"type": "path", "required": True},
            "logs_archive_retention_days": {"type": "float", "default": 90},
            "logs_archive_keep_minimum": {"type": "int", "default": 3},
            "backup_dir": {"type": "path", "required": True},
            "backup_database_dir": {"type": "path", "required": True},
            "backup_code_dir": {"type": "path", "required": True},
            "backup_retention_days": {"type": "int", "default": 90},
            "backup_keep_minimum": {"type": "int", "default": 3},
        },
    },
    "evidence_keep": {"type": "int", "default": 20},
}
RANGES = {
    "idle_s": (0, 86400),
    "budget_s": (1, 86400),
    "stable_s": (0, 600),
    "observe_s": (0, 86400),
    "evidence_keep": (1, 10000),
}
REQUIRED_IF = [("procedure", "disk", ["disk"])]


def unusable(params: dict[str, Any]) -> Optional[str]:
    """The one line that says which argument can't be used, ``None`` when all can."""
    return out_of_range(params, RANGES)


def at_home(params: dict[str, Any]) -> dict[str, Any]:
    """The arguments with ``~`` of their paths as the host has it, for whoever brought them there as they were."""
    return {name: _expanded(ARGUMENT_SPEC.get(name, {}), value) for name, value in params.items()}


def _expanded(option: dict[str, Any], value: Any) -> Any:
    if isinstance(value, dict) and "options" in option:
        return {name: _expanded(option["options"].get(name, {}), inner) for name, inner in value.items()}
    return os.path.expanduser(value) if option.get("type") == "path" and isinstance(value, str) else value
