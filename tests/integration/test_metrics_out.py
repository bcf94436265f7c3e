"""What we write for others, read by those others: promtool, node_exporter's textfile collector, Prometheus itself."""

from __future__ import annotations

import contextlib
import dataclasses
import http.server
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orquestrador_ops.sla.data import periods
from orquestrador_ops.sla.evaluate import burn_rate as burn
from orquestrador_ops.sla.evaluate import readings
from orquestrador_ops.sla.evaluate.objectives import Objectives
from orquestrador_ops.sla.export import artefacts, openmetrics
from tests.integration import monitors
from tests.unit.controller.sla import exported, known

FILES = artefacts.COMMITTED
RULES = FILES / "prometheus" / "orquestrador.rules.yml"
HOSTILE = 'a"b\\c\nd } 1 {é\u2028\ud800'


def promtool(programs: Path, *arguments: str | Path, text: str | None = None) -> tuple[int, str]:
    command = [programs / "promtool", *arguments]
    told = subprocess.run(command, capture_output=True, text=True, check=False, input=text)
    return told.returncode, told.stdout + told.stderr


def told(host: str = known.HOST, *, minutes: int = 0) -> tuple[dict[str, Any], readings.Reading]:
    """The month until now, or until so many minutes ago; the last five probes of it were bad."""
    now = time.time() - minutes * 60
    period = periods.parse("month", now=now, timezone=known.ZONE)
    period = dataclasses.replace(period, start=period.start - 86400)  # so that there is something on the first day, too
    history = known.built(period, now, 60.0, known.Plan())
    lost = 5 if minutes == 0 else 0
    history.series["flags"][len(history.series) - lost :] = 5  # seen from both sides, and bad
    facts = known.facts(history)
    document = known.evaluate(facts, Objectives())
    document["burn"] = burn.rates(history.series, Objectives(), now)
    reading = readings.reading(host, facts.cells, history.series, backup_proven_at=now - 3600)
    return document | {"host": host}, reading


@pytest.mark.parametrize("host", [known.HOST, HOSTILE])
def test_promtool_finds_no_fault_in_the_metrics(programs: Path, host: str) -> None:
    document, reading = told(host)
    assert promtool(programs, "check", "metrics", text=openmetrics.text([document], [reading])) == (0, "")


def test_promtool_would_find_one(programs: Path) -> None:
    status, said = promtool(programs, "check", "metrics", text="# TYPE a_milliseconds counter\na_milliseconds 1\n")
    assert status != 0
    assert "counter metrics should have" in said


def test_promtool_accepts_the_rules(programs: Path) -> None:
    status, said = promtool(programs, "check", "rules", RULES)
    assert (status, re.findall(r"(\d+) rules found", said)) == (0, ["41"])


def test_the_rules_pass_their_tests(programs: Path) -> None:
    status, said = promtool(programs, "test", "rules", FILES / "prometheus" / "orquestrador.tests.yml")
    assert status == 0, said


@pytest.mark.parametrize(
    ("was", "becomes"),
    [(">= 3\n", ">= 0\n"), ("> 14.4\n", "> 1440\n"), ("and orquestrador:sla_bad", "or orquestrador:sla_bad")],
    ids=["one probe is enough", "nothing is too fast", "one window is enough"],
)
def test_the_tests_of_the_rules_notice_a_fault(programs: Path, tmp_path: Path, was: str, becomes: str) -> None:
    rules = RULES.read_text()
    assert was in rules
    (tmp_path / RULES.name).write_text(rules.replace(was, becomes))
    tests = yaml.safe_load((FILES / "prometheus" / "orquestrador.tests.yml").read_text())
    tests["tests"] = [case for case in tests["tests"] if "never" in case["name"] or "fast" in case["name"]]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    assert promtool(programs, "test", "rules", tmp_path / "tests.yml")[0] == 1


def test_rules_of_other_objectives_pass_their_tests(programs: Path, tmp_path: Path) -> None:
    artefacts.write(tmp_path, Objectives(uptime=0.995, error_rate=0.02, burn_min_bad=5))
    path = tmp_path / "prometheus" / "orquestrador.tests.yml"
    tests = yaml.safe_load(path.read_text())
    tests["tests"] = [case for case in tests["tests"] if "slow" not in case["name"]]  # ten hours of it
    path.write_text(yaml.safe_dump(tests))
    status, said = promtool(programs, "test", "rules", path)
    assert status == 0, said


def asked_by_others() -> list[str]:
    """Every expression of dashboards and OpenSLO documents."""
    found = [
        expression
        for path in sorted(FILES.glob("grafana/*.json"))
        for expression in exported.expressions(path.read_text(encoding="utf-8"))
    ]
    for path in FILES.glob("openslo/*.yml"):
        for document in exported.documents(path.read_text(encoding="utf-8")):
            metric = document["spec"].get("indicator", {}).get("spec", {})
            parts = [metric.get("thresholdMetric"), *metric.get("ratioMetric", {}).values()]
            found += [part["metricSource"]["spec"]["query"] for part in parts if isinstance(part, dict)]
    return [text.replace("$host", ".+").replace("$period", "month") for text in dict.fromkeys(found)]


@pytest.fixture
def collector(programs: Path, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """node_exporter over a directory of text files."""
    textfiles = tmp_path / "textfiles"
    textfiles.mkdir()
    with monitors.node_exporter(programs, tmp_path, textfiles) as url:
        yield textfiles, url


def collected(url: str) -> tuple[str, float]:
    """Our series as node_exporter shows them, and whether it had an error with the files."""
    text = monitors.get(url).decode()
    failed = re.search(r"^node_textfile_scrape_error (\S+)$", text, re.MULTILINE)
    assert failed
    return "".join(line + "\n" for line in text.split("\n") if line.startswith("orquestrador_")), float(failed[1])


def lines(text: str) -> dict[str, float]:
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in text.split("\n") if line and line[0] != "#")
    }


def ordered(name: str) -> str:
    """A series with its labels in order."""
    metric, _, labels = name.partition("{")
    return metric + ",".join(sorted(re.findall(r'\w+="(?:[^"\\]|\\.)*"', labels)))


def test_node_exporter_shows_every_series_as_it_was_written(collector: tuple[Path, str]) -> None:
    textfiles, url = collector
    document, reading = told(HOSTILE)
    openmetrics.write(textfiles / "orquestrador.prom", [document], [reading])
    shown, failed = collected(url)
    assert failed == 0
    written = {ordered(name): value for name, value in lines(openmetrics.text([document], [reading])).items()}
    assert len(written) > 80

    def edge(name: str) -> str:
        return re.sub(r'le="(\d+)\.0"', r'le="\1"', name)

    assert {edge(ordered(name)): value for name, value in lines(shown).items()} == {
        edge(name): value for name, value in written.items()
    }


@pytest.mark.parametrize(
    "text",
    ["orquestrador_x 1 1795348800000\n", 'orquestrador_x{host="a\n"} 1\n'],
    ids=["timestamps", "a broken line"],
)
def test_node_exporter_refuses_what_we_avoid(collector: tuple[Path, str], text: str) -> None:
    textfiles, url = collector
    (textfiles / "x.prom").write_text(text)
    shown, failed = collected(url)
    assert (failed, shown) == (1, "")


def test_node_exporter_reads_openmetrics_but_takes_counters_for_untyped(collector: tuple[Path, str]) -> None:
    """Why the text form is the default."""
    textfiles, url = collector
    openmetrics.write(textfiles / "a.prom", [told()[0]], openmetrics=True)
    shown, failed = collected(url)
    assert failed == 0
    assert "orquestrador_sla_events_total{" in shown
    assert "# TYPE orquestrador_sla_events_total untyped" in monitors.get(url).decode()
    openmetrics.write(textfiles / "a.prom", [told()[0]])
    assert "# TYPE orquestrador_sla_events_total counter" in monitors.get(url).decode()


@contextlib.contextmanager
def served(path: Path) -> Iterator[str]:
    """A file as OpenMetrics over HTTP; gives host and port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait(server: monitors.Prometheus, expression: str) -> None:
    until = time.monotonic() + monitors.PATIENCE_S
    while not server.query(expression):
        assert time.monotonic() < until, expression
        time.sleep(0.1)


def test_the_whole_way_from_a_month_to_an_alert(programs: Path, tmp_path: Path, collector: tuple[Path, str]) -> None:
    """Written, collected, scraped, recorded: the dashboards have something to show, and the outage pages."""
    textfiles, url = collector
    direct = tmp_path / "direct.om"
    before, after = told(minutes=10), told()

    def write(document: dict[str, Any], reading: readings.Reading) -> None:
        openmetrics.write(textfiles / "orquestrador.prom", [document], [reading])
        openmetrics.write(direct, [document | {"host": HOSTILE}], openmetrics=True)

    write(*before)
    with served(direct) as address:
        scraped = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        jobs = (("node", url.split("/")[2]), ("direct", address))
        config = {
            "global": {**scraped, "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [to]}]} for job, to in jobs],
        }
        with monitors.prometheus(programs, tmp_path, yaml.safe_dump(config)) as server:
            wait(server, "count by (job) (count_over_time(orquestrador_sla_events_total{sla='uptime'}[1m]) >= 2)")
            wait(server, f"orquestrador_sla_events_total{{sla='uptime', host!='{known.HOST}'}}")
            write(*after)
            firing = f'alertname="OrquestradorBurnPageFast", alertstate="firing", host="{known.HOST}"'
            wait(server, f"ALERTS{{{firing}}}")
            assert {labels["job"] for labels, value in server.query("up") if value} == {"node", "direct"}
            _figures_arrived(server, *after)
            groups = server.api("rules")["groups"]
            assert sum(len(group["rules"]) for group in groups) == 41
            assert [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []
            empty = [text for text in asked_by_others() if not server.query(text)]
            # Both are counted by the uptime's probes here, or from outside.
            assert [text for text in empty if 'sla="error_rate"' not in text] == []
            (hostile,) = server.query('orquestrador_incident_open{job="direct"}')
            assert hostile[0]["host"] == HOSTILE.encode("utf-8", "replace").decode()


def _figures_arrived(server: monitors.Prometheus, document: dict[str, Any], reading: readings.Reading) -> None:
    one = f'job="node", host="{known.HOST}"'
    for sla in document["slas"]:
        if sla["unit"] == "ratio":
            for figure in ("measured", "worst", "best", "coverage"):
                expression = f'orquestrador_sla_{figure}_ratio{{{one}, sla="{sla["id"]}", view="raw"}}'
                assert server.one(expression) == sla["value" if figure == "measured" else figure]
        (verdict,) = server.query(f'orquestrador_sla_verdict{{{one}, sla="{sla["id"]}"}} == 1')
        assert verdict[0]["verdict"] == sla["verdict"]
    total, good = reading.probes["any"]
    assert server.one(f'orquestrador_probes_total{{{one}, look="any"}}') == total
    assert server.one(f'orquestrador_probes_bad_total{{{one}, look="any"}}') == total - good == 5
    assert server.one(f'orquestrador_probe_last_good{{{one}, look="inside"}}') == 0
    assert server.one(f"orquestrador_incident_open{{{one}}}") == 1
    response = next(sla for sla in document["slas"] if sla["id"] == "response")
    assert server.one(f'orquestrador_response_seconds_bucket{{{one}, le="0.2"}}') == response["good"]
