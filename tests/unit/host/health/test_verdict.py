"""The playbook's figures at, below and above each threshold; unknown is neither good nor bad; worse is never better."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orquestrador.core.messages import msg, plain
from orquestrador.health import expectations, verdict
from orquestrador.health.checks import CHECK_IDS

MIB = 1024 * 1024
CHAPTERS = {
    "pontos-criticos",
    "rotina-diaria",
    "alerta-critico",
    "alerta-alto",
    "alerta-medio",
    "slas",
    "metricas-de-sucesso",
}


def healthy() -> dict[str, Any]:
    process = {
        "name": "orquestrador-v3",
        "pm_id": 0,
        "pid": 100,
        "status": "online",
        "restarts": 3,
        "unstable_restarts": 0,
        "started_at": "2025-11-01T09:00:00Z",
    }
    return {
        "schema": 1,
        "host": "h",
        "taken_at": "2025-11-02T09:00:00Z",
        "duration_ms": 100.0,
        "pm2": {
            "daemon": "online",
            "daemon_pid": 50,
            "source": "rpc",
            "home": "/home/flavio/.pm2",
            "foreign": [],
            "processes": [process],
            "app": {
                "name": "orquestrador-v3",
                "instances": 1,
                "online": 1,
                "statuses": {"online": 1},
                "mode": "fork",
                "pids": [100],
                "restarts": 3,
                "unstable_restarts": 0,
                "uptime_s": 86400.0,
                "memory_bytes": 100 * MIB,
                "memory_max_bytes": 100 * MIB,
                "cpu_percent": 1.0,
            },
        },
        "port": {
            "port": 3001,
            "open": True,
            "pid": 100,
            "command": "node index.js",
            "listeners": [
                {"address": "0.0.0.0", "pid": 100, "command": "node index.js", "user": "flavio", "of_app": True}
            ],
        },
        "http": {
            "url": "http://127.0.0.1:3001/api/health",
            "requests": 3,
            "failures": 0,
            "status": 200,
            "latency_ms": [2.0, 3.0, 4.0],
            "latency_median_ms": 3.0,
            "body": {"status": "ok", "database": "connected", "system": "healthy"},
            "error": None,
        },
        "database": {
            "reachable": True,
            "error": None,
            "latency_ms": 1.0,
            "product": "mysql",
            "version": "9.7.0",
            "uptime_s": 100,
            "threads": {"connected": 5, "running": 1, "max_used": 9, "allowed": 100},
            "slow": [],
        },
        "resources": {
            "memory": {"total_bytes": 1, "available_bytes": 1, "used_percent": 50.0},
            "cpu": {"count": 2, "percent": 5.0, "app_percent": 2.0, "interval_s": 0.1},
            "load": [0.1, 0.1, 0.1],
            "disk": [
                {"path": "/", "total_bytes": 10, "free_bytes": 5, "used_percent": 50.0, "inodes_used_percent": 10.0}
            ],
        },
        "logs": {
            "errors": 0,
            "errors_day": 0,
            "window": {"first": False, "complete": True},
            "fingerprints": [],
            "files": [{"path": "/l/error.log", "missing": False, "readable": True, "complete": True}],
        },
        "files": None,
        "errors": [],
    }


MEMORY: dict[str, Any] = {
    "taken_at": "2025-11-01T09:00:00Z",
    "logs": {},
    "restarts": {"count": 3, "pids": [100], "started_at": None, "by_id": {"0": 3}},
}


def put(snapshot: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split("/")
    target: Any = snapshot
    for name in parents:
        target = target[int(name)] if isinstance(target, list) else target[name]
    if isinstance(target, list):
        target[int(last)] = value
    else:
        target[last] = value
    return snapshot


def judge(
    *changes: tuple[str, Any], memory: Any = MEMORY, expectations: dict[str, Any] | None = None
) -> dict[str, Any]:
    snapshot = healthy()
    for path, value in changes:
        put(snapshot, path, value)
    result = verdict.evaluate(snapshot, expectations or {}, memory)
    json.dumps(result)  # it crosses a boundary
    return result


def check(result: dict[str, Any], check_id: str) -> dict[str, Any]:
    (found,) = [c for c in result["checks"] if c["id"] == check_id]
    return found


def status(check_id: str, *changes: tuple[str, Any], **options: Any) -> str:
    return str(check(judge(*changes, **options), check_id)["status"])


def finding(collector: str, code: str) -> dict[str, Any]:
    return {
        "collector": collector,
        "code": code,
        "message": msg("{what} happened", what=code),
        "hint": msg("repair {what}", what=code),
    }


def test_a_healthy_snapshot_passes_every_check() -> None:
    result = judge()
    assert [(c["id"], c["status"]) for c in result["checks"]] == [(i, "ok") for i in CHECK_IDS]
    assert (result["overall"], result["procedure"], result["reasons"]) == ("healthy", "none", [])
    assert all(c["hint"] is None for c in result["checks"])
    assert {c["source"] for c in result["checks"]} <= CHAPTERS


THRESHOLDS = [
    # check, path, value, status: below, at and above each figure of the playbook
    ("memory.app", "pm2/app/memory_max_bytes", 400 * MIB - 1, "ok"),
    ("memory.app", "pm2/app/memory_max_bytes", 400 * MIB, "warn"),
    ("memory.app", "pm2/app/memory_max_bytes", 500 * MIB, "warn"),
    ("memory.app", "pm2/app/memory_max_bytes", 500 * MIB + 1, "critical"),
    ("cpu.app", "resources/cpu/app_percent", 79.9, "ok"),
    ("cpu.app", "resources/cpu/app_percent", 80.0, "ok"),
    ("cpu.app", "resources/cpu/app_percent", 80.1, "critical"),
    ("http.latency", "http/latency_median_ms", 199.0, "ok"),
    ("http.latency", "http/latency_median_ms", 200.0, "ok"),
    ("http.latency", "http/latency_median_ms", 200.1, "warn"),
    ("http.latency", "http/latency_median_ms", 2000.0, "warn"),
    ("http.latency", "http/latency_median_ms", 2000.1, "critical"),
    ("logs.errors", "logs/errors", 0, "ok"),
    ("logs.errors", "logs/errors", 1, "warn"),
    ("logs.errors", "logs/errors_day", 9, "ok"),
    ("logs.errors", "logs/errors_day", 10, "critical"),
    ("host.memory", "resources/memory/used_percent", 84.9, "ok"),
    ("host.memory", "resources/memory/used_percent", 85.0, "warn"),
    ("host.memory", "resources/memory/used_percent", 94.9, "warn"),
    ("host.memory", "resources/memory/used_percent", 95.0, "critical"),
    ("host.disk", "resources/disk/0/used_percent", 79.9, "ok"),
    ("host.disk", "resources/disk/0/used_percent", 80.0, "warn"),
    ("host.disk", "resources/disk/0/used_percent", 90.0, "critical"),
    ("host.disk", "resources/disk/0/inodes_used_percent", 79.9, "ok"),
    ("host.disk", "resources/disk/0/inodes_used_percent", 80.0, "warn"),
    ("host.disk", "resources/disk/0/inodes_used_percent", 90.0, "critical"),
    ("mysql.connections", "database/threads/connected", 79, "ok"),
    ("mysql.connections", "database/threads/connected", 80, "warn"),
    ("mysql.connections", "database/threads/connected", 94, "warn"),
    ("mysql.connections", "database/threads/connected", 95, "critical"),
    ("http.status", "http/status", 200, "ok"),
    ("http.status", "http/status", 302, "critical"),
    ("http.status", "http/status", 500, "critical"),
    ("http.status", "http/failures", 1, "critical"),
    ("app.status", "http/body/status", "error", "critical"),
    ("app.status", "http/body/status", None, "critical"),
    ("app.database", "http/body/database", "error", "critical"),
    ("app.database", "http/body/database", "disconnected", "critical"),
    ("app.database", "http/body/database", "Connected", "critical"),
    ("app.database", "http/body/database", None, "unknown"),
    ("pm2.daemon", "pm2/daemon", "dead", "critical"),
    ("pm2.daemon", "pm2/daemon", "missing", "critical"),
    ("pm2.daemon", "pm2/daemon", "foreign", "critical"),
    ("pm2.daemon", "pm2/daemon", "unresponsive", "critical"),
    ("pm2.daemon", "pm2/daemon", "rubbish", "unknown"),
    ("pm2.online", "pm2/app/online", 0, "critical"),
    ("pm2.online", "pm2/app/instances", 2, "critical"),
    ("pm2.restarts", "pm2/app/statuses", {"errored": 1}, "critical"),
    ("pm2.restarts", "pm2/app/statuses", {"waiting restart": 1}, "critical"),
    ("port.open", "port/open", False, "critical"),
    ("port.open", "port/listeners/0/of_app", False, "critical"),
    ("port.open", "port/listeners/0/of_app", None, "ok"),
    ("port.open", "port/listeners", [], "ok"),
    ("mysql.reachable", "database/reachable", False, "critical"),
]


@pytest.mark.parametrize(
    ("unstable", "statuses", "uptime", "expected"),
    [
        (1, {"online": 1}, 5.0, "critical"),
        (1, {"online": 1}, 59.9, "critical"),
        (1, {"online": 1}, None, "critical"),
        # It has stayed up since; PM2 does not forget.
        (1, {"online": 1}, 60.0, "ok"),
        # Stopped by hand soon after its start: pm2.online says that it is not running.
        (1, {"stopped": 1}, None, "ok"),
        (1, {"waiting restart": 1}, None, "critical"),
        (0, {"online": 1}, 5.0, "ok"),
    ],
)
def test_unstable_restarts_count_while_the_process_is_young(
    unstable: int, statuses: dict[str, int], uptime: float | None, expected: str
) -> None:
    verdict_of = judge(
        ("pm2/app/unstable_restarts", unstable), ("pm2/app/statuses", statuses), ("pm2/app/uptime_s", uptime)
    )
    assert check(verdict_of, "pm2.restarts")["status"] == expected


@pytest.mark.parametrize(("check_id", "path", "value", "expected"), THRESHOLDS)
def test_each_threshold(check_id: str, path: str, value: Any, expected: str) -> None:
    found = check(judge((path, value)), check_id)
    assert found["status"] == expected
    assert (found["hint"] is None) == (expected == "ok")
    assert found["source"] in CHAPTERS


@pytest.mark.parametrize(
    ("key", "value", "check_id", "path", "observed", "expected"),
    [
        ("memory_normal_mb", 50, "memory.app", "pm2/app/memory_max_bytes", 60 * MIB, "warn"),
        ("memory_attention_mb", 60.5, "memory.app", "pm2/app/memory_max_bytes", 61 * MIB, "critical"),
        ("cpu_percent", 100, "cpu.app", "resources/cpu/app_percent", 99, "ok"),
        ("latency_sla_ms", 1, "http.latency", "http/latency_median_ms", 2, "warn"),
        ("latency_alert_ms", 1, "http.latency", "http/latency_median_ms", 2, "critical"),
        ("log_errors_recent", 5, "logs.errors", "logs/errors", 5, "ok"),
        ("log_errors_day", 100, "logs.errors", "logs/errors_day", 99, "ok"),
        ("host_memory_warn_percent", 99, "host.memory", "resources/memory/used_percent", 94, "ok"),
        ("host_memory_critical_percent", 90, "host.memory", "resources/memory/used_percent", 90, "critical"),
        ("disk_warn_percent", 10, "host.disk", "resources/disk/0/used_percent", 11, "warn"),
        ("disk_critical_percent", 10, "host.disk", "resources/disk/0/used_percent", 11, "critical"),
        ("connections_warn_percent", 1, "mysql.connections", "database/threads/connected", 2, "warn"),
        ("connections_critical_percent", 1, "mysql.connections", "database/threads/connected", 2, "critical"),
        ("database_expected", "up", "app.database", "http/body/database", "up", "ok"),
        ("status_expected", "UP", "app.status", "http/body/status", "UP", "ok"),
        ("restarts_unplanned", 2, "pm2.restarts", "pm2/processes/0/restarts", 5, "ok"),
        ("planned_restarts", 2, "pm2.restarts", "pm2/processes/0/restarts", 5, "ok"),
        ("planned_restarts", 1, "pm2.restarts", "pm2/processes/0/restarts", 5, "warn"),
    ],
)
def test_each_threshold_is_a_variable(
    key: str, value: Any, check_id: str, path: str, observed: Any, expected: str
) -> None:
    assert status(check_id, (path, observed), expectations={key: value}) == expected


@pytest.mark.parametrize("key", sorted(expectations.DEFAULTS))
def test_an_expectation_of_the_wrong_type_is_one_line(key: str) -> None:
    for wrong in ([1], {"a": 1}, True, "many\nlines" if key not in ("database_expected", "status_expected") else 5):
        with pytest.raises(TypeError) as caught:
            verdict.evaluate(healthy(), {key: wrong}, None)
        assert f"expectations.{key} must be" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_expectations_may_be_unknown_or_null_or_no_dictionary() -> None:
    assert judge(expectations={"no_such": object, "cpu_percent": None})["overall"] == "healthy"
    with pytest.raises(TypeError, match="expectations must be a dictionary, not list"):
        verdict.evaluate(healthy(), [], None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("collector", "part", "checks"),
    [
        ("pm2", "pm2", ("pm2.daemon", "pm2.online", "pm2.restarts", "memory.app")),
        ("port", "port", ("port.open",)),
        ("http", "http", ("http.status", "http.latency", "app.status", "app.database")),
        ("database", "database", ("mysql.reachable", "mysql.connections")),
        ("resources", "resources", ("host.memory", "host.disk")),
        ("logs", "logs", ("logs.errors",)),
    ],
)
def test_a_collector_that_saw_nothing_is_unknown_and_says_why(
    collector: str, part: str, checks: tuple[str, ...]
) -> None:
    result = judge((part, None), ("errors", [finding("other", "x"), finding(collector, "timeout")]))
    for check_id in CHECK_IDS:
        found = check(result, check_id)
        assert found["status"] == ("unknown" if check_id in checks else "ok"), check_id
        if check_id in checks:
            assert plain(found["observed"]) == "timeout happened"
            assert plain(found["hint"]) == "repair timeout"
    assert (result["overall"], result["procedure"]) == ("unknown", "none")
    without = check(judge((part, None)), checks[0])
    assert plain(without["observed"]) == "not observed"
    assert without["hint"]


@pytest.mark.parametrize(("daemon", "online"), [("dead", "critical"), ("missing", "critical"), ("foreign", "critical")])
def test_without_a_daemon_the_application_is_not_running(daemon: str, online: str) -> None:
    result = judge(("pm2/daemon", daemon), ("pm2/app", None), ("pm2/processes", []))
    assert check(result, "pm2.daemon")["status"] == "critical"
    assert check(result, "pm2.online")["status"] == online
    assert plain(check(result, "pm2.online")["observed"]) == "not running"
    assert check(result, "pm2.restarts")["status"] == "unknown"
    assert result["procedure"] == "offline"


def test_a_silent_daemon_says_nothing_about_the_application() -> None:
    result = judge(("pm2/daemon", "unresponsive"), ("pm2/app", None))
    assert check(result, "pm2.online")["status"] == "unknown"
    assert result["overall"] == "critical"


def test_an_unknown_process_is_told_from_a_dead_daemon() -> None:
    found = check(judge(("pm2/app", None)), "pm2.online")
    assert found["status"] == "critical"
    assert found["evidence"]["known"] == ["orquestrador-v3"]


def test_what_an_unknown_process_leaves_unseen_is_no_reason_to_probe_again() -> None:
    result = judge(("pm2/app", None), ("resources/cpu/app_percent", None))
    for check_id in ("pm2.restarts", "memory.app", "cpu.app"):
        found = check(result, check_id)
        assert found["status"] == "unknown"
        assert plain(found["observed"]) == "PM2 knows no process of this name"
        assert "ecosystem" in plain(found["hint"])


def test_what_to_do_about_another_daemon_goes_before_the_missing_socket() -> None:
    foreign = [{"pid": 9, "user": "root", "home": "/root/.pm2"}]
    errors = [finding("pm2", "no_socket"), {**finding("pm2", "foreign_daemon"), "hint": msg("about that one")}]
    result = judge(("pm2/daemon", "foreign"), ("pm2/foreign", foreign), ("errors", errors))
    assert plain(check(result, "pm2.daemon")["hint"]) == "about that one"


@pytest.mark.parametrize("body", [{}, {"database": "connected"}])
def test_a_report_without_a_status_says_so(body: dict[str, Any]) -> None:
    found = check(judge(("http/body", body), ("errors", [finding("http", "missing_keys")])), "app.status")
    assert found["status"] == "critical"
    assert plain(found["observed"]) == "the health report does not say"


def test_reasons_are_words_and_not_codes() -> None:
    result = judge(
        ("http/status", None),
        ("http/body", None),
        ("http/error", "timeout"),
        ("database", {"reachable": False, "error": "refused", "threads": None, "slow": []}),
        (
            "errors",
            [finding("database", "loose_permissions"), finding("database", "refused"), finding("http", "timeout")],
        ),
    )
    assert check(result, "http.status")["observed"] == finding("http", "timeout")["message"]
    assert check(result, "mysql.reachable")["observed"] == finding("database", "refused")["message"]


def test_a_remark_about_a_files_mode_is_not_why_the_database_is_unseen() -> None:
    """``denied_database`` is reported under the code ``denied``, so that the first finding would be taken."""
    result = judge(
        ("database", {"reachable": False, "error": "denied_database", "threads": None, "slow": []}),
        ("errors", [finding("database", "loose_permissions"), finding("database", "denied")]),
    )
    assert check(result, "mysql.reachable")["observed"] == finding("database", "denied")["message"]


def test_a_foreign_daemon_is_named() -> None:
    foreign = [{"pid": 9, "user": "root", "home": "/root/.pm2"}]
    found = check(judge(("pm2/daemon", "foreign"), ("pm2/foreign", foreign)), "pm2.daemon")
    assert plain(found["observed"]) == "the daemon belongs to root (/root/.pm2)"


def test_a_listener_that_is_not_the_application_is_named() -> None:
    stranger = {"address": "::", "pid": 77, "command": "python3 x.py", "user": "root", "of_app": False}
    found = check(judge(("port/listeners", [stranger])), "port.open")
    assert found["status"] == "critical"
    assert plain(found["observed"]) == "held by another process: pid 77, python3 x.py, user root"
    own = healthy()["port"]["listeners"][0]
    assert status("port.open", ("port/listeners", [stranger, own])) == "ok"


RESTARTS = [
    # counter now, remembered, planned, status, unplanned
    (3, {"count": 3, "by_id": {"0": 3}}, 0, "ok", 0),
    (4, {"count": 3, "by_id": {"0": 3}}, 0, "warn", 1),
    (4, {"count": 3, "by_id": {"0": 3}}, 1, "ok", 0),
    (5, {"count": 3, "by_id": {"0": 3}}, 1, "warn", 1),
    (4, {"count": 3, "by_id": {"0": 3}}, 5, "ok", 0),
    (1, {"count": 3, "by_id": {"0": 3}}, 0, "ok", 0),  # the counter went back
    (9, {"count": 3, "by_id": {"7": 3}}, 0, "ok", 0),  # deleted and created anew
    (4, {"count": 3}, 0, "warn", 1),
    (1, {"count": 3}, 0, "ok", 0),
    (3, None, 0, "warn", 3),  # first run: all that PM2 counted
    (3, None, 3, "ok", 0),
    (0, None, 0, "ok", 0),
    (3, {"count": "x"}, 0, "warn", 3),
]


@pytest.mark.parametrize(("now", "remembered", "planned", "expected", "unplanned"), RESTARTS)
def test_unplanned_restarts(now: int, remembered: Any, planned: int, expected: str, unplanned: int) -> None:
    memory = None if remembered is None else {"taken_at": "2025-11-01T09:00:00Z", "restarts": remembered}
    result = judge(
        ("pm2/app/restarts", now),
        ("pm2/processes/0/restarts", now),
        memory=memory,
        expectations={"planned_restarts": planned},
    )
    found = check(result, "pm2.restarts")
    assert (found["status"], found["evidence"]["unplanned"]) == (expected, unplanned)


def test_an_instance_that_was_created_anew_hides_no_restart_of_another() -> None:
    processes = [{**healthy()["pm2"]["processes"][0], "pm_id": i, "restarts": n} for i, n in ((0, 0), (1, 4))]
    memory = {"restarts": {"count": 8, "by_id": {"0": 5, "1": 3}}}
    result = judge(("pm2/processes", processes), ("pm2/app/restarts", 4), memory=memory)
    assert check(result, "pm2.restarts")["evidence"]["unplanned"] == 1


def test_the_first_run_says_since_when_it_counts() -> None:
    first = check(judge(memory=None), "pm2.restarts")
    assert first["observed"]["args"]["latest_at"] == "2025-11-01T09:00:00Z"
    later = check(judge(("pm2/processes/0/restarts", 4)), "pm2.restarts")
    assert later["observed"]["args"] == {"unplanned": 1, "since_at": "2025-11-01T09:00:00Z"}


def test_what_is_remembered_gives_no_restarts_next_time() -> None:
    memory = verdict.remember(healthy(), {"x": 1})
    assert memory["logs"] == {"x": 1}
    assert memory["taken_at"] == "2025-11-02T09:00:00Z"
    assert memory["restarts"] == {
        "count": 3,
        "pids": [100],
        "started_at": "2025-11-01T09:00:00Z",
        "by_id": {"0": 3},
    }
    assert status("pm2.restarts", memory=json.loads(json.dumps(memory))) == "ok"


def test_restart_counts_survive_a_run_that_could_not_see_pm2() -> None:
    blind = verdict.remember(put(healthy(), "pm2", None), {}, MEMORY)
    assert blind["restarts"] == MEMORY["restarts"]
    assert "restarts" not in verdict.remember(put(healthy(), "pm2", None), {})


@pytest.mark.parametrize(
    ("error", "reachable", "connections", "procedure"),
    [
        ("refused", "critical", "unknown", "database"),
        ("timeout", "critical", "unknown", "database"),
        ("unknown_database", "critical", "unknown", "database"),
        ("too_many_connections", "critical", "critical", "database"),
        ("denied", "unknown", "unknown", "none"),
        ("denied_socket", "unknown", "unknown", "none"),
        ("no_credentials", "unknown", "unknown", "none"),
        ("no_pymysql", "unknown", "unknown", "none"),
        ("unknown_host", "unknown", "unknown", "none"),
    ],
)
def test_why_the_database_is_not_reachable(error: str, reachable: str, connections: str, procedure: str) -> None:
    result = judge(
        ("database", {"reachable": False, "error": error, "threads": None, "slow": []}),
        ("errors", [finding("database", error)]),
    )
    assert check(result, "mysql.reachable")["status"] == reachable
    assert check(result, "mysql.connections")["status"] == connections
    assert result["procedure"] == procedure


def test_a_request_that_is_never_answered_is_critical_and_the_body_unknown() -> None:
    result = judge(
        (
            "http",
            {
                "url": "u",
                "requests": 1,
                "failures": 1,
                "status": None,
                "latency_ms": [],
                "latency_median_ms": None,
                "body": None,
                "error": "timeout",
            },
        ),
        ("errors", [finding("http", "timeout")]),
    )
    got = {c["id"]: c["status"] for c in result["checks"]}
    assert got["http.status"] == "critical"
    assert got["http.latency"] == got["app.status"] == got["app.database"] == "unknown"
    assert result["procedure"] == "offline"


def test_an_answer_that_is_no_report_fails_the_application_not_its_database() -> None:
    result = judge(("http/body", None), ("http/error", "not_json"))
    assert check(result, "app.status")["status"] == "critical"
    assert check(result, "app.database")["status"] == "unknown"


def test_memory_judges_the_heaviest_instance_and_shows_the_sum() -> None:
    found = check(judge(("pm2/app/memory_bytes", 900 * MIB), ("pm2/app/instances", 1)), "memory.app")
    assert found["status"] == "ok"
    assert found["evidence"]["sum_bytes"] == 900 * MIB


def test_cpu_falls_back_on_what_pm2_reports() -> None:
    assert status("cpu.app", ("resources", None), ("pm2/app/cpu_percent", 81)) == "critical"
    assert status("cpu.app", ("resources", None), ("pm2/app/cpu_percent", None)) == "unknown"


def test_a_disk_that_could_not_be_seen_is_unknown_unless_another_is_full() -> None:
    blind = {"path": "/x", "used_percent": None, "inodes_used_percent": None}
    full = {"path": "/", "used_percent": 99.0, "inodes_used_percent": None}
    assert status("host.disk", ("resources/disk", [blind])) == "unknown"
    assert status("host.disk", ("resources/disk", [full, blind])) == "critical"
    assert status("host.disk", ("resources/disk", [{**full, "used_percent": 1.0}, blind])) == "unknown"
    assert status("host.disk", ("resources/disk/0/inodes_used_percent", None)) == "ok"


def test_new_errors_are_named_and_an_incomplete_window_is_said() -> None:
    prints = [
        {"fingerprint": "a" * 12, "sample": "Error: new", "count": 2, "new": True},
        {"fingerprint": "b" * 12, "sample": "Error: old", "count": 1, "new": False},
    ]
    result = judge(
        ("logs/errors", 3), ("logs/errors_day", 3), ("logs/fingerprints", prints), ("logs/window/complete", False)
    )
    found = check(result, "logs.errors")
    assert found["evidence"]["new"] == [{"fingerprint": "a" * 12, "sample": "Error: new", "count": 2}]
    assert "not read completely" in plain(found["observed"])
    assert result["overall"] == "degraded"
    assert status("logs.errors", ("logs/window/complete", False)) == "warn"


@pytest.mark.parametrize("harm", [("missing", True), ("readable", False)])
def test_no_errors_in_a_log_that_was_not_read_is_unknown(harm: tuple[str, bool]) -> None:
    changes = [(f"logs/files/0/{harm[0]}", harm[1]), ("logs/window/complete", False)]
    assert status("logs.errors", *changes) == "unknown"
    assert status("logs.errors", *changes, ("logs/errors", 1)) == "warn"


@pytest.mark.parametrize(
    ("changes", "procedure", "first_reason"),
    [
        ([("database/reachable", False), ("pm2/app/online", 0), ("http/status", 500)], "database", "mysql.reachable"),
        (
            [("http/body/database", "error"), ("http/latency_median_ms", 9000)],
            "database",
            "app.database",
        ),
        ([("pm2/app/online", 0), ("resources/cpu/app_percent", 99)], "offline", "pm2.online"),
        ([("port/open", False)], "offline", "port.open"),
        ([("http/latency_median_ms", 9000)], "performance", "http.latency"),
        ([("resources/cpu/app_percent", 99)], "performance", "cpu.app"),
        ([("pm2/app/memory_max_bytes", 900 * MIB)], "performance", "memory.app"),
        ([("resources/disk/0/used_percent", 99)], "disk", "host.disk"),
        ([("logs/errors", 1)], "none", "logs.errors"),
    ],
)
def test_root_cause_before_symptom(changes: list[tuple[str, Any]], procedure: str, first_reason: str) -> None:
    result = judge(*changes)
    assert result["procedure"] == procedure
    assert result["reasons"][0]["args"]["check"] == first_reason


def test_a_crash_loop_with_the_database_down_is_the_database() -> None:
    result = judge(
        ("database", {"reachable": False, "error": "refused"}),
        ("pm2/app/statuses", {"errored": 1}),
        ("pm2/app/online", 0),
        ("port/open", False),
        ("http/status", None),
        ("http/error", "refused"),
    )
    assert (result["overall"], result["procedure"]) == ("critical", "database")
    assert "pm2.online" in plain(result["reasons"][-1])


@pytest.mark.parametrize(
    ("changes", "overall"),
    [
        ([], "healthy"),
        ([("logs/errors", 1)], "degraded"),
        ([("logs/errors", 1), ("port", None)], "unknown"),
        ([("logs/errors", 1), ("port", None), ("http/status", 500)], "critical"),
    ],
)
def test_the_worst_status_wins(changes: list[tuple[str, Any]], overall: str) -> None:
    assert judge(*changes)["overall"] == overall


def paths(value: Any, prefix: str = "") -> list[str]:
    found: list[str] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        path = f"{prefix}/{name}" if prefix else str(name)
        found.append(path)
        found.extend(paths(inner, path))
    return found


PATHS = paths(healthy())


@given(st.lists(st.sampled_from(PATHS), max_size=6))
def test_nulls_anywhere_never_raise(nulled: list[str]) -> None:
    snapshot = healthy()
    for path in sorted(nulled, key=len, reverse=True):
        put(snapshot, path, None)
    result = verdict.evaluate(snapshot, {}, MEMORY)
    assert [c["id"] for c in result["checks"]] == list(CHECK_IDS)
    for found in result["checks"]:
        assert found["status"] in ("ok", "warn", "unknown", "critical")
        assert (found["hint"] is None) == (found["status"] == "ok")
    json.dumps(verdict.remember(snapshot, {}, MEMORY))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(PATHS), ANYTHING, ANYTHING)
@settings(max_examples=300)
def test_rubbish_anywhere_never_raises(path: str, rubbish: Any, memory: Any) -> None:
    verdict.evaluate(put(healthy(), path, rubbish), {}, memory)
    verdict.remember(put(healthy(), path, rubbish), {}, memory)


ORDER = {"healthy": 0, "degraded": 1, "unknown": 2, "critical": 3}
WORSE: list[tuple[str, list[Any]]] = [
    ("pm2/daemon", ["online", None, "dead"]),
    ("pm2/app/online", [1, 0]),
    ("pm2/app/unstable_restarts", [0, 1, 5]),
    ("pm2/processes/0/restarts", [3, 4, 40]),
    ("pm2/app/memory_max_bytes", [n * MIB for n in (1, 400, 450, 500, 501, 9999)]),
    ("port/open", [True, False]),
    ("port/listeners/0/of_app", [True, None, False]),
    ("http/status", [200, 503]),
    ("http/failures", [0, 1, 3]),
    ("http/latency_median_ms", [1, 200, 201, 2000, 2001]),
    ("http/body/status", ["ok", "error"]),
    ("http/body/database", ["connected", None, "error"]),
    ("database/reachable", [True, None, False]),
    ("database/threads/connected", [1, 80, 95, 100]),
    ("resources/cpu/app_percent", [1, 80, 81, 100]),
    ("resources/memory/used_percent", [1, 85, 95]),
    ("resources/disk/0/used_percent", [1, 80, 90]),
    ("resources/disk/0/inodes_used_percent", [1, 80, 90]),
    ("logs/errors", [0, 1, 100]),
    ("logs/errors_day", [0, 9, 10]),
    ("logs/window/complete", [True, False]),
]


@given(st.data())
@settings(max_examples=300)
def test_a_worse_observation_never_improves_the_whole(data: st.DataObject) -> None:
    base = healthy()
    for path, values in WORSE:
        put(base, path, data.draw(st.sampled_from(values)))
    path, values = data.draw(st.sampled_from(WORSE))
    better, worse = sorted(data.draw(st.tuples(*[st.integers(0, len(values) - 1)] * 2)))
    one, other = copy.deepcopy(base), copy.deepcopy(base)
    put(one, path, values[better])
    put(other, path, values[worse])
    first, second = (verdict.evaluate(s, {}, MEMORY)["overall"] for s in (one, other))
    assert ORDER[first] <= ORDER[second]
