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
from . import charts
from .view import build

if TYPE_CHECKING:
    from ..data.facts import Facts

FORMATS = report.FORMATS
_BLANK = re.compile(r"\n{3,}")


def render(document: Mapping[str, Any], fmt: str, tr: Translator, facts: Facts | None = None) -> str:
    """Return the report of ``document`` (of :func:`.evaluate.evaluate`) as ``md``, ``html`` or ``json``.

    ``facts`` adds runs, for the checklist and for backups, and the timeline hour by hour.
    Raises ``ValueError``, one line, for another format and for a document without a period.
    """
    if fmt not in FORMATS:
        raise ValueError(f"no report format {fmt!r}: use one of {', '.join(FORMATS)}")
    return _render_view(document, build(document, tr, facts), fmt, tr)


def write(
    document: Mapping[str, Any], *, reports_dir: Path, tr: Translator, facts: Facts | None = None
) -> dict[str, str]:
    """Write ``<reports_dir>/<host>/sla-<period>.{md,html,json}`` and return ``{format: path}``.

    ``latest-sla-<kind>.<format>`` links to the last one; a rolling period's kind is its name. Files are 0600
    in directories 0700, whole or absent. Raises ``OSError`` when they can't be written, ``ValueError`` as above.
    """
    view = build(document, tr, facts)
    period = document["period"]
    directory = private_dir(Path(reports_dir) / safe_name(str(document["host"])))
    kind = str(period.get("kind"))
    kind = safe_name(str(period["name"]) if kind == "rolling" else kind)
    written = {}
    for fmt in FORMATS:
        path = path_of(document, reports_dir, fmt)
        write_atomic(path, _render_view(document, view, fmt, tr).encode("utf-8", "replace"))
        link_latest(directory / f"latest-sla-{kind}.{fmt}", path)
        written[fmt] = str(path)
    return written


def preload(tr: Translator) -> None:
    """Load libraries and compile templates, which forked workers inherit from a parent that called this."""
    for fmt in ("md", "html"):
        report.page(f"sla.{fmt}.j2", tr)
    line = charts.Line("", [0.0, 1.0], "first")
    charts.plot("warm", charts.Plot([0.0, 1.0], (0.0, 1.0), [line], [(0.0, "0")], [(0.0, "0")], 1.0), "", "")


def path_of(document: Mapping[str, Any], reports_dir: Path, fmt: str) -> Path:
    """Return the path of the report of a document."""
    name = f"sla-{safe_name(str(document['period']['name']))}.{fmt}"
    return Path(reports_dir) / safe_name(str(document["host"])) / name


def _render_view(document: Mapping[str, Any], view: Mapping[str, Any], fmt: str, tr: Translator) -> str:
    if fmt == "json":
        rendered = {name: part for name, part in view.items() if name not in {"pictures", "calendar"}}
        rendered["charts"] = {
            name: chart and {key: part for key, part in chart.items() if key != "svg"}
            for name, chart in view["pictures"].items()
        }
        content = jsonable({**document, "rendered": rendered})
        return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=False, allow_nan=False) + "\n"
    text = report.page(f"sla.{fmt}.j2", tr).render(view=view)
    # Parts that a period lacks leave blank lines behind.
    return _BLANK.sub("\n\n", text).strip() + "\n" if fmt == "md" else text
