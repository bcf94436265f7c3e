"""Podman as this machine can run it: as root, with a configuration of the project's own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import shell
from settings import PROJECT, LabError

CGROUPS = Path("/sys/fs/cgroup")


def unified_cgroups() -> bool:
    """Whether the host has a pure cgroup v2 hierarchy."""
    return (CGROUPS / "cgroup.controllers").exists()


class Podman:
    """The command line, with CONTAINERS_CONF pointing into the state directory."""

    def __init__(self, configuration: Path = PROJECT / "var" / "lab" / "containers.conf") -> None:
        self.configuration = configuration

    def configure(self) -> None:
        """Write containers.conf when it is missing or differs. The user's own configuration is never touched.

        Some sandboxes lack CAP_SYS_RESOURCE, where podman's default limits can't be raised; and crun refuses the
        hybrid cgroup hierarchy, where runc works.
        """
        text = '[containers]\ndefault_ulimits = ["nofile=10000:10000", "nproc=10000:10000"]\n'
        if not unified_cgroups():
            text += '\n[engine]\nruntime = "runc"\n'
        if not self.configuration.exists() or self.configuration.read_text() != text:
            self.configuration.parent.mkdir(parents=True, exist_ok=True)
            self.configuration.write_text(text)

    def argv(self, *args: str, environment: Sequence[str] = ()) -> list[str]:
        """The command as root, with these VAR=value besides."""
        return shell.elevated(["podman", *args], keep=[f"CONTAINERS_CONF={self.configuration}", *environment])

    def run(
        self, *args: str, timeout: float = 30, check: bool = True, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run podman and return its result."""
        return shell.run(self.argv(*args), timeout=timeout, check=check, stdin=stdin)

    def inspect(self, name: str) -> dict[str, Any] | None:
        """The container's description, None when there is none."""
        done = self.run("container", "inspect", name, check=False)
        if done.returncode != 0:
            return None
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found[0] if found else None

    def execute(
        self, name: str, argv: Sequence[str], *, timeout: float = 30, check: bool = True, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the container as root, bounded inside it too."""
        bounded = ["timeout", "-k", "5", str(int(timeout)), *argv]
        interactive = ["-i"] if stdin is not None else []
        return self.run("exec", *interactive, name, *bounded, timeout=timeout + 10, check=check, stdin=stdin)

    def usable(self) -> None:
        """Raise LabError that says why podman can't run here and what would help."""
        try:
            self.run("info", "--format", "{{.Store.GraphDriverName}}", timeout=60)
        except LabError as error:
            raise LabError(f"podman can't run here: {error}. {self.advice()}") from None

    @staticmethod
    def advice() -> str:
        """What usually helps."""
        status = Path("/proc/self/status").read_text()
        effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
        if not int(effective, 16) & (1 << 21) and os.geteuid() == 0:
            return "This root lacks CAP_SYS_ADMIN (a container itself?): start it privileged, or use a virtual machine"
        if not CGROUPS.is_dir() or not any(CGROUPS.iterdir()):
            return "No cgroups are mounted on /sys/fs/cgroup: mount them, or use a virtual machine"
        return "Run tools/ensure-lab-tools.sh; `podman info` as root shows more"
