"""The commands of ``runbook``. Each says what it takes; what it does stands in the modules beside this one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from . import completion, looking
from .words import t

app = typer.Typer(
    name="runbook",
    help=t("Runs the procedures of the operational playbook, and tells what became of them."),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help=t("One JSON document on standard output, nothing else."))]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", help=t("Where history and reports lie; default: OPS_STATE_DIR, else var/.")),
]
Inventory = Annotated[
    list[str] | None,
    typer.Option("--inventory", "-i", help=t("Inventory; default: the one of ansible.cfg.")),
]
VaultFile = Annotated[
    Path | None, typer.Option("--vault-password-file", help=t("File with the password of the Vault."))
]
Extra = Annotated[
    list[str] | None,
    typer.Option("--extra-vars", "-e", help=t("Variable: name=value, a mapping as JSON or YAML, or @file.")),
]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help=t("All of Ansible's own output."))]
Keep = Annotated[int, typer.Option("--keep", min=1, help=t("How many runs' artifacts are kept."))]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata  # noqa: PLC0415

        try:
            number = metadata.version("orquestrador-ops")
        except metadata.PackageNotFoundError:
            number = "0"
        typer.echo(f"runbook {number}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help=t("The version."))
    ] = False,
) -> None:
    pass


@app.command("run", help=t("Run a procedure. Status 0: its expected result was proven."))
def run(
    procedure: Annotated[
        str, typer.Argument(help=t("Its name, daily for instance."), autocompletion=completion.procedures)
    ],
    target: Annotated[
        str | None,
        typer.Option("--target", help=t("This host or group only."), autocompletion=completion.hosts),
    ] = None,
    inventory: Inventory = None,
    check: Annotated[bool, typer.Option("--check", help=t("Observe and say what would be done; change nothing."))] = False,
    extra: Extra = None,
    vault: VaultFile = None,
    keep: Keep = 20,
    state_dir: StateDir = None,
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    from . import running  # noqa: PLC0415 - ansible-runner is dear

    asked = running.asked(
        procedure,
        target=target,
        inventory=inventory or [],
        check=check,
        extra=extra or [],
        vault=vault,
        keep=keep,
        state_dir=state_dir,
        verbosity=verbose,
        width=running.columns(),
    )
    raise typer.Exit(running.run(asked, as_json=as_json))


@app.command("status", help=t("What is on record of every host, without asking any."))
def status(state_dir: StateDir = None, as_json: Json = False) -> None:
    _show(looking.status(state_dir), looking.status_lines, as_json)


def _show(document: dict[str, Any], lines: Any, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2, default=str))
    else:
        for line in lines(document):
            typer.echo(line)
