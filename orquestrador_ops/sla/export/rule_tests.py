"""Tests of the rules for ``promtool test rules``, made from the same objectives as the rules.

A probe a minute, as the watch does at its quickest. Every test says what the alert looks like or that there is none;
what is expected is worked out here by counting, not by asking Prometheus.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import yaml

from ..evaluate import burn_rate as burn
from ..evaluate.objectives import Objectives
from . import prometheus

PATH = "prometheus/orquestrador.tests.yml"
HOST = "web-01"
_LABELS = f'{{host="{HOST}", sla="uptime", period="month"}}'


@dataclass(frozen=True)
class _Case:
    name: str
    bad: Sequence[int]  # minutes whose probe was bad
    minutes: int
    planned: str  # orquestrador_planned, in promtool's notation
    # Minute → names of the pairs that are firing then.
    firing: dict[int, tuple[str, ...]]


def tests(objectives: Objectives) -> str:
    """The test file, YAML."""
    burn_rules = [rule for rule in _rules(objectives) if rule.get("labels", {}).get("burn")]
    cases = [_burn_case(case, burn_rules, objectives) for case in _cases(objectives)]
    document = {
        "rule_files": [prometheus.RULES.rpartition("/")[2]],
        "evaluation_interval": "1m",
        # In any other order an alert sees what was recorded a minute ago.
        "group_eval_order": list(prometheus.GROUPS),
        "tests": [*cases, *_state_cases(objectives)],
    }
    return prometheus.dumped(document, "Tests of the rules: promtool test rules.")


def _rules(objectives: Objectives) -> list[dict[str, Any]]:
    groups = yaml.safe_load(prometheus.rules(objectives))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _cases(objectives: Objectives) -> list[_Case]:
    """The story of each; which pairs fire follows from counting, see :func:`expected`."""
    enough = objectives.burn_min_bad
    outage = range(70, 70 + max(10, enough + 2))
    every = range(100, 600, 150)
    stories = (
        ("quiet", (), 80, (10, 60, 79)),
        ("one lost probe never pages", (70,), 140, (70, 71, 73, 75, 100, 129, 139)),
        # 16.7 times too fast in the hour, 200 times in five minutes: the count is what holds the page back.
        ("a probe lost now and then never pages", (70, 100), 140, (70, 71, 100, 101, 103, 120, 139)),
        ("a fast burn pages", outage, 110, (69, 71, outage[-1], outage[-1] + 2)),
        ("what is over is resolved", outage, 150, (outage[-1] + 30, outage[-1] + 61)),
        ("a slow burn makes tickets", every, 600, (260, 460, 599)),
    )
    return [
        *(
            _Case(name, bad, minutes, "", {at: expected(bad, at, objectives) for at in moments})
            for name, bad, minutes, moments in stories
        ),
        _Case("a planned outage makes no alert", outage, 110, "0x65 1x20 0x23", dict.fromkeys((75, 81, 87, 100), ())),
    ]


def expected(bad: Sequence[int], at: int, objectives: Objectives) -> tuple[str, ...]:
    """Which pairs fire at a minute, of a probe a minute since minute 0; an alert is kept for ten minutes."""
    keep = int(prometheus.KEEP_FIRING.removesuffix("m"))
    return tuple(
        pair.name
        for pair in burn.PAIRS
        if any(_fires(pair, bad, then, objectives) for then in range(at - keep, at + 1))
    )


def _fires(pair: Any, bad: Sequence[int], at: int, objectives: Objectives) -> bool:
    for seconds, least in ((pair.long_s, objectives.burn_min_bad), (pair.short_s, burn.MIN_BAD_SHORT)):
        count, rate = _window(bad, at, int(seconds) // 60, objectives)
        if rate <= pair.factor or count < least:
            return False
    return True


def _window(bad: Sequence[int], at: int, minutes: int, objectives: Objectives) -> tuple[int, float]:
    total = min(minutes, at)  # the counter's first sample is where counting begins
    count = sum(at - total < minute <= at for minute in bad)
    return count, count / total / prometheus.allowed(objectives)["uptime"] if total > 0 else 0.0


def _counter(bad: Sequence[int], minutes: int) -> str:
    """Cumulated, in promtool's notation: ``axn`` is ``a`` and n more of it."""
    edges = [0, *sorted(bad), minutes + 1]
    return " ".join(f"{count}x{end - start - 1}" for count, (start, end) in enumerate(pairwise(edges)) if end > start)


def _burn_case(case: _Case, rules: Sequence[dict[str, Any]], objectives: Objectives) -> dict[str, Any]:
    checks = []
    for at, firing in case.firing.items():
        for rule in rules:
            alerts = []
            if rule["labels"]["burn"] in firing:
                pair = next(pair for pair in burn.PAIRS if pair.name == rule["labels"]["burn"])
                alerts.append(_alert(rule, {"sla": "uptime"}, _value(case.bad, at, pair, objectives)))
            checks.append({"eval_time": f"{at}m", "alertname": rule["alert"], "exp_alerts": alerts})
    series = [
        {"series": f"orquestrador_sla_events_total{_LABELS}", "values": f"0+1x{case.minutes}"},
        {"series": f"orquestrador_sla_bad_events_total{_LABELS}", "values": _counter(case.bad, case.minutes)},
    ]
    if case.planned:
        series.append({"series": f'orquestrador_planned{{host="{HOST}"}}', "values": case.planned})
    return {
        "name": case.name,
        "interval": "1m",
        "input_series": series,
        "alert_rule_test": checks,
    }


def _value(bad: Sequence[int], at: int, pair: Any, objectives: Objectives) -> str:
    # An alert that is only kept shows the last value it fired with.
    then = next(moment for moment in range(at, -1, -1) if _fires(pair, bad, moment, objectives))
    return f"{_window(bad, then, int(pair.long_s) // 60, objectives)[1]:.4g}"


def _alert(rule: dict[str, Any], labels: dict[str, str], value: str = "") -> dict[str, Any]:
    labels = {**rule["labels"], "host": HOST, **labels}
    filled = {f"{{{{ $labels.{label} }}}}": content for label, content in labels.items()}
    filled |= {"{{ $value | humanize }}": value, "{{ $value | humanizeDuration }}": value}

    def say(text: str) -> str:
        for placeholder, content in filled.items():
            text = text.replace(placeholder, content)
        return text

    texts = {name: say(text) for name, text in rule["annotations"].items()}
    return {"exp_labels": labels, "exp_annotations": texts}


def _over_the_border(objectives: Objectives) -> str | None:
    """Nine bad probes of an hour's sixty, five of them before midnight; ``None`` where the objectives can bear that."""
    rate = 9 / 60 / prometheus.allowed(objectives)["uptime"]
    fast = burn.PAIRS[0]
    return f"{rate:.4g}" if rate > fast.factor and objectives.burn_min_bad <= 9 else None


def _state_case(name: str, series: list[tuple[str, str]], alert: str, moments: dict[int, list[Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": one, "values": values} for one, values in series],
        "alert_rule_test": [
            {"eval_time": f"{at}m", "alertname": alert, "exp_alerts": alerts} for at, alerts in moments.items()
        ],
    }


def _state_cases(objectives: Objectives) -> list[dict[str, Any]]:
    rules = {rule["alert"]: rule for rule in _rules(objectives) if "alert" in rule}
    evaluated = f'orquestrador_sla_evaluated_timestamp_seconds{{host="{HOST}", period="month"}}'
    probed = f'orquestrador_probe_last_timestamp_seconds{{host="{HOST}", look="inside"}}'
    verdict = f'orquestrador_sla_verdict{{host="{HOST}", sla="uptime", period="month", verdict="missed"}}'
    left = f"orquestrador_error_budget_remaining_ratio{_LABELS}"
    sla, there = {"sla": "uptime"}, [(evaluated, "0+60x60")]
    # 25 minutes of it, then nobody writes any more: 35 minutes old at minute 60.
    stopped = "0+60x25 1500x35"
    missing = {"exp_labels": dict(rules["OrquestradorMetricsAbsent"]["labels"], period="month")}
    missing["exp_annotations"] = rules["OrquestradorMetricsAbsent"]["annotations"]

    def one(alert: str, labels: dict[str, str], value: str = "") -> list[Any]:
        return [_alert(rules[alert], labels, value)]

    rate = _over_the_border(objectives)
    events, bad = (f"orquestrador_{name}_total{_LABELS}" for name in ("sla_events", "sla_bad_events"))
    return [
        _state_case(
            # Counters begin anew, which is neither an outage nor the end of one.
            "a new month never pages",
            [(events, "42000+1x120 0+1x120"), (bad, "41x120 0x120")],
            "OrquestradorBurnPageFast",
            {120: [], 121: [], 125: [], 180: []},
        ),
        _state_case(
            "an outage over the border of months",
            [(events, "42000+1x120 1+1x120"), (bad, "41x115 42+1x4 1+1x4 5x115")],
            "OrquestradorBurnPageFast",
            {115: [], 124: one("OrquestradorBurnPageFast", sla, rate) if rate else []},
        ),
        _state_case(
            "a service level that is missed",
            [(verdict, "0x20 1x40")],
            "OrquestradorSlaMissed",
            {20: [], 25: [], 40: one("OrquestradorSlaMissed", sla)},
        ),
        _state_case(
            "an error budget that is used up",
            [(left, "0.4x20 0x10 -0.1x29")],
            "OrquestradorErrorBudgetExhausted",
            {20: [], 25: [], 50: one("OrquestradorErrorBudgetExhausted", sla)},
        ),
        _state_case(
            "a watch that has stopped",
            [(probed, stopped)],
            "OrquestradorProbesStale",
            {25: [], 40: [], 50: one("OrquestradorProbesStale", {}, "25m 0s")},
        ),
        _state_case(
            "an evaluation that has stopped",
            [(evaluated, stopped)],
            "OrquestradorEvaluationStale",
            {25: [], 55: [], 61: one("OrquestradorEvaluationStale", {}, "36m 0s")},
        ),
        _state_case("metrics that are there", there, "OrquestradorMetricsAbsent", {5: [], 30: [], 60: []}),
        _state_case("metrics that are not there", [], "OrquestradorMetricsAbsent", {5: [], 20: [missing]}),
    ]
