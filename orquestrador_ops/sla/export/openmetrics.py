"""What was evaluated, as text for node_exporter's textfile collector, which Prometheus then scrapes.

That collector reads Prometheus' own text format (version 0.0.4), refuses a file with timestamps of its own, keeps one
of a series that is there twice, and calls a counter by its whole name. OpenMetrics 1.0 calls it by its name without
``_total``, gives its unit and ends with ``# EOF``; read as text, its counters have no type. So the first is what is
written, and the second is there for who asks for it.

Counters begin at zero with each calendar period, which Prometheus takes for a restart: nothing is counted twice. Of a
period that rolls on there are none, because its counts fall as well as rise.

Names are ``orquestrador_*``; units are seconds, bytes and ratios from 0 to 1. Source of the formats:
prometheus.io, "Exposition formats", and the OpenMetrics specification 1.0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.files import write_atomic
from ...core.i18n import epoch
from ..evaluate.readings import LATENCY_EDGES

if TYPE_CHECKING:
    from ..evaluate.readings import Reading

MODE = 0o644  # node_exporter is another user
CALENDAR = ("day", "week", "month", "quarter", "year")  # of these there are counters
RECENT_S = 300  # the shortest window that alerts look at
VERDICTS = ("met", "missed", "unproven", "no_data")
# What is measured by the uptime's own probes has no events of its own: one outage would be alerted three times.
OWN_EVENTS = {"availability": "outside", "error_rate": "logs"}

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Family:
    """One metric: what it is called without ``_total``, what it is, in which unit."""

    name: str
    kind: str  # gauge | counter | histogram
    help: str
    unit: str = ""
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)  # (suffix, labels) → value

    def add(self, value: object, suffix: str = "", /, **labels: object) -> None:
        """Add a sample; one that is no finite number is left out, of two of the same labels the last one counts."""
        number = _number(value)
        if number is not None:
            self.samples[suffix, tuple((name, _clean(text)) for name, text in labels.items())] = number


def _number(value: object) -> float | None:
    if value is None or not isinstance(value, int | float):
        return None
    number = float(value)
    return number if math.isfinite(number) else None


def _clean(value: object) -> str:
    # A label may hold any character that UTF-8 has; lone surrogates are none.
    return str(value).encode("utf-8", "replace").decode("utf-8")


def escaped(value: str) -> str:
    """A label's value as it stands between its quotation marks."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _written(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


class Families:
    """All metrics of one file, in the order in which they are written."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def gauge(self, name: str, text: str) -> Family:
        """The gauge ``orquestrador_<name>``; the name's ending is its unit."""
        unit = next((unit for unit in ("seconds", "ratio", "bytes") if name.endswith(f"_{unit}")), "")
        return self._family(name, "gauge", text, unit)

    def counter(self, name: str, text: str) -> Family:
        """The counter ``orquestrador_<name>_total``."""
        return self._family(name, "counter", text, "")

    def histogram(self, name: str, text: str) -> Family:
        """The histogram ``orquestrador_<name>``, of seconds."""
        return self._family(name, "histogram", text, "seconds")

    def _family(self, name: str, kind: str, text: str, unit: str) -> Family:
        return self._families.setdefault(name, Family(f"orquestrador_{name}", kind, text, unit))

    def text(self, *, openmetrics: bool = False) -> str:
        """The file. Metrics without a sample are not in it."""
        lines: list[str] = []
        for family in self._families.values():
            if not family.samples:
                continue
            counter = "_total" if family.kind == "counter" else ""
            name = family.name if openmetrics else family.name + counter
            lines.append(f"# HELP {name} {family.help}")
            lines.append(f"# TYPE {name} {family.kind}")
            if openmetrics and family.unit:
                lines.append(f"# UNIT {name} {family.unit}")
            for (suffix, labels), value in family.samples.items():
                inside = ",".join(f'{label}="{escaped(text)}"' for label, text in labels)
                lines.append(f"{family.name}{suffix or counter}{{{inside}}} {_written(value)}")
        if openmetrics:
            lines.append("# EOF")
        return "".join(f"{line}\n" for line in lines)


def text(documents: Iterable[Mapping[str, Any]], readings: Sequence[Reading] = (), *, openmetrics: bool = False) -> str:
    """What is told of evaluated periods (documents of :func:`.evaluate.evaluate`) and of the hosts themselves.

    Several documents of one host are told apart by their period: ``month`` for the current one, ``2026-10`` for one
    that is over, ``30d`` for one that rolls on. Without any, the text is empty.
    """
    families = Families()
    for document in documents:
        _document(families, document)
    for reading in readings:
        _reading(families, reading)
    return families.text(openmetrics=openmetrics)


def write(
    path: Path,
    documents: Iterable[Mapping[str, Any]],
    readings: Sequence[Reading] = (),
    *,
    openmetrics: bool = False,
) -> None:
    """Write :func:`text` to ``path``, whole or not at all, for everybody to read. Raises ``OSError``.

    The temporary file begins with a dot and does not end in ``.prom``: node_exporter passes it over.
    """
    # No fsync: after a crash the next evaluation writes it again.
    write_atomic(path, text(documents, readings, openmetrics=openmetrics).encode(), sync=False, mode=MODE)


def _document(families: Families, document: Mapping[str, Any]) -> None:
    host, period = document["host"], document["period"]
    current = not period["over"] and _kind(period) in CALENDAR
    # Not by its date: a rule asks for the month, whichever it is.
    labels = {"host": host, "period": _kind(period) if current else period["name"]}
    families.gauge("sla_evaluated_timestamp_seconds", "When the period was evaluated, in seconds since the epoch.").add(
        epoch(document["evaluated_at"]), **labels
    )
    families.gauge("sla_period_start_timestamp_seconds", "When the period began, in seconds since the epoch.").add(
        epoch(period["from"]), **labels
    )
    families.gauge("sla_period_end_timestamp_seconds", "When the period ends, in seconds since the epoch.").add(
        epoch(period["to"]), **labels
    )
    for sla in document["slas"]:
        _sla(families, sla, labels, current=current)
    seconds = families.gauge(
        "sla_observed_time_seconds", "Seconds of the period that the application was up, down, or nobody looked."
    )
    for state in ("up", "down", "planned_down", "unknown"):
        seconds.add((document.get("seconds") or {}).get(state), **labels, state=state)
    _incidents(families, document, labels)
    _burn(families, host, document.get("burn") or ())


def _kind(period: Mapping[str, Any]) -> str:
    return str(period.get("kind") or period["name"])


def _sla(families: Families, sla: Mapping[str, Any], labels: dict[str, object], *, current: bool) -> None:
    unit, labels = sla["unit"], {"host": labels["host"], "sla": sla["id"], "period": labels["period"]}
    families.gauge(f"sla_objective_{unit}", "What was promised.").add(sla["objective"], **labels)
    for view, figures in (("raw", sla), ("adjusted", sla.get("adjusted") or {})):
        for figure, key, meaning in (
            ("measured", "value", "What was measured, of the time that somebody looked"),
            ("worst", "worst", "What it was at worst, had all gaps been bad"),
            ("best", "best", "What it was at best, had all gaps been good"),
        ):
            families.gauge(
                f"sla_{figure}_{unit}", f"{meaning}; view=adjusted leaves planned time out, view=raw does not."
            ).add(figures.get(key), **labels, view=view)
        families.gauge("sla_coverage_ratio", "Share of the time of which anything is known.").add(
            figures.get("coverage"), **labels, view=view
        )
    for verdict in VERDICTS:
        families.gauge("sla_verdict", "1 for the verdict on the service level, 0 for the others.").add(
            int(sla["verdict"] == verdict), **labels, verdict=verdict
        )
    for percent in (50, 95, 99):
        families.gauge("response_percentile_seconds", "Response time below which so many percent of answers are.").add(
            _scaled(sla.get(f"p{percent}_ms"), 0.001),
            host=labels["host"],
            period=labels["period"],
            percentile=percent,
        )
    _budget(families, sla, labels)
    own = OWN_EVENTS.get(sla["id"])
    if current and sla.get("good") is not None and (own is None or own == sla["measured_by"]):
        families.counter(
            "sla_events", "Events that count for the service level since the period began: probes, requests, incidents."
        ).add(sla["total"], **labels)
        families.counter("sla_bad_events", "Those of them that were not as promised.").add(
            sla["total"] - sla["good"], **labels
        )


def _scaled(value: object, by: float) -> float | None:
    number = _number(value)
    # Not 43.2 * 60 = 2592.0000000000005: what is read is the decimal that was meant.
    return None if number is None else float(f"{number * by:.12g}")


def _budget(families: Families, sla: Mapping[str, Any], labels: dict[str, object]) -> None:
    for name, key, meaning in (
        ("error_budget_seconds", "budget_minutes", "How long it may be down in the whole period."),
        ("error_budget_spent_seconds", "spent_minutes", "How long it was down, planned time left out."),
        ("error_budget_remaining_seconds", "remaining_minutes", "What is left of it; below zero it is overspent."),
    ):
        families.gauge(name, meaning).add(_scaled(sla.get(key), 60.0), **labels)
    for name, key, meaning in (
        ("error_budget_events", "budget_events", "How many events may be bad."),
        ("error_budget_remaining_events", "remaining_events", "How many more may be; below zero it is overspent."),
    ):
        families.gauge(name, meaning).add(sla.get(key), **labels)
    for ending in ("minutes", "events"):
        budget, remaining = _number(sla.get(f"budget_{ending}")), _number(sla.get(f"remaining_{ending}"))
        if budget and remaining is not None:
            families.gauge("error_budget_remaining_ratio", "Share of the error budget that is left.").add(
                remaining / budget, **labels
            )
            return


def _incidents(families: Families, document: Mapping[str, Any], labels: dict[str, object]) -> None:
    incidents: Sequence[Mapping[str, Any]] = document.get("incidents") or ()
    for planned in (False, True):
        families.gauge("incidents", "How often it was down in the period.").add(
            sum(bool(one["planned"]) is planned for one in incidents), **labels, planned=str(planned).lower()
        )
    unplanned = [one for one in incidents if not one["planned"]]
    families.gauge("incident_longest_seconds", "How long the longest unplanned incident of the period took.").add(
        max((one["seconds"] for one in unplanned), default=0), **labels
    )
    if not document["period"]["over"]:
        families.gauge(
            "planned", "1 in a maintenance window, and when a planned outage goes on or ended within five minutes."
        ).add(int(_planned(document)), host=labels["host"])
        open_for = [one["seconds"] for one in unplanned if one["to"] is None]
        families.gauge("incident_open", "1 while an unplanned incident goes on.").add(
            int(bool(open_for)), host=labels["host"]
        )
        families.gauge("incident_open_seconds", "How long it has gone on when it was evaluated, 0 without one.").add(
            max(open_for, default=0), host=labels["host"]
        )


def _planned(document: Mapping[str, Any]) -> bool:
    now = epoch(document["evaluated_at"]) or 0.0
    return any(
        (epoch(window["from"]) or 0.0) <= now < (epoch(window["to"]) or 0.0)
        for window in document.get("maintenance") or ()
    ) or any(
        one["planned"] and (one["to"] is None or (epoch(one["to"]) or 0.0) > now - RECENT_S)
        for one in document.get("incidents") or ()
    )


def _burn(families: Families, host: object, burn: Iterable[Mapping[str, Any]]) -> None:
    for rate in burn:
        for window in ("long", "short"):
            families.gauge(
                "burn_rate", "How many times faster than it may the error budget of the uptime is used up."
            ).add(rate[f"{window}_burn"], host=host, alert=rate["name"], window=window)
        families.gauge("burn_alert_firing", "1 while both windows of the alert burn too fast.").add(
            int(bool(rate["firing"])), host=host, alert=rate["name"], severity=rate["severity"]
        )


def _reading(families: Families, reading: Reading) -> None:
    for look, (total, good) in reading.probes.items():
        labels = {"host": reading.host, "look": look}
        families.counter(
            "probes", "Probes since the month began; look=any: from inside where it was possible, else from outside."
        ).add(total, **labels)
        families.counter("probes_bad", "Those that were not answered as they should be.").add(total - good, **labels)
    for look, last in reading.looks.items():
        labels = {"host": reading.host, "look": look}
        families.gauge("probe_last_good", "1 when the last probe was answered as it should be.").add(
            int(last.good), **labels
        )
        families.gauge("probe_last_timestamp_seconds", "When the last probe was, in seconds since the epoch.").add(
            last.at, **labels
        )
    _latency(families, reading)
    families.gauge("backup_proven_timestamp_seconds", "When a backup was last restored and found the same.").add(
        reading.backup_proven_at, host=reading.host
    )


def _latency(families: Families, reading: Reading) -> None:
    if reading.latency is None:
        return
    family = families.histogram(
        "response_seconds",
        "Response times of good probes since the month began; an edge counts above itself, the sum is right to 2.5 %.",
    )
    for edge, below in zip(LATENCY_EDGES, reading.latency.below, strict=True):
        family.add(below, "_bucket", host=reading.host, le=_edge(edge))
    family.add(reading.latency.count, "_bucket", host=reading.host, le="+Inf")
    family.add(reading.latency.sum_s, "_sum", host=reading.host)
    family.add(reading.latency.count, "_count", host=reading.host)


def _edge(edge: float) -> str:
    # OpenMetrics wants "1.0" where Prometheus' text does not care: one spelling for both, or they were two series.
    return repr(float(edge))
