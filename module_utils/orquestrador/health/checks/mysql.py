"""Whether the database accepts connections, and has some left."""

from __future__ import annotations

from ...core.messages import msg
from ...core.types import CRITICAL, OK
from ..expectations import number
from .registry import Result, above, check, unseen
from .view import View, as_dict, as_list, shown

# The server was not asked, or it answered and refused only the operations account: that says nothing about the
# application's database, and must not start a procedure that restarts it.
_UNSEEN = frozenset(
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


@check(
    "mysql.reachable",
    msg("The database accepts connections"),
    "alerta-medio",
    lambda _: msg("reachable"),
)
def reachable(view: View) -> Result:
    database = view.database
    if database is None or not isinstance(database.get("reachable"), bool):
        return unseen(view, "database")
    error = database.get("error")
    evidence = {k: database.get(k) for k in ("error", "latency_ms", "product", "version", "uptime_s")}
    if database["reachable"]:
        answered = msg("answers in {latency_ms}", latency_ms=number(database.get("latency_ms")))
        return Result(OK, answered, evidence=evidence)
    if str(error) in _UNSEEN:
        return unseen(view, "database", error)
    hint = msg("See whether the database service runs, start it, then look at its error log")
    if error == "too_many_connections":
        hint = msg("Find who holds the connections, end the idle ones, then raise max_connections if it is too low")
    elif error == "unknown_database":
        hint = msg("Correct mysql_database, or restore the database from the newest verified backup")
    observed = view.said("database", error) or msg("not reachable ({error})", error=shown(error))
    return Result(CRITICAL, observed, view.hint("database", hint, error), evidence)


@check(
    "mysql.connections",
    msg("Database connections in use"),
    "alerta-medio",
    lambda limits: msg("below {warn_percent}", warn_percent=limits["connections_warn_percent"]),
)
def connections(view: View) -> Result:
    database = as_dict(view.database)
    hint = msg("See who holds connections (SHOW PROCESSLIST) and whether the application returns them to its pool")
    if database.get("error") == "too_many_connections":
        return Result(CRITICAL, msg("all in use"), hint)
    threads = as_dict(database.get("threads"))
    connected, allowed = number(threads.get("connected")), number(threads.get("allowed"))
    if connected is None or allowed is None or allowed <= 0:
        return unseen(view, "database", database.get("error"))
    used = round(100.0 * connected / allowed, 1)
    return Result(
        above(used, view.limits["connections_warn_percent"], view.limits["connections_critical_percent"]),
        msg(
            "{connected} of {allowed} ({used_percent})",
            connected=int(connected),
            allowed=int(allowed),
            used_percent=used,
        ),
        hint,
        {"threads": threads, "slow": as_list(database.get("slow"))[:10]},
    )
