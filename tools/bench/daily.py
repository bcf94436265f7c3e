"""The daily routine, paired and interleaved with what it replaces, then over a fleet.

(a) the playbook's five daily commands over one SSH call, (b) the same five as a plain Ansible play with pipelining and
no facts, (c) ``ansible-playbook playbooks/routine/daily.yml``. Every one opens its own SSH connection: none profits
from a connection that another left open. Then the daily routine over many inventory names of the one lab.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.bench.common import CannotMeasureError, environment, said, say, spread, table, timed
from tools.bench.lab import Lab

FLEETS = "1 10 50 100"

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


def fleet_sizes(given: Mapping[str, str] = os.environ) -> tuple[int, ...]:
    """How many inventory names the fleets have: the numbers in ``FLEET``, or the usual ones.

    Raises:
        ValueError: they aren't numbers of hosts.
    """
    text = given.get("FLEET") or FLEETS
    if not all(word.isdecimal() and int(word) for word in text.split()):
        raise ValueError(f"FLEET={text!r}: give numbers of inventory names, such as 50 or '1 50'")
    return tuple(sorted({int(word) for word in text.split()}))


def not_met(state: Path, wanted: int, log: Path) -> Counter[str]:
    """Why routines did not end as expected, by the reports they left: a result, on a machine that is busy say.

    Raises:
        CannotMeasureError: not every routine left a report, or none observed its host.
    """
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in state.glob("reports/*/daily-*.json")]
    if len(reports) != wanted:
        raise CannotMeasureError(f"{len(reports)} of {wanted} routines left a report\n{said(log)}")
    if not any(report["verdict"] for report in reports):
        raise CannotMeasureError(f"no routine observed its host\n{said(log)}")
    return Counter(map(_reason, (report for report in reports if report["record"]["outcome"] != "met")))


def _reason(report: dict[str, Any]) -> str:
    checks = report["verdict"]["checks"] if report["verdict"] else []
    bad = [check["id"] for check in checks if check["status"] != "ok"]
    bad = bad or [step["id"] for step in report["record"]["steps"] if step["status"] not in ("ok", "changed")]
    outcome = report["record"]["outcome"]
    return f"{outcome}: {', '.join(bad)}" if report["verdict"] and bad else str(outcome)


def shown(reasons: Counter[str]) -> str:
    """What is said of routines that were not met."""
    return "; ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "0"


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


def plain_configuration(lab: Lab, directory: Path) -> Path:
    """What a plain play has for configuration: pipelining, no facts, and nothing of this project."""
    path = directory / "plain.cfg"
    path.write_text(
        "[defaults]\ngathering = explicit\ninterpreter_python = /usr/bin/python3\n"
        f"inventory = {lab.inventory}\n[ssh_connection]\npipelining = True\n",
        encoding="utf-8",
    )
    return path


def fleet_inventory(lab: Lab, names: int, directory: Path) -> Path:
    """An inventory of ``names`` names, every one of them the lab."""
    group = (lab.inventory if lab.inventory.is_dir() else lab.inventory.parent) / "group_vars"
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
            environment(work, ANSIBLE_CONFIG=str(plain_configuration(lab, work))),
            work / "plain.log",
        ),
        "daily": lambda: timed(
            ["ansible-playbook", "playbooks/routine/daily.yml", *TOLERANT],
            environment(work, OPS_STATE_DIR=str(state)),
            work / "daily.log",
            accept=(0, 2),
        ),
    }
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(runs + 1):
        for name, way in ways.items():
            seconds = way()
            if round_number:
                measured[name].append(seconds)
        say(f"  round {round_number} of {runs}: " + ", ".join(f"{n} {v[-1]:.2f} s" for n, v in measured.items() if v))
    missed = not_met(state, runs + 1, work / "daily.log")
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
    say(f"  routines not met, of {runs + 1}: {shown(missed)}")
    return {
        "daily_typed_s": statistics.median(measured["typed"]),
        "daily_plain_play_s": statistics.median(measured["plain"]),
        "daily_s": statistics.median(measured["daily"]),
        "daily_vs_typed": statistics.median(ratio_typed),
        "daily_vs_plain_play": statistics.median(ratio_plain),
        "daily_not_met": float(missed.total()),
    }


def bench_fleet(lab: Lab, work: Path, _runs: int) -> dict[str, float]:
    """The daily routine over many names of the lab; controller and lab share the processors of this machine."""
    figures: dict[str, float] = {}
    sizes = fleet_sizes()
    rows: list[tuple[str, ...]] = [("inventory names", "seconds", "seconds per host", "routines not met")]
    empty = work / "empty.yml"
    nothing = {"name": "Nothing", "ansible.builtin.command": {"cmd": "true"}, "changed_when": False}
    play = {"name": "One empty task", "hosts": "orquestrador", "gather_facts": False, "tasks": [nothing]}
    empty.write_text(yaml.safe_dump([play]), encoding="utf-8")
    for names in sizes:
        inventory = str(fleet_inventory(lab, names, work))
        state, log = work / f"fleet-state-{names}", work / f"fleet-{names}.log"
        seconds = timed(
            ["ansible-playbook", "-i", inventory, "playbooks/routine/daily.yml", *TOLERANT],
            environment(work, OPS_STATE_DIR=str(state)),
            log,
            accept=(0, 2),
        )
        missed = not_met(state, names, log)
        rows.append((f"daily, {names}", f"{seconds:.2f}", f"{seconds / names:.3f}", str(missed.total())))
        figures[f"daily_s_per_host_{names}"] = seconds / names
        figures[f"daily_not_met_{names}"] = float(missed.total())
        say(f"  {names} names: {seconds:.2f} s, routines not met: {shown(missed)}")
    inventory, log = str(fleet_inventory(lab, sizes[-1], work)), work / "empty.log"
    seconds = timed(["ansible-playbook", "-i", inventory, str(empty)], environment(work), log, accept=(0, 4))
    unreachable = log.read_text(encoding="utf-8").count("unreachable=1")
    row = (f"one empty task, {sizes[-1]}", f"{seconds:.2f}", f"{seconds / sizes[-1]:.3f}", f"{unreachable} unreachable")
    rows.append(row)
    say()
    table(rows)
    return figures
