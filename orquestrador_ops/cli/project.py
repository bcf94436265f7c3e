"""The project on disk: its procedures, their budgets, and the hosts of an inventory.

Files are parsed here: Ansible takes half a second, too long for shell completion.
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
from .words import CliError, no_project

DEFAULT_BUDGET_S = 3600.0  # of a playbook that names none
DEFAULT_FORKS = 5  # Ansible's own
MAX_INVENTORY_BYTES = 4 << 20


@dataclass(frozen=True)
class Project:
    """A checkout or an unpacked release: the directory of ``ansible.cfg`` and ``playbooks``."""

    root: Path

    @property
    def playbooks(self) -> dict[str, Path]:
        """Playbooks by name: ``daily``, and ``routine/daily`` in case two directories have the same name."""
        paths: dict[str, Path] = {}
        for path in sorted(self.root.glob("playbooks/*/*.yml")):
            paths.setdefault(path.stem, path)
            paths[f"{path.parent.name}/{path.stem}"] = path
        return paths

    @property
    def procedures(self) -> list[str]:
        """Names of all procedures."""
        return sorted(name for name in self.playbooks if "/" not in name)

    def playbook(self, procedure: str) -> Path:
        """Return the playbook of ``procedure``. Raises :class:`CliError` with close matches."""
        playbooks = self.playbooks
        if procedure in playbooks:
            return playbooks[procedure]
        matches = difflib.get_close_matches(procedure, self.procedures, n=3, cutoff=0.5)
        if matches:
            names = {"name": repr(procedure), "near": ", ".join(matches)}
            raise CliError(msg("there is no procedure {name}: did you mean {near}?", **names))
        raise CliError(
            msg(
                "there is no procedure {name}: use one of {known}",
                name=repr(procedure),
                known=", ".join(self.procedures) or "-",
            )
        )

    def state_dir(self, directory: Path | None = None) -> Path:
        """Return the directory of history, reports and artifacts, as in :mod:`orquestrador_ops.core.settings`."""
        return Path(directory or os.environ.get("OPS_STATE_DIR") or self.root / "var").expanduser().resolve()

    def setting(self, name: str, variable: str, default: str) -> str:
        """Return a setting of Ansible: the environment's ``variable``, else ``name`` of its ``ansible.cfg``."""
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
        """How many hosts Ansible processes in parallel."""
        try:
            return max(int(self.setting("forks", "ANSIBLE_FORKS", str(DEFAULT_FORKS))), 1)
        except ValueError:
            return DEFAULT_FORKS

    def inventories(self) -> list[Path]:
        """Return the default inventories."""
        paths = self.setting("inventory", "ANSIBLE_INVENTORY", "inventory/lab").split(",")
        return [(self.root / Path(part.strip()).expanduser()) for part in paths if part.strip()]


def find(environ: Mapping[str, str] = os.environ, start: Path | None = None) -> Project:
    """Find the project: ``OPS_PROJECT``, else this directory or one above it, else the one of this package."""
    configured = environ.get("OPS_PROJECT")
    if configured:
        root = Path(configured).expanduser().resolve()
        if not _is_project(root):
            raise CliError(
                msg("OPS_PROJECT is {path}: there is no ansible.cfg with playbooks in it: correct it", path=str(root))
            )
        return Project(root)
    try:
        current = (start or Path.cwd()).resolve()
        candidates = [current, *current.parents]
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
    """Return the budget of a run in seconds: of the variables, else of the playbook, else of its procedure."""
    given_s = variables.get("report_budget_s")
    if given_s is not None:
        value = _seconds(given_s)
        if value is None:
            raise CliError(msg("report_budget_s is {value}: give a positive number of seconds", value=repr(given_s)))
        return value
    plan = PROCEDURES.get(playbook.stem)
    return _of_playbook(playbook) or (float(plan.budget_s) if plan else DEFAULT_BUDGET_S)


def _of_playbook(playbook: Path) -> float | None:
    """Return the sum of the budgets of a playbook's plays; a template counts as none."""
    import yaml

    try:
        plays = yaml.load(playbook.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (OSError, yaml.YAMLError) as error:
        reason = excerpt(error, 200)
        raise CliError(msg("{path} cannot be read: {reason}", path=str(playbook), reason=reason)) from error
    play_vars = [play.get("vars") for play in plays if isinstance(play, Mapping)] if isinstance(plays, list) else []
    budgets = [_seconds(variables.get("report_budget_s")) for variables in play_vars if isinstance(variables, Mapping)]
    return sum(filter(None, budgets)) or None


def _seconds(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < float("inf") else None


def hosts(inventories: list[Path]) -> list[str]:
    """Return host names of inventories, without Ansible; an unreadable one has none."""
    names: set[str] = set()
    for path in inventories:
        for file in _files(path):
            names.update(_hosts_of(file))
    return sorted(names)


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
