"""One entry point of the role by itself, and what it registered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import WEBAPP, Machine, Run, in_english

PLAYBOOK = "molecule/shared/tests/backup/entry.yml"
CODE = f"{WEBAPP}/backups/code"
REGISTERS = {
    "code": "backup_code_result",
    "verify_code": "backup_code_verify_result",
    "restore_files": "backup_restore_files_result",
    "retention": "backup_retention_result",
    "copy": "backup_copy_result",
}
Runner = Callable[..., Run]


@dataclass
class Done:
    """How the playbook ended, and what the entry point registered."""

    run: Run
    result: dict[str, Any]

    @property
    def ok(self) -> bool:
        return self.run.rc == 0

    @property
    def changed(self) -> bool:
        return bool(self.result["changed"])

    @property
    def said(self) -> str:
        """Its failures, or its note."""
        messages = self.result.get("failures") or self.result.get("note") or []
        return "; ".join(map(in_english, messages if isinstance(messages, list) else [messages]))


def entry(run_clean: Runner, state: Path, name: str, *args: str) -> Done:
    """Run an entry point; ``args`` are the variables ``name=value`` and options of the play."""
    kept = state / f"{name}.result"
    kept.unlink(missing_ok=True)
    options: list[str] = []
    for arg in args:
        options += [arg] if arg.startswith("-") else ["-e", arg]
    run = run_clean(
        PLAYBOOK,
        "-e",
        f"entry={name}",
        "-e",
        f"registers={REGISTERS[name]}",
        "-e",
        f"entry_result={kept}",
        *options,
        state=state,
        timeout=180,
    )
    assert kept.exists(), run.output
    return Done(run, json.loads(kept.read_text()))


def listing(machine: Machine, directory: str = CODE) -> set[str]:
    """Every name in the directory of the backups, the lock's left out."""
    return set(machine.out(f"ls -A {directory} 2>/dev/null || true").split()) - {".lock"}


def manifest(machine: Machine, backup_id: str, directory: str = CODE) -> dict[str, Any]:
    """The manifest of a backup as it lies there."""
    read: dict[str, Any] = json.loads(machine.out(f"cat {directory}/{backup_id}.json"))
    return read
