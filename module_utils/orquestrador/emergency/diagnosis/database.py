"""What is behind an application without its database. Pure, as :mod:`.diagnose` is, over the clues of
:mod:`..clues.database`, any of which may be missing.

What is told apart is what has to be treated differently: a service that does not run is started; one that somebody
halted is told to go on; a server that is up and refuses the application's password is none of these, and starting the
application again would only throw it against the same door.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from ...core.messages import msg
from ...health.checks.view import as_dict, as_list
from .scenario import Scenario, Scene, dicts

# Of all connections: from here on whoever has them is the one who exhausted them.
MOST = 0.5


def alert_of(clues: Mapping[str, Any]) -> Optional[str]:
    """The alert that clues call for where the verdict sees none: the application logs it, the server confirms it."""
    known = as_dict(clues.get("database"))
    return "database" if known.get("tables") or (known.get("read_only") and _error(known, "read_only")) else None


def _known(scene: Scene) -> dict[str, Any]:
    return as_dict(scene.clues.get("database"))


def _service(scene: Scene) -> dict[str, Any]:
    return as_dict(_known(scene).get("service"))


def _login(scene: Scene) -> dict[str, Any]:
    return as_dict(_known(scene).get("login"))


def _error(known: Mapping[str, Any], meaning: str) -> str:
    return str(as_dict(as_dict(known.get("errors")).get(meaning)).get("last") or "")


def _up(scene: Scene) -> bool:
    """Whether the server answers somebody."""
    refused = scene.database.get("error") in ("denied", "denied_database", "unknown_database", "too_many_connections")
    return bool(scene.database.get("reachable")) or refused


def _elsewhere(scene: Scene) -> Optional[Scenario]:
    """The database is not on this host, or nobody knows where: nothing here can start it."""
    login = _login(scene)
    host = str(login.get("host") or "?")
    if login.get("result") == "unknown_host":
        return Scenario(
            "host_unresolved",
            [msg("The name of the database's host, {host}, does not resolve", host=host)],
            [msg("Correct DB_HOST in .env, or the host's resolver: getent hosts {host}", host=host)],
            "L3",
        )
    if login.get("local") is False and login.get("result") in ("refused", "timeout", "unreachable"):
        args = {"host": host, "port": str(login.get("port") or "?")}
        return Scenario(
            "remote",
            [msg("The application's database is on {host}, port {port}, and does not answer from here", **args)],
            [msg("Look at the database on {host} itself: nothing on this host can start it", **args)],
            "L3",
        )
    return None


def _unit(scene: Scene) -> Optional[Scenario]:
    unit = _service(scene)
    if _up(scene) or not unit:
        return None
    if unit.get("load") == "masked" or unit.get("enabled") == "masked":
        return Scenario(
            "masked",
            [msg("The service of the database is masked: somebody does not want it to start")],
            [msg("Find out why, then: systemctl unmask, and playbooks/emergency/database.yml again")],
            "L3",
        )
    if unit.get("load") == "not-found":
        return Scenario(
            "unit_unknown",
            [msg("systemd knows no service of the database by that name")],
            [msg("Correct mysql_service in the inventory")],
        )
    if unit.get("process") == "T":
        pid = str(unit.get("pid") or "?")
        return Scenario(
            "server_halted", [msg("Somebody halted the database server (SIGSTOP): process {pid}", pid=pid)], []
        )
    result, sub = str(unit.get("result") or "?"), str(unit.get("sub") or "?")
    by_state = {
        "inactive": Scenario("service_stopped", [msg("The service of the database was stopped")], []),
        "failed": Scenario("service_failed", [msg("The service of the database failed: {result}", result=result)], []),
    }
    for state in ("activating", "reloading", "deactivating"):
        reason = msg("The service of the database is on its way: {state}", state=sub)
        by_state[state] = Scenario("service_starting", [reason], [])
    return by_state.get(str(unit.get("active")))


def _full(scene: Scene) -> Optional[Scenario]:
    known = _known(scene)
    if "too_many_connections" not in (scene.database.get("error"), _login(scene).get("result")):
        return None
    rows = dicts(known.get("holders"))
    if not rows:
        return Scenario(
            "full_unseen",
            [msg("The database has no free connection, and who holds them can't be seen")],
            [msg("Ask it as its root, over its socket: SHOW FULL PROCESSLIST")],
            "L3",
        )
    others = [row for row in rows if not row.get("app")]
    total, foreign = _sessions(rows), _sessions(others)
    if total - foreign >= MOST * total:
        return Scenario(
            "full_by_app",
            [
                msg(
                    "The application itself holds {own} of the database's {total} connections",
                    own=total - foreign,
                    total=total,
                )
            ],
            [msg("Have its connection pool looked at: it takes more than the database has")],
            "L3",
        )
    top = (others[0].get("user"), others[0].get("host"))
    held = _sessions([row for row in others if (row.get("user"), row.get("host")) == top])
    args = {"user": str(top[0] or "?"), "host": str(top[1] or "?")}
    reason = msg(
        "{user} from {host} holds {held} of the database's {total} connections", held=held, total=total, **args
    )
    if _sessions([row for row in others if row.get("command") == "Sleep"]) >= MOST * total:
        give_back = msg(
            "Have {user} from {host} give its idle connections back, or run again with -e kill_idle_connections=true",
            **args,
        )
        return Scenario("full_by_idle", [reason], [give_back])
    at_work = msg("The connections are at work: see what {user} from {host} does, or raise max_connections", **args)
    return Scenario("full_by_work", [reason], [at_work], "L4")


def _sessions(rows: Iterable[Mapping[str, Any]]) -> int:
    return sum(int(row.get("sessions") or 0) for row in rows)


def _not_answering(scene: Scene) -> Optional[Scenario]:
    login = _login(scene)
    active = _service(scene).get("active") == "active"
    body = as_dict(scene.http.get("body"))
    if active and scene.database.get("error") == "no_socket" and not scene.bad("app.database") and body:
        return Scenario(
            "socket_lost",
            [msg("The database server runs and serves the application, but its socket was removed")],
            [msg("Restart the service of the database when it disturbs nobody: it makes its socket again")],
        )
    if not _up(scene) and active and scene.database.get("error") in ("timeout", "lost", "garbled", "no_socket"):
        return Scenario("server_hung", [msg("The database server runs, but does not answer")], [], "L3")
    if active and login.get("result") == "refused":
        args = {"host": str(login.get("host") or "?"), "port": str(login.get("port") or "?")}
        return Scenario(
            "address_refused",
            [msg("The database server runs, but not where the application looks for it: {host}, port {port}", **args)],
            [msg("Compare DB_HOST and DB_PORT in .env with bind-address, port and skip-networking of the server")],
            "L3",
        )
    return None


def _refused(scene: Scene) -> Optional[Scenario]:
    login = _login(scene)
    user, name = str(login.get("user") or "?"), str(login.get("database") or "?")
    result = login.get("result")
    if result is None and not login and _error(_known(scene), "denied"):
        result = "denied"
    if result in ("denied", "password_expired"):
        return Scenario(
            "wrong_password",
            [
                msg(
                    "The database server refuses the application's account {user}: wrong password, or no such account",
                    user=user,
                )
            ],
            [
                msg(
                    "Give .env the password that the account has now, then run this procedure again. Nothing was"
                    " restarted: the same password would be refused again"
                )
            ],
            "L3",
        )
    if result == "denied_database":
        return Scenario(
            "no_rights",
            [msg("The account {user} may not use the database {database}", user=user, database=name)],
            [msg("Grant the application's account its rights again")],
            "L3",
        )
    if result == "unknown_database" or scene.database.get("error") == "unknown_database":
        return Scenario(
            "no_schema",
            [msg("The database server has no database {database}", database=name)],
            [msg("Bring it back from its newest verified backup: playbooks/operation/restore.yml -e what=database")],
            "L3",
        )
    return None


def _crashed(scene: Scene) -> Optional[Scenario]:
    tables = [str(name) for name in as_list(_known(scene).get("tables"))]
    if not tables:
        return None
    named = ", ".join(tables)
    return Scenario(
        "crashed_tables",
        [msg("Tables are reported as crashed or corrupted: {tables}", tables=named)],
        [msg("Bring the data back from the newest verified backup: playbooks/operation/restore.yml -e what=database")],
        "L3",
    )


def _read_only(scene: Scene) -> Optional[Scenario]:
    known = _known(scene)
    setting = known.get("read_only")
    if not setting:
        return None
    forced = setting == "innodb_force_recovery"
    proposal = (
        msg("InnoDB was started in forced recovery: save the data before anything else, then have it looked at")
        if forced
        else msg(
            "Find out who set it and why, a copy that takes over or a full disk, say; then: SET GLOBAL {setting} = OFF",
            setting=str(setting),
        )
    )
    return Scenario(
        "read_only",
        [
            msg(
                "The database takes no changes ({setting}), and the application makes some: {error}",
                setting=str(setting),
                error=(_error(known, "read_only") or "-")[:200],
            )
        ],
        [proposal],
        "L4" if forced else "L3",
    )


def _blocked(scene: Scene) -> Optional[Scenario]:
    rows = dicts(_known(scene).get("waits"))
    user = _login(scene).get("user")
    mine = [row for row in rows if user is None or row.get("waiter_user") == user]
    if not mine:
        return None
    worst = mine[0]
    if worst.get("blocker") is None:  # MariaDB without its plugin metadata_lock_info
        return Scenario(
            "blocked",
            [
                msg(
                    "The application waits for a lock, for {waited_s} already, and the server does not tell who has it",
                    waited_s=float(worst.get("waited_s") or 0),
                )
            ],
            [msg("Look for the oldest open transaction: SELECT * FROM information_schema.INNODB_TRX")],
            "L3",
        )
    args: dict[str, Any] = {
        "object": str(worst.get("object") or "?"),
        "waited_s": float(worst.get("waited_s") or 0),
        "blocker": str(worst.get("blocker") or "?"),
        "user": str(worst.get("blocker_user") or "?"),
        "host": str(worst.get("blocker_host") or "?"),
    }
    return Scenario(
        "blocked",
        [
            msg(
                "The application waits for a lock on {object}, for {waited_s} already, which session {blocker} of"
                " {user} from {host} has",
                **args,
            )
        ],
        [msg("Have {user} end its transaction; if it is forgotten, end it: KILL {blocker}", **args)],
        "L3",
    )


def _disk_full(scene: Scene) -> Optional[Scenario]:
    """Also of a server on its way: it waits for room and would do so for ever."""
    started = as_dict(_known(scene).get("start_error"))
    waits = _service(scene).get("active") == "activating" and started.get("cause") == "disk_full"
    line = str(started.get("line") or "?") if waits else _error(_known(scene), "disk_full") if _up(scene) else ""
    if not line:
        return None
    return Scenario(
        "disk_full",
        [msg("The database has no room left: {error}", error=line[:200])],
        [msg("Make room where the database's files lie, or give it more")],
        "L4",
    )


def _not_reconnected(scene: Scene) -> Optional[Scenario]:
    if _login(scene).get("result") != "ok":
        return None
    return Scenario(
        "not_reconnected",
        [msg("The database lets the application's account in, but the application has not come back to it")],
        [],
    )


# The first that applies. Where it is, then whether it runs, whether it has room, whether it lets the application in,
# and whether it does what it is asked.
RULES = (
    _elsewhere,
    _disk_full,
    _unit,
    _full,
    _not_answering,
    _refused,
    _crashed,
    _read_only,
    _blocked,
    _not_reconnected,
)
