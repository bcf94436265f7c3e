"""The lab's generated secrets: a vault password and the encrypted variables that need one."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from pathlib import Path

import shell
from settings import PROJECT, LabError, Settings

AGE_TIMEOUT_S = 20
IDENTITY = re.compile(r"^AGE-SECRET-KEY-1[A-Z0-9]+$", re.M)
VARIABLES = ("mysql_ops_password", "backup_age_identity")


def ensure(settings: Settings) -> bool:
    """Write the vault password and the vault file unless both are there; True when something was written."""
    return write(settings.vault_password, settings.vault_file)


def write(password_file: Path, vault_file: Path) -> bool:
    """Generate a vault password and one secret for each of VARIABLES, encrypted inline; True when something was new.

    A vault file without its password is of no use and the other way round: both are replaced unless both exist. A
    secret that an older vault file does not have yet is added to it. The public half of the backups' key stands beside
    its private one, readable. Secrets pass through standard input only, and files are 0600 from their first byte.
    """
    text = "---\n# Generated for the lab; not committed. Decrypts with the lab's own vault password.\n"
    if password_file.exists() and vault_file.exists():
        text = vault_file.read_text()
    else:
        _private(password_file, secrets.token_urlsafe(32) + "\n")
    missing = [name for name in VARIABLES if not re.search(rf"^{name}:", text, re.M)]
    for name in missing:
        if name == "backup_age_identity":
            identity, recipient = _age_key()
            text += f"backup_age_recipient: {recipient}\n" + _encrypted(name, identity, password_file)
        else:
            text += _encrypted(name, secrets.token_urlsafe(24), password_file)
    if missing:
        _private(vault_file, text)
    return bool(missing)


def _encrypted(name: str, value: str, password_file: Path) -> str:
    """One variable, encrypted inline."""
    argv = [_ansible_vault(), "encrypt_string", "--encrypt-vault-id", "default"]
    argv += ["--vault-id", f"default@{password_file}", "--stdin-name", name]
    return shell.run(argv, stdin=value.encode(), timeout=60).stdout.rstrip() + "\n"


def _age_key() -> tuple[str, str]:
    """A new private key of age and its public half."""
    identity = IDENTITY.search(shell.run(["age-keygen"], timeout=AGE_TIMEOUT_S).stdout)
    if identity is None:
        raise LabError("age-keygen printed no key: look at what it prints when run by hand")
    public = shell.run(["age-keygen", "-y"], stdin=identity.group().encode(), timeout=AGE_TIMEOUT_S)
    return identity.group(), public.stdout.strip()


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
