"""The text for node_exporter, read back by a reader of its own."""

from __future__ import annotations

import copy
import os
import re
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from orquestrador_ops.sla.data import cells, histogram, series
from orquestrador_ops.sla.evaluate import readings
from orquestrador_ops.sla.export import openmetrics

LEVEL: dict[str, Any] = {
    "id": "uptime",
    "title": {"text": "Uptime", "args": {}},
    "unit": "ratio",
    "objective": 0.999,
    "threshold": None,
    "value": 0.9975,
    "good": 43091,
    "total": 43200,
    "worst": 0.99,
    "best": 0.9976,
    "coverage": 0.98,
    "budget_minutes": 43.2,
    "spent_minutes": 50.0,
    "remaining_minutes": -6.8,
    "budget_events": None,
    "remaining_events": None,
    "met": False,
    "verdict": "missed",
    "adjusted": {"value": 0.9985, "worst": 0.991, "best": 0.9986, "coverage": 0.98, "down_minutes": 50.0},
    "measured_by": "inside",
    "action": None,
}
DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "host": "web-01",
    "evaluated_at": "2026-11-22T12:00:00+00:00",
    "period": {
        "name": "month",
        "from": "2026-11-01T03:00:00+00:00",
        "to": "2026-12-01T03:00:00+00:00",
        "until": "2026-11-22T12:00:00+00:00",
        "timezone": "America/Sao_Paulo",
        "seconds": 2592000.0,
        "over": False,
    },
    "slas": [
        LEVEL,
        LEVEL
        | {
            "id": "response",
            "value": 0.97,
            "budget_minutes": None,
            "remaining_minutes": None,
            "spent_minutes": None,
            "budget_events": 2160.0,
            "remaining_events": 864.0,
            "p50_ms": 12.5,
            "p95_ms": 190.0,
            "p99_ms": 900.0,
            "verdict": "met",
        },
        LEVEL | {"id": "availability", "measured_by": "inside"},
        LEVEL | {"id": "error_rate", "measured_by": "probes", "objective": 0.001, "value": 0.0025},
        LEVEL
        | {
            "id": "recovery",
            "unit": "seconds",
            "objective": 300.0,
            "value": 640.0,
            "worst": None,
            "good": 1,
            "total": 2,
            "budget_minutes": None,
            "adjusted": None,
        },
    ],
    "incidents": [
        {"from": "2026-11-10T00:00:00+00:00", "to": "2026-11-10T00:10:40+00:00", "seconds": 640.0, "planned": False},
        {"from": "2026-11-11T00:00:00+00:00", "to": "2026-11-11T01:00:00+00:00", "seconds": 3600.0, "planned": True},
        {"from": "2026-11-22T11:59:00+00:00", "to": None, "seconds": 60.0, "planned": False},
    ],
    "seconds": {"up": 1000.5, "down": 60, "planned_down": 30, "unknown": 0, "planned": 60},
    "burn": [
        {
            "name": "page-fast",
            "severity": "page",
            "long_s": 3600,
            "short_s": 300,
            "factor": 14.4,
            "long_burn": 16.7,
            "short_burn": float("nan"),
            "bad_long": 1,
            "bad_short": 1,
            "firing": False,
        }
    ],
}
_LINE = re.compile(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (-?[0-9][0-9.e+-]*)')
_LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def reading(**more: Any) -> readings.Reading:
    counts = histogram.count([10, 12, 199.0, 200.0, 450, 20000])
    return readings.Reading(
        "web-01",
        {"inside": readings.Look(1e9, good=False)},
        {"any": (10, 9), "outside": (4, 4)},
        latency=readings.latency(counts),
        **more,
    )


def read(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Samples by name and labels. Fails on a line that the format does not know, and on a series told twice."""
    found = {}
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        assert match, line
        labels = {
            name: re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)
            for name, value in _LABEL.findall(match[2])
        }
        key = match[1], frozenset(labels.items())
        assert key not in found, line
        found[key] = float(match[3])
    return found


def of(text: str, name: str, **labels: str) -> float | None:
    wanted = set(labels.items())
    found = [
        value for (metric, have), value in read(text).items() if metric == f"orquestrador_{name}" and have >= wanted
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


SERIES = [
    ("sla_measured_ratio", {"sla": "uptime", "view": "raw"}, 0.9975),
    ("sla_measured_ratio", {"sla": "uptime", "view": "adjusted"}, 0.9985),
    ("sla_worst_ratio", {"sla": "uptime", "view": "adjusted"}, 0.991),
    ("sla_best_ratio", {"sla": "uptime", "view": "raw"}, 0.9976),
    ("sla_coverage_ratio", {"sla": "uptime", "view": "raw"}, 0.98),
    ("sla_objective_ratio", {"sla": "error_rate"}, 0.001),
    ("sla_objective_seconds", {"sla": "recovery"}, 300.0),
    ("sla_measured_seconds", {"sla": "recovery", "view": "raw"}, 640.0),
    ("sla_worst_seconds", {"sla": "recovery", "view": "raw"}, None),
    ("sla_verdict", {"sla": "uptime", "verdict": "missed"}, 1),
    ("sla_verdict", {"sla": "uptime", "verdict": "met"}, 0),
    ("sla_verdict", {"sla": "response", "verdict": "met"}, 1),
    ("error_budget_seconds", {"sla": "uptime"}, 2592.0),
    ("error_budget_remaining_seconds", {"sla": "uptime"}, -408.0),
    ("error_budget_remaining_ratio", {"sla": "uptime"}, -6.8 / 43.2),
    ("error_budget_remaining_ratio", {"sla": "response"}, 0.4),
    ("error_budget_seconds", {"sla": "response"}, None),
    ("response_percentile_seconds", {"percentile": "95"}, 0.19),
    ("sla_events_total", {"sla": "uptime"}, 43200),
    ("sla_bad_events_total", {"sla": "uptime"}, 109),
    ("sla_bad_events_total", {"sla": "recovery"}, 1),
    # Both are the uptime's own probes again: an outage must not page once for each.
    ("sla_events_total", {"sla": "availability"}, None),
    ("sla_events_total", {"sla": "error_rate"}, None),
    ("incidents", {"planned": "false"}, 2),
    ("incidents", {"planned": "true"}, 1),
    ("incident_longest_seconds", {}, 640.0),
    ("incident_open", {}, 1),
    ("incident_open_seconds", {}, 60.0),
    ("sla_observed_time_seconds", {"state": "up"}, 1000.5),
    ("burn_rate", {"alert": "page-fast", "window": "long"}, 16.7),
    ("burn_rate", {"alert": "page-fast", "window": "short"}, None),
    ("burn_alert_firing", {"alert": "page-fast", "severity": "page"}, 0),
    ("sla_evaluated_timestamp_seconds", {"period": "month"}, 1795348800),
    ("sla_period_start_timestamp_seconds", {"period": "month"}, 1793502000),
    ("sla_period_end_timestamp_seconds", {"period": "month"}, 1796094000),
    ("probes_total", {"look": "any"}, 10),
    ("probes_bad_total", {"look": "any"}, 1),
    ("probe_last_good", {"look": "inside"}, 0),
    ("probe_last_timestamp_seconds", {"look": "inside"}, 1e9),
    ("probe_last_good", {"look": "outside"}, None),
    ("response_seconds_bucket", {"le": "0.01"}, 0),  # 10 ms is of the next bucket
    ("response_seconds_bucket", {"le": "0.2"}, 3),  # 200 ms is not below it
    ("response_seconds_bucket", {"le": "0.5"}, 5),
    ("response_seconds_bucket", {"le": "10.0"}, 5),
    ("response_seconds_bucket", {"le": "+Inf"}, 6),
    ("response_seconds_count", {}, 6),
    ("backup_proven_timestamp_seconds", {}, 1234.5),
]


@pytest.mark.parametrize("form", ["text", "openmetrics"])
@pytest.mark.parametrize(("name", "labels", "value"), SERIES)
def test_a_figure_is_told_in_base_units(name: str, labels: dict[str, str], value: float | None, form: str) -> None:
    text = openmetrics.text([DOCUMENT], [reading(backup_proven_at=1234.5)], openmetrics=form == "openmetrics")
    found = of(text, name, host="web-01", **labels)
    assert (found is None) == (value is None)
    assert found == pytest.approx(value)


def test_the_sum_of_response_times_is_right_to_the_width_of_a_bucket() -> None:
    latencies = np.random.default_rng(1).gamma(2, 40, 2000) + 1
    found = readings.latency(histogram.count(latencies))
    assert found is not None
    assert found.sum_s == pytest.approx(latencies.sum() / 1000, rel=0.025)
    assert list(found.below) == [int((latencies < edge * 1000).sum()) for edge in readings.LATENCY_EDGES]


@pytest.mark.parametrize("by", [("availability", "outside"), ("error_rate", "logs")])
def test_events_of_their_own_are_counted(by: tuple[str, str]) -> None:
    document = copy.deepcopy(DOCUMENT)
    next(sla for sla in document["slas"] if sla["id"] == by[0])["measured_by"] = by[1]
    assert of(openmetrics.text([document]), "sla_events_total", sla=by[0]) == 43200


@pytest.mark.parametrize(
    ("change", "counted"),
    [({"name": "day"}, True), ({"name": "30d"}, False), ({"name": "2026-10"}, False), ({"over": True}, False)],
)
def test_only_periods_of_the_calendar_that_go_on_have_counters(change: dict[str, Any], counted: bool) -> None:
    """The counts of a period that rolls on fall, which no counter may."""
    text = openmetrics.text([{**DOCUMENT, "period": DOCUMENT["period"] | change}])
    assert (of(text, "sla_events_total", sla="uptime") is not None) is counted
    assert of(text, "sla_measured_ratio", sla="uptime", view="raw") == 0.9975


NOON = "2026-11-22T12:00:00Z"


def outage(to: str | None, *, planned: bool) -> dict[str, Any]:
    return {"incidents": [{"from": "2026-11-22T11:50:00Z", "to": to, "seconds": 9.0, "planned": planned}]}


@pytest.mark.parametrize(
    ("change", "planned"),
    [
        ({}, 0),
        ({"maintenance": [{"from": NOON, "to": "2026-11-22T13:00:00Z", "reason": ""}]}, 1),
        ({"maintenance": [{"from": "2026-11-22T11:00:00Z", "to": NOON, "reason": ""}]}, 0),
        (outage(None, planned=True), 1),
        (outage("2026-11-22T11:56:00Z", planned=True), 1),
        (outage("2026-11-22T11:55:00Z", planned=True), 0),
        (outage(None, planned=False), 0),
    ],
)
def test_alerts_are_told_what_was_planned(change: dict[str, Any], planned: int) -> None:
    assert of(openmetrics.text([DOCUMENT | change]), "planned") == planned


def test_nothing_is_known() -> None:
    nothing = dict.fromkeys(("value", "worst", "best", "good", "total", "remaining_minutes", "budget_minutes"))
    document = {
        **DOCUMENT,
        "slas": [LEVEL | nothing | {"verdict": "no_data", "coverage": 0.0, "adjusted": None}],
        "incidents": [],
        "burn": None,
    }
    text = openmetrics.text([document])
    assert of(text, "sla_measured_ratio", view="raw") is None
    assert of(text, "sla_coverage_ratio", view="raw") == 0
    assert of(text, "sla_verdict", verdict="no_data") == 1
    assert of(text, "incident_open") == 0
    assert of(text, "sla_events_total") is None
    assert openmetrics.text([]) == ""
    assert openmetrics.text([], openmetrics=True) == "# EOF\n"


HOSTILE = st.text(max_size=12) | st.sampled_from(['a"b', "a\\", "a\nb", "\\n", '"} 1\nx{y="', "\ud800", "é\u2028\r\0"])


@given(st.lists(HOSTILE, min_size=1, max_size=4))
def test_whatever_a_host_is_called_no_line_is_broken_and_no_series_twice(hosts: list[str]) -> None:
    text = openmetrics.text([{**DOCUMENT, "host": host} for host in [*hosts, *hosts]])
    text.encode()
    found = {
        dict(labels)["host"]
        for (name, labels) in read("\n".join(line for line in text.split("\n") if "incident_open{" in line))
    }
    assert found == {host.encode("utf-8", "replace").decode() for host in hosts}


PARSERS = {
    "text": parser.text_string_to_metric_families,
    "openmetrics": openmetrics_parser.text_string_to_metric_families,
}


@pytest.mark.parametrize("form", PARSERS)
@given(host=HOSTILE)
def test_the_library_reads_back_what_was_written(form: str, host: str) -> None:
    """OpenMetrics' parser is strict: units, order, +Inf, whole counts, one series of the same labels."""
    documents = [DOCUMENT | {"host": host}] * 2
    text = openmetrics.text(documents, [reading(backup_proven_at=1234.5)], openmetrics=form == "openmetrics")
    families = list(PARSERS[form](text))
    found = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    assert found == read(text)
    names = {dict(labels)["host"] for _, labels in found}
    assert names == {"web-01", host.encode("utf-8", "replace").decode()}
    kinds = {family.name.removesuffix("_total"): (family.type, family.unit) for family in families}
    told = form == "openmetrics"
    assert kinds["orquestrador_sla_events"] == ("counter", "")
    assert kinds["orquestrador_error_budget_seconds"] == ("gauge", "seconds" if told else "")
    assert kinds["orquestrador_sla_coverage_ratio"] == ("gauge", "ratio" if told else "")
    assert kinds["orquestrador_response_seconds"] == ("histogram", "seconds" if told else "")


def test_of_two_samples_with_the_same_labels_the_last_one_counts() -> None:
    later = {**DOCUMENT, "seconds": {"up": 7, "down": float("inf"), "unknown": None}}
    text = openmetrics.text([DOCUMENT, later])
    assert of(text, "sla_observed_time_seconds", state="up") == 7
    assert of(text, "sla_observed_time_seconds", state="down") == 60, "what is no finite number does not count"


def test_metadata_stands_once_before_its_samples() -> None:
    for form in (False, True):
        lines = openmetrics.text([DOCUMENT, {**DOCUMENT, "host": "b"}], [reading()], openmetrics=form).splitlines()
        kinds = dict(line.split()[2:4] for line in lines if line.startswith("# TYPE"))
        helps = [line.split()[2] for line in lines if line.startswith("# HELP")]
        assert sorted(kinds) == sorted(helps) == sorted(set(helps))
        current = ""
        for line in lines:
            if line.startswith("# HELP"):
                current = line.split()[2]
            elif not line.startswith("#"):
                name = line.partition("{")[0]
                allowed = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",) if form else ("",)}
                assert name.removeprefix(current) in allowed.get(kinds[current], ("",)), line
        for line in lines:
            if line.startswith("# UNIT"):
                assert form
                assert line.split()[2].endswith("_" + line.split()[3])
        assert (lines[-1] == "# EOF") is form
        assert not any(kind == "counter" and name.endswith("_total") == form for name, kind in kinds.items())


def test_others_may_read_the_file_and_never_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "orquestrador.prom"
    old = os.umask(0o077)
    try:
        openmetrics.write(path, [DOCUMENT])
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.read_text() == openmetrics.text([DOCUMENT])
    before = path.stat().st_ino
    openmetrics.write(path, [DOCUMENT], [reading()])
    assert path.stat().st_ino != before  # replaced, not written over
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    with pytest.raises(OSError, match="No such file"):
        openmetrics.write(tmp_path / "missing" / "x.prom", [DOCUMENT])


def test_a_reading_comes_from_the_month_and_the_last_samples() -> None:
    month = series.empty(3)
    month["at"] = [1, 2, 15]
    month["flags"] = [series.INSIDE_SEEN, series.INSIDE_SEEN | series.INSIDE_GOOD, series.INSIDE_SEEN]
    counted = cells.cells(month, np.array([0.0, 10, 20]))
    recent = series.empty(3)
    recent["at"] = [10, 20, 30]
    recent["flags"] = [
        series.INSIDE_SEEN | series.INSIDE_GOOD,
        series.INSIDE_SEEN,
        series.OUTSIDE_SEEN | series.OUTSIDE_GOOD,
    ]
    found = readings.reading("a", counted, recent)
    assert found.looks == {"inside": readings.Look(20.0, good=False), "outside": readings.Look(30.0, good=True)}
    assert found.probes == {"any": (3, 1)}
    assert found.latency is None
    assert readings.reading("a", counted, recent[:0]).looks == {}


def step(status: str, ended: str | None = None, name: str = "database_verify") -> dict[str, Any]:
    return {"id": name, "status": status, "ended_at": ended}


@pytest.mark.parametrize(
    ("runs", "proven"),
    [
        ([], None),
        ([{"steps": [step("ok", "1970-01-01T00:01:00+00:00")]}], 60.0),
        ([{"ended_at": 70.0, "steps": [step("changed")]}], 70.0),
        ([{"ended_at": 70.0, "steps": [step("skipped")]}, {"ended_at": 50.0, "steps": [step("ok")]}], 50.0),
        ([{"ended_at": 70.0, "steps": [step("failed")]}], None),
        ([{"ended_at": 70.0, "check_mode": True, "steps": [step("ok")]}], None),
        ([{"ended_at": 70.0, "steps": [step("ok", name="database_backup")]}, {"steps": None}], None),
    ],
)
def test_only_a_restored_backup_is_proven(runs: list[dict[str, Any]], proven: float | None) -> None:
    assert readings.backup_proven_at(runs) == proven
