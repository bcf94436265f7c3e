"""Arguments that several backup modules share; the documentation fragments of the same names describe them."""

from __future__ import annotations

from typing import Any

from ..lease.keeper import OPTION
from .session import Limits

LEASE: dict[str, Any] = {"lease": OPTION}
BACKUP: dict[str, Any] = {
    "dest": {"type": "path", "required": True},
    "timeout": {"type": "float", "default": 3600},
    "stall": {"type": "float", "default": 300},
    **LEASE,
}
BACKUP_READ: dict[str, Any] = {
    "backup": {"type": "str", "default": "latest"},
    "identity": {"type": "str", "required": True, "no_log": True},
}
BACKUP_WRITE: dict[str, Any] = {
    "recipient": {"type": "str", "required": True},
    "reserve_bytes": {"type": "int", "default": 1024**3},
}
_LOCATION = {
    "kind": {"type": "str", "choices": ["database", "code"], "required": True},
    "path": {"type": "path", "required": True},
}
LOCATIONS: dict[str, Any] = {"places": {"type": "list", "elements": "dict", "required": True, "options": _LOCATION}}
TREE: dict[str, Any] = {
    "source": {"type": "path"},
    "exclude": {"type": "list", "elements": "str", "default": ["node_modules", "dist", "logs", "backups"]},
}
RANGES = {"timeout": (1.0, 7 * 86400.0), "stall": (1.0, 86400.0)}
RESERVE = {"reserve_bytes": (0.0, 2.0**60)}
LEVEL = {"level": (1.0, 19.0)}


def limits(params: dict[str, Any]) -> Limits:
    """Return the limits of space and time from the arguments of a module that has both."""
    return Limits(params["reserve_bytes"], params["timeout"], params["stall"])
