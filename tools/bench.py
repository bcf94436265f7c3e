"""Timings on the lab, paired and interleaved in one run; figures go into ``var/bench/latest.json``.

(a) the playbook's five daily commands over one SSH call, (b) the same five as a plain Ansible play with pipelining and
no facts, (c) ``ansible-playbook playbooks/routine/daily.yml``. Every one opens its own SSH connection: none profits
from a connection that another left open. Then the daily routine over many inventory names of the one lab.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
LATEST = ROOT / "var" / "bench" / "latest.json"
FLEETS = (1, 10, 50, 100)
LIMIT_S = 300

# The daily routine as the operational playbook writes it. Its monitor script stands for the five commands it runs.
DAILY_COMMANDS = [
    "pm2 status",
    "pm2 jlist; nc -z 127.0.0.1 3001; curl -s http://127.0.0.1:3001/api/health; free; df; top -bn1",
    "tail -50 logs/error.log",
    "curl -s http://127.0.0.1:3001/api/health | jq .",
    "pm2 info orquestrador-v3 | grep -A 5 '┌───────────────────'",
]


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


# Errors that the lab logged in the last 24 hours are counted all the same, but must not end a benchmark.
TOLERANT = ("-e", "health_log_errors_recent=1000000", "-e", "health_log_errors_day=1000000")
# As ansible.cfg has it, but the connection ends with the run: the next one has to open its own.
SSH_ARGS = "-o ControlMaster=auto -o ControlPersist=2s -o PreferredAuthentications=publickey"


def plain_play(directory: Path) -> Path:
    """The five commands as a plain play."""
    play = {
        "name": "The five daily commands",
        "hosts": "orquestrador",
        "gather_facts": False,
        "tasks": [
            {
                "name": f"Command {number}",
                "ansible.builtin.shell": {"cmd": command, "chdir": "/home/flavio/webapp"},
                "changed_when": False,
            }
            for number, command in enumerate(DAILY_COMMANDS, 1)
        ],
    }
    path = directory / "plain.yml"
    path.write_text(yaml.safe_dump([play], allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def plain_configuration(directory: Path) -> Path:
    """What a plain play has for configuration: pipelining, no facts, and nothing of this project."""
    path = directory / "plain.cfg"
    path.write_text(
        "[defaults]\ngathering = explicit\ninterpreter_python = /usr/bin/python3\n"
        f"inventory = {ROOT / 'inventory' / 'lab'}\n[ssh_connection]\npipelining = True\n",
        encoding="utf-8",
    )
    return path


def fleet_inventory(lab: Lab, names: int, directory: Path) -> Path:
    """An inventory of ``names`` names, every one of them the lab."""
    group = ROOT / "inventory" / "lab" / "group_vars"
    folder = directory / f"fleet-{names}"
    folder.mkdir(exist_ok=True)
    if group.exists() and not (folder / "group_vars").exists():
        (folder / "group_vars").symlink_to(group)
    keep = {key: value for key, value in lab.variables.items() if key.startswith("ansible_")}
    keep["ansible_ssh_private_key_file"] = lab.key
    keep["ansible_ssh_common_args"] = shlex.join(lab.common)
    hosts = {f"lab-{number:03}": keep for number in range(names)}
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"orquestrador": {"hosts": hosts}}), encoding="utf-8")
    return folder


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


def bench_daily(lab: Lab, work: Path, runs: int) -> dict[str, float]:
    """(a), (b) and (c) in turn, ``runs`` times after one round of warm-up; ratios are taken pair by pair."""
    typed_command = "cd /home/flavio/webapp; " + "; ".join(DAILY_COMMANDS)
    plain = plain_play(work)
    state = work / "state"
    ways: dict[str, Callable[[], float]] = {
        "typed": lambda: timed(lab.ssh(typed_command), dict(os.environ), work / "typed.log"),
        "plain": lambda: timed(
            ["ansible-playbook", str(plain)],
            environment(work, ANSIBLE_CONFIG=str(plain_configuration(work))),
            work / "plain.log",
        ),
        "daily": lambda: timed(
            ["ansible-playbook", "playbooks/routine/daily.yml", *TOLERANT],
            environment(work, OPS_STATE_DIR=str(state)),
            work / "daily.log",
        ),
    }
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(runs + 1):
        for name, way in ways.items():
            seconds = way()
            if round_number:
                measured[name].append(seconds)
        say(f"  round {round_number} of {runs}: " + ", ".join(f"{n} {v[-1]:.2f} s" for n, v in measured.items() if v))
    ratio_typed = [c / a for c, a in zip(measured["daily"], measured["typed"], strict=True)]
    ratio_plain = [c / b for c, b in zip(measured["daily"], measured["plain"], strict=True)]
    say()
    table(
        [
            ("daily routine, one host", "min s", "median s", "max s"),
            ("(a) five commands, one SSH call", *spread(measured["typed"])),
            ("(b) the same as a plain play", *spread(measured["plain"])),
            ("(c) playbooks/routine/daily.yml", *spread(measured["daily"])),
            ("(c)/(a), at most 1.0", *spread(ratio_typed)),
            ("(c)/(b), at most 0.45", *spread(ratio_plain)),
        ]
    )
    return {
        "daily_typed_s": statistics.median(measured["typed"]),
        "daily_plain_play_s": statistics.median(measured["plain"]),
        "daily_s": statistics.median(measured["daily"]),
        "daily_vs_typed": statistics.median(ratio_typed),
        "daily_vs_plain_play": statistics.median(ratio_plain),
    }


def bench_fleet(lab: Lab, work: Path) -> dict[str, float]:
    """The daily routine over many names of the lab; controller and lab share the processors of this machine."""
    figures: dict[str, float] = {}
    rows: list[tuple[str, ...]] = [("inventory names", "seconds", "seconds per host")]
    empty = work / "empty.yml"
    empty.write_text(
        yaml.safe_dump(
            [{"name": "One empty task", "hosts": "orquestrador", "gather_facts": False,
              "tasks": [{"name": "Nothing", "ansible.builtin.command": {"cmd": "true"}, "changed_when": False}]}]
        ),
        encoding="utf-8",
    )  # fmt: skip
    for names in FLEETS:
        inventory = str(fleet_inventory(lab, names, work))
        state = str(work / f"fleet-state-{names}")
        seconds = timed(
            ["ansible-playbook", "-i", inventory, "playbooks/routine/daily.yml", *TOLERANT],
            environment(work, OPS_STATE_DIR=state),
            work / f"fleet-{names}.log",
        )
        rows.append((f"daily, {names}", f"{seconds:.2f}", f"{seconds / names:.3f}"))
        figures[f"daily_s_per_host_{names}"] = seconds / names
        say(f"  {names} names: {seconds:.2f} s")
    inventory = str(fleet_inventory(lab, FLEETS[-1], work))
    seconds = timed(["ansible-playbook", "-i", inventory, str(empty)], environment(work), work / "empty.log")
    rows.append((f"one empty task, {FLEETS[-1]}", f"{seconds:.2f}", f"{seconds / FLEETS[-1]:.3f}"))
    say()
    table(rows)
    return figures


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


def main() -> int:
    """Run the benchmarks that were asked for; 0 when they could be run, whatever the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=7, help="counted rounds of the paired benchmark (default 7)")
    parser.add_argument("only", nargs="*", choices=["daily", "fleet", []], help="which benchmarks (default: all)")
    chosen = parser.parse_args()
    if subprocess.run([str(ROOT / "molecule/shared/lab.sh"), "up"], cwd=ROOT, check=False, timeout=900).returncode:
        return 1
    prepare_lab()
    lab = Lab()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="orquestrador-bench-") as directory:
        work = Path(directory)
        if not chosen.only or "daily" in chosen.only:
            say("\nDaily routine against the commands an operator types")
            figures.update(bench_daily(lab, work, chosen.runs))
        if not chosen.only or "fleet" in chosen.only:
            say("\nDaily routine over a fleet")
            figures.update(bench_fleet(lab, work))
    save(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
