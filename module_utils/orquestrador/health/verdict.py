"""How a snapshot compares with what the playbook expects, and which procedure that calls for.

Pure: no clock, no files, no network. Every figure is an expectation with a default from the operational playbook, and
a collector that saw nothing makes its checks ``unknown`` instead of good or bad.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

from ..core.messages import msg
from ..core.types import (
    CHECK_IDS,
    CRITICAL,
    DEGRADED,
    HEALTHY,
    OK,
    UNKNOWN,
    WARN,
    Check,
    Memory,
    Message,
    Snapshot,
    Verdict,
)
from .expectations import limits_of
from .expectations import number as _number

MIB = 1024 * 1024

# Root cause before symptom: an application that crash-loops because its database is gone is healed there.
PROCEDURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("database", ("mysql.reachable", "app.database")),
    ("offline", ("pm2.daemon", "pm2.online", "port.open", "http.status", "app.status")),
    ("performance", ("http.latency", "cpu.app", "memory.app")),
    ("disk", ("host.disk",)),
)

# The server was not asked, or it answered and refused only the operations account: that says nothing about the
# application's database, and must not start a procedure that restarts it.
_DATABASE_UNSEEN = frozenset(
    (
        "denied",
        "denied_socket",
        "denied_database",
        "denied_table",
        "password_expired",
        "no_credentials",
        "bad_credentials_file",
        "unreadable",
        "no_pymysql",
        "no_cryptography",
        "unknown_host",
        "internal",
    )
)
_NOT_RUNNING = ("dead", "missing", "foreign")
_FAILING = ("errored", "waiting restart")
_NO_PROCESS = msg("PM2 knows no process of this name")
_START_PROCESS = msg("Start it from its ecosystem file, then save the list: pm2 start, pm2 save")
# Our own figure: a process that has been up this long is no longer taken for one that does not stay up.
STABLE_AFTER_S = 60


def evaluate(snapshot: Snapshot, expectations: dict[str, Any], memory: Optional[Memory]) -> Verdict:
    """All checks of ``CHECK_IDS``, in order, what they add up to, and the procedure they call for.

    ``memory`` is what :func:`remember` left after the last run of the same procedure; ``None`` on the first.

    :raises TypeError: from :func:`limits_of` only; a snapshot never raises.
    """
    view = _View(snapshot, limits_of(expectations), memory)
    checks = [_CHECKS[check_id](view) for check_id in CHECK_IDS]
    statuses = {check["id"]: check["status"] for check in checks}
    seen = set(statuses.values())
    if CRITICAL in seen:
        overall = CRITICAL
    elif UNKNOWN in seen:
        overall = UNKNOWN
    else:
        overall = DEGRADED if WARN in seen else HEALTHY
    procedure, reasons = _procedure(statuses)
    return {"overall": overall, "checks": checks, "procedure": procedure, "reasons": reasons}


def remember(snapshot: Snapshot, log_memory: dict[str, Any], previous: Optional[Memory] = None) -> Memory:
    """What the next run of the same procedure needs.

    When PM2 could not be seen now, the restart counts of ``previous`` are kept: otherwise the next run would take
    every restart ever counted for a new one.
    """
    whole = _dict(snapshot)
    memory: Memory = {"taken_at": str(whole.get("taken_at") or ""), "logs": log_memory}
    pm2 = _dict(whole.get("pm2"))
    app = _dict(pm2.get("app"))
    count = _number(app.get("restarts"))
    if count is not None:
        processes = _instances(pm2)
        started = sorted(str(p["started_at"]) for p in processes if isinstance(p.get("started_at"), str))
        memory["restarts"] = {
            "count": int(count),
            "pids": [int(p) for p in _list(app.get("pids")) if _number(p) is not None],
            "started_at": started[-1] if started else None,
            "by_id": _restarts_by_id(processes),
        }
    else:
        kept = _dict(_dict(previous).get("restarts"))
        if kept:
            memory["restarts"] = kept
    return memory


def _procedure(statuses: dict[str, str]) -> tuple[str, list[Message]]:
    for name, ids in PROCEDURES:
        causes = [check_id for check_id in ids if statuses.get(check_id) == CRITICAL]
        if not causes:
            continue
        reasons = [msg("Check {check} is critical", check=check_id) for check_id in causes]
        covered = set(ids)
        symptoms = [i for i in CHECK_IDS if statuses.get(i) == CRITICAL and i not in covered]
        if symptoms:
            reasons.append(
                msg("Root cause before symptom: {checks} may follow from it", checks=", ".join(symptoms)),
            )
        return name, reasons
    reasons = []
    for status, text in (
        (CRITICAL, "Check {check} is critical, no procedure of the playbook treats it"),
        (UNKNOWN, "Check {check} could not be observed"),
        (WARN, "Check {check} needs attention"),
    ):
        reasons.extend(
            {"text": text, "args": {"check": check_id}} for check_id in CHECK_IDS if statuses.get(check_id) == status
        )
    return "none", reasons


# Extracted by gettext: the texts above that reach a message through a variable.
_CATALOG = (
    msg("Check {check} is critical, no procedure of the playbook treats it"),
    msg("Check {check} could not be observed"),
    msg("Check {check} needs attention"),
)


class _View:
    """The parts of a snapshot with nothing assumed about what is in them."""

    def __init__(self, snapshot: Any, limits: dict[str, Any], memory: Any) -> None:
        whole = _dict(snapshot)
        self.limits = limits
        self.pm2 = _maybe_dict(whole.get("pm2"))
        self.app = _maybe_dict(_dict(self.pm2).get("app"))
        self.port = _maybe_dict(whole.get("port"))
        self.http = _maybe_dict(whole.get("http"))
        self.database = _maybe_dict(whole.get("database"))
        self.resources = _maybe_dict(whole.get("resources"))
        self.logs = _maybe_dict(whole.get("logs"))
        self.findings = [f for f in _list(whole.get("errors")) if isinstance(f, dict)]
        self.remembered = _maybe_dict(_dict(memory).get("restarts"))
        self.remembered_at = _dict(memory).get("taken_at")

    def finding(self, collector: str, code: Any = None) -> Optional[dict[str, Any]]:
        """The first finding of a collector, one with this code before any other."""
        own = [f for f in self.findings if f.get("collector") == collector]
        # Several reasons share a code. A remark about a file's mode is none: it keeps nothing from being observed.
        reasons = [f for f in own if f.get("code") != "loose_permissions"] or own
        return next((f for f in own if code and f.get("code") == code), reasons[0] if reasons else None)

    def said(self, collector: str, code: Any) -> Optional[Message]:
        """What a collector says of exactly this code."""
        found = self.finding(collector, code) or {}
        return _message(found.get("message")) if found.get("code") == code else None

    def hint(self, collector: str, otherwise: Message, code: Any = None) -> Message:
        found = self.finding(collector, code) or {}
        return _message(found.get("hint")) or otherwise


def _check(
    check_id: str,
    status: str,
    *,
    title: Message,
    observed: Message,
    expected: Message,
    source: str,
    hint: Optional[Message] = None,
    evidence: Optional[dict[str, Any]] = None,
) -> Check:
    return {
        "id": check_id,
        "title": title,
        "status": status,
        "observed": observed,
        "expected": expected,
        "hint": hint if status != OK else None,
        "evidence": evidence or {},
        "source": source,
    }


def _unseen(view: _View, collector: str, code: Any = None) -> dict[str, Any]:
    """Observed, hint and evidence of a check whose collector gave nothing."""
    found = view.finding(collector, code)
    if found is None and collector == "pm2" and view.app is None and _dict(view.pm2).get("daemon") == "online":
        return {"observed": _NO_PROCESS, "hint": _START_PROCESS, "evidence": {}}
    if found is None:
        return {
            "observed": msg("not observed"),
            "hint": msg("Run the probe again; if it repeats, look at the host itself"),
            "evidence": {},
        }
    message = _message(found.get("message")) or msg("not observed")
    return {
        "observed": message,
        "hint": _message(found.get("hint")) or message,
        "evidence": {"collector": collector, "finding": found.get("code")},
    }


# --- PM2 -------------------------------------------------------------------------------------------------------------


def _pm2_daemon(view: _View) -> Check:
    parts: dict[str, Any] = {
        "title": msg("PM2 daemon runs"),
        "expected": msg("answers for the application's user"),
        "source": "pontos-criticos",
    }
    if view.pm2 is None:
        return _check("pm2.daemon", UNKNOWN, **parts, **_unseen(view, "pm2"))
    state = view.pm2.get("daemon")
    home = str(view.pm2.get("home") or "")
    evidence = {"daemon": state, "pid": view.pm2.get("daemon_pid"), "home": home, "source": view.pm2.get("source")}
    foreign = [f for f in _list(view.pm2.get("foreign")) if isinstance(f, dict)]
    if foreign:
        evidence["foreign"] = foreign[:5]
    start = msg("Start it as the application's user: pm2 resurrect, or its systemd unit")
    if state == "online":
        return _check("pm2.daemon", OK, **parts, observed=msg("online"), evidence=evidence)
    if state == "dead":
        observed, hint = msg("no daemon is running for {home}", home=home), start
    elif state == "missing":
        observed = msg("{home} does not exist", home=home)
        hint = msg("Correct pm2_home, or prepare the host with the bootstrap playbook")
    elif state == "foreign":
        first = foreign[0] if foreign else {}
        observed = msg(
            "the daemon belongs to {user} ({home})",
            user=_shown(first.get("user")),
            home=_shown(first.get("home"), home),
        )
        hint = msg("Stop the other user's daemon and start PM2 as the application's user")
    elif state == "unresponsive":
        observed = msg("the daemon does not answer")
        hint = msg("Restart the PM2 daemon: pm2 kill, then pm2 resurrect, as the application's user")
    else:
        return _check("pm2.daemon", UNKNOWN, **parts, **_unseen(view, "pm2"))
    # Where another daemon is the reason, what to do about that one goes before what its missing socket suggests.
    code = "foreign_daemon" if foreign else state
    return _check(
        "pm2.daemon", CRITICAL, **parts, observed=observed, hint=view.hint("pm2", hint, code), evidence=evidence
    )


def _pm2_online(view: _View) -> Check:
    parts: dict[str, Any] = {
        "title": msg("Every instance is online"),
        "expected": msg("all online, at least one"),
        "source": "pontos-criticos",
    }
    if view.pm2 is None:
        return _check("pm2.online", UNKNOWN, **parts, **_unseen(view, "pm2"))
    daemon = view.pm2.get("daemon")
    if view.app is None:
        if daemon in _NOT_RUNNING:
            hint = msg("Bring the PM2 daemon back first; the application follows")
            return _check("pm2.online", CRITICAL, **parts, observed=msg("not running"), hint=hint)
        if daemon == "online":
            names = sorted({str(p.get("name")) for p in _list(view.pm2.get("processes")) if isinstance(p, dict)})
            return _check(
                "pm2.online",
                CRITICAL,
                **parts,
                observed=_NO_PROCESS,
                hint=_START_PROCESS,
                evidence={"known": names[:20]},
            )
        return _check("pm2.online", UNKNOWN, **parts, **_unseen(view, "pm2"))
    instances, online = _number(view.app.get("instances")), _number(view.app.get("online"))
    if instances is None or online is None:
        return _check("pm2.online", UNKNOWN, **parts, **_unseen(view, "pm2"))
    statuses = {str(k): v for k, v in _dict(view.app.get("statuses")).items()}
    evidence = {"statuses": statuses, "uptime_s": view.app.get("uptime_s"), "mode": view.app.get("mode")}
    good = online >= instances and online >= 1
    shown = ", ".join(sorted(statuses)) or "?"
    return _check(
        "pm2.online",
        OK if good else CRITICAL,
        **parts,
        observed=msg(
            "{online} of {instances} online ({statuses})", online=int(online), instances=int(instances), statuses=shown
        ),
        hint=msg("Read the error log, then start the application again from its ecosystem file"),
        evidence=evidence,
    )


def _pm2_restarts(view: _View) -> Check:
    parts: dict[str, Any] = {
        "title": msg("No unplanned restarts"),
        "expected": msg("at most {limit} unplanned", limit=view.limits["restarts_unplanned"]),
        "source": "pontos-criticos",
    }
    if view.pm2 is None or view.app is None:
        return _check("pm2.restarts", UNKNOWN, **parts, **_unseen(view, "pm2"))
    app = view.app
    statuses = _dict(app.get("statuses"))
    count, unstable = _number(app.get("restarts")), _number(app.get("unstable_restarts"))
    failing = [s for s in _FAILING if (_number(statuses.get(s)) or 0) > 0]
    evidence: dict[str, Any] = {"restarts": count, "unstable_restarts": unstable}
    # PM2 counts a stop by hand soon after the start as unstable, and does not forget it while the process stays up.
    uptime = _number(app.get("uptime_s"))
    young = bool(_number(statuses.get("online"))) and (uptime is None or uptime < STABLE_AFTER_S)
    if failing or ((unstable or 0) > 0 and young):
        return _check(
            "pm2.restarts",
            CRITICAL,
            **parts,
            observed=msg(
                "does not stay up: {unstable} unstable restarts, {statuses}",
                unstable=int(unstable or 0),
                statuses=", ".join(failing) or "online",
            ),
            hint=msg("Read the error log for why it exits, and look whether the database is up, before restarting"),
            evidence=evidence,
        )
    if count is None:
        return _check("pm2.restarts", UNKNOWN, **parts, **_unseen(view, "pm2"))
    planned = view.limits["planned_restarts"]
    first = view.remembered is None or _number(view.remembered.get("count")) is None
    counted = count if first else _restarts_since(view.pm2, count, _dict(view.remembered))
    unplanned = max(0, int(counted - planned))
    since_at, latest_at = view.remembered_at, _latest_start(view.pm2)
    if first and latest_at:
        observed = msg(
            "{unplanned} unplanned since PM2 counts, the latest start at {latest_at}",
            unplanned=unplanned,
            latest_at=latest_at,
        )
    elif first:
        observed = msg("{unplanned} unplanned since PM2 counts", unplanned=unplanned)
    elif isinstance(since_at, str) and since_at:
        observed = msg("{unplanned} unplanned since {since_at}", unplanned=unplanned, since_at=since_at)
    else:
        observed = msg("{unplanned} unplanned since the last run", unplanned=unplanned)
    evidence.update(counted=int(counted), planned=planned, unplanned=unplanned, first=first)
    return _check(
        "pm2.restarts",
        WARN if unplanned > view.limits["restarts_unplanned"] else OK,
        **parts,
        observed=observed,
        hint=msg("Look in the error log for what happened just before each start"),
        evidence=evidence,
    )


def _restarts_since(pm2: dict[str, Any], count: float, remembered: dict[str, Any]) -> float:
    """Restarts since the remembered count.

    Instance by instance where both sides know them: a process that was deleted and created anew has a new id or a
    smaller counter, and says nothing about restarts in between.
    """
    before = {k: _number(v) for k, v in _dict(remembered.get("by_id")).items()}
    now = _restarts_by_id(_instances(pm2))
    if not before or not now:
        return max(0.0, count - (_number(remembered.get("count")) or 0.0))
    total = 0.0
    for pm_id, restarts in now.items():
        old = before.get(pm_id)
        if old is not None:
            total += max(0.0, restarts - old)
    return total


def _restarts_by_id(processes: list[dict[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for process in processes[:256]:
        pm_id, restarts = _number(process.get("pm_id")), _number(process.get("restarts"))
        if pm_id is not None and restarts is not None:
            found[str(int(pm_id))] = int(restarts)
    return found


def _instances(pm2: dict[str, Any]) -> list[dict[str, Any]]:
    name = _dict(pm2.get("app")).get("name")
    return [p for p in _list(pm2.get("processes")) if isinstance(p, dict) and p.get("name") == name]


def _latest_start(pm2: dict[str, Any]) -> Optional[str]:
    return max((p["started_at"] for p in _instances(pm2) if isinstance(p.get("started_at"), str)), default=None)


# --- port and HTTP ---------------------------------------------------------------------------------------------------


def _port_open(view: _View) -> Check:
    parts: dict[str, Any] = {
        "title": msg("The application listens on its port"),
        "expected": msg("open, held by the application"),
        "source": "pontos-criticos",
    }
    if view.port is None or not isinstance(view.port.get("open"), bool):
        return _check("port.open", UNKNOWN, **parts, **_unseen(view, "port"))
    port = view.port.get("port")
    listeners = [item for item in _list(view.port.get("listeners")) if isinstance(item, dict)]
    evidence = {
        "port": port,
        "pid": view.port.get("pid"),
        "command": view.port.get("command"),
        "listeners": listeners[:8],
    }
    if not view.port["open"]:
        return _check(
            "port.open",
            CRITICAL,
            **parts,
            observed=msg("port {port} is closed", port=_shown(port)),
            hint=view.hint("port", msg("See whether the application is online and what its error log says")),
            evidence=evidence,
        )
    owners = [item.get("of_app") for item in listeners]
    stranger = next((item for item in listeners if item.get("of_app") is False), None)
    if stranger is not None and True not in owners:
        return _check(
            "port.open",
            CRITICAL,
            **parts,
            observed=msg(
                "held by another process: pid {pid}, {command}, user {user}",
                pid=_shown(stranger.get("pid")),
                command=_shown(stranger.get("command")),
                user=_shown(stranger.get("user")),
            ),
            hint=msg("Find out who started that process, stop it, then start the application"),
            evidence=evidence,
        )
    observed = msg("open") if True in owners else msg("open, by whom could not be seen")
    return _check("port.open", OK, **parts, observed=observed, evidence=evidence)


def _http_status(view: _View) -> Check:
    parts: dict[str, Any] = {
        "title": msg("The health address answers"),
        "expected": msg("HTTP 200, every time"),
        "source": "pontos-criticos",
    }
    http = view.http
    if http is None:
        return _check("http.status", UNKNOWN, **parts, **_unseen(view, "http"))
    status, failures = _number(http.get("status")), int(_number(http.get("failures")) or 0)
    requests = int(_number(http.get("requests")) or 0)
    error = http.get("error")
    evidence = {"url": http.get("url"), "requests": requests, "failures": failures, "status": status, "error": error}
    hint = msg("If the process is online it hangs: restart it; else start it. Its error log tells why")
    if status is None:
        if not failures and not error:
            return _check("http.status", UNKNOWN, **parts, **_unseen(view, "http"))
        observed = view.said("http", error) or msg("no answer ({error})", error=_shown(error))
    elif int(status) != 200:
        observed = msg("HTTP {status}", status=int(status))
        hint = msg("Read the application's error log; the health address must answer 200 itself, without a redirect")
    elif failures > 0:
        observed = msg(
            "{failures} of {requests} requests failed ({error})",
            failures=failures,
            requests=requests,
            error=_shown(error),
        )
    else:
        return _check("http.status", OK, **parts, observed=msg("HTTP {status}", status=200), evidence=evidence)
    return _check(
        "http.status", CRITICAL, **parts, observed=observed, hint=view.hint("http", hint, error), evidence=evidence
    )


def _http_latency(view: _View) -> Check:
    sla, alert = view.limits["latency_sla_ms"], view.limits["latency_alert_ms"]
    parts: dict[str, Any] = {
        "title": msg("Response time"),
        "expected": msg("at most {sla_ms}", sla_ms=sla),
        "source": "slas",
    }
    median = _number(_dict(view.http).get("latency_median_ms"))
    if median is None:
        return _check("http.latency", UNKNOWN, **parts, **_unseen(view, "http"))
    evidence = {"latency_ms": _list(_dict(view.http).get("latency_ms"))[:100], "alert_ms": alert}
    if median > alert:
        parts["source"] = "alerta-alto"
    return _check(
        "http.latency",
        CRITICAL if median > alert else WARN if median > sla else OK,
        **parts,
        observed=msg("median {median_ms}", median_ms=median),
        hint=msg("Look at the application's CPU and memory and at the database's long-running queries"),
        evidence=evidence,
    )


def _app_status(view: _View) -> Check:
    wanted = view.limits["status_expected"]
    parts: dict[str, Any] = {
        "title": msg("The application reports itself well"),
        "expected": msg('"status": "{wanted}"', wanted=wanted),
        "source": "rotina-diaria",
    }
    http = view.http
    if http is None or (_number(http.get("status")) is None and _maybe_dict(http.get("body")) is None):
        return _check("app.status", UNKNOWN, **parts, **_unseen(view, "http"))
    body = _maybe_dict(http.get("body"))
    hint = msg("Read the application's error log for what it is missing")
    if body is None:
        return _check(
            "app.status",
            CRITICAL,
            **parts,
            observed=msg("the answer is no health report"),
            hint=view.hint("http", msg("Correct app_health_url, or see what else answers there"), http.get("error")),
        )
    value = body.get("status")
    if value is None:
        hint = view.hint("http", msg("Correct app_health_url, or see what else answers there"))
    return _check(
        "app.status",
        OK if value == wanted else CRITICAL,
        **parts,
        observed=msg("the health report does not say")
        if value is None
        else msg('"status": "{value}"', value=_shown(value)),
        hint=hint,
        evidence={"body": body},
    )


def _app_database(view: _View) -> Check:
    wanted = view.limits["database_expected"]
    parts: dict[str, Any] = {
        "title": msg("The application reaches its database"),
        "expected": msg('"database": "{wanted}"', wanted=wanted),
        "source": "pontos-criticos",
    }
    body = _maybe_dict(_dict(view.http).get("body"))
    if body is None:
        return _check("app.database", UNKNOWN, **parts, **_unseen(view, "http"))
    value = body.get("database")
    if value is None:
        return _check(
            "app.database",
            UNKNOWN,
            **parts,
            observed=msg("the health report does not say"),
            hint=msg("Rely on the database's own check, and have the health address report its database"),
        )
    good = value == wanted
    if not good:
        parts["source"] = "alerta-medio"
    return _check(
        "app.database",
        OK if good else CRITICAL,
        **parts,
        observed=msg('"database": "{value}"', value=_shown(value)),
        hint=msg("If the database is up, restart the application and look at its credentials; else start the database"),
        evidence={"database": value},
    )


# --- database --------------------------------------------------------------------------------------------------------


def _mysql_reachable(view: _View) -> Check:
    parts: dict[str, Any] = {
        "title": msg("The database accepts connections"),
        "expected": msg("reachable"),
        "source": "alerta-medio",
    }
    database = view.database
    if database is None or not isinstance(database.get("reachable"), bool):
        return _check("mysql.reachable", UNKNOWN, **parts, **_unseen(view, "database"))
    error = database.get("error")
    evidence = {k: database.get(k) for k in ("error", "latency_ms", "product", "version", "uptime_s")}
    if database["reachable"]:
        return _check(
            "mysql.reachable",
            OK,
            **parts,
            observed=msg("answers in {latency_ms}", latency_ms=_number(database.get("latency_ms"))),
            evidence=evidence,
        )
    if error in _DATABASE_UNSEEN:
        return _check("mysql.reachable", UNKNOWN, **parts, **_unseen(view, "database", error))
    hint = msg("See whether the database service runs, start it, then look at its error log")
    if error == "too_many_connections":
        hint = msg("Find who holds the connections, end the idle ones, then raise max_connections if it is too low")
    elif error == "unknown_database":
        hint = msg("Correct mysql_database, or restore the database from the newest verified backup")
    return _check(
        "mysql.reachable",
        CRITICAL,
        **parts,
        observed=view.said("database", error) or msg("not reachable ({error})", error=_shown(error)),
        hint=view.hint("database", hint, error),
        evidence=evidence,
    )


def _mysql_connections(view: _View) -> Check:
    warn, critical = view.limits["connections_warn_percent"], view.limits["connections_critical_percent"]
    parts: dict[str, Any] = {
        "title": msg("Database connections in use"),
        "expected": msg("below {warn_percent}", warn_percent=warn),
        "source": "alerta-medio",
    }
    database = _dict(view.database)
    hint = msg("See who holds connections (SHOW PROCESSLIST) and whether the application returns them to its pool")
    if database.get("error") == "too_many_connections":
        return _check("mysql.connections", CRITICAL, **parts, observed=msg("all in use"), hint=hint)
    threads = _dict(database.get("threads"))
    connected, allowed = _number(threads.get("connected")), _number(threads.get("allowed"))
    if connected is None or allowed is None or allowed <= 0:
        return _check("mysql.connections", UNKNOWN, **parts, **_unseen(view, "database", database.get("error")))
    used = round(100.0 * connected / allowed, 1)
    return _check(
        "mysql.connections",
        _above(used, warn, critical),
        **parts,
        observed=msg(
            "{connected} of {allowed} ({used_percent})",
            connected=int(connected),
            allowed=int(allowed),
            used_percent=used,
        ),
        hint=hint,
        evidence={"threads": threads, "slow": _list(database.get("slow"))[:10]},
    )


# --- resources -------------------------------------------------------------------------------------------------------


def _memory_app(view: _View) -> Check:
    normal, attention = view.limits["memory_normal_mb"] * MIB, view.limits["memory_attention_mb"] * MIB
    parts: dict[str, Any] = {
        "title": msg("Memory of the application"),
        "expected": msg("below {normal_bytes}", normal_bytes=int(normal)),
        "source": "pontos-criticos",
    }
    heaviest = _number(_dict(view.app).get("memory_max_bytes"))
    if heaviest is None:
        return _check("memory.app", UNKNOWN, **parts, **_unseen(view, "pm2"))
    if heaviest > attention:
        status = CRITICAL
        parts["source"] = "alerta-alto"
    else:
        status = WARN if heaviest >= normal else OK
    app = _dict(view.app)
    return _check(
        "memory.app",
        status,
        **parts,
        observed=msg("heaviest instance {heaviest_bytes}", heaviest_bytes=int(heaviest)),
        hint=msg("Watch whether it grows: a leak needs the developers, a reload buys time"),
        evidence={
            "sum_bytes": app.get("memory_bytes"),
            "instances": app.get("instances"),
            "attention_bytes": int(attention),
        },
    )


def _cpu_app(view: _View) -> Check:
    limit = view.limits["cpu_percent"]
    parts: dict[str, Any] = {
        "title": msg("CPU of the application"),
        "expected": msg("at most {limit_percent}", limit_percent=limit),
        "source": "alerta-alto",
    }
    cpu = _dict(_dict(view.resources).get("cpu"))
    measured, reported = _number(cpu.get("app_percent")), _number(_dict(view.app).get("cpu_percent"))
    used = measured if measured is not None else reported
    if used is None:
        collector = "resources" if view.finding("resources") else "pm2"
        return _check("cpu.app", UNKNOWN, **parts, **_unseen(view, collector))
    return _check(
        "cpu.app",
        CRITICAL if used > limit else OK,
        **parts,
        observed=msg("{used_percent}", used_percent=used),
        hint=msg("See which process and which queries are busy before restarting anything"),
        evidence={
            "interval_s": cpu.get("interval_s"),
            "host_percent": cpu.get("percent"),
            "count": cpu.get("count"),
            "load": _list(_dict(view.resources).get("load"))[:3],
        },
    )


def _host_memory(view: _View) -> Check:
    warn, critical = view.limits["host_memory_warn_percent"], view.limits["host_memory_critical_percent"]
    parts: dict[str, Any] = {
        "title": msg("Memory of the host"),
        "expected": msg("below {warn_percent}", warn_percent=warn),
        "source": "rotina-diaria",
    }
    memory = _dict(_dict(view.resources).get("memory"))
    used = _number(memory.get("used_percent"))
    if used is None:
        return _check("host.memory", UNKNOWN, **parts, **_unseen(view, "resources"))
    return _check(
        "host.memory",
        _above(used, warn, critical),
        **parts,
        observed=msg("{used_percent} used", used_percent=used),
        hint=msg("See which processes hold the memory, and whether the host swaps"),
        evidence=memory,
    )


def _host_disk(view: _View) -> Check:
    warn, critical = view.limits["disk_warn_percent"], view.limits["disk_critical_percent"]
    parts: dict[str, Any] = {
        "title": msg("Disk space and inodes of the host"),
        "expected": msg("below {warn_percent}", warn_percent=warn),
        "source": "rotina-diaria",
    }
    disks = [d for d in _list(_dict(view.resources).get("disk")) if isinstance(d, dict)]
    seen: list[tuple[float, str, str]] = []
    blind = False
    for disk in disks:
        used, inodes = _number(disk.get("used_percent")), _number(disk.get("inodes_used_percent"))
        blind = blind or used is None
        seen.extend(
            (value, kind, _shown(disk.get("path")))
            for value, kind in ((used, "space"), (inodes, "inodes"))
            if value is not None
        )
    if not seen:
        return _check("host.disk", UNKNOWN, **parts, **_unseen(view, "resources"))
    used_percent, kind, path = max(seen, key=lambda item: item[0])
    status = _above(used_percent, warn, critical)
    if blind and status != CRITICAL:
        return _check("host.disk", UNKNOWN, **parts, **_unseen(view, "resources"))
    text = (
        msg("{path}: {used_percent} of the space used", path=path, used_percent=used_percent)
        if kind == "space"
        else msg("{path}: {used_percent} of the inodes used", path=path, used_percent=used_percent)
    )
    return _check(
        "host.disk",
        status,
        **parts,
        observed=text,
        hint=msg("See what grew: logs and backups first; rotate or move them, never delete the newest verified backup"),
        evidence={"disk": disks[:16]},
    )


# --- logs ------------------------------------------------------------------------------------------------------------


def _logs_errors(view: _View) -> Check:
    recent_limit, day_limit = view.limits["log_errors_recent"], view.limits["log_errors_day"]
    parts: dict[str, Any] = {
        "title": msg("Errors in the logs"),
        "expected": msg(
            "at most {recent} since the last run, fewer than {day} in 24 h", recent=recent_limit, day=day_limit
        ),
        "source": "metricas-de-sucesso",
    }
    logs = view.logs
    recent, day = _number(_dict(logs).get("errors")), _number(_dict(logs).get("errors_day"))
    if logs is None or recent is None or day is None:
        return _check("logs.errors", UNKNOWN, **parts, **_unseen(view, "logs"))
    window = _dict(logs.get("window"))
    files = [f for f in _list(logs.get("files")) if isinstance(f, dict)]
    prints = [f for f in _list(logs.get("fingerprints")) if isinstance(f, dict)]
    new = [p for p in prints if p.get("new") is True]
    complete = window.get("complete") is not False
    present = [f for f in files if not f.get("missing")]
    readable = [f for f in present if f.get("readable") is not False]
    evidence = {
        "window": window,
        "new": [
            {"fingerprint": p.get("fingerprint"), "sample": p.get("sample"), "count": p.get("count")} for p in new[:10]
        ],
        "fingerprints": len(prints),
        "files": files[:20],
    }
    if day >= day_limit:
        status = CRITICAL
    elif recent > recent_limit:
        status = WARN
    elif not readable or len(readable) < len(present):
        return _check("logs.errors", UNKNOWN, **parts, **_unseen(view, "logs"))
    else:
        status = OK if complete else WARN
    text = (
        msg("{recent} since the last run, {day} in 24 h, {new} new", recent=int(recent), day=int(day), new=len(new))
        if complete
        else msg(
            "{recent} since the last run, {day} in 24 h, {new} new; the window was not read completely",
            recent=int(recent),
            day=int(day),
            new=len(new),
        )
    )
    hint = msg("Read the samples of the new errors first; hand what is code to the developers")
    if status == WARN and recent <= recent_limit:
        hint = msg("Run the routine again: it goes on reading where it stopped")
    return _check("logs.errors", status, **parts, observed=text, hint=view.hint("logs", hint), evidence=evidence)


_CHECKS: dict[str, Callable[[_View], Check]] = {
    "pm2.daemon": _pm2_daemon,
    "pm2.online": _pm2_online,
    "pm2.restarts": _pm2_restarts,
    "port.open": _port_open,
    "http.status": _http_status,
    "http.latency": _http_latency,
    "app.status": _app_status,
    "app.database": _app_database,
    "mysql.reachable": _mysql_reachable,
    "mysql.connections": _mysql_connections,
    "memory.app": _memory_app,
    "cpu.app": _cpu_app,
    "host.memory": _host_memory,
    "host.disk": _host_disk,
    "logs.errors": _logs_errors,
}


def _above(value: float, warn: float, critical: float) -> str:
    return CRITICAL if value >= critical else WARN if value >= warn else OK


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _maybe_dict(value: Any) -> Optional[dict[str, Any]]:
    return value if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _message(value: Any) -> Optional[Message]:
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        return {"text": value["text"], "args": _dict(value.get("args"))}
    return None


def _shown(value: Any, otherwise: str = "?") -> str:
    return otherwise if value is None else str(value)[:200]
