"""The arguments of a probe, as the module documents them, and what makes them unusable."""

from __future__ import annotations

from typing import Any, Optional

from ..core.ranges import out_of_range
from .expectations import limits_of

ARGUMENT_SPEC: dict[str, Any] = {
    "app_name": {"type": "str", "required": True},
    "app_user": {"type": "str", "required": True},
    "app_dir": {"type": "path", "required": True},
    "app_port": {"type": "int", "required": True},
    "app_health_url": {"type": "str", "required": True},
    "app_env_file": {"type": "path"},
    "pm2_home": {"type": "path", "required": True},
    "pm2_command": {"type": "str", "default": "pm2"},
    "mysql_defaults_file": {"type": "path", "required": True},
    "mysql_database": {"type": "str", "required": True},
    "log_globs": {"type": "list", "elements": "str", "required": True},
    "critical_files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "required": {"type": "bool", "default": True},
        },
    },
    "critical_dest": {"type": "path"},
    "disk_paths": {"type": "list", "elements": "path"},
    "http_requests": {"type": "int", "default": 5},
    "http_timeout": {"type": "float", "default": 3.0},
    "collector_timeout": {"type": "float", "default": 5.0},
    "timeout": {"type": "float", "default": 20.0},
    "log_max_bytes": {"type": "int", "default": 67108864},
    "slow_query_s": {"type": "float", "default": 2.0},
    "cpu_interval": {"type": "float", "default": 0.05},
    "expectations": {"type": "dict", "default": {}},
    "memory": {"type": "dict", "default": {}},
}

# What a number may be: from, to.
RANGES = {
    "app_port": (1, 65535),
    "http_requests": (1, 100),
    "http_timeout": (0.05, 600),
    "collector_timeout": (0.1, 600),
    "timeout": (0.1, 3600),
    "log_max_bytes": (1, 2**40),
    "slow_query_s": (0, 86400),
    "cpu_interval": (0.01, 60),
}


# A relative path would be taken from wherever the connection happens to land.
PATHS = ("app_dir", "app_env_file", "pm2_home", "mysql_defaults_file", "critical_dest")
NEEDED = ("app_name", "app_user", "app_dir", "pm2_home", "mysql_defaults_file", "mysql_database", "log_globs")


def unusable(params: dict[str, Any]) -> Optional[str]:
    """The one line that says which argument can't be used, ``None`` when all can."""
    problem = out_of_range(params, RANGES)
    if problem is not None:
        return problem
    for name in PATHS:
        if params[name] and not str(params[name]).startswith(("/", "~")):
            return f"{name} is {params[name]!r}; give an absolute path"
    for name in NEEDED:
        if not params[name]:
            return f"{name} is empty; give it a value"
    if params["critical_files"] and not params["critical_dest"]:
        return "critical_files is given without critical_dest; give the directory of the copies"
    try:
        limits_of(params["expectations"])
    except TypeError as error:
        return str(error)
    return None


def cpu_percent(params: dict[str, Any]) -> float:
    """The CPU use in percent beyond which a collector looks a second time."""
    return float(limits_of(params["expectations"])["cpu_percent"])
