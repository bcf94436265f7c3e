"""The daily routine, paired and interleaved with what it replaces, then over a fleet.

(a) the playbook's five daily commands over one SSH call, (b) the same five as a plain Ansible play with pipelining and
no facts, (c) ``ansible-playbook playbooks/routine/daily.yml``. Every one opens its own SSH connection: none profits
from a connection that another left open. Then the daily routine over many inventory names of the one lab.
"""

from __future__ import annotations

import os
import shlex
import statistics
from collections.abc import Callable
from pathlib import Path

import yaml

from tools.bench.common import ROOT, Lab, environment, say, spread, table, timed

FLEETS = (1, 10, 50, 100)

# The daily routine as the operational playbook writes it. Its monitor script stands for the five commands it runs.
DAILY_COMMANDS = [
    "pm2 status",
    "pm2 jlist; nc -z 127.0.0.1 3001; curl -s http://127.0.0.1:3001/api/health; free; df; top -bn1",
    "tail -50 logs/error.log",
    "curl -s http://127.0.0.1:3001/api/health | jq .",
    "pm2 info orquestrador-v3 | grep -A 5 '┌───────────────────'",
]

# Errors that the lab logged in the last 24 hours are counted all the same, but must not end a benchmark.
TOLERANT = ("-e", "health_log_errors_recent=1000000", "-e", "health_log_errors_day=1000000")


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


def bench_fleet(lab: Lab, work: Path, _runs: int) -> dict[str, float]:
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
