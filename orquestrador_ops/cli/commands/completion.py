"""What the shell completes: procedures, hosts, incidents. Cheap, and silent about whatever is wrong."""

from __future__ import annotations

import contextlib
from pathlib import Path

import typer

from .. import project
from ..words import Refused


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


def incidents(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Open incidents, with what they are."""
    from . import status as looking

    with contextlib.suppress(Refused, OSError):
        named = ctx.params.get("state_dir")
        known = looking.open_numbers(project.find().state_dir(named))
        return [(str(number), what) for number, what in known if str(number).startswith(incomplete)]
    return []
