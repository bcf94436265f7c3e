"""What is broken is what the daily routine names; everything else is still reported."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from machine import (
    APP,
    CHECKS,
    CREDENTIAL,
    CRITICAL,
    ERROR_LOG,
    PM2_HOME,
    PM2_UNIT,
    USER,
    WEBAPP,
    Machine,
    Run,
    Runner,
    in_english,
)

MIB = 1024 * 1024
OVERRIDE = f"/run/systemd/system/{PM2_UNIT}.d/test.conf"


def _leak_up_to(megabytes: int) -> Callable[[Machine], None]:
    def leak(machine: Machine) -> None:
        (pid,) = machine.pids()
        resident = int(machine.out(f"ps -o rss= -p {pid}")) // 1024
        machine.debug(f"leak?mb={megabytes - resident}")
        assert int(machine.out(f"ps -o rss= -p {pid}")) // 1024 > megabytes - 25

    return leak


def _signal(name: str) -> Callable[[Machine], None]:
    def send(machine: Machine) -> None:
        (pid,) = machine.pids()
        machine.out(f"kill -{name} {pid}")

    return send


def _stop_app(machine: Machine) -> None:
    # PM2 counts an end within min_uptime (5 s) of the start as unstable, a stop by hand too.
    machine.wait("the application to be old enough", lambda: int(machine.out(f"ps -o etimes= -p {_pid(machine)}")) > 6)
    machine.app(f"pm2 stop {APP} >/dev/null")


def _pid(machine: Machine) -> int:
    (pid,) = machine.pids()
    return pid


def _take_port(machine: Machine) -> None:
    _stop_app(machine)
    machine.out(
        "systemd-run --quiet --uid=nobody --unit=squatter"
        " python3 -m http.server --bind 0.0.0.0 --directory /usr/share/doc 3001"
    )
    machine.wait("the squatter to listen", lambda: machine.out("ss -Hltn 'sport = :3001'"))


def _fill_connections(machine: Machine) -> None:
    """Take all connections that there are; 10 is the least that MariaDB allows."""
    client = "mysql" if machine.database == "mysql" else "mariadb"
    machine.sql("SET GLOBAL max_connections = 10")
    # Idle, because MariaDB does not notice that a client is gone while it works for it.
    holders = f"for i in {{1..12}}; do sleep 120 | {client} & done; wait"
    machine.out(f"systemd-run --quiet --unit=holders bash -c {shlex.quote(holders)}")
    # Root may have one connection more than others, so it is not the one to ask.
    login = f"{client} --defaults-file={CREDENTIAL} -e 'SELECT 1' 2>&1"
    machine.wait(
        "all connections to be taken",
        lambda: "Too many connections" in machine.sh(login, user=USER, check=False).stdout,
    )


def _free_connections(machine: Machine) -> None:
    machine.out("systemctl stop holders")
    client = "mysql" if machine.database == "mysql" else "mariadb"
    free = f"{client} -e 'SET GLOBAL max_connections = 151'"
    machine.wait("a connection to be free", lambda: machine.sh(free, check=False).returncode == 0)


def _leave_another_users_daemon(machine: Machine) -> None:
    """What a pm2 command typed as root leaves behind: an empty daemon that says all is well."""
    machine.out(f"systemctl stop {PM2_UNIT}", timeout=60)
    machine.out("cd /root && pm2 ping", timeout=60)


def _remove_another_users_daemon(machine: Machine) -> None:
    machine.out("cd /root && pm2 kill && rm -rf /root/.pm2", timeout=60)
    _start_daemon(machine)


def _told_the_squatter(run: Run, machine: Machine) -> None:
    pid = machine.out("systemctl show -p MainPID --value squatter")
    observed = in_english(run.check("port.open")["observed"])
    assert pid in observed, observed
    assert run.snapshot["port"]["pid"] == int(pid)


def _application_still_answers(run: Run, machine: Machine) -> None:
    """It says "ok" while its database is gone: the endpoint alone proves nothing."""
    assert run.snapshot["http"]["status"] == 200
    assert run.snapshot["http"]["body"]["status"] == "ok"
    assert run.snapshot["http"]["body"]["database"] == "error"
    assert run.statuses["http.status"] == run.statuses["app.status"] == run.statuses["port.open"] == "ok"


def _others_were_copied(run: Run, machine: Machine) -> None:
    copied = machine.out(f"find {CRITICAL} -type f -printf '%P\\n'").splitlines()
    assert {path.split("/")[0] for path in copied} == {".env", "ecosystem.config.cjs"}, "and nothing half written"


def _kill_daemon(machine: Machine) -> None:
    """Kill the daemon as the kernel's OOM killer would; its unit, told not to, leaves it dead and its socket stale."""
    machine.out(f"install -D /dev/stdin {OVERRIDE} && systemctl daemon-reload", stdin="[Service]\nRestart=no\n")
    machine.out(f"kill -KILL $(cat {PM2_HOME}/pm2.pid)")
    machine.wait("PM2's daemon to be gone", lambda: not machine.daemons())
    machine.wait("its unit to give up", lambda: "failed" in machine.out(f"systemctl is-active {PM2_UNIT} || true"))
    assert machine.out(f"test -S {PM2_HOME}/rpc.sock && echo stale") == "stale"


def _start_daemon(machine: Machine) -> None:
    machine.out(f"rm -rf {OVERRIDE}; systemctl daemon-reload; systemctl reset-failed {PM2_UNIT} || true")
    machine.out(f"systemctl start {PM2_UNIT}", timeout=60)


@dataclass(frozen=True)
class Breakage:
    """How to break one thing and mend it again, and what the routine has to say in between."""

    id: str
    break_it: str | Callable[[Machine], None]
    mend: str | Callable[[Machine], None]
    # Every check that is not ok; "*" instead of a status: whatever it is.
    expect: dict[str, str] = field(default_factory=dict)
    procedure: str = "none"
    failed_step: str = ""
    # Patterns in the output, in English.
    says: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()  # "collector.code"
    args: tuple[str, ...] = ()
    also: Callable[[Run, Machine], None] | None = None  # while it is broken


# The checks that follow from an application that answers nothing.
SILENT = {
    "http.status": "critical",
    "http.latency": "unknown",
    "app.status": "unknown",
    "app.database": "unknown",
}
DAEMON_GONE = {
    "pm2.daemon": "critical",
    "pm2.online": "critical",
    "pm2.restarts": "unknown",
    "port.open": "critical",
    **SILENT,
    "memory.app": "unknown",
    "cpu.app": "unknown",
}

BREAKAGES = (
    Breakage(
        "app_stopped",
        _stop_app,
        f"pm2 start {APP} >/dev/null",
        {"pm2.online": "critical", "port.open": "critical", **SILENT, "memory.app": "*", "cpu.app": "*"},
        procedure="offline",
        says=("stopped",),
    ),
    Breakage(
        "app_hung",
        _signal("STOP"),
        _signal("CONT"),
        SILENT,
        procedure="offline",
    ),
    Breakage(
        "database_stopped",
        "sudo systemctl stop mysql",
        "sudo systemctl start mysql",
        {
            "app.database": "critical",
            "mysql.reachable": "critical",
            "mysql.connections": "unknown",
            "logs.errors": "*",
        },
        procedure="database",
        says=("error",),
        args=("-vvv",),
        also=_application_still_answers,
    ),
    Breakage(
        "port_taken",
        _take_port,
        f"sudo systemctl stop squatter; pm2 start {APP} >/dev/null",
        {
            "pm2.online": "critical",
            "port.open": "critical",
            "http.status": "critical",
            "http.latency": "*",
            "app.status": "*",
            "app.database": "*",
            "memory.app": "*",
            "cpu.app": "*",
        },
        procedure="offline",
        says=("python3", "nobody"),
        also=_told_the_squatter,
    ),
    Breakage(
        "memory_above_normal",
        _leak_up_to(450),
        f"pm2 restart {APP} >/dev/null",
        {"memory.app": "warn"},
    ),
    Breakage(
        "memory_needs_attention",
        _leak_up_to(560),
        f"pm2 restart {APP} >/dev/null",
        {"memory.app": "critical"},
        procedure="performance",
    ),
    Breakage(
        "environment_file_missing",
        "mv .env .env.away",
        "mv .env.away .env",
        failed_step="critical_files",
        says=(r"\.env",),
    ),
    Breakage(
        "error_log_unreadable",
        f"chmod 000 {ERROR_LOG}",
        f"chmod 644 {ERROR_LOG}",
        {"logs.errors": "unknown"},
        says=(r"error\.log",),
    ),
    Breakage(
        "error_log_missing",
        f"mv {ERROR_LOG} {WEBAPP}/away.log",
        f"mv {WEBAPP}/away.log {ERROR_LOG}",
        {"logs.errors": "unknown"},
        says=(r"error",),
    ),
    Breakage(
        "database_password_wrong",
        f"cp -p {CREDENTIAL} ~/away.cnf; sed -i 's/^password.*/password = \"not-the-right-one\"/' {CREDENTIAL}",
        f"mv ~/away.cnf {CREDENTIAL}",
        {"mysql.reachable": "*", "mysql.connections": "unknown"},
        says=("refuses the user or the password",),
        findings=("database.denied",),
        args=("-vvv",),
    ),
    Breakage(
        "database_credential_missing",
        f"mv {CREDENTIAL} ~/away.cnf",
        f"mv ~/away.cnf {CREDENTIAL}",
        {"mysql.reachable": "*", "mysql.connections": "unknown"},
        says=(r"mysql\.cnf",),
        findings=("database.no_credentials",),
    ),
    Breakage(
        "database_full_of_connections",
        _fill_connections,
        _free_connections,
        {"mysql.connections": "*", "mysql.reachable": "critical", "app.database": "*", "logs.errors": "*"},
        procedure="database",
        says=("no free connection",),
        findings=("database.too_many_connections",),
    ),
    Breakage(
        "disk_of_the_copies_full",
        # Room for the directories and the two small files, not for the process list.
        f"sudo mount -t tmpfs -o size=12k,mode=0700,uid=$(id -u),gid=$(id -g) none {CRITICAL}",
        f"sudo umount {CRITICAL}",
        failed_step="critical_files",
        says=("(?i)no space|disk is full|space left",),
        also=_others_were_copied,
    ),
    Breakage(
        "daemon_stopped",
        f"sudo systemctl stop {PM2_UNIT}",
        _start_daemon,
        DAEMON_GONE,
        procedure="offline",
    ),
    Breakage(
        "daemon_of_another_user",
        _leave_another_users_daemon,
        _remove_another_users_daemon,
        DAEMON_GONE,
        procedure="offline",
        says=("root",),
    ),
    Breakage(
        "daemon_killed",
        _kill_daemon,
        _start_daemon,
        DAEMON_GONE,
        procedure="offline",
    ),
)


def _do(machine: Machine, how: str | Callable[[Machine], None]) -> None:
    if callable(how):
        how(machine)
    else:
        machine.app(how, timeout=60)


@pytest.fixture(scope="module", autouse=True)
def settled(machine: Machine) -> None:
    machine.settle()


@pytest.fixture
def broken(request: pytest.FixtureRequest, machine: Machine) -> Iterator[Breakage]:
    """A host with one thing broken; mended and proven healthy afterwards."""
    breakage: Breakage = request.param
    try:
        _do(machine, breakage.break_it)
        yield breakage
    finally:
        _do(machine, breakage.mend)
        machine.settle()


def _of_database(breakage: Breakage) -> bool:
    return "database" in breakage.id or any(check.startswith("mysql.") for check in breakage.expect)


CASES = [pytest.param(one, id=one.id, marks=() if _of_database(one) else pytest.mark.any_database) for one in BREAKAGES]


@pytest.mark.parametrize("broken", CASES, indirect=True)
def test_daily_names_what_is_broken(broken: Breakage, daily: Runner, machine: Machine) -> None:
    daemons = machine.daemons()
    run = daily(*broken.args)
    assert run.rc not in (0, None), run.output
    assert_reported(run)
    bad = {check: status for check, status in run.statuses.items() if status != "ok"}
    wild = {check for check, status in broken.expect.items() if status == "*"}
    assert {check: status for check, status in bad.items() if check not in wild} == {
        check: status for check, status in broken.expect.items() if check not in wild
    }, run.output
    assert run.procedure == broken.procedure, run.output
    failed = {step for step, status in run.steps.items() if status == "failed"}
    assert "does not support" not in run.output, "a warning about the playbook itself"
    if broken.failed_step:
        assert failed == {broken.failed_step}, run.output
    for pattern in broken.says:
        assert re.search(pattern, run.output), f"{pattern!r} is not said:\n{run.output}"
    found = {f"{finding['collector']}.{finding['code']}" for finding in run.snapshot["errors"]}
    assert set(broken.findings) <= found, found
    assert machine.daemons() == daemons, "looking at PM2 started a daemon"
    if broken.also:
        broken.also(run, machine)


def assert_reported(run: Run) -> None:
    """All checks are there, in the report and on the terminal, and so are the routine's own steps."""
    assert run.report, run.output
    assert run.report["record"]["outcome"] == "not_met"
    assert tuple(run.statuses) == CHECKS
    for check_id in CHECKS:
        assert in_english(run.check(check_id)["title"]) in run.output, check_id
    assert set(run.steps) == {"pm2_status", "health_check", "error_logs", "api", "resources", "critical_files"}
    for collector in ("pm2", "port", "http", "database", "resources", "logs", "files"):
        assert run.snapshot[collector] is not None, collector
    assert [path.suffix for path in run.files] == [".html", ".json", ".md"]


# As PM2 writes them: a prefix for each write, so that what belongs to one error has one prefix or many.
EVENTS = """\
{now} +00:00: [Jobs] Nightly import failed: Error: Simulated failure of the night
{now} +00:00:     at importAll (/home/flavio/webapp/server/jobs.ts:48:83)
{now} +00:00:     at process.processTicksAndRejections (node:internal/process/task_queues:95:5)
{now} +00:00: Error: connect ECONNREFUSED 127.0.0.1:9000
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16) {{
  errno: -111,
  code: 'ECONNREFUSED',
  syscall: 'connect'
}}
"""


def _log(machine: Machine, times: int = 1) -> None:
    now = machine.out("date -u '+%F %T'")
    machine.sh(f"cat >> {ERROR_LOG}", user=USER, stdin=EVENTS.format(now=now) * times)


@pytest.mark.any_database
def test_errors_in_the_log_count_as_events_and_once(daily: Runner, machine: Machine) -> None:
    daily()
    _log(machine)
    try:
        run, after = daily(), daily()
        _log(machine, times=5)
        many = daily()
    finally:
        machine.settle()
    assert run.rc != 0
    assert_reported(run)
    assert {check for check, status in run.statuses.items() if status != "ok"} == {"logs.errors"}
    assert run.statuses["logs.errors"] == "warn"
    assert (run.snapshot["logs"]["errors"], run.snapshot["logs"]["errors_day"]) == (2, 2)
    assert "Simulated failure of the night" in run.output
    assert [(item["count"], item["new"]) for item in run.snapshot["logs"]["fingerprints"]] == [(1, True), (1, True)]
    # Nothing new since: met again, and the day is still remembered.
    assert after.rc == 0, after.output
    assert (after.snapshot["logs"]["errors"], after.snapshot["logs"]["errors_day"]) == (0, 2)
    # Known by now, but too many for one day.
    assert many.rc != 0
    assert many.statuses["logs.errors"] == "critical"
    assert (many.snapshot["logs"]["errors"], many.snapshot["logs"]["errors_day"]) == (10, 12)
    assert [(item["count"], item["new"]) for item in many.snapshot["logs"]["fingerprints"]] == [(5, False), (5, False)]


@pytest.mark.any_database
def test_restart_since_the_last_run_is_told(daily: Runner, machine: Machine) -> None:
    assert daily().rc == 0
    machine.debug("crash")
    machine.wait("PM2 to start it again", lambda: '"restart_time":1' in machine.app("pm2 jlist"))
    machine.wait_healthy()
    try:
        run = daily()
    finally:
        machine.settle()
    assert run.rc != 0
    assert run.statuses["pm2.restarts"] != "ok", run.output
    assert "Simulated uncaught exception" in run.output


@pytest.mark.any_database
def test_secret_in_the_log_stays_on_the_host(daily: Runner, machine: Machine, forbidden: dict[str, str]) -> None:
    """An application that logs its own configuration: ``run_clean`` looks for every secret in what is left here."""
    script = (
        "{ date +'%F %T +00:00: Error: connect failed'; sed 's/^/    at config /' .env;"
        r" sed -n 's/^DB_PASSWORD=\(.*\)/Error: refused mysql:\/\/orquestrador:\1@localhost/p' .env; }"
        f" >> {ERROR_LOG}"
    )
    machine.app(script)
    try:
        run = daily("-vvv")
    finally:
        machine.settle()
    assert run.rc != 0
    assert run.statuses["logs.errors"] == "warn"
    assert json.dumps(run.snapshot["logs"]).count("***") >= 1


@pytest.fixture
def cluster(machine: Machine) -> Iterator[Machine]:
    """Two instances in cluster mode, the daemon holding the port for both."""
    machine.app(f"pm2 delete {APP} >/dev/null; INSTANCES=2 pm2 start ecosystem.config.cjs >/dev/null", timeout=60)
    machine.settle()
    yield machine
    machine.app(f"pm2 delete {APP} >/dev/null; pm2 start ecosystem.config.cjs >/dev/null", timeout=60)
    machine.settle()


@pytest.mark.any_database
def test_cluster_is_judged_by_all_its_instances(cluster: Machine, daily: Runner) -> None:
    whole = daily()
    assert whole.rc == 0, whole.output
    assert whole.snapshot["pm2"]["app"]["mode"] == "cluster"
    assert (whole.snapshot["pm2"]["app"]["instances"], whole.snapshot["pm2"]["app"]["online"]) == (2, 2)
    time.sleep(6 - min(6.0, whole.seconds))  # an end within 5 s of the start counts as unstable
    cluster.app("pm2 stop $(pm2 jlist | jq '.[1].pm_id') >/dev/null")
    half = daily()
    assert half.rc != 0
    # The other instance answers for both: only PM2 knows.
    assert {check for check, status in half.statuses.items() if status != "ok"} == {"pm2.online"}, half.output
    assert half.statuses["pm2.online"] == "critical"
