"""The commands ``runbook sla`` and ``runbook history``. What they do stands in :mod:`.sla` and :mod:`.history`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import Json, StateDir, show_document, state_of
from ..words import t
from . import completion

sla_app = typer.Typer(
    help=t("What was promised, what was measured, and what is left of the error budget.")
    + "\n\n"
    + t(
        "Status 0: every SLA is met. 1: one is missed. 3: none is missed, but something is unproven, nothing is known, "
        "or the history cannot be read. 2: it cannot be asked like this."
    ),
    rich_markup_mode=None,
)
history_app = typer.Typer(
    help=t("Probes on record: bring them in, take them out, keep them small."),
    rich_markup_mode=None,
    no_args_is_help=True,
)

Host = Annotated[str | None, typer.Option("--host", help=t("Of this host."), autocompletion=completion.hosts)]
Period = Annotated[
    str | None,
    typer.Option(
        "--period",
        help=t(
            "day, week, month, quarter, year, last-month and its like, 30d and its like, or 2026-11; default: month."
        ),
    ),
]
From = Annotated[str | None, typer.Option("--from", help=t("From this instant on, in ISO 8601."))]
To = Annotated[str | None, typer.Option("--to", help=t("Up to this instant, in ISO 8601; default: now."))]
Objective = Annotated[
    list[str] | None,
    typer.Option("--objective", help=t("Another objective: uptime=99.95%, response_ms=300, recovery_s=600.")),
]
Gap = Annotated[
    float | None, typer.Option("--gap", help=t("Seconds for which a probe holds; beyond them nothing is known."))
]
Out = Annotated[str | None, typer.Option("--format", help=t("csv or jsonl; default: by the name."))]
In = Annotated[str | None, typer.Option("--format", help=t("csv, jsonl or health-monitor; default: by the content."))]


@sla_app.callback(invoke_without_command=True)
def sla(
    ctx: typer.Context,
    host: Host = None,
    period: Period = None,
    start: From = None,
    end: To = None,
    objective: Objective = None,
    gap: Gap = None,
    report: Annotated[bool, typer.Option("--report", help=t("Write the report as well, and name its files."))] = False,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    if ctx.invoked_subcommand is not None:
        return
    from . import sla as service
    from . import sla_table

    asked = service.Asked(state_of(state_dir), host, period, start, end, tuple(objective or ()), gap)
    found = service.evaluate(asked, report=report)
    show_document(found.document, sla_table.lines(found.document), as_json)
    raise typer.Exit(found.status)


@sla_app.command("export", help=t("Rules and a dashboard for Prometheus and Grafana, and documents of OpenSLO."))
def export(
    directory: Annotated[Path, typer.Argument(help=t("Where they are written."))],
    objective: Objective = None,
    gap: Gap = None,
    as_json: Json = False,
) -> None:
    from . import sla as service

    document = service.export(directory, tuple(objective or ()), gap)
    show_document(document, document["files"], as_json)


@sla_app.command("metrics", help=t("The figures as text for node_exporter's textfile collector."))
def metrics(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help=t("Write this file, whole or not at all; default: print it."))
    ] = None,
    host: Host = None,
    period: Annotated[
        list[str] | None, typer.Option("--period", help=t("Several may be given; default: day and month."))
    ] = None,
    openmetrics: Annotated[
        bool, typer.Option("--openmetrics", help=t("As OpenMetrics 1.0, which that collector does not read."))
    ] = False,
    objective: Objective = None,
    gap: Gap = None,
    state_dir: StateDir = None,
) -> None:
    from . import sla as service

    asked = service.Asked(state_of(state_dir), host, None, None, None, tuple(objective or ()), gap)
    typer.echo(service.metrics(asked, tuple(period or ("day", "month")), output, openmetrics=openmetrics), nl=False)


@history_app.command("export", help=t("Write probes as CSV or JSON Lines."))
def history_export(
    file: Annotated[str, typer.Argument(help=t("The file; - is standard output."))] = "-",
    host: Host = None,
    start: From = None,
    end: To = None,
    format_: Out = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from . import history as histories

    done = histories.export(state_of(state_dir), file, host=host, start=start, end=end, named=format_)
    if file != "-":
        show_document(done, histories.exported(done), as_json)


@history_app.command(
    "import", help=t("Read probes from CSV, JSON Lines or a health-monitor.log. Status 1: a line was rejected.")
)
def history_import(
    file: Annotated[str, typer.Argument(help=t("The file; - is standard input."))],
    host: Host = None,
    format_: In = None,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from . import history as histories

    done = histories.read(state_of(state_dir), file, host=host, named=format_)
    show_document(done, histories.imported(done), as_json)
    raise typer.Exit(1 if done["rejected_total"] else 0)


@history_app.command("roll-up", help=t("Keep probes of long ago as counts and histograms; no figure changes."))
def roll_up(
    raw_days: Annotated[int, typer.Option("--raw-days", min=1, help=t("Days for which every probe is kept."))] = 90,
    fine_days: Annotated[int, typer.Option("--fine-days", min=1, help=t("Days kept in steps of five minutes."))] = 400,
    state_dir: StateDir = None,
    as_json: Json = False,
) -> None:
    from . import history as histories

    done = histories.roll_up(state_of(state_dir), raw_days=raw_days, fine_days=fine_days)
    show_document(done, histories.rolled_up(done), as_json)
