"""Service levels on a terminal: a table for each host, how its days were, its incidents, and what to do."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...core.i18n import Translator
from ...core.text import ascii_only, clean, columns
from ...sla.report import summary as words_of
from ...sla.report.words import Words
from .sla import translator

Document = Mapping[str, Any]

_BARS = "▁▂▃▄▅▆▇█"
NOTHING = "·"  # of a day that nobody knows anything of
MAX_DAYS = 31
MAX_INCIDENTS = 10
MAX_WIDTH = 300
_ESCAPES = re.compile("\x1b\\[[0-9;]*m")
_STYLES = {"met": "green", "missed": "bold red", "unproven": "yellow", "no_data": "dim"}


def lines(document: Document) -> Iterator[str]:
    """The lines of ``runbook sla``."""
    tr = translator()
    plain = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
    for host in document["hosts"].values():
        for line in _host(host, tr):
            yield ascii_only(line) if plain else line


def _host(document: Document, tr: Translator) -> Iterator[str]:
    words, period = Words(tr), document["period"]
    names = {"host": clean(document["host"], 255), "name": clean(period["name"], 60), "zone": tr.zone_name()}
    times = {"from_at": period["from"], "until_at": period["until"]}
    yield tr.t("{host}: {name}, from {from_at} to {until_at} ({zone})", **names, **times)
    yield from _table(document, words)
    yield from _incidents(document, words)
    for sla in document["slas"]:
        if sla.get("action"):
            yield "  " + tr.t("{title}: {action}", title=sla["title"], action=sla["action"])
    yield from (f"  {tr.message(line)}" for line in _burning(document))
    for path in (document.get("reports") or {}).values():
        yield f"  {path}"


def _burning(document: Document) -> list[Any]:
    from ...sla import alerts

    return alerts.lines_of([document])


# Columns in their order, and those that a narrow terminal does without, the least needed first.
_OPTIONAL = ("days", "coverage", "interval")


def _table(document: Document, words: Words) -> Iterator[str]:
    from rich.console import Console

    terminal = Console(highlight=False)
    for left_out in range(len(_OPTIONAL) + 1):
        found = _drawn(document, words, _OPTIONAL[:left_out], colour=terminal.is_terminal)
        if not terminal.is_terminal or max(map(_width, found)) <= terminal.width:
            break
    yield from found


def _width(line: str) -> int:
    return columns(_ESCAPES.sub("", line))


def _drawn(document: Document, words: Words, left_out: Sequence[str], *, colour: bool) -> list[str]:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    tr = words.tr
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
    rows = [_cells(sla, document, words) for sla in document["slas"]]
    shown = [name for name in heads if name not in left_out and any(row[name] for row in rows)]
    table = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold")
    for name in shown:
        table.add_column(heads[name], no_wrap=True)
    for sla, row in zip(document["slas"], rows, strict=True):
        style = _STYLES.get(sla["verdict"], "")
        table.add_row(*(Text(row[name], style=style if name == "verdict" else "") for name in shown))
    # Whether a terminal may have colours is rich's own affair: NO_COLOR.
    paper = Console(highlight=False, width=MAX_WIDTH, force_terminal=colour, no_color=None if colour else True)
    with paper.capture() as captured:
        paper.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def _cells(sla: Document, document: Document, words: Words) -> dict[str, str]:
    coverage = sla.get("coverage")
    return {
        "title": clean(sla["title"], 60),
        "objective": words_of.objective(sla, words),
        "value": words_of.value(sla, "value", words),
        "verdict": words_of.verdict(sla["verdict"], words.tr),
        "left": words_of.left(sla, words),
        "coverage": "-" if coverage is None else words.share(coverage),
        "interval": words_of.interval(sla, words),
        "days": sparkline(shares(document["days"], sla["id"]), _floor(sla)),
    }


def _floor(sla: Document) -> float:
    """The share that has the lowest bar: as far below the objective as a tenth of the budget's tenfold."""
    objective = sla["objective"] if sla["unit"] == "ratio" and sla["id"] != "error_rate" else 0.999
    return max(1 - 10 * (1 - objective), 0.0)


def shares(days: Iterable[Document], name: str) -> list[float | None]:
    """What of each day was good, as far as an SLA is told by days; ``None`` for a day that nobody knows of."""
    if name == "uptime":
        return [_ratio(one["up_s"], one["down_s"]) for one in days]
    if name == "response":
        return [one["fast"] for one in days]
    return []


def _ratio(good: float, bad: float) -> float | None:
    return good / (good + bad) if good + bad > 0 else None


def sparkline(values: list[float | None], floor: float) -> str:
    """A bar for each value from ``floor`` (or less) to 1; only a whole 1 has the highest. Long ones are put together.

    Of values that share a bar the worst counts: an outage must not vanish in a year.
    """
    several = max(math.ceil(len(values) / MAX_DAYS), 1)
    groups = [[one for one in values[at : at + several] if one is not None] for at in range(0, len(values), several)]
    return "".join(_bar(min(one), floor) if one else NOTHING for one in groups)


def _bar(value: float, floor: float) -> str:
    if value >= 1:
        return _BARS[-1]
    height = (value - floor) / (1 - floor) if floor < 1 else 0.0
    return _BARS[min(max(int(height * (len(_BARS) - 1)), 0), len(_BARS) - 2)]


def _incidents(document: Document, words: Words) -> Iterator[str]:
    tr, found = words.tr, list(document["incidents"])
    for one in found[-MAX_INCIDENTS:]:
        down = {"from_at": one["from"], "lasted": words.seconds(one["seconds"])}
        line = tr.t("down from {from_at} for {lasted}", **down)
        if one["to"] is None:
            line = tr.t("down since {from_at}, {lasted} so far", **down)
        yield "  " + line + (f" ({tr.t('planned')})" if one["planned"] else "")
    if len(found) > MAX_INCIDENTS:
        yield "  " + tr.t("{count} more", count=len(found) - MAX_INCIDENTS)
