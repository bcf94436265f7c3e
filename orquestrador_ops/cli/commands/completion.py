"""Shell completion of procedures, hosts and incidents: quick, and without output on errors."""

from __future__ import annotations

import contextlib
from pathlib import Path

import typer

from .. import project
from ..words import CliError


def procedures(incomplete: str) -> list[str]:
    """Return procedures that begin with ``incomplete``."""
    with contextlib.suppress(CliError, OSError):
        return [name for name in project.find().procedures if name.startswith(incomplete)]
    return []


def hosts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return hosts of the inventory that begin with ``incomplete``."""
    inventories = [Path(path).expanduser() for path in ctx.params.get("inventory") or []]
    with contextlib.suppress(CliError, OSError):
        host_names = project.hosts(inventories or project.find().inventories())
        return [name for name in host_names if name.startswith(incomplete)]
    return []


def incidents(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return open incidents, each with a description."""
    from . import status

    with contextlib.suppress(CliError, OSError):
        incidents = status.open_incidents(project.find().state_dir(ctx.params.get("state_dir")))
        return [(str(number), text) for number, text in incidents if str(number).startswith(incomplete)]
    return []
