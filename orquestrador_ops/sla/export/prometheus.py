"""Recording and alerting rules for Prometheus, made from the same objectives that periods are judged by.

Recorded, per host and service level, over each window of :data:`WINDOWS`::

    orquestrador:sla_events:increase<w>       events that count        orquestrador_sla_events_total
    orquestrador:sla_bad_events:increase<w>   those that were bad      orquestrador_sla_bad_events_total
    orquestrador:sla_errors:ratio_rate<w>     bad / all, 0…1; nothing where nobody looked
    orquestrador:sla_burn:rate<w>             errors / (1 - objective)

An alert needs both windows of its pair, and a minimum count of bad events in each: one lost probe never pages. While
``orquestrador_planned`` is 1, and for the short window after that, it rests.
Source of the pairs: the chapter "Alerting on SLOs" of the SRE Workbook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ...core.i18n import translator
from ..evaluate import burn_rate as burn
from ..evaluate.objectives import Objectives

RULES = "prometheus/orquestrador.rules.yml"
GROUPS = ("orquestrador-sla", "orquestrador-sla-alerts")
WINDOWS = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21600, "1d": 86400, "3d": 259200}
# Pages are for what users notice. Slow answers and errors in the log can wait for office hours.
PAGED = ("uptime", "availability")
PROBES_STALE_S, EVALUATION_STALE_S = 900, 1800
# A counter written every five minutes may miss a window of five: the alert must not end then.
KEEP_FIRING = "10m"
PERIOD = 'period="month"'

HOST, SLA = "{{ $labels.host }}", "{{ $labels.sla }}"
Rule = dict[str, Any]


def allowed(objectives: Objectives) -> dict[str, float]:
    """Return the share of bad events that each service level allows, 0…1; the recovery time counts no events."""
    shares = {
        "uptime": 1 - objectives.uptime,
        "response": 1 - objectives.response,
        "availability": 1 - objectives.availability,
        "error_rate": objectives.error_rate,
    }
    return {sla: float(f"{share:.12g}") for sla, share in shares.items()}


def window(seconds: float) -> str:
    """Return Prometheus' name of a window. Raises ``KeyError`` for one that is not recorded."""
    return {length: name for name, length in WINDOWS.items()}[int(seconds)]


def rules(objectives: Objectives) -> str:
    """Return the rules file, YAML."""
    rule_groups = (_recording_rules(objectives), [*_burn_alerts(objectives), *_other_alerts()])
    groups = [{"name": name, "rules": group} for name, group in zip(GROUPS, rule_groups, strict=True)]
    return dump({"groups": groups}, "Recording and alerting rules for Prometheus 2.42 or newer.")


def _recording_rules(objectives: Objectives) -> list[Rule]:
    rules_: list[Rule] = [
        {"record": "orquestrador:sla_allowed:ratio", "expr": f"vector({share})", "labels": {"sla": sla}}
        for sla, share in allowed(objectives).items()
    ]
    for name in WINDOWS:
        for events in ("sla_events", "sla_bad_events"):
            # max, not sum: controllers that share a history export the same counts.
            rules_.append(
                {
                    "record": f"orquestrador:{events}:increase{name}",
                    "expr": f"max by (host, sla) (increase(orquestrador_{events}_total{{{PERIOD}}}[{name}]))",
                }
            )
        rules_.append(
            {
                "record": f"orquestrador:sla_errors:ratio_rate{name}",
                "expr": f"orquestrador:sla_bad_events:increase{name} / (orquestrador:sla_events:increase{name} > 0)",
            }
        )
        rules_.append(
            {
                "record": f"orquestrador:sla_burn:rate{name}",
                "expr": f"orquestrador:sla_errors:ratio_rate{name}"
                " / on (sla) group_left () orquestrador:sla_allowed:ratio",
            }
        )
    return rules_


def alert_name(pair: str) -> str:
    """``page-fast`` → ``OrquestradorBurnPageFast``."""
    return "OrquestradorBurn" + "".join(part.capitalize() for part in pair.split("-"))


def _burn_alerts(objectives: Objectives) -> list[Rule]:
    alerts = []
    for pair in burn.PAIRS:
        long, short = window(pair.long_s), window(pair.short_s)
        chosen = f'{{sla=~"{"|".join(PAGED)}"}}' if pair.severity == "page" else ""
        lines = (
            f"orquestrador:sla_burn:rate{long}{chosen} > {pair.factor}",
            f"and orquestrador:sla_burn:rate{short} > {pair.factor}",
            f"and orquestrador:sla_bad_events:increase{long} >= {objectives.burn_min_bad}",
            f"and orquestrador:sla_bad_events:increase{short} >= {burn.MIN_BAD_SHORT}",
            # Counters count planned time, too. What still burns when it is over by the short window was not planned.
            f"unless on (host) max_over_time(orquestrador_planned[{short}]) > 0",
        )
        alerts.append(
            _alert(
                alert_name(pair.name),
                "\n".join(lines),
                severity=pair.severity,
                labels={"burn": pair.name},
                keep=KEEP_FIRING,
                summary=msg("The error budget of {sla} on {host} is being used up too fast", sla=SLA, host=HOST),
                description=msg(
                    "Over {long} it burned at {value} times the allowed rate, and over the last {short} still at more"
                    " than {factor} times: read the host's open incident, or run playbooks/emergency/triage.yml.",
                    value="{{ $value | humanize }}",
                    long=long,
                    short=short,
                    factor=pair.factor,
                ),
            )
        )
    return alerts


def _other_alerts() -> list[Rule]:
    return [
        _alert(
            "OrquestradorSlaMissed",
            f'max by (host, sla) (orquestrador_sla_verdict{{{PERIOD}, verdict="missed"}}) == 1',
            wait="10m",
            summary=msg("The service level {sla} of {host} is missed this month", sla=SLA, host=HOST),
            description=msg("It is missed even if all gaps count as up: read the report of the month."),
        ),
        _alert(
            "OrquestradorErrorBudgetExhausted",
            f"min by (host, sla) (orquestrador_error_budget_remaining_ratio{{{PERIOD}}}) <= 0",
            wait="10m",
            summary=msg("The month's error budget of {sla} on {host} is used up", sla=SLA, host=HOST),
            description=msg("Changes of the application that can wait should wait until the month is over."),
        ),
        _alert(
            "OrquestradorProbesStale",
            f"time() - max by (host) (orquestrador_probe_last_timestamp_seconds) > {PROBES_STALE_S}",
            wait="5m",
            summary=msg("{host} has not been probed for a while", host=HOST),
            description=msg(
                "The last probe is {value} old. No data is not uptime: check that the watch runs.",
                value="{{ $value | humanizeDuration }}",
            ),
        ),
        _alert(
            "OrquestradorEvaluationStale",
            f"time() - max by (host) (orquestrador_sla_evaluated_timestamp_seconds{{{PERIOD}}}) > {EVALUATION_STALE_S}",
            wait="5m",
            summary=msg("The service levels of {host} have not been evaluated for a while", host=HOST),
            description=msg(
                "The last evaluation is {value} old, so the other alerts are blind: check that sla.yml runs.",
                value="{{ $value | humanizeDuration }}",
            ),
        ),
        _alert(
            "OrquestradorMetricsAbsent",
            f"absent(orquestrador_sla_evaluated_timestamp_seconds{{{PERIOD}}})",
            wait="15m",
            summary=msg("There are no metrics of service levels"),
            description=msg("Prometheus receives none: check sla_textfile and node_exporter's directory."),
        ),
    ]


def _alert(
    name: str,
    expression: str,
    *,
    summary: Message,
    description: Message,
    severity: str = "ticket",
    labels: Mapping[str, str] | None = None,
    wait: str | None = None,
    keep: str | None = None,
) -> Rule:
    rule: Rule = {"alert": name, "expr": expression}
    if wait:
        rule["for"] = wait
    if keep:
        rule["keep_firing_for"] = keep
    rule["labels"] = {"severity": severity, **(labels or {})}
    rule["annotations"] = translations(summary=summary, description=description)
    return rule


def translations(**texts: Message) -> dict[str, str]:
    """Return each text in English under its own name, and in Portuguese under that name with ``_pt_BR``."""
    english, portuguese = translator("en"), translator("pt_BR")
    return {name: english.message(text) for name, text in texts.items()} | {
        f"{name}_pt_BR": portuguese.message(text) for name, text in texts.items()
    }


class _Dumper(yaml.SafeDumper):
    """YAML as yamllint requires it: indented sequences, literal blocks for several lines."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def dump(data: object, header: str) -> str:
    """Return one YAML document under a comment line: the header, and how it was generated."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=80)
    return f"---\n# {header} Generated from the objectives: runbook sla export.\n{text}"
