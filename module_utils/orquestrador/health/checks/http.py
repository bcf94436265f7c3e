"""Whether the application listens, answers in time, and reports itself and its database well."""

from __future__ import annotations

from ...core.messages import msg
from ...core.types import CRITICAL, OK, UNKNOWN, WARN
from ..expectations import number
from .registry import Result, check, unseen
from .view import View, as_dict, as_list, maybe_dict, shown


@check(
    "port.open",
    msg("The application listens on its port"),
    "pontos-criticos",
    lambda _: msg("open, held by the application"),
)
def port_open(view: View) -> Result:
    if view.port is None or not isinstance(view.port.get("open"), bool):
        return unseen(view, "port")
    port = view.port.get("port")
    listeners = [item for item in as_list(view.port.get("listeners")) if isinstance(item, dict)]
    evidence = {
        "port": port,
        "pid": view.port.get("pid"),
        "command": view.port.get("command"),
        "listeners": listeners[:8],
    }
    if not view.port["open"]:
        hint = msg("See whether the application is online and what its error log says")
        return Result(CRITICAL, msg("port {port} is closed", port=shown(port)), view.hint("port", hint), evidence)
    owners = [item.get("of_app") for item in listeners]
    stranger = next((item for item in listeners if item.get("of_app") is False), None)
    if stranger is not None and True not in owners:
        return Result(
            CRITICAL,
            msg(
                "held by another process: pid {pid}, {command}, user {user}",
                pid=shown(stranger.get("pid")),
                command=shown(stranger.get("command")),
                user=shown(stranger.get("user")),
            ),
            msg("Find out who started that process, stop it, then start the application"),
            evidence,
        )
    observed = msg("open") if True in owners else msg("open, by whom could not be seen")
    return Result(OK, observed, evidence=evidence)


@check(
    "http.status",
    msg("The health address answers"),
    "pontos-criticos",
    lambda _: msg("HTTP 200, every time"),
)
def status(view: View) -> Result:
    http = view.http
    if http is None:
        return unseen(view, "http")
    code, failures = number(http.get("status")), int(number(http.get("failures")) or 0)
    requests = int(number(http.get("requests")) or 0)
    error = http.get("error")
    evidence = {"url": http.get("url"), "requests": requests, "failures": failures, "status": code, "error": error}
    hint = msg("If the process is online it hangs: restart it; else start it. Its error log tells why")
    if code is None:
        if not failures and not error:
            return unseen(view, "http")
        observed = view.said("http", error) or msg("no answer ({error})", error=shown(error))
    elif int(code) != 200:
        observed = msg("HTTP {status}", status=int(code))
        hint = msg("Read the application's error log; the health address must answer 200 itself, without a redirect")
    elif failures > 0:
        observed = msg(
            "{failures} of {requests} requests failed ({error})",
            failures=failures,
            requests=requests,
            error=shown(error),
        )
    else:
        return Result(OK, msg("HTTP {status}", status=200), evidence=evidence)
    return Result(CRITICAL, observed, view.hint("http", hint, error), evidence)


@check(
    "http.latency",
    msg("Response time"),
    "slas",
    lambda limits: msg("at most {sla_ms}", sla_ms=limits["latency_sla_ms"]),
)
def latency(view: View) -> Result:
    sla, alert = view.limits["latency_sla_ms"], view.limits["latency_alert_ms"]
    median = number(as_dict(view.http).get("latency_median_ms"))
    if median is None:
        return unseen(view, "http")
    return Result(
        CRITICAL if median > alert else WARN if median > sla else OK,
        msg("median {median_ms}", median_ms=median),
        msg("Look at the application's CPU and memory and at the database's long-running queries"),
        {"latency_ms": as_list(as_dict(view.http).get("latency_ms"))[:100], "alert_ms": alert},
        source="alerta-alto" if median > alert else None,
    )


@check(
    "app.status",
    msg("The application reports itself well"),
    "rotina-diaria",
    lambda limits: msg('"status": "{wanted}"', wanted=limits["status_expected"]),
)
def app_status(view: View) -> Result:
    http = view.http
    if http is None or (number(http.get("status")) is None and maybe_dict(http.get("body")) is None):
        return unseen(view, "http")
    body = maybe_dict(http.get("body"))
    elsewhere = msg("Correct app_health_url, or see what else answers there")
    if body is None:
        hint = view.hint("http", elsewhere, http.get("error"))
        return Result(CRITICAL, msg("the answer is no health report"), hint)
    value = body.get("status")
    if value is None:
        observed, hint = msg("the health report does not say"), view.hint("http", elsewhere)
    else:
        observed = msg('"status": "{value}"', value=shown(value))
        hint = msg("Read the application's error log for what it is missing")
    return Result(OK if value == view.limits["status_expected"] else CRITICAL, observed, hint, {"body": body})


@check(
    "app.database",
    msg("The application reaches its database"),
    "pontos-criticos",
    lambda limits: msg('"database": "{wanted}"', wanted=limits["database_expected"]),
)
def app_database(view: View) -> Result:
    body = maybe_dict(as_dict(view.http).get("body"))
    if body is None:
        return unseen(view, "http")
    value = body.get("database")
    if value is None:
        hint = msg("Rely on the database's own check, and have the health address report its database")
        return Result(UNKNOWN, msg("the health report does not say"), hint)
    good = value == view.limits["database_expected"]
    return Result(
        OK if good else CRITICAL,
        msg('"database": "{value}"', value=shown(value)),
        msg("If the database is up, restart the application and look at its credentials; else start the database"),
        {"database": value},
        source=None if good else "alerta-medio",
    )
