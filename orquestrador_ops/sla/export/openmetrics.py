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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.registry import Collector

from ...core.files import write_atomic
from ...core.i18n import epoch
from ..evaluate.readings import LATENCY_EDGES

if TYPE_CHECKING:
    from ..evaluate.readings import Latency, Reading

MODE = 0o644  # node_exporter is another user
CALENDAR = ("day", "week", "month", "quarter", "year")  # of these there are counters
RECENT_S = 300  # the shortest window that alerts look at
VERDICTS = ("met", "missed", "unproven", "no_data")
# What is measured by the uptime's own probes has no events of its own: one outage would be alerted three times.
OWN_EVENTS = {"availability": "outside", "error_rate": "logs"}

Labels = Mapping[str, object]

_VIEWS = "view=adjusted leaves planned time out, view=raw does not."
HELP = {
    "sla_evaluated_timestamp_seconds": "When the period was evaluated, in seconds since the epoch.",
    "sla_period_start_timestamp_seconds": "When the period began, in seconds since the epoch.",
    "sla_period_end_timestamp_seconds": "When the period ends, in seconds since the epoch.",
    "sla_objective": "What was promised.",
    "sla_measured": f"What was measured, of the time that somebody looked; {_VIEWS}",
    "sla_worst": f"What it was at worst, had all gaps been bad; {_VIEWS}",
    "sla_best": f"What it was at best, had all gaps been good; {_VIEWS}",
    "sla_coverage_ratio": "Share of the time of which anything is known.",
    "sla_verdict": "1 for the verdict on the service level, 0 for the others.",
    "sla_events": "Events that count for the service level since the period began: probes, requests, incidents.",
    "sla_bad_events": "Those of them that were not as promised.",
    "sla_observed_time_seconds": "Seconds of the period that the application was up, down, or nobody looked.",
    "response_percentile_seconds": "Response time below which so many percent of answers are.",
    "error_budget_seconds": "How long it may be down in the whole period.",
    "error_budget_spent_seconds": "How long it was down, planned time left out.",
    "error_budget_remaining_seconds": "What is left of it; below zero it is overspent.",
    "error_budget_events": "How many events may be bad.",
    "error_budget_remaining_events": "How many more may be; below zero it is overspent.",
    "error_budget_remaining_ratio": "Share of the error budget that is left.",
    "incidents": "How often it was down in the period.",
    "incident_longest_seconds": "How long the longest unplanned incident of the period took.",
    "incident_open": "1 while an unplanned incident goes on.",
    "incident_open_seconds": "How long it has gone on when it was evaluated, 0 without one.",
    "planned": "1 in a maintenance window, and when a planned outage goes on or ended within five minutes.",
    "burn_rate": "How many times faster than it may the error budget of the uptime is used up.",
    "burn_alert_firing": "1 while both windows of the alert burn too fast.",
    "probes": "Probes since the month began; look=any: from inside where it was possible, else from outside.",
    "probes_bad": "Those that were not answered as they should be.",
    "probe_last_good": "1 when the last probe was answered as it should be.",
    "probe_last_timestamp_seconds": "When the last probe was, in seconds since the epoch.",
    "response_seconds": "Response times of good probes since the month began; "
    "an edge counts above itself, the sum is right to 2.5 %.",
    "backup_proven_timestamp_seconds": "When a backup was last restored and found the same.",
}


class Families(Collector):
    """The metrics of one export. One without a sample is not in it; a value that is no finite number is left out."""

    def __init__(self) -> None:
        self._families: dict[str, Any] = {}

    def gauge(self, name: str, value: object, /, **labels: object) -> None:
        """Add a sample of the gauge ``orquestrador_<name>``; the name's ending is its unit."""
        unit = next((unit for unit in ("seconds", "ratio", "bytes") if name.endswith(f"_{unit}")), "")
        self._add(GaugeMetricFamily, name, unit, labels, _number(value))

    def counter(self, name: str, value: object, /, **labels: object) -> None:
        """Add a sample of the counter ``orquestrador_<name>_total``."""
        self._add(CounterMetricFamily, name, "", labels, _number(value))

    def histogram(self, name: str, latency: Latency, /, **labels: object) -> None:
        """Add a sample of the histogram ``orquestrador_<name>``, of seconds."""
        # OpenMetrics wants "1.0" where Prometheus' text does not care: one spelling for both, or they were two series.
        buckets = [(repr(edge), below) for edge, below in zip(LATENCY_EDGES, latency.below, strict=True)]
        buckets.append(("+Inf", latency.count))
        self._add(HistogramMetricFamily, name, "seconds", labels, buckets, latency.sum_s)

    def _add(self, kind: Callable[..., Any], name: str, unit: str, labels: Labels, *value: object) -> None:
        if None in value:
            return
        if name not in self._families:
            text = HELP.get(name) or HELP[name.removesuffix(f"_{unit}")]
            self._families[name] = kind(f"orquestrador_{name}", text, labels=tuple(labels), unit=unit)
        self._families[name].add_metric([_clean(label) for label in labels.values()], *value)

    def collect(self) -> Iterator[Metric]:
        """The metrics with their samples; of two with the same labels the last one counts."""
        for family in self._families.values():
            family.samples = list({(one.name, *one.labels.items()): one for one in family.samples}.values())
            yield family


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _clean(value: object) -> str:
    # A label may hold any character that UTF-8 has; lone surrogates are none.
    return str(value).encode("utf-8", "replace").decode("utf-8")


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
    encode: Callable[[Collector], bytes] = openmetrics_exposition.generate_latest if openmetrics else generate_latest
    return encode(families).decode()


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
    families.gauge("sla_evaluated_timestamp_seconds", epoch(document["evaluated_at"]), **labels)
    families.gauge("sla_period_start_timestamp_seconds", epoch(period["from"]), **labels)
    families.gauge("sla_period_end_timestamp_seconds", epoch(period["to"]), **labels)
    for sla in document["slas"]:
        _sla(families, sla, {"host": host, "sla": sla["id"], "period": labels["period"]}, current=current)
    seconds = document.get("seconds") or {}
    for state in ("up", "down", "planned_down", "unknown"):
        families.gauge("sla_observed_time_seconds", seconds.get(state), **labels, state=state)
    _incidents(families, document, labels)
    _burn(families, host, document.get("burn") or ())


def _kind(period: Mapping[str, Any]) -> str:
    return str(period.get("kind") or period["name"])


def _sla(families: Families, sla: Mapping[str, Any], labels: Labels, *, current: bool) -> None:
    unit = sla["unit"]
    families.gauge(f"sla_objective_{unit}", sla["objective"], **labels)
    for view, figures in (("raw", sla), ("adjusted", sla.get("adjusted") or {})):
        for figure, key in (("measured", "value"), ("worst", "worst"), ("best", "best")):
            families.gauge(f"sla_{figure}_{unit}", figures.get(key), **labels, view=view)
        families.gauge("sla_coverage_ratio", figures.get("coverage"), **labels, view=view)
    for verdict in VERDICTS:
        families.gauge("sla_verdict", int(sla["verdict"] == verdict), **labels, verdict=verdict)
    for percent in (50, 95, 99):
        seconds = _scaled(sla.get(f"p{percent}_ms"), 0.001)
        where = {"host": labels["host"], "period": labels["period"]}
        families.gauge("response_percentile_seconds", seconds, **where, percentile=percent)
    _budget(families, sla, labels)
    own = OWN_EVENTS.get(sla["id"])
    if current and sla.get("good") is not None and (own is None or own == sla["measured_by"]):
        families.counter("sla_events", sla["total"], **labels)
        families.counter("sla_bad_events", sla["total"] - sla["good"], **labels)


def _scaled(value: object, by: float) -> float | None:
    number = _number(value)
    # Not 43.2 * 60 = 2592.0000000000005: what is read is the decimal that was meant.
    return None if number is None else float(f"{number * by:.12g}")


def _budget(families: Families, sla: Mapping[str, Any], labels: Labels) -> None:
    families.gauge("error_budget_seconds", _scaled(sla.get("budget_minutes"), 60.0), **labels)
    families.gauge("error_budget_spent_seconds", _scaled(sla.get("spent_minutes"), 60.0), **labels)
    families.gauge("error_budget_remaining_seconds", _scaled(sla.get("remaining_minutes"), 60.0), **labels)
    families.gauge("error_budget_events", sla.get("budget_events"), **labels)
    families.gauge("error_budget_remaining_events", sla.get("remaining_events"), **labels)
    for ending in ("minutes", "events"):
        budget, remaining = _number(sla.get(f"budget_{ending}")), _number(sla.get(f"remaining_{ending}"))
        if budget and remaining is not None:
            families.gauge("error_budget_remaining_ratio", remaining / budget, **labels)
            return


def _incidents(families: Families, document: Mapping[str, Any], labels: Labels) -> None:
    incidents: Sequence[Mapping[str, Any]] = document.get("incidents") or ()
    unplanned = [one for one in incidents if not one["planned"]]
    families.gauge("incidents", len(unplanned), **labels, planned="false")
    families.gauge("incidents", len(incidents) - len(unplanned), **labels, planned="true")
    longest = max((one["seconds"] for one in unplanned), default=0)
    families.gauge("incident_longest_seconds", longest, **labels)
    if not document["period"]["over"]:
        host = labels["host"]
        open_for = [one["seconds"] for one in unplanned if one["to"] is None]
        families.gauge("planned", int(_planned(document)), host=host)
        families.gauge("incident_open", int(bool(open_for)), host=host)
        families.gauge("incident_open_seconds", max(open_for, default=0), host=host)


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
        labels = {"host": host, "alert": rate["name"]}
        for window in ("long", "short"):
            families.gauge("burn_rate", rate[f"{window}_burn"], **labels, window=window)
        families.gauge("burn_alert_firing", int(bool(rate["firing"])), **labels, severity=rate["severity"])


def _reading(families: Families, reading: Reading) -> None:
    host = reading.host
    for look, (total, good) in reading.probes.items():
        families.counter("probes", total, host=host, look=look)
        families.counter("probes_bad", total - good, host=host, look=look)
    for look, last in reading.looks.items():
        families.gauge("probe_last_good", int(last.good), host=host, look=look)
        families.gauge("probe_last_timestamp_seconds", last.at, host=host, look=look)
    if reading.latency is not None:
        families.histogram("response_seconds", reading.latency, host=host)
    families.gauge("backup_proven_timestamp_seconds", reading.backup_proven_at, host=host)
