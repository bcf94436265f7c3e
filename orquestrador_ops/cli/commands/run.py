"""``runbook run``: from what the operator asked for to the last line and the exit status."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.outcomes import MET, TIMEOUT
from .. import project
from ..runner import extra_vars as extras
from ..runner.execute import ENDED, Request, Result, keep
from ..runner.execute import run as execute
from ..runner.progress import Lines, Live, Plain, Silent
from ..runner.signals import Asked, Signals
from ..words import Refused, said, t, translator
from . import render as showing

GRACE_S = 15.0
ESCALATE = "escalate"
ESCALATE_S = 60.0


def columns() -> int:
    """How wide the terminal is."""
    return shutil.get_terminal_size((100, 24)).columns


def asked(
    procedure: str,
    *,
    target: str | None,
    inventory: Sequence[str],
    check: bool,
    extra: Sequence[str],
    vault: Path | None,
    keep: int,
    grace_s: float = GRACE_S,
    state_dir: Path | None,
    verbosity: int,
    width: int,
) -> Request:
    """What to run; :class:`Refused` says what of it cannot be."""
    here = project.find()
    playbook = here.playbook(procedure)
    variables, files = extras.parse(extra)
    if target:
        variables["target"] = target
    if state_dir is not None:
        variables.setdefault("ops_state_dir", str(here.state_dir(state_dir)))  # before what an inventory says
    if os.environ.get("OPS_LOCALE") and not any(name == "ops_locale" for name in variables):
        variables["ops_locale"] = translator().locale
    arguments: list[str] = []
    for one in inventory:
        arguments += ["-i", _inventory(one)]
    if vault is not None:
        arguments += ["--vault-password-file", str(_readable(vault, msg("the file with the Vault's password")))]
    for file in files:
        arguments += ["-e", f"@{file}"]
    terminal = sys.stdout.isatty()
    environment = {"COLUMNS": str(width)}
    if not terminal or os.environ.get("NO_COLOR"):
        environment["ANSIBLE_NOCOLOR"] = "1"
    return Request(
        project=here.root,
        playbook=playbook,
        procedure=playbook.stem,
        state_dir=here.state_dir(state_dir),
        budget_s=project.budget_s(playbook, variables),
        forks=here.forks,
        arguments=tuple(arguments),
        variables=variables,
        environment=environment,
        check=check,
        verbosity=min(verbosity, 4),
        keep=keep,
        grace_s=grace_s,
    )


def _inventory(named: str) -> str:
    """An inventory as Ansible takes it from any directory: a list of hosts as it is, a path made absolute."""
    return named if "," in named else str(_readable(Path(named), msg("the inventory")))


def _readable(path: Path, what: Message) -> Path:
    whole = path.expanduser().absolute()
    if not whole.exists():
        raise Refused(msg("{path}: there is no such file ({what}): correct the path", path=str(whole), what=what))
    if not os.access(whole, os.R_OK):
        raise Refused(msg("{path}: it cannot be read ({what}): give this user read access", path=str(whole), what=what))
    return whole


def run(request: Request, *, as_json: bool) -> int:
    """Run it, show it, record what did not conclude itself; the exit status."""
    lines = Lines(sys.stdout)
    with Signals() as signals:
        if as_json:
            result = execute(request, Silent(), signals)
        elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            with Live(brief=not request.verbosity) as live:
                result = execute(request, live, signals)
        else:
            result = execute(request, Plain(lines), signals)
        settle(result, signals)
    if as_json:
        lines.write(json.dumps(result.as_dict(said), ensure_ascii=False, indent=2, default=str))
    else:
        for line in last_lines(result):
            lines.write(line)
    return result.rc


def settle(result: Result, signals: Asked) -> None:
    """Record what did not conclude itself, tell people of what hung, and keep what became of it."""
    if result.status in ENDED:
        from ..runner import record as recording

        result.problems.extend(recording.record(result))
        if result.status == TIMEOUT and not result.request.check:
            _escalate(result, signals)
    keep(result)


def _escalate(result: Result, signals: Asked) -> None:
    """Have the people told whom the inventory names: addresses are in its Vault, so Ansible has to read them."""
    asked = result.request
    playbook = project.Project(asked.project).playbooks.get(ESCALATE)
    if playbook is None:
        told = False
    else:
        wanted = {name: value for name, value in asked.variables.items() if name != "report_budget_s"}
        request = replace(asked, playbook=playbook, procedure=ESCALATE, variables=wanted)
        told = execute(replace(request, budget_s=ESCALATE_S, grace_s=5.0), Silent(), signals).rc == 0
    if not told:
        result.problems.append(msg("Nobody could be told of it: run the procedure escalate by hand, and see why"))


def last_lines(result: Result) -> list[str]:
    """How it went and where to read on."""
    request = result.request
    said_lines = [
        t(
            "{procedure}: {outcome} - {used_s} of {budget_s}",
            procedure=request.procedure,
            outcome=showing.outcome(result.status),
            used_s=round(result.seconds, 1),
            budget_s=request.budget_s,
        )
    ]
    hosts = sorted(result.tally.hosts.items())
    for name, host in hosts:
        report = host.reports.get("md")
        if report or len(hosts) > 1:
            said_lines.append(f"  {name}: {showing.outcome(host.outcome)}" + (f" - {report}" if report else ""))
    rest = result.rest
    if rest is not None:
        if rest.ended:
            said_lines.append("  " + t("Ended on the hosts: {names}", names=", ".join(rest.ended)))
        if rest.left:
            said_lines.append("  " + t("Still running on the hosts: {names}", names=", ".join(rest.left)))
        if rest.unasked:
            said_lines.append(
                "  " + t("{count} hosts could not be asked to end what they run for it.", count=rest.unasked)
            )
    said_lines += [f"  {said(problem)}" for problem in result.problems]
    if result.status != MET:
        said_lines.append("  " + t("Artifacts: {path}", path=str(result.artifacts)))
    return said_lines
