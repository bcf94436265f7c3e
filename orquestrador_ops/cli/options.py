"""Options of several commands, and helpers for them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from .words import t

Json = Annotated[bool, typer.Option("--json", help=t("One JSON document on standard output, nothing else."))]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", help=t("Directory of history and reports; default: OPS_STATE_DIR, else var/.")),
]
Inventory = Annotated[
    list[str] | None,
    typer.Option("--inventory", "-i", help=t("Inventory; default: the one of ansible.cfg.")),
]
VaultFile = Annotated[
    Path | None, typer.Option("--vault-password-file", help=t("File with the password of the Vault."))
]
Extra = Annotated[
    list[str] | None,
    typer.Option("--extra-vars", "-e", help=t("Variable: name=value, a mapping as JSON or YAML, or @file.")),
]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help=t("Show all of Ansible's output."))]
Keep = Annotated[int, typer.Option("--keep", min=1, help=t("Number of runs whose artifacts are retained."))]


def state_dir_of(directory: Path | None) -> Path:
    """Return the state directory, which can be read without a project."""
    from . import project

    if directory is not None or os.environ.get("OPS_STATE_DIR"):
        return Path(directory or os.environ["OPS_STATE_DIR"]).expanduser().resolve()
    return project.find().state_dir()


def print_document(document: dict[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """Print a document as JSON for programs, or as lines for people."""
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))
    else:
        for line in lines:
            typer.echo(line)
