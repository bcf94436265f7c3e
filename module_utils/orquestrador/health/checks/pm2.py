"""Whether the daemon answers, every instance is online, and none restarted unasked."""

from __future__ import annotations

from typing import Any, Optional

from ...core.messages import msg
from ...core.types import CRITICAL, OK, WARN, Message
from ..expectations import number
from .registry import NO_PROCESS, START_PROCESS, Result, check, unseen
from .view import View, as_dict, as_list, shown

_NOT_RUNNING = ("dead", "missing", "foreign")
_FAILING = ("errored", "waiting restart")
# Our own figure: a process that has been up this long is no longer taken for one that does not stay up.
STABLE_AFTER_S = 60


@check(
    "pm2.daemon",
    msg("PM2 daemon runs"),
    "pontos-criticos",
    lambda _: msg("answers for the application's user"),
)
def daemon(view: View) -> Result:
    if view.pm2 is None:
        return unseen(view, "pm2")
    state = view.pm2.get("daemon")
    home = str(view.pm2.get("home") or "")
    evidence = {"daemon": state, "pid": view.pm2.get("daemon_pid"), "home": home, "source": view.pm2.get("source")}
    foreign = [f for f in as_list(view.pm2.get("foreign")) if isinstance(f, dict)]
    if foreign:
        evidence["foreign"] = foreign[:5]
    if state == "online":
        return Result(OK, msg("online"), evidence=evidence)
    if state == "dead":
        observed = msg("no daemon is running for {home}", home=home)
        hint = msg("Start it as the application's user: pm2 resurrect, or its systemd unit")
    elif state == "missing":
        observed = msg("{home} does not exist", home=home)
        hint = msg("Correct pm2_home, or prepare the host with the bootstrap playbook")
    elif state == "foreign":
        first = foreign[0] if foreign else {}
        user, its_home = shown(first.get("user")), shown(first.get("home"), home)
        observed = msg("the daemon belongs to {user} ({home})", user=user, home=its_home)
        hint = msg("Stop the other user's daemon and start PM2 as the application's user")
    elif state == "unresponsive":
        observed = msg("the daemon does not answer")
        hint = msg("Restart the PM2 daemon: pm2 kill, then pm2 resurrect, as the application's user")
    else:
        return unseen(view, "pm2")
    # Where another daemon is the reason, what to do about that one goes before what its missing socket suggests.
    code = "foreign_daemon" if foreign else state
    return Result(CRITICAL, observed, view.hint("pm2", hint, code), evidence)


@check(
    "pm2.online",
    msg("Every instance is online"),
    "pontos-criticos",
    lambda _: msg("all online, at least one"),
)
def online(view: View) -> Result:
    if view.pm2 is None:
        return unseen(view, "pm2")
    if view.app is None:
        state = view.pm2.get("daemon")
        if state in _NOT_RUNNING:
            hint = msg("Bring the PM2 daemon back first; the application follows")
            return Result(CRITICAL, msg("not running"), hint)
        if state == "online":
            names = sorted({str(p.get("name")) for p in as_list(view.pm2.get("processes")) if isinstance(p, dict)})
            return Result(CRITICAL, NO_PROCESS, START_PROCESS, {"known": names[:20]})
        return unseen(view, "pm2")
    instances, up = number(view.app.get("instances")), number(view.app.get("online"))
    if instances is None or up is None:
        return unseen(view, "pm2")
    statuses = {str(k): v for k, v in as_dict(view.app.get("statuses")).items()}
    return Result(
        OK if up >= instances and up >= 1 else CRITICAL,
        msg(
            "{online} of {instances} online ({statuses})",
            online=int(up),
            instances=int(instances),
            statuses=", ".join(sorted(statuses)) or "?",
        ),
        msg("Read the error log, then start the application again from its ecosystem file"),
        {"statuses": statuses, "uptime_s": view.app.get("uptime_s"), "mode": view.app.get("mode")},
    )


@check(
    "pm2.restarts",
    msg("No unplanned restarts"),
    "pontos-criticos",
    lambda limits: msg("at most {limit} unplanned", limit=limits["restarts_unplanned"]),
)
def restarts(view: View) -> Result:
    if view.pm2 is None or view.app is None:
        return unseen(view, "pm2")
    count, unstable = number(view.app.get("restarts")), number(view.app.get("unstable_restarts"))
    evidence: dict[str, Any] = {"restarts": count, "unstable_restarts": unstable}
    failing = _failing(view.app, unstable or 0)
    if failing:
        return Result(
            CRITICAL,
            msg(
                "does not stay up: {unstable} unstable restarts, {statuses}",
                unstable=int(unstable or 0),
                statuses=", ".join(failing),
            ),
            msg("Read the error log for why it exits, and look whether the database is up, before restarting"),
            evidence,
        )
    if count is None:
        return unseen(view, "pm2")
    planned = view.limits["planned_restarts"]
    first = view.remembered is None or number(view.remembered.get("count")) is None
    counted = count if first else _restarts_since(view.pm2, count, as_dict(view.remembered))
    unplanned = max(0, int(counted - planned))
    evidence.update(counted=int(counted), planned=planned, unplanned=unplanned, first=first)
    return Result(
        WARN if unplanned > view.limits["restarts_unplanned"] else OK,
        _counted_since(unplanned, _latest_start(view.pm2)) if first else _counted_later(unplanned, view.remembered_at),
        msg("Look in the error log for what happened just before each start"),
        evidence,
    )


def _failing(app: dict[str, Any], unstable: float) -> list[str]:
    """The statuses in which the application does not stay up; none when it does."""
    statuses = as_dict(app.get("statuses"))
    failing = [s for s in _FAILING if (number(statuses.get(s)) or 0) > 0]
    # PM2 counts a stop by hand soon after the start as unstable, and does not forget it while the process stays up.
    uptime = number(app.get("uptime_s"))
    young = bool(number(statuses.get("online"))) and (uptime is None or uptime < STABLE_AFTER_S)
    return failing or (["online"] if unstable > 0 and young else [])


def _counted_since(unplanned: int, latest_at: Optional[str]) -> Message:
    if not latest_at:
        return msg("{unplanned} unplanned since PM2 counts", unplanned=unplanned)
    return msg(
        "{unplanned} unplanned since PM2 counts, the latest start at {latest_at}",
        unplanned=unplanned,
        latest_at=latest_at,
    )


def _counted_later(unplanned: int, since_at: Any) -> Message:
    if isinstance(since_at, str) and since_at:
        return msg("{unplanned} unplanned since {since_at}", unplanned=unplanned, since_at=since_at)
    return msg("{unplanned} unplanned since the last run", unplanned=unplanned)


def _restarts_since(pm2: dict[str, Any], count: float, remembered: dict[str, Any]) -> float:
    """Restarts since the remembered count.

    Instance by instance where both sides know them: a process that was deleted and created anew has a new id or a
    smaller counter, and says nothing about restarts in between.
    """
    before = {k: number(v) for k, v in as_dict(remembered.get("by_id")).items()}
    now = restarts_by_id(instances_of(pm2))
    if not before or not now:
        return max(0.0, count - (number(remembered.get("count")) or 0.0))
    total = 0.0
    for pm_id, count_now in now.items():
        old = before.get(pm_id)
        if old is not None:
            total += max(0.0, count_now - old)
    return total


def restarts_by_id(processes: list[dict[str, Any]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for process in processes[:256]:
        pm_id, count = number(process.get("pm_id")), number(process.get("restarts"))
        if pm_id is not None and count is not None:
            found[str(int(pm_id))] = int(count)
    return found


def instances_of(pm2: dict[str, Any]) -> list[dict[str, Any]]:
    """The processes of the application."""
    name = as_dict(pm2.get("app")).get("name")
    return [p for p in as_list(pm2.get("processes")) if isinstance(p, dict) and p.get("name") == name]


def _latest_start(pm2: dict[str, Any]) -> Optional[str]:
    return max((p["started_at"] for p in instances_of(pm2) if isinstance(p.get("started_at"), str)), default=None)
