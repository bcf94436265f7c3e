"""Extra variables as ``ansible-playbook -e`` takes them, kept off every command line that this program writes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orquestrador.core.messages import msg

from ..words import CliError

_SECRET = re.compile(r"pass(word|wd|phrase)?(_|$)|secret|token|private|identity|credential|api_?key|senha", re.I)


def parse(options: Iterable[str]) -> tuple[dict[str, Any], list[Path]]:
    """Parse ``-e`` options into ``(variables, files)``.

    ``k=v k2="v w"`` gives texts, a JSON or YAML mapping its values, ``@file`` is left for Ansible to read.

    Raises:
        CliError: anything else, a missing file, and a secret: every user of this machine can list command lines.
    """
    variables: dict[str, Any] = {}
    files: list[Path] = []
    for text in options:
        if text.startswith("@"):
            files.append(_file(text[1:]))
        elif text.lstrip().startswith(("{", "[")):
            variables.update(_mapping(text))
        else:
            variables.update(_pairs(text))
    for name in variables:
        if _SECRET.search(name) and not name.endswith(("_file", "_path")):
            raise CliError(
                msg(
                    "-e {name}=… would show a secret in the list of processes: put it into the inventory's "
                    "Vault, or into a file and give -e @file",
                    name=name,
                )
            )
    return variables, files


def _file(name: str) -> Path:
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise CliError(msg("-e @{path}: there is no such file", path=str(path)))
    return path


def _mapping(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        import yaml

        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
    if not isinstance(value, dict):
        raise CliError(msg("-e {given}: give name=value, a mapping as JSON or YAML, or @file", given=text[:60]))
    return {str(name): item for name, item in value.items()}


def _pairs(text: str) -> dict[str, Any]:
    try:
        parts = shlex.split(text)
    except ValueError:
        parts = []
    pairs = [part.partition("=") for part in parts]
    if not pairs or not all(separator and name.strip() for name, separator, _ in pairs):
        raise CliError(msg("-e {given}: give name=value, a mapping as JSON or YAML, or @file", given=text[:60]))
    return {name.strip(): value for name, _, value in pairs}
