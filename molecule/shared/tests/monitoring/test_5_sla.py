"""Service levels: nothing is touched, reports and metrics are there, a budget that burns is told and is over again."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from machine import PROJECT, USER, WEBAPP, Machine, Run, Runner, assert_same
from receivers import Mailbox

SLA = "playbooks/monitoring/sla.yml"
WATCH = "playbooks/monitoring/watch.yml"
NO_PROXY = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

Levels = Callable[..., Run]


@pytest.fixture
def levels(run_clean: Runner, state: Path) -> Levels:
    """Evaluate the service levels, in English so that texts can be compared."""

    def run(*args: str, **options: Any) -> Run:
        return run_clean(SLA, "-e", "ops_locale=en", "-e", "ops_timezone=UTC", *args, **{"state": state, **options})

    return run


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    server = Mailbox()
    yield server
    server.close()


def files(state: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(state.rglob("*")) if path.is_file()}


def incidents(state: Path) -> list[tuple[Any, ...]]:
    """What the history says, read without the project."""
    with sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True) as store:
        return store.execute("SELECT procedure, severity, level, closed_at IS NULL FROM incidents").fetchall()


def imported(state: Path, host: str, probes: list[tuple[float, bool]]) -> None:
    """Probes into the history, as an operator brings them in."""
    lines = [
        json.dumps({"host": host, "at": datetime.fromtimestamp(at, UTC).isoformat(), "ok": ok, "latency_ms": 12.5})
        for at, ok in probes
    ]
    done = subprocess.run(
        [sys.executable, "-m", "orquestrador_ops.cli", "history", "import", "-", "--state-dir", str(state)],
        input="\n".join(lines),
        text=True,
        cwd=PROJECT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_after_the_watch_levels_are_told_and_nothing_is_touched(
    levels: Levels, run_clean: Runner, machine: Machine, state: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        assert run_clean(WATCH, state=state).rc == 0
    before, kept = machine.fingerprint(), files(state)
    metrics = tmp_path / "orquestrador.prom"
    checked = levels("--check", "-e", f"sla_textfile={metrics}")
    assert checked.rc == 0, checked.output
    assert checked.changed == 0
    assert files(state) == kept
    assert not metrics.exists()
    run = levels("-e", f"sla_textfile={metrics}")
    assert run.rc == 0, run.output
    assert_same(before, machine.fingerprint())
    for title in (
        "Uptime ≥ 99.9%",
        "Response time 95% < 200 ms",
        "Availability ≥ 99.9%",
        "Error rate ≤ 0.1%",
        "Recovery time ≤ 5 min",
    ):
        assert f"{title}: day " in run.output
    assert "not proven" in run.output, "two probes prove no day"
    today = datetime.now(UTC)
    directory = state / "reports" / machine.name
    for name in (f"sla-{today:%Y-%m-%d}", f"sla-{today:%Y-%m}"):
        assert all((directory / f"{name}.{kind}").is_file() for kind in ("md", "html", "json"))
    assert 'period="month"' in metrics.read_text()
    assert incidents(state) == []


def test_a_probe_that_the_history_cannot_take_is_kept_and_stored_later(
    run_clean: Runner, machine: Machine, state: Path
) -> None:
    def probes() -> int:
        with sqlite3.connect(f"file:{state / 'history.sqlite3'}?mode=ro", uri=True) as store:
            found: int = store.execute("SELECT COUNT(*) FROM samples").fetchone()[0]
            return found

    def watch() -> Run:
        return run_clean(WATCH, "-e", "ops_locale=en", state=state)

    assert watch().rc == 0
    store, kept = state / "history.sqlite3", state / "kept.sqlite3"
    store.rename(kept)
    store.write_bytes(b"no database at all\n" * 400)
    run = watch()
    assert run.rc != 0
    assert "1 sample(s) are kept in" in run.output
    (line,) = (line for line in (state / "spool" / "samples.jsonl").read_text().splitlines() if line.strip())
    assert (json.loads(line)["host"], json.loads(line)["ok"]) == (machine.name, True)
    kept.replace(store)
    assert watch().rc == 0
    assert probes() == 3
    assert not (state / "spool" / "samples.jsonl").read_text().strip()


def test_host_that_cannot_be_reached_is_evaluated(levels: Levels, machine: Machine, state: Path) -> None:
    now = time.time()
    imported(state, machine.name, [(now - 3600 + 60 * n, n != 7) for n in range(60)])
    run = levels("-e", "ansible_port=9", "-e", json.dumps({"sla_periods": ["24h"]}))
    assert run.rc == 0, run.output
    assert "unreachable=0" in run.output
    assert "Uptime ≥ 99.9%: 24h 98." in run.output


def test_error_rate_is_of_the_logs_where_a_pattern_finds_requests_in_them(
    levels: Levels, machine: Machine, state: Path
) -> None:
    now = time.time()
    imported(state, machine.name, [(now - 3600 + 60 * n, True) for n in range(60)])
    lines = [
        f"{time.strftime('%Y-%m-%d %H:%M:%S +00:00', time.gmtime(now - 7200 + n))}: GET /api/x "
        f"{503 if n % 250 == 0 else 200} 12 - 3.2 ms\n"
        for n in range(1000)
    ]
    log = f"{WEBAPP}/logs/access-test.log"
    machine.out(f"cat > {log}; chown {USER}: {log}", stdin="".join(lines))
    given = {"sla_periods": ["24h"], "logs_access_pattern": "morgan-tiny"}
    try:
        run = levels("-e", json.dumps(given))
        assert run.rc == 0, run.output
        assert "Error rate ≤ 0.1%: 24h 0.4% MISSED (3 events beyond it)" in run.output
        gone = levels("-e", json.dumps(given), "-e", "ansible_port=9")
        assert gone.rc == 0, gone.output
        assert "could not be counted, the last counts are used" in gone.output
        assert "24h 0.4% MISSED" in gone.output
    finally:
        machine.out(f"rm -f {log}")


def test_levels_are_enforced_where_they_have_to_be(levels: Levels, machine: Machine, state: Path) -> None:
    now = time.time()
    imported(state, machine.name, [(now - 3600 + 60 * n, n > 30) for n in range(60)])
    run = levels("-e", json.dumps({"sla_periods": ["24h"], "sla_enforce": True}))
    assert run.rc != 0
    assert "Error rate 24h" in run.output
    fine = {
        "sla_periods": ["24h"],
        "sla_enforce": True,
        "sla_uptime": 0.01,
        "sla_availability": 0.01,
        "sla_error_rate": 0.9,
        "sla_recovery_s": 7200,
    }
    assert levels("-e", json.dumps(fine)).rc == 0


def test_budget_that_burns_is_told_once_and_is_over_when_it_no_longer_does(
    levels: Levels, machine: Machine, state: Path, mailbox: Mailbox, tmp_path: Path
) -> None:
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"escalation_channels": {"operator": mailbox.address("operator")}}))
    told = ("-e", f"@{given}")
    now = time.time()
    imported(state, machine.name, [(now - 3000 + 60 * n, n < 46) for n in range(50)])
    run = levels(*told, env=NO_PROXY)
    assert run.rc == 0, run.output
    opened = {one[0]: one[1:] for one in incidents(state)}
    assert opened["sla:page-fast"] == ("high", "L2", 1)
    assert opened["sla:ticket-slow"] == ("medium", "L2", 1)
    count = len(opened)
    assert len(mailbox.to("operator")) == count
    assert levels(*told, env=NO_PROXY).rc == 0
    assert (len(mailbox.to("operator")), len(incidents(state))) == (count, count), "told once"

    imported(state, machine.name, [(now - 200 + n / 100, True) for n in range(20_000)])
    run = levels(*told, env=NO_PROXY)
    assert run.rc == 0, run.output
    assert {one[3] for one in incidents(state)} == {0}
    assert len(mailbox.to("operator")) == 2 * count
    assert "RECOVERED" in str(mailbox.to("operator")[-1]["Subject"])


def test_one_lost_probe_pages_nobody(levels: Levels, machine: Machine, state: Path) -> None:
    now = time.time()
    imported(state, machine.name, [(now - 600 + 60 * n, n != 8) for n in range(10)])
    assert levels().rc == 0
    assert incidents(state) == []
