"""The commands of ``runbook`` with their arguments; :mod:`.commands` has their code."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from .commands import completion, sla_app
from .options import Extra, Inventory, Json, Keep, StateDir, VaultFile, Verbose, print_document, state_dir_of
from .words import t

app = typer.Typer(
    name="runbook",
    help=t("Run the procedures of the operational playbook and report their results."),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

reports_app = typer.Typer(help=t("Reports, newest first."), rich_markup_mode=None)
app.add_typer(reports_app, name="reports")
app.add_typer(sla_app.sla_app, name="sla")
app.add_typer(sla_app.history_app, name="history")


def _version(value: bool) -> None:
    if value:
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
        bool, typer.Option("--version", callback=_version, is_eager=True, help=t("Show the version and exit."))
    ] = False,
) -> None:
    pass


@app.command("run", help=t("Run a procedure. Status 0: its expected result was proven."))
def run(
    procedure: Annotated[
        str, typer.Argument(help=t("Name of the procedure, for instance daily."), autocompletion=completion.procedures)
    ],
    target: Annotated[
        str | None,
        typer.Option("--target", help=t("This host or group only."), autocompletion=completion.hosts),
    ] = None,
    inventory: Inventory = None,
    check: Annotated[
        bool, typer.Option("--check", help=t("Check mode: show what would be done; change nothing."))
    ] = False,
    extra: Extra = None,
    vault: VaultFile = None,
    keep: Keep = 20,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            min=0,
            help=t("Seconds of grace after the budget, and for processes on a host to end after SIGTERM."),
        ),
    ] = 15,
    state_dir: StateDir = None,
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    from .commands import run as run_command

    request = run_command.build_request(
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
        width=run_command.columns(),
    )
    raise typer.Exit(run_command.run(request, as_json=as_json))


@app.command("watch", help=t("Run cycles of the watch until a signal ends it."))
def watch(
    interval: Annotated[
        float, typer.Option("--interval", min=1, help=t("Seconds from the start of one cycle to the next."))
    ] = 15,
    cycles: Annotated[int | None, typer.Option("--cycles", min=1, help=t("End after this many cycles."))] = None,
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
    from .commands import run as run_command
    from .commands import watch as watch_command

    request = run_command.build_request(
        "watch",
        target=target,
        inventory=inventory or [],
        check=False,
        extra=extra or [],
        vault=vault,
        keep=watch_command.KEEP,
        state_dir=state_dir,
        verbosity=0,
        width=run_command.columns(),
    )
    request = replace(request, folder=watch_command.FOLDER)
    raise typer.Exit(watch_command.watch(request, interval_s=interval, cycles=cycles, as_json=as_json))


@app.command("status", help=t("Show the recorded state of every host, without contacting any."))
def status(state_dir: StateDir = None, as_json: Json = False) -> None:
    from .commands import render
    from .commands import status as status_command

    document = status_command.status(state_dir_of(state_dir))
    print_document(document, render.status(document), as_json)


@app.command("incidents", help=t("Open incidents, newest first."))
def incidents(
    closed: Annotated[bool, typer.Option("--all", help=t("Show closed incidents as well."))] = False,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from .commands import render
    from .commands import status as status_command

    document = status_command.list_incidents(state_dir_of(state_dir), closed=closed)
    print_document(document, render.incidents(document), as_json)


Number = Annotated[int, typer.Argument(min=1, help=t("Number of the incident."), autocompletion=completion.incidents)]


@app.command("incident", help=t("Show one incident: reasons, recovery attempts, timeline, notifications."))
def incident(number: Number, state_dir: StateDir = None, as_json: Json = False) -> None:
    from .commands import render
    from .commands import status as status_command

    document = status_command.show_incident(state_dir_of(state_dir), number)
    print_document(document, render.incident(document), as_json)


@app.command("ack", help=t("Acknowledge an incident: it is not escalated any further."))
def ack(
    number: Number,
    note: Annotated[str | None, typer.Option("--note", help=t("Note for the incident's timeline."))] = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from .commands import render
    from .commands import status as status_command

    document = status_command.acknowledge(state_dir_of(state_dir), number, note)
    print_document(document, render.acknowledgement(document), as_json)


@app.command("close-breaker", help=t("Close a circuit breaker: let a procedure recover a host again."))
def close_breaker(
    host: Annotated[str, typer.Argument(help=t("The host."), autocompletion=completion.hosts)],
    procedure: Annotated[str, typer.Argument(help=t("The procedure."), autocompletion=completion.procedures)],
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from .commands import render
    from .commands import status as status_command

    document = status_command.close_breaker(state_dir_of(state_dir), host, procedure)
    print_document(document, render.breaker(document), as_json)


@reports_app.callback(invoke_without_command=True)
def reports(
    ctx: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", help=t("This host only."), autocompletion=completion.hosts)
    ] = None,
    procedure: Annotated[
        str | None, typer.Option("--procedure", help=t("This procedure only."), autocompletion=completion.procedures)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help=t("Maximum number of reports."))] = 20,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    if ctx.invoked_subcommand is not None:
        return
    from .commands import render
    from .commands import status as status_command

    document = status_command.reports(state_dir_of(state_dir), host=host, procedure=procedure, limit=limit)
    print_document(document, render.reports(document), as_json)


@reports_app.command("show", help=t("Show one report."))
def show(
    run_id: Annotated[str, typer.Argument(help=t("Id of the run."))],
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from .commands import status as status_command

    typer.echo(status_command.report(state_dir_of(state_dir), run_id, as_json=as_json))
