"""A dashboard for Grafana 9 or newer over our metrics and the series that :mod:`.prometheus` records.

Source of the model: grafana.com, "JSON model" of a dashboard. Rows are 24 units wide.
"""

from __future__ import annotations

import json
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.i18n import Translator, translator
from ..evaluate import burn_rate as burn
from ..evaluate.objectives import Objectives
from .prometheus import WINDOWS, window

WIDTH = 24
_CHOSEN = 'host=~"$host", period="$period"'
_HOST = 'host=~"$host"'
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
Panel = dict[str, Any]
Steps = list[tuple[str, float | None]]  # colours from a value on


def dashboard(objectives: Objectives, *, locale: str = "en") -> str:
    """The dashboard in one language, JSON. Its uid is ``orquestrador-sla-<locale>``."""
    tr = translator(locale)
    made = _Board(tr)
    _levels(made, objectives)
    _budgets(made)
    _answers(made, objectives)
    _incidents(made, objectives)
    board = {
        "annotations": {"list": []},
        "description": tr.message(msg("Service levels, error budgets and incidents, as Orquestrador Ops counts them.")),
        "editable": True,
        "graphTooltip": 1,
        "id": None,
        "links": [],
        "panels": made.panels,
        "refresh": "1m",
        "schemaVersion": 38,
        "tags": ["orquestrador", "sla"],
        "templating": {"list": _variables(tr)},
        "time": {"from": "now-7d", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": tr.message(msg("Orquestrador: service levels")),
        "uid": f"orquestrador-sla-{locale.lower().replace('_', '-')}",
        "version": 1,
        "weekStart": "monday",
    }
    return json.dumps(board, ensure_ascii=False, indent=2) + "\n"


class _Board:
    """Panels placed from left to right, row by row."""

    def __init__(self, tr: Translator) -> None:
        self.tr = tr
        self.panels: list[Panel] = []
        self._x = self._y = self._height = 0

    def row(self, title: Message) -> None:
        """Begin a row under a title."""
        self._y += self._height
        self._x = self._height = 0
        self._put({"type": "row", "title": self.tr.message(title), "collapsed": False, "panels": []}, WIDTH, 1)

    def stat(self, title: Message, query: str, steps: Steps, *, unit: str = "s", **more: Any) -> None:
        """Put one figure for each host where there is room."""
        self.add("stat", title, [(query, "{{host}}")], height=5, unit=unit, steps=steps, **more)

    def add(
        self,
        kind: str,
        title: Message,
        queries: list[tuple[str, Message | str]],
        *,
        width: int,
        height: int = 8,
        unit: str = "short",
        steps: Steps | None = None,
        says: Message | None = None,
        defaults: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Put a panel where there is room. ``steps`` are colours from a value on, the first from below all."""
        thresholds = {
            "mode": "absolute",
            "steps": [{"color": color, "value": value} for color, value in steps or [("blue", None)]],
        }
        instant = kind in ("stat", "table")
        targets = [
            {
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": self.tr.message(legend),
                "refId": chr(ord("A") + number),
                "instant": instant,
                "range": not instant,
            }
            for number, (expression, legend) in enumerate(queries)
        ]
        panel = {
            "type": kind,
            "title": self.tr.message(title),
            "description": self.tr.message(says),
            "datasource": _SOURCE,
            "targets": targets,
            "fieldConfig": {
                "defaults": {"unit": unit, "thresholds": thresholds, **(defaults or {})},
                "overrides": [],
            },
            "options": options or _OPTIONS[kind],
        }
        self._put(panel, width, height)

    def _put(self, panel: Panel, width: int, height: int) -> None:
        if self._x + width > WIDTH:
            self._y += self._height
            self._x = self._height = 0
        place = {"x": self._x, "y": self._y, "w": width, "h": height}
        self.panels.append({"id": len(self.panels) + 1, "gridPos": place, **panel})
        self._x += width
        self._height = max(self._height, height)


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {
        "colorMode": "background",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    },
    "timeseries": {
        "legend": {"calcs": ["lastNotNull"], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "state-timeline": {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.9,
        "showValue": "never",
        "tooltip": {"mode": "single", "sort": "none"},
    },
}


def _levels(board: _Board, objectives: Objectives) -> None:
    board.row(msg("Service levels"))
    adjusted = f'{_CHOSEN}, view="adjusted"'
    says = msg("Planned time is left out. Of gaps in the data nothing is claimed: see the coverage.")
    ratio: dict[str, Any] = {"width": 4, "unit": "percentunit", "says": says, "defaults": {"decimals": 3}}
    higher: tuple[tuple[str, Message, float], ...] = (
        ("uptime", msg("Uptime"), objectives.uptime),
        ("response", msg("Response time"), objectives.response),
        ("availability", msg("Availability"), objectives.availability),
    )
    for sla, title, objective in higher:
        query = f'min by (host) (orquestrador_sla_measured_ratio{{sla="{sla}", {adjusted}}})'
        board.stat(title, query, [("red", None), ("green", objective)], **ratio)
    query = f'max by (host) (orquestrador_sla_measured_ratio{{sla="error_rate", {adjusted}}})'
    board.stat(msg("Error rate"), query, [("green", None), ("red", objectives.error_rate)], **ratio)
    board.stat(
        msg("Recovery time"),
        f"max by (host) (orquestrador_incident_longest_seconds{{{_CHOSEN}}})",
        [("green", None), ("red", objectives.recovery_s)],
        width=4,
        says=msg("The period's longest unplanned incident, from first bad to proven good."),
    )
    board.stat(
        msg("Coverage"),
        f'min by (host) (orquestrador_sla_coverage_ratio{{sla="uptime", {adjusted}}})',
        [("red", None), ("orange", 0.9), ("green", 0.99)],
        width=4,
        unit="percentunit",
        says=msg("Share of the time of which anything is known."),
        defaults={"decimals": 1},
    )
    verdicts = f"max by (host, sla, verdict) (orquestrador_sla_verdict{{{_CHOSEN}}}) == 1"
    board.add(
        "stat",
        msg("Verdicts"),
        [(verdicts, "{{host}} {{sla}}: {{verdict}}")],
        width=WIDTH,
        height=4,
        steps=[("blue", None)],
        options={**_OPTIONS["stat"], "textMode": "name", "colorMode": "none"},
    )


def _budgets(board: _Board) -> None:
    board.row(msg("Error budget"))
    board.add(
        "timeseries",
        msg("Error budget that is left"),
        [(f"min by (host, sla) (orquestrador_error_budget_remaining_ratio{{{_CHOSEN}}})", "{{host}} {{sla}}")],
        width=12,
        unit="percentunit",
        steps=[("red", None), ("green", 0)],
    )
    lines: list[tuple[str, float | None]] = [("green", None)]
    lines += [(color, pair.factor) for color, pair in zip(_COLORS, reversed(burn.PAIRS), strict=True)]
    board.add(
        "timeseries",
        msg("Burn rate of the uptime, over several windows"),
        [(f'orquestrador:sla_burn:rate{name}{{sla="uptime", {_HOST}}}', f"{{{{host}}}} {name}") for name in WINDOWS],
        width=12,
        steps=lines,
        says=msg("At 1 the budget lasts exactly until the end of the period. The lines are those of the alerts."),
        defaults={"custom": {"thresholdsStyle": {"mode": "line"}}},
    )
    board.add(
        "timeseries",
        msg("Errors of all events, by service level"),
        [(f"orquestrador:sla_errors:ratio_rate1h{{{_HOST}}}", "{{host}} {{sla}}")],
        width=12,
        unit="percentunit",
    )
    slowest = window(burn.PAIRS[-1].long_s)
    board.add(
        "timeseries",
        msg("Bad events, by service level"),
        [(f"orquestrador:sla_bad_events:increase{slowest}{{{_HOST}}}", "{{host}} {{sla}}")],
        width=12,
        says=msg("Counted over {window}.", window=slowest),
    )


_COLORS = ("yellow", "orange", "red", "dark-red")


def _answers(board: _Board, objectives: Objectives) -> None:
    board.row(msg("Response time"))
    buckets = f"sum by (host, le) (increase(orquestrador_response_seconds_bucket{{{_HOST}}}[1h]))"
    board.add(
        "timeseries",
        msg("Response time of the last hour"),
        [(f"histogram_quantile({share}, {buckets})", f"{{{{host}}}} p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
        width=12,
        unit="s",
        steps=[("green", None), ("red", objectives.response_ms / 1000)],
        says=msg("From few and coarse buckets: the percentiles of the period beside it are finer."),
        defaults={"custom": {"thresholdsStyle": {"mode": "line"}}},
    )
    board.add(
        "timeseries",
        msg("Response time of the period"),
        [
            (
                f"max by (host, percentile) (orquestrador_response_percentile_seconds{{{_CHOSEN}}})",
                "{{host}} p{{percentile}}",
            )
        ],
        width=12,
        unit="s",
        steps=[("green", None), ("red", objectives.response_ms / 1000)],
        defaults={"custom": {"thresholdsStyle": {"mode": "line"}}},
    )


def _incidents(board: _Board, objectives: Objectives) -> None:
    board.row(msg("Incidents"))
    states = [
        {"type": "value", "options": {"0": {"color": "red", "text": board.tr.message(msg("down"))}}},
        {"type": "value", "options": {"1": {"color": "green", "text": board.tr.message(msg("up"))}}},
    ]
    board.add(
        "state-timeline",
        msg("The last probe"),
        [(f"min by (host, look) (orquestrador_probe_last_good{{{_HOST}}})", "{{host}} {{look}}")],
        width=WIDTH,
        height=6,
        steps=[("red", None), ("green", 1)],
        says=msg("From inside the host, and from outside."),
        defaults={"mappings": states},
    )
    incident = f"max by (host) (orquestrador_incident_open_seconds{{{_HOST}}})"
    board.stat(
        msg("Open incident"), incident, [("green", None), ("orange", 1), ("red", objectives.recovery_s)], width=6
    )
    board.add(
        "stat",
        msg("Incidents of the period"),
        [(f"max by (host, planned) (orquestrador_incidents{{{_CHOSEN}}})", "{{host}}, planned: {{planned}}")],
        width=6,
        height=5,
    )
    backup = f"time() - max by (host) (orquestrador_backup_proven_timestamp_seconds{{{_HOST}}})"
    board.stat(
        msg("Age of the last proven backup"),
        backup,
        [("green", None), ("orange", 8 * 86400), ("red", 32 * 86400)],
        width=6,
    )
    probe = f"time() - max by (host) (orquestrador_probe_last_timestamp_seconds{{{_HOST}}})"
    board.stat(msg("Age of the last probe"), probe, [("green", None), ("orange", 300), ("red", 900)], width=6)
    board.add(
        "timeseries",
        msg("Time of the period"),
        [(f"max by (host, state) (orquestrador_sla_observed_time_seconds{{{_CHOSEN}}})", "{{host}} {{state}}")],
        width=WIDTH,
        unit="s",
    )


def _variables(tr: Translator) -> list[dict[str, Any]]:
    def query(name: str, label: Message, **more: Any) -> dict[str, Any]:
        text = f"label_values(orquestrador_sla_verdict, {name})"
        return {
            "name": name,
            "label": tr.message(label),
            "type": "query",
            "datasource": _SOURCE,
            "definition": text,
            "query": {"query": text, "refId": name},
            "refresh": 2,
            "sort": 1,
            "hide": 0,
            **more,
        }

    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "refresh": 1,
            "hide": 0,
        },
        query("host", msg("Host"), multi=True, includeAll=True, current={"text": "All", "value": "$__all"}),
        query("period", msg("Period"), multi=False, includeAll=False, current={"text": "month", "value": "month"}),
    ]
