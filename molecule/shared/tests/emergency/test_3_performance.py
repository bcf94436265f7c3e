"""The application is slow or heavy: what is heavy is named, only what a restart mends is restarted, and observed."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from database_faults import END_SLEEPING
from faults import STATE, Faults
from machine import APP, DATABASE, USER, Background, Machine, Runner
from records import Emergency, Untouched, climbed, diagnosis, restarts, steps

SHORT = ("-e", "observe_seconds=8")
# What a machine under test is slower by is not what is tested.
SLOW_MACHINE = ("-e", "health_latency_sla_ms=1500")
LOOKED = ["resources", "heaviest", "queries"]
ACTED = [*LOOKED, "second_look", "flush", "restart", "observed"]


@pytest.fixture
def burner(machine: Machine) -> Iterator[int]:
    """Somebody else's program that takes all processors, whatever else wants them; its process id."""
    # One process of many threads: beside other work its share stays that of one program that keeps a host busy.
    spin = "[threading.Thread(target=burn).start() for _ in range(4 * os.cpu_count())]"
    program = (
        f"import hashlib, os, threading\nburn = lambda: [hashlib.sha256(bytes(1 << 24)) for _ in iter(int, 1)]\n{spin}"
    )
    machine.out(f"systemd-run --quiet --uid=nobody -p Nice=-10 --unit=burner python3 -c {shlex.quote(program)}")
    taken = "ps -u nobody -o comm=,cputimes= | awk '$1 ~ /^python3/ {s += $2} END {print s + 0}'"
    machine.wait("the burner to be busy", lambda: int(machine.out(taken)) >= 2)
    yield int(machine.out("systemctl show -p MainPID --value burner"))
    machine.out("systemctl stop burner")


@contextmanager
def locked(machine: Machine) -> Iterator[None]:
    """A session keeps a table for itself while another one waits for it."""
    hold = f"LOCK TABLES {DATABASE}.message WRITE; SELECT SLEEP(90)"
    wait = f"SELECT COUNT(*) FROM {DATABASE}.message"
    for unit, statement in (("holder", hold), ("waiter", wait)):
        machine.out(f"systemd-run --quiet --unit={unit} mysql -e '{statement}'")
        time.sleep(0.5)
    waiting = "SELECT COUNT(*) FROM performance_schema.processlist WHERE STATE LIKE 'Waiting%lock' AND TIME >= 3"
    machine.wait("a query to wait for the lock", lambda: machine.sql(waiting) != ["0"])
    try:
        yield
    finally:
        machine.out(f"systemctl stop holder waiter || true; {END_SLEEPING}")


@contextmanager
def leaking(machine: Machine, mb: int, every_s: float) -> Iterator[None]:
    """The application leaks steadily, whichever of its processes is there."""
    over = Event()

    def leak() -> None:
        while not over.wait(every_s):
            try:
                machine.debug(f"leak?mb={mb}", timeout=5)
            except (AssertionError, ValueError):
                continue  # it is being restarted

    thread = Thread(target=leak)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_applications_own_burn_ends_with_a_restart_and_a_good_trend(
    machine: Machine, emergency: Emergency, untouched: Untouched
) -> None:
    (pid,) = machine.pids()
    machine.out(f"renice -n -10 -p {pid}")  # it gets its processor whatever else wants it
    machine.debug("burn?ms=120000")
    with untouched(but=("app",)):
        # A limit that it exceeds on a busy machine, too, and none of which it is short of afterwards.
        run = emergency("performance", "-e", "health_cpu_percent=40", *SLOW_MACHINE, *SHORT)
    assert run.rc == 0, run.output
    assert diagnosis(run) == {"alert": "performance", "scenario": "busy", "severity": "high", "level": None}
    assert climbed(run) == ACTED
    assert pid not in machine.pids()
    observed = steps(run)["observed"]["evidence"]
    assert observed["good"]
    assert len(observed["trend"]) >= 4
    assert observed["cpu_median_percent"] < 80


def test_a_strangers_burn_is_named_and_nothing_is_touched(
    machine: Machine, burner: int, emergency: Emergency, untouched: Untouched
) -> None:
    with untouched():
        run = emergency("performance", *SHORT)
    assert run.rc != 0, run.output
    assert (diagnosis(run)["scenario"], diagnosis(run)["level"]) == ("stranger", "L2")
    assert climbed(run) == [*LOOKED, "remedy"]
    named = steps(run)["heaviest"]["evidence"]["processes"][0]
    assert (named["user"], named["kind"]) == ("nobody", "other")
    assert machine.out(f"ps -o user= -p {burner}") == "nobody"


def test_a_database_that_waits_for_a_lock_is_no_reason_to_restart(
    machine: Machine, emergency: Emergency, untouched: Untouched
) -> None:
    with locked(machine), untouched():
        run = emergency("performance", *SHORT)
    assert run.rc != 0, run.output
    assert diagnosis(run)["scenario"] == "database_slow"
    assert climbed(run) == [*LOOKED, "remedy"]
    queries = steps(run)["queries"]["evidence"]["queries"]
    assert any("lock" in query["state"] and query["seconds"] >= 3 for query in queries), queries


def test_what_is_gone_at_the_second_look_is_left_alone(
    machine: Machine, emergency: Emergency, untouched: Untouched
) -> None:
    machine.debug("leak?mb=600")
    with untouched():
        kept = f"ls {STATE}/emergencies | tail -n 1"  # of which so many are kept, and no more
        before = machine.out(kept)
        run = Background(lambda: emergency("performance", *SLOW_MACHINE, *SHORT))
        machine.wait("the evidence to be kept", lambda: machine.out(kept) != before)
        machine.debug("free")
        done = run.result()
    assert done.rc == 0, done.output
    assert climbed(done) == [*LOOKED, "second_look"]


def test_a_leak_is_restarted_once_and_told_when_it_goes_on(
    machine: Machine, emergency: Emergency, run_clean: Runner, state: Path, untouched: Untouched
) -> None:
    for _ in range(3):
        machine.debug("leak?mb=180")
        run_clean("playbooks/routine/daily.yml", state=state)
    with leaking(machine, 8, 0.7), untouched(but=("app",)):
        run = emergency("performance", "-e", "observe_seconds=24", "-e", "heap_snapshot=true")
    assert run.rc != 0, run.output
    assert diagnosis(run) == {"alert": "performance", "scenario": "leak", "severity": "high", "level": "L3"}
    assert climbed(run) == [*LOOKED, "second_look", "heap_snapshot", "flush", "restart", "observed"]
    assert restarts(machine) == 1
    observed = steps(run)["observed"]["evidence"]
    assert observed["why"] == "leak"
    assert observed["memory"]["growth_per_min_bytes"] > 60 * 1024 * 1024
    _assert_snapshot(machine, steps(run)["heap_snapshot"]["evidence"])


def _assert_snapshot(machine: Machine, kept: dict[str, Any]) -> None:
    """A whole one, for its user alone, and the way to it is closed again."""
    assert machine.out(f"stat -c '%a %U' {kept['path']}") == f"600 {USER}"
    shape = "import json,sys; s=json.load(open(sys.argv[1])); print(sorted(s)[:3], s['snapshot']['node_count'] > 1000)"
    assert machine.out(f"python3 -c {json.dumps(shape)} {kept['path']}") == "['edges', 'locations', 'nodes'] True"
    assert kept["inspector_closed"]
    assert machine.out("ss -Hltn 'sport = :9229'") == ""


def test_in_cluster_mode_a_reload_loses_no_request(machine: Machine, faults: Faults, emergency: Emergency) -> None:
    before = faults.cluster()
    machine.debug("leak?mb=600")
    run = emergency("performance", *SLOW_MACHINE, *SHORT)
    assert run.rc == 0, run.output
    assert climbed(run) == [*LOOKED, "second_look", "flush", "reload", "observed"]
    assert not set(before) & set(faults.workers())
    reload = steps(run)["reload"]["evidence"]
    assert reload["requests"] > 0
    assert reload["failures"] == 0, reload


def test_check_mode_tells_and_touches_nothing(machine: Machine, emergency: Emergency, untouched: Untouched) -> None:
    machine.debug("leak?mb=600")
    with untouched():
        run = emergency("performance", "--check", *SHORT)
    assert steps(run)["restart"]["status"] == "skipped"
    assert machine.app(f"pm2 jlist | jq '.[] | select(.name == \"{APP}\") | .pm2_env.restart_time'") == "0"
