"""Which alert it is, what is behind it, who has to know, and what to do: of a verdict that is not healthy.

Pure. The verdict names the procedure (root cause before symptom); the diagnosis names the *scenario* within it,
from the same snapshot and from *clues* that only the host itself can give (:mod:`..clues.host`). A scenario decides
which rungs of the ladder make sense: restarting what a syntax error ends at once is noise, not recovery.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Optional

from ...core.messages import msg
from ...core.types import OK
from ...procedures import SEVERITIES
from . import database, disk, performance
from .scenario import Scenario, Scene, dicts

# An error of the code itself: the same code started again fails again.
_CODE = re.compile(
    r"\b(?:SyntaxError|ReferenceError|TypeError|ERR_MODULE_NOT_FOUND|ERR_REQUIRE_ESM|MODULE_NOT_FOUND)\b"
    r"|Cannot find (?:module|package)|is not a (?:function|constructor)"
)
_PORT_TAKEN = re.compile(r"\bEADDRINUSE\b")
# What PM2 puts before each line of a log.
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?: ?[+-]\d\d:?\d\d|Z)?: ")
BOOTED_WITHIN_S = 600.0


def diagnose(snapshot: dict[str, Any], verdict: dict[str, Any], clues: dict[str, Any]) -> dict[str, Any]:
    """``{alert, severity, scenario, reasons, proposals, level}``; JSON, never raises for what is in a snapshot.

    ``clues`` are those of :func:`.emergency_clues.collect`; any may be missing.
    """
    reasons = [reason for reason in verdict.get("reasons") or [] if isinstance(reason, dict)]
    scene = Scene(snapshot, verdict, clues)
    alert = alert_of(scene, _alert(verdict, clues))
    found = next((made for made in (rule(scene) for rule in RULES.get(alert, ())) if made is not None), None)
    if found is None:
        found = Scenario("none" if alert == "none" else "unclear", [], [])
    return {
        "alert": alert,
        "severity": SEVERITIES.get(alert, "none"),
        "scenario": found.name,
        "reasons": [*found.reasons, *reasons],
        "proposals": found.proposals,
        "level": found.level,
    }


def alert_of(scene: Scene, procedure: str) -> str:
    """The alert, from the procedure that is called for and from what the verdict does not see.

    A disk that is full explains what stopped upon it; a host that others keep busy, and queries that wait for one
    another, are a degradation before the health address has become slow.
    """
    if disk.explains(scene, procedure):
        return "disk"
    return "performance" if procedure == "none" and performance.suffers(scene) else procedure


def _alert(verdict: dict[str, Any], clues: dict[str, Any]) -> str:
    """What the verdict calls for.

    An application without its settings has no database, and the server is not why. A halted worker among others is
    given no more requests once it holds one, so that none of them tells.
    """
    alert = str(verdict.get("procedure") or "none")
    if alert == "disk":
        alert = "none"  # the last thing that a verdict calls for: what the clues tell comes before it
    if alert == "none" and clues.get("halted"):
        return "offline"
    if alert == "none":
        alert = database.alert_of(clues) or alert
    statuses = {str(c.get("id")): str(c.get("status")) for c in dicts(verdict.get("checks"))}
    if alert == "database" and clues.get("env_missing") and statuses.get("mysql.reachable") == OK:
        return "offline"
    return alert


# --- offline ---------------------------------------------------------------------------------------------------------


def _env_missing(scene: Scene) -> Optional[Scenario]:
    path = scene.clues.get("env_missing")
    if not path:
        return None
    return Scenario(
        "env_missing",
        [msg("{path} is missing: the application can't know its database", path=str(path))],
        [msg("Bring it back from its newest copy: playbooks/operation/restore.yml -e what=critical")],
        "L2",
    )


def _daemon(scene: Scene) -> Optional[Scenario]:
    state = scene.pm2.get("daemon")
    if state not in ("dead", "missing", "unresponsive", "foreign"):
        return None
    halted = scene.clues.get("daemon_halted")
    if halted:
        return Scenario(
            "daemon_halted", [msg("Somebody halted PM2 itself (SIGSTOP): process {pid}", pid=str(halted))], []
        )
    proposals = []
    if scene.clues.get("nothing_saved"):
        path = str(scene.clues["nothing_saved"])
        proposals.append(
            msg("{path} does not name the application: save PM2's list once it is well (pm2 save)", path=path)
        )
    age = scene.clues.get("boot_age_s")
    if isinstance(age, (int, float)) and age < BOOTED_WITHIN_S and state == "dead":
        reason = msg("The host started {age_s} ago and PM2 did not come with it", age_s=round(float(age)))
        bootstrap = msg("See that its unit is enabled: playbooks/setup/bootstrap.yml")
        return Scenario("rebooted", [reason], [bootstrap, *proposals])
    return Scenario("daemon_dead", [msg("The daemon of PM2 does not run, or does not answer")], proposals)


def _port_taken(scene: Scene) -> Optional[Scenario]:
    holder = scene.foreign_listener()
    serving = scene.states.get("online", 0) > 0 and not _PORT_TAKEN.search(scene.last_error())
    if holder is None or serving:
        return None
    args = {"command": str(holder.get("command") or "?"), "pid": str(holder.get("pid") or "?")}
    if holder.get("pid") in (scene.clues.get("orphans") or []):
        if scene.pm2.get("daemon") != "online":
            return None  # it goes with what happened to its PM2
        reason = msg(
            "The application's port is held by {command}, process {pid}, which a PM2 that is gone left", **args
        )
        return Scenario("orphaned", [reason], [])
    args["user"] = str(holder.get("user") or "?")
    return Scenario(
        "port_taken",
        [msg("The application's port is held by {command}, process {pid} of {user}, which is none of its own", **args)],
        [
            msg(
                "End process {pid} of {user} ({command}) if it does not belong there, or run again with"
                " -e kill_port_holder=true",
                **args,
            )
        ],
        "L2",
    )


def _crash_loop(scene: Scene) -> Optional[Scenario]:
    looping = scene.states.get("waiting restart", 0) + scene.states.get("errored", 0) > 0 or scene.bad("pm2.restarts")
    # PM2 keeps a process whose module can't be loaded: online, and nobody listens.
    idle = scene.states.get("online", 0) > 0 and scene.port.get("open") is False
    error = scene.last_error()
    if not (looping or idle) or not _CODE.search(error):
        return None
    return Scenario(
        "crash_loop",
        [msg("The application does not start, by an error of its code: {error}", error=_STAMP.sub("", error)[:200])],
        [
            msg("Go back to the build before: -e rollback=true"),
            msg("Have the developers look at the last changes, which are in the evidence"),
        ],
        "L3",
    )


def _unknown_to_pm2(scene: Scene) -> Optional[Scenario]:
    if scene.app or scene.pm2.get("daemon") != "online":
        return None
    return Scenario("deleted", [msg("PM2 knows no process of this name")], [])


def _stopped(scene: Scene) -> Optional[Scenario]:
    for state, name, reason in (
        ("errored", "errored", msg("PM2 gave up starting the application again")),
        ("stopped", "stopped", msg("The application was stopped")),
        ("waiting restart", "errored", msg("PM2 waits before it starts the application again")),
    ):
        if scene.states.get(state, 0):
            return Scenario(name, [reason], [])
    return None


def _hung(scene: Scene) -> Optional[Scenario]:
    halted = scene.clues.get("halted") or []
    if halted:
        pids = ", ".join(str(pid) for pid in halted[:8])
        return Scenario("halted", [msg("Somebody halted the application (SIGSTOP): process {pids}", pids=pids)], [])
    silent = scene.http.get("status") is None or scene.http.get("error") == "timeout"
    if not scene.states.get("online", 0) or not silent or not scene.port.get("open"):
        return None
    return Scenario("hung", [msg("The application is online and its port open, but it does not answer")], [])


def _failing(scene: Scene) -> Optional[Scenario]:
    if scene.http.get("status") is None:
        return Scenario("not_listening", [msg("The application is online, but nobody listens on its port")], [])
    return Scenario("failing", [msg("The application answers, and answers badly")], [], "L3")


Rule = Callable[[Scene], Optional[Scenario]]
# By alert, the first that applies.
RULES: dict[str, tuple[Rule, ...]] = {
    "offline": (_env_missing, _port_taken, _daemon, _crash_loop, _unknown_to_pm2, _stopped, _hung, _failing),
    "performance": performance.RULES,
    "disk": disk.RULES,
    "database": database.RULES,
}
