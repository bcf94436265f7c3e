"""The report of service levels of a host and period: Markdown, one self-contained page of HTML, and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.coerce import jsonable
from ...core.files import link_latest, private_dir, safe_name, write_atomic
from ...core.i18n import Translator
from ...reports import writer as report
from . import charts, sheet

if TYPE_CHECKING:
    from ..data.facts import Facts

FORMATS = report.FORMATS
_BLANK = re.compile(r"\n{3,}")


def render(document: Mapping[str, Any], fmt: str, tr: Translator, facts: Facts | None = None) -> str:
    """The report of ``document`` (of :func:`.evaluate.evaluate`) as ``md``, ``html`` or ``json``.

    ``facts`` adds what only the store knows: runs, for the checklist and for backups, and the timeline hour by hour.
    ``ValueError``, one line, for another format and for a document without a period.
    """
    if fmt not in FORMATS:
        raise ValueError(f"no report format {fmt!r}: use one of {', '.join(FORMATS)}")
    return _laid_out(document, sheet.build(document, tr, facts), fmt, tr)


def write(
    document: Mapping[str, Any], *, reports_dir: Path, tr: Translator, facts: Facts | None = None
) -> dict[str, str]:
    """Write ``<reports_dir>/<host>/sla-<period>.{md,html,json}`` and return ``{format: path}``.

    ``latest-sla-<kind>.<format>`` points at the one written last; a rolling period's kind is its name. Files are 0600
    in directories 0700, whole or absent. Raises ``OSError`` when they can't be written, ``ValueError`` as above.
    """
    view = sheet.build(document, tr, facts)
    period = document["period"]
    directory = private_dir(Path(reports_dir) / safe_name(str(document["host"])))
    kind = str(period.get("kind"))
    kind = safe_name(str(period["name"]) if kind == "rolling" else kind)
    written = {}
    for fmt in FORMATS:
        path = path_of(document, reports_dir, fmt)
        write_atomic(path, _laid_out(document, view, fmt, tr).encode("utf-8", "replace"))
        link_latest(directory / f"latest-sla-{kind}.{fmt}", path)
        written[fmt] = str(path)
    return written


def warm(tr: Translator) -> None:
    """Load and compile what a page needs: forked workers inherit it from a parent that called this."""
    for fmt in ("md", "html"):
        report.page(f"sla.{fmt}.j2", tr)
    line = charts.Line("", [0.0, 1.0], "first")
    charts.plot("warm", charts.Plot([0.0, 1.0], (0.0, 1.0), [line], [(0.0, "0")], [(0.0, "0")], 1.0), "", "")


def path_of(document: Mapping[str, Any], reports_dir: Path, fmt: str) -> Path:
    """Where the report of a document lies."""
    name = f"sla-{safe_name(str(document['period']['name']))}.{fmt}"
    return Path(reports_dir) / safe_name(str(document["host"])) / name


def _laid_out(document: Mapping[str, Any], view: Mapping[str, Any], fmt: str, tr: Translator) -> str:
    if fmt == "json":
        told = {name: part for name, part in view.items() if name not in {"pictures", "calendar"}}
        told["charts"] = {
            name: chart and {key: part for key, part in chart.items() if key != "svg"}
            for name, chart in view["pictures"].items()
        }
        whole = jsonable({**document, "rendered": told})
        return json.dumps(whole, ensure_ascii=False, indent=1, sort_keys=False, allow_nan=False) + "\n"
    text = report.page(f"sla.{fmt}.j2", tr).render(view=view)
    # Parts that a period lacks leave their blank lines behind, which mean nothing in Markdown.
    return _BLANK.sub("\n\n", text).strip() + "\n" if fmt == "md" else text
