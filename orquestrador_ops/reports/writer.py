"""The report of a run: Markdown for reading and tickets, HTML for people, JSON for machines.

Templates are compiled once per process and language; everything they print is escaped unless a filter says it already
is, because log samples and process names are hostile input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.coerce import jsonable
from ..core.files import link_latest, private_dir, safe_name, write_atomic
from ..core.i18n import Translator
from ..core.text import clean
from .view import SCHEMA

if TYPE_CHECKING:
    from jinja2 import Environment, Template

FORMATS = ("md", "html", "json")
_TEMPLATES = Path(__file__).parent / "templates"
# CommonMark's punctuation that can begin something inside a line; "&" so that no entity is made up.
_MD_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&$])")
_MD_START = re.compile(r"^(?:(?=[#+=-])|(\d+)(?=[.)](?:\s|$)))")  # a heading, an item, a rule, a numbered item


def render(view: Mapping[str, Any], fmt: str, tr: Translator) -> str:
    """Lay out ``view`` (:func:`.view.build`) as ``md``, ``html`` or ``json``; ``ValueError`` for any other format."""
    if fmt == "json":
        return _json(view)
    if fmt not in FORMATS:
        raise ValueError(f"no report format {fmt!r}: use one of {', '.join(FORMATS)}")
    return page(f"report.{fmt}.j2", tr).render(view=view)


def write(view: Mapping[str, Any], *, reports_dir: Path, tr: Translator) -> dict[str, str]:
    """Write ``view`` as ``<reports_dir>/<host>/<procedure>-<run_id>.{md,html,json}`` and return ``{format: path}``.

    Files are 0600 in directories 0700, whole or absent, and ``latest-<procedure>.<format>`` points at them. Raises
    ``OSError`` when they cannot be written.
    """
    record = view["data"]["record"]
    directory = private_dir(Path(reports_dir) / safe_name(str(record["host"])))
    procedure = safe_name(str(record["procedure"]))
    written = {}
    for fmt in FORMATS:
        path = directory / f"{procedure}-{safe_name(str(record['run_id']))}.{fmt}"
        write_atomic(path, render(view, fmt, tr).encode("utf-8", "replace"))
        link_latest(directory / f"latest-{procedure}.{fmt}", path)
        written[fmt] = str(path)
    return written


def warm(tr: Translator) -> None:
    """Compile the templates of one language: forked workers inherit them from a parent that called this."""
    for fmt in ("md", "html"):
        page(f"report.{fmt}.j2", tr)


def page(name: str, tr: Translator) -> Template:
    """A template in the operator's language, ``….md.j2`` or ``….html.j2``; what it prints is escaped."""
    # By language, not by translator: two of them may differ in their time zone only.
    found = _templates.get((name, tr.locale))
    if found is None:
        fmt = "html" if name.endswith(".html.j2") else "md"
        found = _templates[name, tr.locale] = _environment(fmt, tr).get_template(name)
    return found


_templates: dict[tuple[str, str], Template] = {}


def _environment(fmt: str, tr: Translator) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=fmt == "html",  # noqa: S701 - Markdown has its own escaping, in finalize
        finalize=_markdown if fmt == "md" else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(tr.catalog.gettext, tr.catalog.ngettext)  # type: ignore[attr-defined]
    environment.filters["code"] = code
    environment.filters["raw"] = _Markdown
    environment.filters["fenced"] = fenced
    return environment


class _Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def _markdown(value: object) -> _Markdown:
    return value if isinstance(value, _Markdown) else escape(value)


def escape(value: object) -> _Markdown:
    """``value`` as one line of Markdown that reads as it is written, in a paragraph, a list or a table cell."""
    text = _MD_SPECIAL.sub(r"\\\1", clean(value).strip())
    return _Markdown(_MD_START.sub(r"\g<0>\\", text))


def code(value: object) -> _Markdown:
    """``value`` as a code span, with a fence longer than any run of backticks in it. Not for table cells."""
    text = clean(value)
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return _Markdown(f"{fence}{pad}{text}{pad}{fence}")


def fenced(lines: list[str]) -> _Markdown:
    """Lines of a program's output as a block that nothing in them can end."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(longest + 1, 3)
    return _Markdown("\n".join([f"{fence}text", *(clean(line) for line in lines), fence, ""]))


def _json(view: Mapping[str, Any]) -> str:
    data = view["data"]
    record = dict(data["record"])
    previous = record.get("previous_run")
    if isinstance(previous, Mapping):  # its own report has the rest
        record["previous_run"] = {name: previous.get(name) for name in ("run_id", "started_at", "outcome")}
    shown = {name: value for name, value in view.items() if name not in {"data", "schema"}}
    document = {
        "schema": SCHEMA,
        "record": record,
        "snapshot": data["snapshot"],
        "verdict": data["verdict"],
        "rendered": shown,
    }
    # A line for each part: readable enough, and three times as quick as indenting all of it.
    parts = (
        f"{json.dumps(name)}: {json.dumps(jsonable(part), ensure_ascii=False, sort_keys=True, allow_nan=False)}"
        for name, part in sorted(document.items())
    )
    return "{\n" + ",\n".join(parts) + "\n}\n"
