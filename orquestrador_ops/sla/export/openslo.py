"""The five service levels as OpenSLO v1 documents, for tools that read those.

They say what was promised and where it is measured. What OpenSLO has no words for stays with us: that gaps are unknown,
that planned time is left out, that an alert needs two windows and a minimum count (:mod:`.prometheus`).
Source: the OpenSLO specification, version 1.
"""

from __future__ import annotations

from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.i18n import DEFAULT_TIMEZONE, translator
from ..evaluate import burn_rate as burn
from ..evaluate.objectives import Objectives
from .prometheus import PAGED, PERIOD, allowed, dumped, window

SERVICE, SOURCE = "orquestrador", "orquestrador-prometheus"
# A target is below 1 in OpenSLO. This stands for: every time.
EVERY_TIME = 0.999999
_API = "openslo/v1"
# SLOs may not have "_" in their names.
_NAMES = {"error_rate": "error-rate"}
Document = dict[str, Any]


def documents(objectives: Objectives, *, timezone: str = DEFAULT_TIMEZONE) -> dict[str, str]:
    """The files by their names, YAML each: what is shared, the alerts, and one file per service level."""
    shared = [_document("Service", SERVICE, _said(msg("Application watched by Orquestrador Ops"))), _source()]
    files = {
        "service.yml": _dumped(shared, "Service and data source."),
        "alerts.yml": _dumped(_alerts(), "Alerts of the error budgets."),
    }
    titles = _titles(objectives)
    for sla, share in allowed(objectives).items():
        slo = _slo(sla, titles[sla], timezone, target=float(f"{1 - share:.12g}"), indicator=_ratio(sla))
        files[f"{_name(sla)}.yml"] = _dumped([slo], "A service level objective.")
    slo = _slo("recovery", titles["recovery"], timezone, target=EVERY_TIME, indicator=_longest())
    slo["spec"]["objectives"][0] |= {"op": "lte", "value": objectives.recovery_s}
    files["recovery.yml"] = _dumped([slo], "A service level objective.")
    return files


def _titles(objectives: Objectives) -> dict[str, tuple[Message, Message]]:
    return {
        "uptime": (msg("Uptime"), msg("Probes on the host that were answered as they should be.")),
        "response": (
            msg("Response time"),
            msg("Answers of the health check in less than {limit_ms}.", limit_ms=objectives.response_ms),
        ),
        "availability": (msg("Availability"), msg("Probes of the public address, around the clock.")),
        "error_rate": (msg("Error rate"), msg("Requests without an error event in the logs, or probes without one.")),
        "recovery": (
            msg("Recovery time"),
            msg("The month's longest unplanned incident, from first bad to proven good; every one counts."),
        ),
    }


def _slo(
    sla: str, said: tuple[Message, Message], timezone: str, *, target: float, indicator: dict[str, Any]
) -> Document:
    title, description = said
    text = translator("en").message(title)
    window_of = {
        "duration": "1M",
        "calendar": {"startTime": "2025-01-01 00:00:00", "timeZone": timezone},
        "isRolling": False,
    }
    spec: dict[str, Any] = {
        **_said(description),
        "service": SERVICE,
        "indicator": {"metadata": {"name": f"{_name(sla)}-indicator", "displayName": text}, "spec": indicator},
        "timeWindow": [window_of],
        "budgetingMethod": "Occurrences",
        "objectives": [{"displayName": text, "target": target}],
    }
    policies = [pair.name for pair in burn.PAIRS if sla != "recovery" and (pair.severity != "page" or sla in PAGED)]
    if policies:
        spec["alertPolicies"] = [{"alertPolicyRef": name} for name in policies]
    return _document("SLO", _name(sla), spec, text)


def _name(sla: str) -> str:
    return _NAMES.get(sla, sla)


def _ratio(sla: str) -> dict[str, Any]:
    def counted(metric: str) -> dict[str, Any]:
        return _metric(f'sum(max by (host) ({metric}{{sla="{sla}", {PERIOD}}}))')

    return {
        "ratioMetric": {
            "counter": True,
            "bad": counted("orquestrador_sla_bad_events_total"),
            "total": counted("orquestrador_sla_events_total"),
        }
    }


def _longest() -> dict[str, Any]:
    return {"thresholdMetric": _metric(f"max(orquestrador_incident_longest_seconds{{{PERIOD}}})")}


def _metric(query: str) -> dict[str, Any]:
    return {"metricSource": {"metricSourceRef": SOURCE, "type": "Prometheus", "spec": {"query": query}}}


def _source() -> Document:
    return _document(
        "DataSource", SOURCE, {"type": "Prometheus", "connectionDetails": {"url": "http://127.0.0.1:9090"}}
    )


def _alerts() -> list[Document]:
    found = [
        _document("AlertNotificationTarget", "page", {"target": "on-call"}),
        _document("AlertNotificationTarget", "ticket", {"target": "ticket"}),
    ]
    for pair in burn.PAIRS:
        condition = {
            "kind": "burnrate",
            "op": "gt",
            "threshold": pair.factor,
            "lookbackWindow": window(pair.long_s),
            "alertAfter": "1m",  # a duration is positive
        }
        text = msg(
            "The rules for Prometheus also want it to burn as fast over {short}, and a minimum of bad events.",
            short=window(pair.short_s),
        )
        one = _document("AlertCondition", pair.name, {"severity": pair.severity, "condition": condition})
        del one["apiVersion"]  # inline
        spec = {
            **_said(text),
            "alertWhenBreaching": True,
            "alertWhenResolved": True,
            "alertWhenNoData": False,
            "conditions": [one],
            "notificationTargets": [{"targetRef": pair.severity}],
        }
        found.append(_document("AlertPolicy", pair.name, spec))
    return found


def _said(text: Message) -> dict[str, str]:
    return {"description": translator("en").message(text)}


def _document(kind: str, name: str, spec: dict[str, Any], title: str = "") -> Document:
    metadata: dict[str, Any] = {"name": name}
    if title:
        metadata["displayName"] = title
    return {"apiVersion": _API, "kind": kind, "metadata": metadata, "spec": spec}


def _dumped(found: list[Document], says: str) -> str:
    first, *others = (dumped(document, f"OpenSLO v1. {says}") for document in found)
    return first + "".join("---\n" + text.split("\n", 2)[2] for text in others)
