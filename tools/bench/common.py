"""What every benchmark uses: how the lab is reached, how a command is timed, where figures are kept."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
LATEST = ROOT / "var" / "bench" / "latest.json"
LIMIT_S = 300
# As ansible.cfg has it, but the connection ends with the run: the next one has to open its own.
SSH_ARGS = "-o ControlMaster=auto -o ControlPersist=2s -o PreferredAuthentications=publickey"


def say(text: str = "") -> None:
    """Print at once: a benchmark that is silent looks hung."""
    print(text, flush=True)


class Lab:
    """How the lab is reached, read from its inventory as Ansible sees it."""

    def __init__(self) -> None:
        listing = subprocess.run(
            ["ansible-inventory", "--list"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        )
        variables: dict[str, Any] = next(iter(json.loads(listing.stdout)["_meta"]["hostvars"].values()))
        self.user: str = variables["ansible_user"]
        self.host: str = variables["ansible_host"]
        self.port = str(variables["ansible_port"])
        inventory_dir = str(ROOT / "inventory" / "lab")
        resolve = lambda value: str(value).replace("{{ inventory_dir }}", inventory_dir)  # noqa: E731 - one use
        self.key = resolve(variables["ansible_ssh_private_key_file"])
        self.common = shlex.split(resolve(variables.get("ansible_ssh_common_args", "")))
        self.variables = variables

    def ssh(self, command: str) -> list[str]:
        """A plain SSH call of its own, as an operator types it."""
        return [
            "ssh", "-o", "BatchMode=yes", "-o", "ControlMaster=no", "-o", "ControlPath=none", "-i", self.key,
            *self.common, "-p", self.port, f"{self.user}@{self.host}", command,
        ]  # fmt: skip


def timed(argv: list[str], environment: dict[str, str], log: Path, *, accept: tuple[int, ...] = (0,)) -> float:
    """Run a command and return its wall time in seconds; its output goes to ``log``.

    Raises:
        SystemExit: it failed; a benchmark of something that fails measures nothing.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        # Not wait(timeout=…), which looks every 50 ms only.
        watchdog = threading.Timer(LIMIT_S, process.kill)
        watchdog.start()
        status = process.wait()
        elapsed = time.perf_counter() - start
        watchdog.cancel()
    if status not in accept:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])
        raise SystemExit(f"{' '.join(argv[:2])} ended with status {status}:\n{tail}")
    return elapsed


def environment(work: Path, **more: str) -> dict[str, str]:
    """The environment of a measured run: state and SSH connections of its own, so nothing is inherited."""
    connections = work / "cp"
    shutil.rmtree(connections, ignore_errors=True)
    connections.mkdir(parents=True)
    return {**os.environ, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(connections), "ANSIBLE_SSH_ARGS": SSH_ARGS, **more}


def table(rows: list[tuple[str, ...]]) -> None:
    """Print rows as a table, the first one as its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        say("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
        if number == 0:
            say("  " + "  ".join("-" * width for width in widths))


def spread(values: list[float]) -> tuple[str, str, str]:
    """Minimum, median and maximum as cells."""
    return f"{min(values):.2f}", f"{statistics.median(values):.2f}", f"{max(values):.2f}"


def provenance() -> dict[str, Any]:
    """Machine, date and commit that the figures belong to."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, timeout=10, check=False
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
    }


def save(figures: dict[str, float]) -> None:
    """Add the figures to those of other benchmarks, each with where it comes from."""
    LATEST.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(LATEST.read_text(encoding="utf-8")) if LATEST.exists() else {}
    origin = provenance()
    for name, value in figures.items():
        known[name] = {"value": round(value, 4), **origin}
    temporary = LATEST.with_suffix(".tmp")
    temporary.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(LATEST)
    say(f"\n  figures: {LATEST.relative_to(ROOT)}")


def prepare_lab() -> None:
    """Bootstrap the lab; on one that is prepared this changes nothing."""
    vault = "var/lab/orquestrador-lab/vault-password"
    say("\nBootstrap of the lab")
    timed(
        ["ansible-playbook", "playbooks/setup/bootstrap.yml", "--vault-password-file", vault],
        dict(os.environ),
        LATEST.parent / "bootstrap.log",
    )
