"""The checklist on the operator's terminal.

Words carry the meaning; colour and symbols only repeat it. Plain ANSI, because importing a terminal library costs more
than all of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..core.i18n import Translator
from ..core.text import ascii_only, clean, columns, cut, wrap

MIN_WIDTH = 40
_SGR = {"good": "32", "warn": "33", "bad": "31", "unknown": "35", "bold": "1", "dim": "2"}
# More lines than this help nobody at night; the report has them all.
MAX_FINDINGS = 8
MAX_EVENTS = 5


def render(
    view: Mapping[str, Any],
    tr: Translator,
    *,
    reports: Mapping[str, str] | None = None,
    colour: bool = False,
    width: int = 100,
    encoding: str | None = "utf-8",
) -> str:
    """The checklist of the run in ``view``, in lines none of which is wider than ``width`` columns (but at least 40).

    ``reports`` maps formats to paths; one of them is named last. ``colour`` allows ANSI colours; without it there is
    no escape sequence at all. An ``encoding`` other than UTF-8 gives plain ASCII.
    """
    paper = _Paper(
        colour=colour,
        width=max(width, MIN_WIDTH),
        ascii_stream=(encoding or "ascii").lower().replace("-", "").replace("_", "") != "utf8",
    )
    return "\n".join(_lines(view, reports or {}, tr, paper))


class _Paper:
    """A terminal: how wide, with colours or without, which characters."""

    def __init__(self, *, colour: bool, width: int, ascii_stream: bool) -> None:
        self.colour, self.width, self.ascii_stream = colour, width, ascii_stream

    def paint(self, text: str, *styles: str) -> str:
        if not self.colour or not text:
            return text
        return f"\x1b[{';'.join(_SGR[style] for style in styles)}m{text}\x1b[0m"

    def line(self, *parts: tuple[str, tuple[str, ...]]) -> str:
        """One line of (text, styles) parts, cut to the width before it is painted."""
        left, painted = self.width, []
        for text, styles in parts:
            shown = cut(ascii_only(text) if self.ascii_stream else text, left)
            if self.ascii_stream:
                shown = shown.replace("…", "~")
            left -= columns(shown)
            painted.append(self.paint(shown, *styles))
        return "".join(painted)

    def whole(self, text: str) -> str:
        """A line that is there to be copied: never cut."""
        return ascii_only(text) if self.ascii_stream else text

    def block(self, lead: str, text: str, *styles: str, lines: int = 3) -> Iterator[str]:
        """Text that may take several lines, the later ones under the first."""
        indent = columns(lead)
        for number, line in enumerate(wrap(text, max(self.width - indent, 16), lines)):
            yield self.line((lead if number == 0 else " " * indent, ()), (line, styles))


def _lines(view: Mapping[str, Any], reports: Mapping[str, str], tr: Translator, paper: _Paper) -> Iterator[str]:
    overall, outcome = view["overall"], view["outcome"]
    yield paper.line((view["title"], ("bold",)), (f" · {view['started']}" if view["started"] else "", ("dim",)))
    yield paper.line(
        (f"{overall['symbol']} {overall['word']}", (overall["tone"], "bold")),
        (" — ", ()),
        (outcome["word"], (outcome["tone"],)),
        (f" · {view['summary']}" if view["steps"] and view["observed"] else "", ("dim",)),
    )
    if view["check_mode"]:
        yield paper.line((tr.t("check mode: nothing was changed"), ("warn",)))
    yield from paper.block("", view["since"], "dim")
    if view["failure"]:
        yield ""
        yield from paper.block("  ", view["failure"], "bad", lines=6)
    if view["observed"]:
        yield ""
        for step in view["steps"]:
            yield from _step(step, tr, paper)
    yield from _rest(view, tr, paper)
    path = reports.get("md") or next(iter(reports.values()), "")
    if path:
        yield ""
        yield paper.whole(tr.t("Report: {path}", path=clean(path)))


def _step(step: Mapping[str, Any], tr: Translator, paper: _Paper) -> Iterator[str]:
    yield paper.line(
        (step["symbol"], (step["tone"], "bold")),
        (f" {step['number']}. {step['title']}", ("bold",)),
        (" — ", ()),
        (step["word"], (step["tone"], "bold")),
        (f"  {step['budget']}" if step["budget"] else "", ("dim",)),
    )
    if step["note"]:
        yield from paper.block("     ", step["note"])
    for check in step["checks"]:
        good = check["tone"] == "good"
        expected = tr.t("expected: {expected}", expected=check["expected"]) if check["expected"] else ""
        head = f"   {check['symbol']} "
        text = f"{check['title']}: {check['observed']}"
        if good:
            yield paper.line((head, ("good",)), (text, ()), (f"  ({expected})" if expected else "", ("dim",)))
            continue
        first, *more = wrap(f"{check['word']} {text}", paper.width - columns(head), 2)
        yield paper.line((head, (check["tone"],)), (first, (check["tone"],)))
        yield from (paper.line((" " * columns(head), ()), (line, (check["tone"],))) for line in more)
        if expected:
            yield from paper.block("     ", expected, "dim", lines=2)
        if check["hint"]:
            yield from paper.block("     → ", check["hint"], "bold", lines=4)


def _rest(view: Mapping[str, Any], tr: Translator, paper: _Paper) -> Iterator[str]:
    findings = view["findings"]
    if findings:
        yield ""
        yield paper.line((tr.t("Could not be observed as it should:"), ("bold",)))
        for finding in findings[:MAX_FINDINGS]:
            yield from paper.block(f"  - {finding['collector']}: ", finding["text"])
            if finding["hint"]:
                yield from paper.block("    → ", finding["hint"], "bold")
        yield from _more(len(findings) - MAX_FINDINGS, tr, paper)
    events = next((table for table in view["tables"] if table["id"] == "events"), None)
    if events:
        yield ""
        yield paper.line((events["title"], ("bold",)))
        for count, _, last, sample in events["rows"][:MAX_EVENTS]:
            yield paper.line((f"  {count}× ", ("warn",)), (f"{last}  {sample}", ()))
        yield from _more(len(events["rows"]) - MAX_EVENTS, tr, paper)
    call = view["call"]
    if call:
        yield ""
        yield paper.line((tr.t("Called for"), ("bold",)), (": ", ()), (call["title"], ("bad", "bold")))
        for reason in view["reasons"]:
            yield from paper.block("  - ", reason)
        if call["command"]:
            yield paper.whole(f"  → {call['command']}")


def _more(count: int, tr: Translator, paper: _Paper) -> Iterator[str]:
    if count > 0:
        yield paper.line(("  ", ()), (tr.t("{count} more in the report", count=count), ("dim",)))
