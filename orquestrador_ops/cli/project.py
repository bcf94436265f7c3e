"""The project on disk: its procedures, how long each may take, and the hosts of an inventory.

Read as plain files: Ansible's own way takes half a second, which nobody waits for at a completion.
"""

from __future__ import annotations

import configparser
import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orquestrador.core.messages import msg

from ..core import places
from ..core.text import excerpt
from ..procedures.catalog import PROCEDURES
from .words import Refused, no_project

DEFAULT_BUDGET_S = 3600.0  # of a playbook that names none
DEFAULT_FORKS = 5  # Ansible's own
MAX_INVENTORY_BYTES = 4 << 20


@dataclass(frozen=True)
class Project:
    """A checkout, or an unpacked release: where ``ansible.cfg`` and ``playbooks`` lie."""

    root: Path

    @property
    def playbooks(self) -> dict[str, Path]:
        """Every procedure by its name: ``daily``, and ``routine/daily`` for what two directories should both have."""
        found: dict[str, Path] = {}
        for path in sorted(self.root.glob("playbooks/*/*.yml")):
            found.setdefault(path.stem, path)
            found[f"{path.parent.name}/{path.stem}"] = path
        return found

    @property
    def procedures(self) -> list[str]:
        """Names for an operator to choose from."""
        return sorted(name for name in self.playbooks if "/" not in name)

    def playbook(self, procedure: str) -> Path:
        """The playbook of ``procedure``; :class:`Refused` names the nearest where there is none."""
        known = self.playbooks
        if procedure in known:
            return known[procedure]
        near = difflib.get_close_matches(procedure, self.procedures, n=3, cutoff=0.5)
        if near:
            raise Refused(
                msg("there is no procedure {name}: did you mean {near}?", name=repr(procedure), near=", ".join(near))
            )
        raise Refused(
            msg(
                "there is no procedure {name}: use one of {known}",
                name=repr(procedure),
                known=", ".join(self.procedures) or "-",
            )
        )

    def state_dir(self, named: Path | None = None) -> Path:
        """Where history, reports and artifacts lie: as :mod:`orquestrador_ops.core.settings` has it."""
        return Path(named or os.environ.get("OPS_STATE_DIR") or self.root / "var").expanduser().resolve()

    def setting(self, name: str, variable: str, default: str) -> str:
        """A default of Ansible's: the environment's ``variable``, else ``name`` of the project's ``ansible.cfg``."""
        if os.environ.get(variable):
            return os.environ[variable]
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(self.root / "ansible.cfg", encoding="utf-8")
        except (OSError, configparser.Error, UnicodeDecodeError):
            return default
        return parser.get("defaults", name, fallback=default)

    @property
    def forks(self) -> int:
        """How many hosts Ansible works on side by side."""
        try:
            return max(int(self.setting("forks", "ANSIBLE_FORKS", str(DEFAULT_FORKS))), 1)
        except ValueError:
            return DEFAULT_FORKS

    def inventories(self) -> list[Path]:
        """The inventories that are read when none is named."""
        named = self.setting("inventory", "ANSIBLE_INVENTORY", "inventory/lab").split(",")
        return [(self.root / Path(part.strip()).expanduser()) for part in named if part.strip()]


def find(environ: Mapping[str, str] = os.environ, start: Path | None = None) -> Project:
    """The project: ``OPS_PROJECT``, else this directory or one above it, else where this package itself lies."""
    named = environ.get("OPS_PROJECT")
    if named:
        root = Path(named).expanduser().resolve()
        if not _is_project(root):
            raise Refused(
                msg("OPS_PROJECT is {path}: there is no ansible.cfg with playbooks in it: correct it", path=str(root))
            )
        return Project(root)
    try:
        here = (start or Path.cwd()).resolve()
        candidates = [here, *here.parents]
    except OSError:  # the working directory is gone
        candidates = []
    for root in (*candidates, places.PROJECT):
        if _is_project(root):
            return Project(root)
    raise no_project()


def _is_project(root: Path) -> bool:
    try:
        return (root / "ansible.cfg").is_file() and (root / "playbooks").is_dir()
    except OSError:
        return False


def budget_s(playbook: Path, variables: Mapping[str, Any]) -> float:
    """How long a run may take, in seconds: as asked for, as the playbook says, as its plan says."""
    asked = variables.get("report_budget_s")
    if asked is not None:
        value = _seconds(asked)
        if value is None:
            raise Refused(msg("report_budget_s is {value}: give a positive number of seconds", value=repr(asked)))
        return value
    plan = PROCEDURES.get(playbook.stem)
    return _of_playbook(playbook) or (float(plan.budget_s) if plan else DEFAULT_BUDGET_S)


def _of_playbook(playbook: Path) -> float | None:
    """What the plays of a playbook say together; a template says nothing."""
    import yaml

    try:
        plays = yaml.load(playbook.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (OSError, yaml.YAMLError) as error:
        reason = excerpt(error, 200)
        raise Refused(msg("{path} cannot be read: {reason}", path=str(playbook), reason=reason)) from error
    named = [play.get("vars") for play in plays if isinstance(play, Mapping)] if isinstance(plays, list) else []
    budgets = [_seconds(one.get("report_budget_s")) for one in named if isinstance(one, Mapping)]
    return sum(filter(None, budgets)) or None


def _seconds(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None


def hosts(inventories: list[Path]) -> list[str]:
    """Host names in inventories, without asking Ansible; what cannot be read has none."""
    found: set[str] = set()
    for path in inventories:
        for file in _files(path):
            found.update(_hosts_of(file))
    return sorted(found)


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in sorted(path.iterdir()) if file.is_file() and file.suffix in {".yml", ".yaml", ""})
    elif path.is_file():
        yield path


def _hosts_of(path: Path) -> Iterator[str]:
    try:
        text = path.read_bytes()[:MAX_INVENTORY_BYTES].decode("utf-8", "replace")
    except OSError:
        return
    if path.suffix in {".yml", ".yaml"}:
        import yaml

        try:
            yield from _in_groups(yaml.safe_load(text))
        except (yaml.YAMLError, RecursionError):
            return
    elif not text.startswith("#!"):
        yield from _in_ini(text)


def _in_groups(data: Any) -> Iterator[str]:
    if not isinstance(data, Mapping):
        return
    for name, value in data.items():
        if name == "hosts" and isinstance(value, Mapping):
            yield from (str(host) for host in value)
        elif isinstance(value, Mapping) and name != "vars":
            yield from _in_groups(value)


def _in_ini(text: str) -> Iterator[str]:
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line.strip("[]")
        elif line and line[0] not in "#;" and not section.endswith((":vars", ":children")):
            yield line.split()[0]
