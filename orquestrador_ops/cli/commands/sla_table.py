"""Service levels on a terminal: a table for each host with its days, its incidents, and the actions to take."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...core.i18n import Translator
from ...core.text import ascii_only, clean, columns
from ...sla.report import summary
from ...sla.report.wording import Wording
from .sla import translator

Document = Mapping[str, Any]

_BARS = "▁▂▃▄▅▆▇█"
NOTHING = "·"  # a day without data
MAX_DAYS = 31
MAX_INCIDENTS = 10
MAX_WIDTH = 300
_ESCAPES = re.compile("\x1b\\[[0-9;]*m")
_STYLES = {"met": "green", "missed": "bold red", "unproven": "yellow", "no_data": "dim"}


def lines(document: Document) -> Iterator[str]:
    """Yield the lines of ``runbook sla``."""
    tr = translator()
    plain = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
    for host in document["hosts"].values():
        for line in _host(host, tr):
            yield ascii_only(line) if plain else line


def _host(document: Document, tr: Translator) -> Iterator[str]:
    wording, period = Wording(tr), document["period"]
    names = {"host": clean(document["host"], 255), "name": clean(period["name"], 60), "zone": tr.zone_name()}
    times = {"from_at": period["from"], "until_at": period["until"]}
    yield tr.t("{host}: {name}, from {from_at} to {until_at} ({zone})", **names, **times)
    yield from _table(document, wording)
    yield from _incidents(document, wording)
    for sla in document["slas"]:
        if sla.get("action"):
            yield "  " + tr.t("{title}: {action}", title=sla["title"], action=sla["action"])
    yield from (f"  {tr.message(line)}" for line in _burning(document))
    for path in (document.get("reports") or {}).values():
        yield f"  {path}"


def _burning(document: Document) -> list[Any]:
    from ...sla import alerts

    return alerts.firing_messages([document])


# Columns that a narrow terminal leaves out, the least needed first.
_OPTIONAL = ("days", "coverage", "interval")


def _table(document: Document, wording: Wording) -> Iterator[str]:
    from rich.console import Console

    terminal = Console(highlight=False)
    for left_out in range(len(_OPTIONAL) + 1):
        lines = _table_lines(document, wording, _OPTIONAL[:left_out], colour=terminal.is_terminal)
        if not terminal.is_terminal or max(map(_width, lines)) <= terminal.width:
            break
    yield from lines


def _width(line: str) -> int:
    return columns(_ESCAPES.sub("", line))


def _table_lines(document: Document, wording: Wording, left_out: Sequence[str], *, colour: bool) -> list[str]:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    tr = wording.tr
    heads = {
        "title": tr.t("SLA"),
        "objective": tr.t("Objective"),
        "value": tr.t("Value"),
        "verdict": tr.t("Verdict"),
        "left": tr.t("Left"),
        "coverage": tr.t("Known"),
        "interval": tr.t("Worst … best"),
        "days": tr.t("Days"),
    }
    rows = [_cells(sla, document, wording) for sla in document["slas"]]
    shown = [name for name in heads if name not in left_out and any(row[name] for row in rows)]
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in shown:
        table.add_column(heads[name], no_wrap=True)
    for sla, row in zip(document["slas"], rows, strict=True):
        style = _STYLES.get(sla["verdict"], "")
        table.add_row(*(Text(row[name], style=style if name == "verdict" else "") for name in shown))
    # rich decides whether the terminal has colours (NO_COLOR).
    console = Console(highlight=False, width=MAX_WIDTH, force_terminal=colour, no_color=None if colour else True)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def _cells(sla: Document, document: Document, wording: Wording) -> dict[str, str]:
    coverage = sla.get("coverage")
    return {
        "title": clean(sla["title"], 60),
        "objective": summary.objective(sla, wording),
        "value": summary.value(sla, "value", wording),
        "verdict": summary.verdict(sla["verdict"], wording.tr),
        "left": summary.remaining(sla, wording),
        "coverage": "-" if coverage is None else wording.share(coverage),
        "interval": summary.interval(sla, wording),
        "days": sparkline(shares(document["days"], sla["id"]), _floor(sla)),
    }


def _floor(sla: Document) -> float:
    """Return the share with the lowest bar: ten times the error budget below 1."""
    objective = sla["objective"] if sla["unit"] == "ratio" and sla["id"] != "error_rate" else 0.999
    return max(1 - 10 * (1 - objective), 0.0)


def shares(days: Iterable[Document], name: str) -> list[float | None]:
    """Return the good share of each day, ``None`` for a day without data; empty for an SLA without daily figures."""
    if name == "uptime":
        return [_ratio(day["up_s"], day["down_s"]) for day in days]
    if name == "response":
        return [day["fast"] for day in days]
    return []


def _ratio(good: float, bad: float) -> float | None:
    return good / (good + bad) if good + bad > 0 else None


def sparkline(values: list[float | None], floor: float) -> str:
    """Return a bar for each value from ``floor`` or less to 1; only exactly 1 has the highest. Group long series.

    A bar shows the worst of its values: an outage must not vanish in a year.
    """
    size = max(math.ceil(len(values) / MAX_DAYS), 1)
    groups = [[value for value in values[at : at + size] if value is not None] for at in range(0, len(values), size)]
    return "".join(_bar(min(value), floor) if value else NOTHING for value in groups)


def _bar(value: float, floor: float) -> str:
    if value >= 1:
        return _BARS[-1]
    height = (value - floor) / (1 - floor) if floor < 1 else 0.0
    return _BARS[min(max(int(height * (len(_BARS) - 1)), 0), len(_BARS) - 2)]


def _incidents(document: Document, wording: Wording) -> Iterator[str]:
    tr, incidents = wording.tr, list(document["incidents"])
    for incident in incidents[-MAX_INCIDENTS:]:
        down = {"from_at": incident["from"], "lasted": wording.seconds(incident["seconds"])}
        line = tr.t("down from {from_at} for {lasted}", **down)
        if incident["to"] is None:
            line = tr.t("down since {from_at}, {lasted} so far", **down)
        yield "  " + line + (f" ({tr.t('planned')})" if incident["planned"] else "")
    if len(incidents) > MAX_INCIDENTS:
        yield "  " + tr.t("{count} more", count=len(incidents) - MAX_INCIDENTS)
