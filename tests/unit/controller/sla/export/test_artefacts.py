"""Rules, dashboards and OpenSLO documents: what is committed is what the objectives give, and hangs together."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from orquestrador_ops.sla.evaluate import burn_rate as burn
from orquestrador_ops.sla.evaluate.objectives import Objectives
from orquestrador_ops.sla.evaluate.readings import Latency, Look, Reading
from orquestrador_ops.sla.export import artefacts, openmetrics, openslo, prometheus, rule_tests
from tests.unit.controller.sla import exported

DEFAULT = Objectives()
OTHER = Objectives(uptime=0.99, response=0.9, error_rate=0.02, recovery_s=600, response_ms=500, burn_min_bad=5)
FILES = artefacts.artefacts(DEFAULT)
DASHBOARDS = [name for name in FILES if name.startswith("grafana/")]
SLOS = ("uptime", "response", "availability", "error-rate", "recovery")


def rules_of(objectives: Objectives = DEFAULT) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(prometheus.rules(objectives))["groups"] for rule in group["rules"]]


def test_what_is_committed_is_what_is_generated() -> None:
    committed = {
        path.relative_to(artefacts.COMMITTED).as_posix(): path.read_text(encoding="utf-8")
        for path in artefacts.COMMITTED.rglob("*")
        if path.is_file()
    }
    assert committed == FILES, "python -m orquestrador_ops.sla.export.artefacts writes them anew"


def test_files_are_written_for_everybody_to_read(tmp_path: Path) -> None:
    written = artefacts.write(tmp_path / "new", OTHER, timezone="Europe/Berlin")
    found = {path.relative_to(tmp_path / "new").as_posix(): path.read_text() for path in written}
    assert found == artefacts.artefacts(OTHER, timezone="Europe/Berlin") != FILES
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o644}


def test_every_window_of_an_alert_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules_of() if "record" in rule}
    for rule in rules_of():
        used = set(re.findall(r"orquestrador:[a-z_]+:[a-z_0-9]+", rule["expr"]))
        assert used <= recorded, rule
    assert {name for name in recorded if ":sla_burn:" in name} == {
        f"orquestrador:sla_burn:rate{window}" for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
    }


@pytest.mark.parametrize("pair", burn.PAIRS, ids=lambda pair: pair.name)
def test_an_alert_wants_both_windows_and_enough_bad_events(pair: burn.Pair) -> None:
    rule = next(rule for rule in rules_of(OTHER) if rule.get("labels", {}).get("burn") == pair.name)
    found = re.findall(r"(rate|increase)(\w+)(?:\{[^}]*\})? (>=?) ([0-9.]+)", rule["expr"])
    windows = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21600, "1d": 86400, "3d": 259200}
    assert [(kind, windows[window], sign, float(limit)) for kind, window, sign, limit in found] == [
        ("rate", pair.long_s, ">", pair.factor),
        ("rate", pair.short_s, ">", pair.factor),
        ("increase", pair.long_s, ">=", 5),
        ("increase", pair.short_s, ">=", 2),
    ]
    assert rule["labels"]["severity"] == pair.severity


def test_rules_allow_what_the_objectives_allow() -> None:
    allowed = {
        rule["labels"]["sla"]: float(re.fullmatch(r"vector\((.*)\)", rule["expr"])[1])  # type: ignore[index]
        for rule in rules_of(OTHER)
        if rule.get("record") == "orquestrador:sla_allowed:ratio"
    }
    assert allowed == {"uptime": 0.01, "response": 0.1, "availability": 0.001, "error_rate": 0.02}


def test_every_alert_says_what_to_do_in_both_languages() -> None:
    for rule in rules_of():
        if "alert" in rule:
            texts = rule["annotations"]
            assert set(texts) == {"summary", "description", "summary_pt_BR", "description_pt_BR"}
            assert texts["summary"] != texts["summary_pt_BR"], "not translated"
            assert texts["description"] != texts["description_pt_BR"], "not translated"
            for text in texts.values():
                assert text.count("{{") == text.count("}}")
                assert "{" not in text.replace("{{", "").replace("}}", ""), text


def told() -> set[str]:
    """Names of all series that we write."""
    level = {
        "unit": "ratio",
        "verdict": "met",
        **dict.fromkeys(
            (
                "objective",
                "value",
                "worst",
                "best",
                "coverage",
                "good",
                "total",
                "budget_minutes",
                "spent_minutes",
                "remaining_minutes",
                "budget_events",
                "remaining_events",
                "p50_ms",
            ),
            1.0,
        ),
        "adjusted": {"value": 1.0},
        "measured_by": "probes",
    }
    document = {
        "host": "a",
        "evaluated_at": 1,
        "period": {"name": "month", "from": 0, "to": 9, "over": False},
        "slas": [{**level, "id": "uptime"}, {**level, "id": "recovery", "unit": "seconds"}],
        "incidents": [],
        "seconds": {"up": 1},
        "burn": [{"name": "x", "severity": "page", "long_burn": 1, "short_burn": 1, "firing": False}],
    }
    reading = Reading("a", {"inside": Look(1.0, good=True)}, {"any": (1, 1)}, Latency((0,) * 11, 1, 0.1), 1.0)
    text = openmetrics.text([document], [reading])
    return {line.partition("{")[0] for line in text.splitlines() if not line.startswith("#")}


def test_rules_and_dashboards_ask_for_nothing_that_nobody_tells() -> None:
    recorded = {rule["record"] for rule in rules_of() if "record" in rule}
    asked = [rule["expr"] for rule in rules_of()] + [
        expression for name in DASHBOARDS for expression in exported.expressions(FILES[name])
    ]
    asked += [str(document) for name in SLOS for document in exported.documents(FILES[f"openslo/{name}.yml"])]
    used = {name for text in asked for name in re.findall(r"\borquestrador[_:][a-z_:0-9]+", text)}
    assert used - recorded <= told()
    assert len(used) > 25


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_has_a_place_and_an_id_for_every_panel(name: str) -> None:
    board = json.loads(FILES[name])
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 15
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["targets"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", " ".join(exported.expressions(FILES[name]))))
    assert used <= variables | {"datasource"}


def test_dashboards_differ_in_their_words_alone() -> None:
    boards = [json.loads(FILES[name]) for name in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len({board["title"] for board in boards}) == 2
    assert exported.expressions(FILES[DASHBOARDS[0]]) == exported.expressions(FILES[DASHBOARDS[1]])


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("openslo/")])
def test_openslo_documents_are_as_the_specification_wants_them(name: str) -> None:
    policies = {
        one["metadata"]["name"]
        for one in exported.documents(FILES["openslo/alerts.yml"])
        if one["kind"] == "AlertPolicy"
    }
    for document in exported.documents(FILES[name]):
        assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
        assert document["apiVersion"] == "openslo/v1"
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]", document["metadata"]["name"])
        spec = document["spec"]
        assert len(spec.get("description", "")) <= 1050
        durations = re.findall(r"(?:duration|lookbackWindow|alertAfter): '?([^'\n]+)", FILES[name])
        assert all(re.fullmatch(r"[1-9][0-9]*[mhdwMQY]", duration) for duration in durations)
        if document["kind"] == "SLO":
            assert spec["service"] == openslo.SERVICE
            assert spec["budgetingMethod"] == "Occurrences"
            assert len(spec["timeWindow"]) == len(spec["objectives"]) == 1
            assert 0 <= spec["objectives"][0]["target"] < 1
            assert {one["alertPolicyRef"] for one in spec.get("alertPolicies", ())} <= policies
            metric = spec["indicator"]["spec"]
            assert len(metric) == 1
            if "thresholdMetric" in metric:
                assert spec["objectives"][0]["op"] == "lte"
            else:
                assert set(metric["ratioMetric"]) == {"counter", "bad", "total"}
        if document["kind"] == "AlertPolicy":
            assert len(spec["conditions"]) == 1
            assert set(spec) >= {"alertWhenBreaching", "alertWhenResolved", "alertWhenNoData", "notificationTargets"}


def test_openslo_promises_what_the_objectives_promise() -> None:
    files = openslo.documents(OTHER, timezone="Europe/Berlin")
    targets = {}
    for name in SLOS:
        (document,) = exported.documents(files[f"{name}.yml"])
        objective = document["spec"]["objectives"][0]
        targets[name] = objective.get("value", objective["target"])
        assert document["spec"]["timeWindow"][0]["calendar"]["timeZone"] == "Europe/Berlin"
    assert targets == {"uptime": 0.99, "response": 0.9, "availability": 0.999, "error-rate": 0.98, "recovery": 600}


def test_stories_of_the_rule_tests_end_as_they_should() -> None:
    """What promtool is asked to expect, said here once more by hand."""
    bad = range(120, 130)
    assert rule_tests.expected((120,), 123, DEFAULT) == ()
    assert rule_tests.expected(bad, 121, DEFAULT) == ()
    assert "page-fast" in rule_tests.expected(bad, 122, DEFAULT)
    assert "page-fast" not in rule_tests.expected(bad, 150, DEFAULT)
    cases = yaml.safe_load(rule_tests.tests(DEFAULT))["tests"]
    fires = {case["name"]: any(check["exp_alerts"] for check in case["alert_rule_test"]) for case in cases}
    assert not any(fires[name] for name in fires if "never" in name or name.startswith("quiet") or "planned" in name)
    assert fires["a fast burn pages"]
    slow = next(case for case in cases if case["name"] == "a slow burn makes tickets")
    assert {check["alertname"] for check in slow["alert_rule_test"] if check["exp_alerts"]} == {
        "OrquestradorBurnTicketSlow"
    }


def test_counters_are_written_as_promtool_reads_them() -> None:
    def values(text: str) -> list[int]:
        return [
            int(value) for part in text.split() for value, times in [part.split("x")] for _ in range(int(times) + 1)
        ]

    assert values(rule_tests._counter((2, 3, 7), 9)) == [0, 0, 1, 2, 2, 2, 2, 3, 3, 3]
    assert values(rule_tests._counter((), 3)) == [0] * 4


@pytest.mark.parametrize("name", ["metrics.md", "metrics.pt-BR.md"])
def test_every_series_and_every_alert_is_documented(name: str) -> None:
    text = (artefacts.COMMITTED.parents[2] / "docs" / name).read_text(encoding="utf-8")
    series = {re.sub(r"(seconds)_(bucket|sum|count)$", r"\1", one).removeprefix("orquestrador_") for one in told()}
    kinds = {re.sub(r"^(sla_(?:measured|worst|best)_)(ratio|seconds)$", r"\1…", one) for one in series}
    missing = {one for one in kinds if f"`{one}`" not in text} - {"sla_objective_seconds"}
    assert not missing
    assert not {rule["alert"] for rule in rules_of() if "alert" in rule and f"`{rule['alert']}`" not in text}
