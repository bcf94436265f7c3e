"""What the shell completes: procedures, hosts, incidents. Cheap, and silent about whatever is wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path

import typer

from . import project
from .words import Refused


def procedures(incomplete: str) -> list[str]:
    """Procedures that begin like this."""
    with contextlib.suppress(Refused, OSError):
        return [name for name in project.find().procedures if name.startswith(incomplete)]
    return []


def hosts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Hosts of the inventory that begin like this."""
    named = [Path(one).expanduser() for one in ctx.params.get("inventory") or []]
    with contextlib.suppress(Refused, OSError):
        known = project.hosts(named or project.find().inventories())
        return [name for name in known if name.startswith(incomplete)]
    return []
