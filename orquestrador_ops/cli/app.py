"""The commands of ``runbook``. Each says what it takes; what it does stands in the modules beside this one."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer
import typer.core

from orquestrador.core.messages import msg

from .commands import completion
from .commands import sla_app as levels
from .options import Extra, Inventory, Json, Keep, StateDir, VaultFile, Verbose, show_document, state_of
from .words import t

# Typer's own words, in the operator's language as well.
_TYPER = (
    msg("Arguments"),
    msg("Options"),
    msg("Commands"),
    msg("required"),
    msg("default: {default}"),
    msg("Missing command."),
    msg("No such command {name!r}."),
)
vars(typer.core)["_"] = t

app = typer.Typer(
    name="runbook",
    help=t("Runs the procedures of the operational playbook, and tells what became of them."),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

reports_app = typer.Typer(help=t("Reports, newest first."), rich_markup_mode=None)
app.add_typer(reports_app, name="reports")
app.add_typer(levels.sla_app, name="sla")
app.add_typer(levels.history_app, name="history")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

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
    check: Annotated[
        bool, typer.Option("--check", help=t("Observe and say what would be done; change nothing."))
    ] = False,
    extra: Extra = None,
    vault: VaultFile = None,
    keep: Keep = 20,
    grace: Annotated[
        float,
        typer.Option("--grace", min=0, help=t("Seconds beyond the budget, and for what is asked to end on a host.")),
    ] = 15,
    state_dir: StateDir = None,
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    from .commands import run as running

    asked = running.asked(
        procedure,
        target=target,
        inventory=inventory or [],
        check=check,
        extra=extra or [],
        vault=vault,
        keep=keep,
        grace_s=grace,
        state_dir=state_dir,
        verbosity=verbose,
        width=running.columns(),
    )
    raise typer.Exit(running.run(asked, as_json=as_json))


@app.command("watch", help=t("One cycle of the watch after the other, until it is told to end."))
def watch(
    interval: Annotated[float, typer.Option("--interval", min=1, help=t("Seconds from one cycle to the next."))] = 15,
    cycles: Annotated[int | None, typer.Option("--cycles", min=1, help=t("End after so many."))] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help=t("This host or group only."), autocompletion=completion.hosts),
    ] = None,
    inventory: Inventory = None,
    extra: Extra = None,
    vault: VaultFile = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from .commands import run as running
    from .commands import watch as watching

    asked = running.asked(
        "watch",
        target=target,
        inventory=inventory or [],
        check=False,
        extra=extra or [],
        vault=vault,
        keep=watching.KEEP,
        state_dir=state_dir,
        verbosity=0,
        width=running.columns(),
    )
    asked = replace(asked, place=watching.PLACE)
    raise typer.Exit(watching.watch(asked, interval_s=interval, cycles=cycles, as_json=as_json))


@app.command("status", help=t("What is on record of every host, without asking any."))
def status(state_dir: StateDir = None, as_json: Json = False) -> None:
    from .commands import render as showing
    from .commands import status as looking

    document = looking.status(state_of(state_dir))
    show_document(document, showing.status(document), as_json)


@app.command("incidents", help=t("Open incidents, newest first."))
def incidents(
    every: Annotated[bool, typer.Option("--all", help=t("Those that are over as well."))] = False,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from .commands import render as showing
    from .commands import status as looking

    document = looking.incidents_of(state_of(state_dir), closed=every)
    show_document(document, showing.incidents(document), as_json)


Number = Annotated[int, typer.Argument(min=1, help=t("Its number."), autocompletion=completion.incidents)]


@app.command("incident", help=t("One incident: why, what was tried, its timeline, who was told."))
def incident(number: Number, state_dir: StateDir = None, as_json: Json = False) -> None:
    from .commands import render as showing
    from .commands import status as looking

    document = looking.incident_of(state_of(state_dir), number)
    show_document(document, showing.incident(document), as_json)


@app.command("ack", help=t("Take an incident on: it goes to no further level by itself."))
def ack(
    number: Number,
    note: Annotated[str | None, typer.Option("--note", help=t("What others should know."))] = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from .commands import render as showing
    from .commands import status as looking

    document = looking.acknowledge(state_of(state_dir), number, note)
    show_document(document, showing.acknowledged(document), as_json)


@app.command("close-breaker", help=t("Let a procedure recover a host again after too many recoveries."))
def close_breaker(
    host: Annotated[str, typer.Argument(help=t("The host."), autocompletion=completion.hosts)],
    procedure: Annotated[str, typer.Argument(help=t("The procedure."), autocompletion=completion.procedures)],
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from .commands import render as showing
    from .commands import status as looking

    document = looking.close_breaker(state_of(state_dir), host, procedure)
    show_document(document, showing.breaker(document), as_json)


@reports_app.callback(invoke_without_command=True)
def reports(
    ctx: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", help=t("Of this host."), autocompletion=completion.hosts)
    ] = None,
    procedure: Annotated[
        str | None, typer.Option("--procedure", help=t("Of this procedure."), autocompletion=completion.procedures)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help=t("How many at most."))] = 20,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    if ctx.invoked_subcommand is not None:
        return
    from .commands import render as showing
    from .commands import status as looking

    document = looking.reports(state_of(state_dir), host=host, procedure=procedure, limit=limit)
    show_document(document, showing.reports(document), as_json)


@reports_app.command("show", help=t("One report, as it was written."))
def show(
    run_id: Annotated[str, typer.Argument(help=t("Of this run."))],
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from .commands import status as looking

    typer.echo(looking.report(state_of(state_dir), run_id, as_json=as_json))
