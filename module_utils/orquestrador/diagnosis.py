"""Which alert it is, what is behind it, who has to know, and what to do: of a verdict that is not healthy.

Pure. The verdict names the procedure (root cause before symptom); the diagnosis names the *scenario* within it,
from the same snapshot and from *clues* that only the host itself can give (:mod:`.emergency_clues`). A scenario decides
which rungs of the ladder make sense: restarting what a syntax error ends at once is noise, not recovery.
"""

from __future__ import annotations

import re
from typing import Any, Callable, NamedTuple, Optional

from .messages import msg
from .types import CRITICAL, Message

# Alert → severity, as the operational playbook calls its three alerts.
SEVERITIES = {"offline": "critical", "performance": "high", "database": "medium", "none": "none"}

# An error of the code itself: the same code started again fails again.
_CODE = re.compile(
    r"\b(?:SyntaxError|ReferenceError|TypeError|ERR_MODULE_NOT_FOUND|ERR_REQUIRE_ESM|MODULE_NOT_FOUND)\b"
    r"|Cannot find (?:module|package)|is not a (?:function|constructor)"
)
_PORT_TAKEN = re.compile(r"\bEADDRINUSE\b")
BOOTED_WITHIN_S = 600.0


class Scenario(NamedTuple):
    """What is behind an alert. ``level`` is whom to tell at once when nothing here can heal it; None: the operator."""

    name: str
    reasons: list[Message]
    proposals: list[Message]
    level: Optional[str] = None


def diagnose(snapshot: dict[str, Any], verdict: dict[str, Any], clues: dict[str, Any]) -> dict[str, Any]:
    """``{alert, severity, scenario, reasons, proposals, level}``; JSON, never raises for what is in a snapshot.

    ``clues`` are those of :func:`.emergency_clues.collect`; any may be missing.
    """
    alert = str(verdict.get("procedure") or "none")
    reasons = [reason for reason in verdict.get("reasons") or [] if isinstance(reason, dict)]
    scene = Scene(snapshot, verdict, clues)
    found = next((made for made in (rule(scene) for rule in RULES.get(alert, ())) if made is not None), None)
    if alert == "none" or found is None:
        found = Scenario("none" if alert == "none" else "unclear", [], [])
    return {
        "alert": alert,
        "severity": SEVERITIES.get(alert, "none"),
        "scenario": found.name,
        "reasons": [*found.reasons, *reasons],
        "proposals": found.proposals,
        "level": found.level,
    }


class Scene:
    """Snapshot, verdict and clues, with nothing assumed about what is in them."""

    def __init__(self, snapshot: dict[str, Any], verdict: dict[str, Any], clues: dict[str, Any]) -> None:
        self.snapshot, self.clues = snapshot, clues
        self.statuses = {str(c.get("id")): str(c.get("status")) for c in _list(verdict.get("checks"))}
        self.pm2 = _dict(snapshot.get("pm2"))
        self.app = _dict(self.pm2.get("app"))
        self.states = {str(name): int(count) for name, count in _dict(self.app.get("statuses")).items()}
        self.port = _dict(snapshot.get("port"))
        self.http = _dict(snapshot.get("http"))
        self.database = _dict(snapshot.get("database"))

    def bad(self, check: str) -> bool:
        """Whether a check is critical."""
        return self.statuses.get(check) == CRITICAL

    def last_error(self) -> str:
        """The newest error event of the application's logs, as it was logged; empty when there is none."""
        return str(self.clues.get("last_error") or "")

    def foreign_listener(self) -> Optional[dict[str, Any]]:
        """Who listens on the application's port without being the application."""
        return next((x for x in _list(self.port.get("listeners")) if x.get("of_app") is False), None)


# --- offline ---------------------------------------------------------------------------------------------------------


def _env_missing(scene: Scene) -> Optional[Scenario]:
    path = scene.clues.get("env_missing")
    if not path:
        return None
    return Scenario(
        "env_missing",
        [msg("{path} is missing: the application can't know its database", path=str(path))],
        [msg("Bring it back from its newest copy: playbooks/operation/restore.yml -e what=critical")],
    )


def _daemon(scene: Scene) -> Optional[Scenario]:
    state = scene.pm2.get("daemon")
    if state not in ("dead", "missing", "unresponsive"):
        return None
    age = scene.clues.get("boot_age_s")
    if isinstance(age, (int, float)) and age < BOOTED_WITHIN_S and state == "dead":
        reason = msg("The host started {age_s} ago and PM2 did not come with it", age_s=round(float(age)))
        return Scenario("rebooted", [reason], [msg("See that its unit is enabled: playbooks/setup/bootstrap.yml")])
    return Scenario("daemon_dead", [msg("The daemon of PM2 does not run, or does not answer")], [])


def _port_taken(scene: Scene) -> Optional[Scenario]:
    holder = scene.foreign_listener()
    serving = scene.states.get("online", 0) > 0 and not _PORT_TAKEN.search(scene.last_error())
    if holder is None or serving:
        return None
    args = {"command": str(holder.get("command") or "?"), "pid": str(holder.get("pid") or "?")}
    return Scenario(
        "port_taken",
        [msg("The application's port is held by {command}, process {pid}, which is none of its own", **args)],
        [
            msg("End process {pid} ({command}) if it does not belong there, or run again with"
                " -e kill_port_holder=true", **args)
        ],
    )  # fmt: skip


def _crash_loop(scene: Scene) -> Optional[Scenario]:
    looping = scene.states.get("waiting restart", 0) + scene.states.get("errored", 0) > 0 or scene.bad("pm2.restarts")
    error = scene.last_error()
    if not looping or not _CODE.search(error):
        return None
    return Scenario(
        "crash_loop",
        [msg("The application ends as soon as it starts, by an error of its code: {error}", error=error[:200])],
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
    if not scene.states.get("online", 0) or scene.http.get("status") is not None or not scene.port.get("open"):
        return None
    halted = scene.clues.get("halted") or []
    if halted:
        pids = ", ".join(str(pid) for pid in halted[:8])
        return Scenario("halted", [msg("Somebody halted the application (SIGSTOP): process {pids}", pids=pids)], [])
    return Scenario("hung", [msg("The application is online and its port open, but it does not answer")], [])


def _failing(scene: Scene) -> Optional[Scenario]:
    if scene.http.get("status") is None:
        return Scenario("not_listening", [msg("The application is online, but nobody listens on its port")], [])
    return Scenario("failing", [msg("The application answers, and answers badly")], [], "L3")


Rule = Callable[[Scene], Optional[Scenario]]
# By alert, the first that applies.
RULES: dict[str, tuple[Rule, ...]] = {
    "offline": (_env_missing, _daemon, _port_taken, _crash_loop, _unknown_to_pm2, _stopped, _hung, _failing),
}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
