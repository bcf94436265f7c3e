"""The lab's generated secrets: a vault password and the encrypted variables that need one."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import shell
from settings import PROJECT, LabError, Settings

VARIABLES = ("mysql_ops_password",)


def ensure(settings: Settings) -> bool:
    """Write the vault password and the vault file unless both are there; True when something was written."""
    return write(settings.vault_password, settings.vault_file)


def write(password_file: Path, vault_file: Path) -> bool:
    """Generate a vault password and one secret for each of VARIABLES, encrypted inline.

    A vault file without its password is of no use and the other way round: both are replaced unless both exist.
    Secrets pass through standard input only, and files are 0600 from their first byte.
    """
    if password_file.exists() and vault_file.exists():
        return False
    _private(password_file, secrets.token_urlsafe(32) + "\n")
    text = "---\n# Generated for the lab; not committed. Decrypts with the lab's own vault password.\n"
    for name in VARIABLES:
        encrypted = shell.run(
            [
                _ansible_vault(),
                "encrypt_string",
                "--encrypt-vault-id",
                "default",
                "--vault-id",
                f"default@{password_file}",
                "--stdin-name",
                name,
            ],
            stdin=secrets.token_urlsafe(24).encode(),
            timeout=60,
        )
        text += encrypted.stdout.rstrip() + "\n"
    _private(vault_file, text)
    return True


def _ansible_vault() -> str:
    own = PROJECT / ".venv" / "bin" / "ansible-vault"
    found = str(own) if own.exists() else shutil.which("ansible-vault")
    if not found:
        raise LabError("ansible-vault is missing: `make venv` installs it into .venv")
    return found


def _private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
