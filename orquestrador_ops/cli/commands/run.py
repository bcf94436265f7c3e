"""``runbook run``: from the command line's options to the last line and the exit status."""

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
from ..runner import extra_vars
from ..runner.execute import ENDED, Request, Result, write_result
from ..runner.execute import run as execute
from ..runner.progress import Lines, Live, Plain, Silent
from ..runner.signals import Signals, StopRequests
from ..words import CliError, t, translated, translator
from . import render

GRACE_S = 15.0
ESCALATE = "escalate"
ESCALATE_S = 60.0


def columns() -> int:
    """Return the width of the terminal."""
    return shutil.get_terminal_size((100, 24)).columns


def build_request(
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
    """Return the request to run a procedure. Raises :class:`CliError` for an invalid one."""
    found_project = project.find()
    playbook = found_project.playbook(procedure)
    variables, files = extra_vars.parse(extra)
    if target:
        variables["target"] = target
    if state_dir is not None:
        variables.setdefault("ops_state_dir", str(found_project.state_dir(state_dir)))  # overrides the inventory
    if os.environ.get("OPS_LOCALE") and not any(name == "ops_locale" for name in variables):
        variables["ops_locale"] = translator().locale
    arguments: list[str] = []
    for name in inventory:
        arguments += ["-i", _inventory(name)]
    if vault is not None:
        arguments += ["--vault-password-file", str(_readable(vault, msg("the file with the Vault's password")))]
    for file in files:
        arguments += ["-e", f"@{file}"]
    terminal = sys.stdout.isatty()
    environment = {"COLUMNS": str(width)}
    if not terminal or os.environ.get("NO_COLOR"):
        environment["ANSIBLE_NOCOLOR"] = "1"
    return Request(
        project=found_project.root,
        playbook=playbook,
        procedure=playbook.stem,
        state_dir=found_project.state_dir(state_dir),
        budget_s=project.budget_s(playbook, variables),
        forks=found_project.forks,
        arguments=tuple(arguments),
        variables=variables,
        environment=environment,
        check=check,
        verbosity=min(verbosity, 4),
        keep=keep,
        grace_s=grace_s,
    )


def _inventory(named: str) -> str:
    """Return an inventory for Ansible: a list of hosts unchanged, a path made absolute."""
    return named if "," in named else str(_readable(Path(named), msg("the inventory")))


def _readable(path: Path, what: Message) -> Path:
    whole = path.expanduser().absolute()
    if not whole.exists():
        raise CliError(msg("{path}: there is no such file ({what}): correct the path", path=str(whole), what=what))
    if not os.access(whole, os.R_OK):
        raise CliError(
            msg("{path}: it cannot be read ({what}): give this user read access", path=str(whole), what=what)
        )
    return whole


def run(request: Request, *, as_json: bool) -> int:
    """Run a request, show its progress, record it if it did not conclude; return the exit status."""
    lines = Lines(sys.stdout)
    with Signals() as signals:
        if as_json:
            result = execute(request, Silent(), signals)
        elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
            with Live(brief=not request.verbosity) as live:
                result = execute(request, live, signals)
        else:
            result = execute(request, Plain(lines), signals)
        record_unconcluded(result, signals)
    if as_json:
        lines.write(json.dumps(result.as_dict(translated), ensure_ascii=False, indent=2, default=str))
    else:
        for line in summary_lines(result):
            lines.write(line)
    return result.rc


def record_unconcluded(result: Result, signals: StopRequests) -> None:
    """Record a run that was ended early, escalate one that hung, and write the result beside its artifacts."""
    if result.status in ENDED:
        from ..runner import record

        result.problems.extend(record.record(result))
        if result.status == TIMEOUT and not result.request.check:
            _escalate(result, signals)
    write_result(result)


def _escalate(result: Result, signals: StopRequests) -> None:
    """Notify the on-call people by the procedure ``escalate``: only Ansible can read addresses in the Vault."""
    request = result.request
    playbook = project.Project(request.project).playbooks.get(ESCALATE)
    if playbook is None:
        notified = False
    else:
        variables = {name: value for name, value in request.variables.items() if name != "report_budget_s"}
        escalation = replace(request, playbook=playbook, procedure=ESCALATE, variables=variables)
        notified = execute(replace(escalation, budget_s=ESCALATE_S, grace_s=5.0), Silent(), signals).rc == 0
    if not notified:
        result.problems.append(msg("Nobody could be notified: run the procedure escalate by hand and read its error"))


def summary_lines(result: Result) -> list[str]:
    """Return the lines at the end of a run: outcome, reports, leftovers, problems."""
    request = result.request
    lines = [
        t(
            "{procedure}: {outcome} - {used_s} of {budget_s}",
            procedure=request.procedure,
            outcome=render.outcome(result.status),
            used_s=round(result.seconds, 1),
            budget_s=request.budget_s,
        )
    ]
    hosts = sorted(result.events.hosts.items())
    for name, host in hosts:
        report = host.reports.get("md")
        if report or len(hosts) > 1:
            lines.append(f"  {name}: {render.outcome(host.outcome)}" + (f" - {report}" if report else ""))
    leftovers = result.leftovers
    if leftovers is not None:
        if leftovers.ended:
            lines.append("  " + t("Ended on the hosts: {names}", names=", ".join(leftovers.ended)))
        if leftovers.left:
            lines.append("  " + t("Still running on the hosts: {names}", names=", ".join(leftovers.left)))
        if leftovers.unasked:
            lines.append(
                "  " + t("{count} hosts could not be reached to end the run's processes.", count=leftovers.unasked)
            )
    lines += [f"  {translated(problem)}" for problem in result.problems]
    if result.status != MET:
        lines.append("  " + t("Artifacts: {path}", path=str(result.artifacts)))
    return lines
