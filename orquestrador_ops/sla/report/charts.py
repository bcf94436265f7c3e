"""Charts of a report as SVG that lives inside a page: its colours are the page's, its text is text.

Matplotlib draws; what it writes is then made fit for a page: colours become CSS variables, so that one drawing serves
paper, light and dark; identifiers that nothing refers to go, the others are made unique; fonts are the page's. Drawing
the same figures gives the same bytes. This module knows no words: labels come from the caller.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Drawn with these colours, which occur nowhere else; shown with the page's variable of that name.
INKS = {
    "ink": "#010203",
    "soft": "#010204",
    "line": "#010205",
    "paper": "#010206",
    "up": "#010207",
    "down": "#010208",
    "planned": "#010209",
    "gap": "#01020a",
    "first": "#01020b",
    "second": "#01020c",
    "third": "#01020d",
    "goal": "#01020e",
}
WIDTH, HEIGHT = 330, 190  # of the drawing, in points; the page scales it
TEXT = 10.5
_POINTS = 72.0
_LETTER = 6.0  # how wide one is, about, in points
_RC: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "orquestrador",
    "font.size": TEXT,
    "axes.edgecolor": INKS["line"],
    "axes.labelcolor": INKS["soft"],
    "text.color": INKS["ink"],
    "xtick.color": INKS["soft"],
    "ytick.color": INKS["soft"],
    "grid.color": INKS["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "hatch.linewidth": 0.8,
    "path.simplify": True,
}


@dataclass(frozen=True)
class Line:
    """One line of a chart; ``None`` where nothing is known. ``ink`` is a key of :data:`INKS`.

    ``at`` where it has positions of its own; ``marked``: each value is a point as well.
    """

    label: str
    values: Sequence[float | None]
    ink: str
    dashes: str = "-"
    marked: bool = True
    at: Sequence[float] | None = None


@dataclass(frozen=True)
class Plot:
    """Lines over positions ``at``, between ``span``; ``ticks`` are positions with their labels.

    ``goal`` is a level with its label; ``zero`` draws the line that figures should not fall below.
    """

    at: Sequence[float]
    span: tuple[float, float]
    lines: Sequence[Line]
    ticks: Sequence[tuple[float, str]]
    levels: Sequence[tuple[float, str]]
    top: float
    bottom: float = 0.0
    goal: tuple[float, str] | None = None
    zero: bool = False
    fill: bool = False


@dataclass(frozen=True)
class Strip:
    """Rows of the same length of time, ``length`` each: bars of a state are ``(row, from, length)``.

    States are ``up``, ``gap``, ``planned`` and ``down``; ``labels`` name those that the legend explains.
    """

    rows: Sequence[str]
    length: float
    ticks: Sequence[tuple[float, str]]
    bars: Mapping[str, Sequence[tuple[int, float, float]]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


# Colour is never alone: each state has its own pattern, and its own height in a strip.
_STATES: dict[str, tuple[str, str, float]] = {
    "up": ("up", "", 0.30),
    "gap": ("gap", "||", 0.56),
    "planned": ("planned", "////", 0.72),
    "down": ("down", "", 0.94),
}


class Drawing:
    """A chart that is drawn when a page prints it: who wants its words alone does not wait for it."""

    def __init__(self, draw: Callable[[], Markup]) -> None:
        self._draw = draw

    def __html__(self) -> str:
        """The protocol of MarkupSafe: what a page prints as it is."""
        return self._draw()


def plot(name: str, chart: Plot, title: str, description: str) -> Markup:
    """Lines as SVG; ``name`` is unique on its page."""
    with _style():
        legend = [line.label for line in chart.lines] + ([chart.goal[1]] if chart.goal else [])
        figure, axes = _canvas(HEIGHT, [label for _, label in chart.levels], legend)
        many = len(chart.at) > 60
        for line in chart.lines:
            values = [math.nan if value is None else value for value in line.values]
            marker = "o" if line.marked and not many else ""
            at = chart.at if line.at is None else line.at
            if chart.fill:
                axes.fill_between(at, values, 0, color=INKS[line.ink], alpha=0.18, linewidth=0)
            style: dict[str, Any] = {"color": INKS[line.ink], "linestyle": line.dashes, "label": line.label}
            axes.plot(at, values, linewidth=1.1 if many else 1.8, marker=marker, markersize=2.4, **style)
        if chart.goal:
            axes.axhline(chart.goal[0], color=INKS["goal"], linewidth=1.3, linestyle=(0, (1, 1)), label=chart.goal[1])
        if chart.zero:
            axes.axhline(0, color=INKS["ink"], linewidth=1.0)
        axes.set_xlim(*chart.span)
        axes.set_ylim(chart.bottom, chart.top)
        axes.set_xticks([at for at, _ in chart.ticks], [label for _, label in chart.ticks])
        axes.set_yticks([at for at, _ in chart.levels], [label for _, label in chart.levels])
        axes.grid(visible=True, axis="y", linewidth=0.6)
        axes.tick_params(length=0, pad=4)
        axes.tick_params(axis="x", pad=7)  # clear of the lowest mark of the other axis
        return _svg(name, figure, title, description)


def strip(name: str, chart: Strip, title: str, description: str) -> Markup:
    """A strip of time per row as SVG, the first row on top."""
    from matplotlib.collections import PolyCollection

    rows = max(len(chart.rows), 1)
    with _style():
        figure, axes = _canvas(max(12.5 * rows, 26), chart.rows, list(chart.labels.values()), around=True)
        for state, (ink, hatch, tall) in _STATES.items():
            boxes = [_box(row, start, length, tall, chart.length) for row, start, length in chart.bars.get(state, ())]
            if boxes:
                edge = INKS["paper"] if hatch else "none"
                drawn = PolyCollection(boxes, facecolor=INKS[ink], edgecolor=edge, hatch=hatch or None, linewidth=0)
                drawn.set_label(chart.labels.get(state, ""))
                axes.add_collection(drawn, autolim=False)
        axes.set_xlim(0, chart.length)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_xticks([at for at, _ in chart.ticks], [label for _, label in chart.ticks])
        axes.set_yticks(range(len(chart.rows)), list(chart.rows))
        axes.grid(visible=True, axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        for side in axes.spines.values():
            side.set_visible(False)
        return _svg(name, figure, title, description)


def _box(row: int, start: float, length: float, tall: float, whole: float) -> list[tuple[float, float]]:
    end = start + max(length, whole / 160)  # what is shorter than a hair is still seen
    top, low = row - tall / 2, row + tall / 2
    return [(start, top), (end, top), (end, low), (start, low)]


def levels(top: float, bottom: float = 0.0, most: int = 5) -> list[float]:
    """Round values from ``bottom`` to ``top`` that a scale may be marked with, about ``most`` of them."""
    if not top > bottom:
        return [bottom]
    least = (top - bottom) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(part * power for part in (1, 2, 2.5, 5, 10) if part * power >= least * (1 - 1e-9))
    first, last = math.ceil(bottom / step - 1e-9), math.floor(top / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _style() -> Any:
    import logging

    # It tells of its font cache, which is nothing to an operator.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl

    return mpl.rc_context(_RC)


def _canvas(tall: float, left: Sequence[str], legend: Sequence[str], *, around: bool = False) -> tuple[Figure, Axes]:
    """A figure ``tall`` points high, or with room ``around`` so tall a plot, for labels on its left and a legend above.

    How wide text will be is known to the browser alone; so it is reckoned, rather than measured with a font that will
    not be used.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    above = 4 + 16 * math.ceil(len(legend) / _columns(legend)) if legend else 6
    below = 23
    height = tall + above + below if around else tall
    figure = Figure(figsize=(WIDTH / _POINTS, height / _POINTS), dpi=_POINTS)
    FigureCanvasSVG(figure)
    beside = 8 + _LETTER * max((len(label) for label in left), default=0)
    wide = WIDTH - beside - 10
    return figure, figure.add_axes((beside / WIDTH, below / height, wide / WIDTH, (height - above - below) / height))


def _columns(legend: Sequence[str]) -> int:
    """How many entries of a legend stand side by side."""
    return 4 if sum(_LETTER * len(label) + 36 for label in legend) < WIDTH else 2


def _legend(figure: Figure) -> None:
    labels = [str(label) for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    if labels:
        spacing = {"columnspacing": 1.2, "borderpad": 0, "handletextpad": 0.5, "borderaxespad": 0.2}
        figure.legend(loc="upper center", ncols=_columns(labels), frameon=False, handlelength=1.8, **spacing)


# Its style sheet would be the whole page's; a turn by nothing is nothing.
_HEAD = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>"
    r"| transform=\"rotate\(-0 [^\"]*\"",
    re.DOTALL,
)
_OPENING = re.compile(r'<svg [^>]*viewBox="([^"]*)"[^>]*>')
_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(?:xlink:href="|url\()#([^")]+)')
_FONT = re.compile(r"(font: [^;\"]*?px) [^;\"]*")
_FAMILY = re.compile(r"font-family: [^;\"]*")


def _svg(name: str, figure: Figure, title: str, description: str) -> Markup:
    stream = io.StringIO()
    _legend(figure)
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Markup(fit(name, stream.getvalue(), title, description))  # noqa: S704 - drawn here, texts are escaped


def fit(name: str, drawn: str, title: str, description: str) -> str:
    """What matplotlib wrote as an element of a page."""
    text = _HEAD.sub("", drawn)
    referred = set(_REFERENCE.findall(text))
    text = _ID.sub(lambda found: f' id="{name}-{found[1]}"' if found[1] in referred else "", text)
    text = _REFERENCE.sub(lambda found: found[0].replace(f"#{found[1]}", f"#{name}-{found[1]}"), text)
    text = text.replace("xlink:href", "href")
    text = _FONT.sub(r"\1 system-ui, sans-serif", text)
    text = _FAMILY.sub("font-family: system-ui, sans-serif", text)
    for ink, colour in INKS.items():
        text = text.replace(colour, f"var(--{ink})")
    found = _OPENING.search(text)
    if found is None:
        raise ValueError(f"the chart {name} was drawn as no SVG: check the version of matplotlib")
    opening = (
        f'<svg class="drawn" viewBox="{found[1]}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    )
    text = text[: found.start()] + opening + text[found.end() :]
    return re.sub(r"\n\s*", "\n", text).strip()
