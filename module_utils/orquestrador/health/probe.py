"""What the host's half of a probe takes and gives: arguments in, snapshot out, no verdict."""

from __future__ import annotations

import os
from typing import Any

from ..core.jsonable import clean
from . import collect

PATHS = ("app_dir", "app_env_file", "pm2_home", "mysql_defaults_file", "critical_dest")


def options_of(params: dict[str, Any], cpu_percent: float) -> collect.Options:
    """Turn arguments into what the collectors take, defaults that depend on others filled in.

    ``~`` in a path is the home of whoever runs this, on the host.
    """
    values = {name: params[name] for name in collect.Options._fields if params.get(name) is not None}
    for name in PATHS:
        if values.get(name):
            values[name] = os.path.expanduser(values[name])
    values["critical_files"] = [
        {**entry, "path": os.path.expanduser(entry["path"])} for entry in params.get("critical_files") or []
    ]
    values.setdefault("app_env_file", f"{values['app_dir'].rstrip('/')}/.env")
    values["disk_paths"] = [os.path.expanduser(path) for path in values.get("disk_paths") or [values["app_dir"], "/"]]
    values["cpu_percent"] = cpu_percent
    return collect.Options(**values)


def observe(params: dict[str, Any], cpu_percent: float) -> dict[str, Any]:
    """Observe the host: ``{snapshot, log_memory}``, all of it JSON. Never raises for something observed."""
    snapshot, log_memory = collect.collect(options_of(params, cpu_percent), params["memory"])
    return {"snapshot": snapshot, "log_memory": clean(log_memory)}
