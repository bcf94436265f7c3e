"""What one lab is: its name, ports, database and places. All of it comes from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
SHARED = PROJECT / "molecule" / "shared"
DEFAULT_NAME = "orquestrador-lab"
DATABASES = ("mysql", "mariadb")
ACCOUNT = "flavio"
APP_DIR = f"/home/{ACCOUNT}/webapp"
RELEASE = "trixie"


class LabError(Exception):
    """One line for the user: what failed, where, and what to do next."""


@dataclass(frozen=True)
class Settings:
    """One lab. Ports are on 127.0.0.1 of this machine."""

    name: str
    ssh_port: int
    app_port: int
    database: str
    state: Path
    cache: Path
    base_image: str | None
    mirror: str | None
    debug: bool
    replace: bool
    prepared: bool

    @property
    def key(self) -> Path:
        return self.state / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.state / "known_hosts"

    @property
    def vault_password(self) -> Path:
        return self.state / "vault-password"

    @property
    def vault_file(self) -> Path:
        """The encrypted variables: beside the inventory for the lab itself, in its own state for any other."""
        if self.name == DEFAULT_NAME:
            return PROJECT / "inventory" / "lab" / "group_vars" / "orquestrador" / "vault.yml"
        return self.state / "group_vars" / "orquestrador" / "vault.yml"


def from_environment(env: Mapping[str, str] = os.environ) -> Settings:
    """Read LAB_*; a bad value raises LabError naming it and what is possible."""
    name = env.get("LAB_NAME") or DEFAULT_NAME
    if not re.fullmatch(r"orquestrador-[a-z0-9][a-z0-9-]{0,50}", name):
        raise LabError(f"LAB_NAME={name!r}: use orquestrador-<lower case letters, digits, hyphens>")
    database = env.get("LAB_DATABASE") or "mysql"
    if database not in DATABASES:
        raise LabError(f"LAB_DATABASE={database!r}: use one of {', '.join(DATABASES)}")
    state = env.get("LAB_STATE_DIR")
    cache = env.get("LAB_CACHE_DIR")
    return Settings(
        name=name,
        ssh_port=_port(env, "LAB_SSH_PORT", 2222),
        app_port=_port(env, "LAB_APP_PORT", 3001),
        database=database,
        state=Path(state).absolute() if state else PROJECT / "var" / "lab" / name,
        cache=Path(cache).absolute() if cache else PROJECT / ".cache" / "lab",
        base_image=env.get("LAB_BASE_IMAGE") or None,
        mirror=env.get("LAB_DEBIAN_MIRROR") or None,
        debug=_flag(env, "LAB_DEBUG"),
        replace=_flag(env, "LAB_REPLACE"),
        prepared=_flag(env, "LAB_PREPARED"),
    )


def _flag(env: Mapping[str, str], variable: str) -> bool:
    return (env.get(variable) or "0") not in ("0", "false", "no")


def _port(env: Mapping[str, str], variable: str, default: int) -> int:
    text = env.get(variable) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise LabError(f"{variable}={text!r}: use a port from 1 to 65535")
    return int(text)
