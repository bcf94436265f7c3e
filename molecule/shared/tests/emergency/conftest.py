"""Fixtures that tests of emergencies share: the procedures, and what must not be touched."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from full_disk import disk  # noqa: F401 - a fixture
from machine import PM2_HOME, USER, WEBAPP, Machine, Run, Runner
from mending import faults, mended  # noqa: F401 - fixtures
from records import Emergency, Untouched

# Everything that an emergency must leave alone unless a test says otherwise, by name.
_FACTS = {
    "mysql": "systemctl show -p MainPID,NRestarts mysql mariadb 2>/dev/null | sort -u",
    "ssh": "systemctl show -p MainPID ssh",
    "app": f"pgrep -u {USER} -f '^node .*{WEBAPP}/dist/server/index.js' | xargs -r ps -o pid=,lstart= -p",
    "daemon": f"cat {PM2_HOME}/pm2.pid; xargs -r ps -o lstart= -p < {PM2_HOME}/pm2.pid",
    "saved": f"sha256sum < {PM2_HOME}/dump.pm2",
    "files": f"cd {WEBAPP} && find . -name .git -prune -o -path ./logs -prune -o -path ./node_modules -prune"
    " -o -printf '%p %y %m %u:%g %s %T@ %l\\n' | sort",
    "lease": f"ls /home/{USER}/.local/state/orquestrador-ops/ | grep -v -e emergencies -e heap -e '.lock' || true",
}


@pytest.fixture
def emergency(run_clean: Runner, state: Path) -> Emergency:
    """Run an emergency procedure by hand, in English so that texts can be compared."""

    def run(procedure: str, *args: str, **options: Any) -> Run:
        playbook = f"playbooks/emergency/{procedure}.yml"
        return run_clean(playbook, "-e", "ops_locale=en", *args, **{"state": state, "timeout": 150, **options})

    return run


@pytest.fixture
def untouched(machine: Machine) -> Untouched:
    """``with untouched():`` nothing of the host changes inside; ``untouched(but=("app",))`` leaves names out."""

    def facts(names: list[str]) -> list[str]:
        script = "\n".join(f"echo '== {name}'; ( {_FACTS[name]} )" for name in names)
        return machine.out(script, check=False).splitlines()

    @contextmanager
    def watch(but: tuple[str, ...] = ()) -> Iterator[None]:
        names = [name for name in _FACTS if name not in but]
        before = facts(names)
        yield
        changes = [x for x in difflib.unified_diff(before, facts(names), lineterm="", n=0) if x[0] in "+-"]
        assert not changes, "\n".join(changes[:40])

    return watch
