"""Stop and start the application under PM2, and prove either: what PM2 says is no proof.

Stopped is an application none of whose processes lives and on whose port nobody listens; started is one whose health
address says that it and its database are well. Both are polled until a deadline.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional, cast

from ..core.errors import OperatorError
from ..core.jsonable import clean
from ..core.messages import msg
from ..core.redact import scrub_text
from ..core.types import Finding, Message, Pm2State
from ..pm2 import daemon as pm2
from ..system import ports as port
from ..system.command import Completed
from ..system.identity import Owner
from ..system.isolate import apart
from . import health_endpoint as http_health

POLL_S = 0.25
QUICK_POLL_S = 0.1
ASK_S, HASTY_ASK_S = 10.0, 3.0
COMMAND_S = 60.0
APART_S = 2.0  # what a look may take beside what is asked
LEAST_S, HASTY_LEAST_S = 5.0, 1.0  # what a command gets at least, whatever is left
# What PM2 itself will not change any more, and how long it is given all the same.
SETTLED = frozenset({"stopped", "errored"})
SETTLED_S = 1.0


class Settings(NamedTuple):
    """Which application, and what it answers when it is well."""

    name: str
    port: int
    ecosystem: str  # the file that PM2 starts it from when it does not know it
    pm2_home: str
    pm2_command: str
    health_url: str
    status_expected: str
    database_expected: str


class Application:
    """The application, seen and handled as its own user."""

    def __init__(self, owner: Owner, settings: Settings, *, hasty: bool = False) -> None:
        """``hasty``: time is short; PM2 is asked for a moment, and a command gets no more than what is left."""
        self._owner = owner
        self._settings = settings
        self._hasty = hasty

    def known(self) -> Optional[bool]:
        """Whether PM2 has it in its list; :class:`OperatorError` when PM2 can't be asked."""
        state, findings = self._ask()
        if state["daemon"] != pm2.ONLINE:
            # Any command of PM2 would start a daemon of its own, which its unit knows nothing of.
            silent = msg("the PM2 of {user} can't be asked: start it through its systemd unit", user=self._owner.name)
            raise OperatorError(findings[0]["message"] if findings else silent)
        if state["app"] is None and not os.path.isfile(self._settings.ecosystem):
            raise OperatorError(
                msg(
                    "PM2 does not know {app} and {path} does not exist: deploy the application first",
                    app=self._settings.name,
                    path=self._settings.ecosystem,
                )
            )
        return state["app"] is not None

    def running(self) -> bool:
        """Whether a process of it lives or somebody listens on its port."""
        state, _ = self._ask()
        pids = state["app"]["pids"] if state["app"] else []
        return any(os.path.exists(f"/proc/{pid}") for pid in pids) or self._listener() is not None

    def stop(self, timeout_s: float) -> None:
        """Stop it and prove that it is; nothing to do when it does not run."""
        until = time.monotonic() + timeout_s
        if self.known():
            self._done(self._pm2(["stop", self._settings.name], until), "stop")
        while self.running():
            if time.monotonic() > until:
                holder = self._listener() or self._settings.name
                raise OperatorError(
                    msg(
                        "{app} does not stop: {holder} is still there on port {port}: end it first",
                        app=self._settings.name,
                        holder=holder,
                        port=str(self._settings.port),
                    )
                )
            time.sleep(POLL_S)

    def start(self, timeout_s: float) -> None:
        """Start it; :meth:`prove` tells whether it runs."""
        until = time.monotonic() + timeout_s
        if self.known():
            self._done(self._pm2(["start", self._settings.name], until), "start")
        else:
            self._start_from_file(until)

    def prove(self, timeout_s: float) -> None:
        """Wait until its health address says that all is well; :class:`OperatorError` with its last word if not."""
        until = time.monotonic() + timeout_s
        while True:
            reason = self._ill()
            if reason is None:
                return
            if time.monotonic() > until:
                raise OperatorError(reason)
            time.sleep(POLL_S)

    def restart(self, timeout_s: float, workers: Sequence[int] = ()) -> None:
        """Have PM2 end and start its processes, those of ``workers`` (PM2's ids) or all; a stopped one is started."""
        which = [str(worker) for worker in workers] or [self._settings.name]
        self._done(self._pm2(["restart", *which], time.monotonic() + timeout_s), "restart")

    def reload(self, timeout_s: float) -> None:
        """Have PM2 replace the workers one after another; in fork mode that is a restart."""
        self._done(self._pm2(["reload", self._settings.name], time.monotonic() + timeout_s), "reload")

    def start_anew(self, timeout_s: float) -> None:
        """Stop it and start it as its ecosystem file has it, with the environment that is there now."""
        until = time.monotonic() + timeout_s
        settings = self._settings
        if not os.path.isfile(settings.ecosystem):
            raise OperatorError(
                msg(
                    "{path} does not exist: bring it back with playbooks/operation/restore.yml -e what=critical",
                    path=settings.ecosystem,
                )
            )
        if self.known():
            self._done(self._pm2(["stop", settings.name], until), "stop")
        self._start_from_file(until)

    def resurrect(self, timeout_s: float) -> None:
        """Have PM2 start what its saved list has and it does not run."""
        self._done(self._pm2(["resurrect"], time.monotonic() + timeout_s), "resurrect")

    def state(self) -> Pm2State:
        """PM2 as it is now."""
        return self._ask()[0]

    def restarts(self) -> dict[str, int]:
        """What PM2 counts as restarts, by its id of the worker; empty when it can't be asked."""
        processes = self._ask()[0]["processes"]
        return {str(p["pm_id"]): p["restarts"] for p in processes if p["name"] == self._settings.name}

    def well(self, timeout_s: float, *, stable_s: float) -> Optional[Message]:
        """Wait until all is well and has been for ``stable_s`` with the same processes; otherwise what is wrong.

        An application that ends a moment after it answered was never well. What PM2 has given up is not waited for.
        """
        until = time.monotonic() + timeout_s
        since: Optional[float] = None
        settled: Optional[float] = None
        known: tuple[int, ...] = ()
        while True:
            pids, reason = self._running_well(max(min(until - time.monotonic(), 5.0), 0.2))
            now = time.monotonic()
            if reason is not None or pids != known:
                since, known = (now, pids) if reason is None else (None, ())
            if since is not None and now - since >= stable_s:
                return None
            settled = (settled or now) if reason is not None and self._given_up() else None
            if now > until or (settled is not None and now - settled >= SETTLED_S):
                return reason or msg("{app} does not stay up", app=self._settings.name)
            time.sleep(QUICK_POLL_S)

    def _given_up(self) -> bool:
        app = self._ask()[0]["app"]
        return app is not None and bool(app["statuses"]) and set(app["statuses"]) <= SETTLED

    def _running_well(self, timeout_s: float) -> tuple[tuple[int, ...], Optional[Message]]:
        state, findings = self._ask()
        app = state["app"]
        if app is None or app["online"] < app["instances"]:
            statuses = ", ".join(sorted(app["statuses"])) if app is not None else "?"
            reason = msg("{app} is not online under PM2 ({statuses})", app=self._settings.name, statuses=statuses)
            return (), findings[0]["message"] if findings and app is None else reason
        return tuple(sorted(app["pids"])), self._ill(timeout_s)

    def _ill(self, timeout_s: float = 5.0) -> Optional[Message]:
        settings = self._settings
        state, findings = http_health.collect(
            settings.health_url, requests=1, timeout_s=timeout_s, request_timeout_s=timeout_s
        )
        if findings:
            return findings[0]["message"]
        body = state["body"] or {}
        status, database = str(body.get("status")), str(body.get("database"))
        if state["status"] == 200 and (status, database) == (settings.status_expected, settings.database_expected):
            return None
        return msg(
            "the application is not healthy: {url} answers HTTP {http} with status {status}, database {database}",
            url=state["url"],
            http=str(state["status"]),
            status=status[:40],
            database=database[:40],
        )

    def _ask(self) -> tuple[Pm2State, list[Finding]]:
        """Over PM2's socket only: a command would start a daemon where none answers, and this may be root."""
        target = pm2.Target(self._settings.pm2_home, self._settings.name, "", self._owner.name)
        seconds = HASTY_ASK_S if self._hasty else ASK_S

        def look() -> dict[str, Any]:
            state, findings = pm2.collect(target, timeout_s=seconds)
            return {"state": clean(state), "findings": findings}

        seen = apart(self._owner, look, seconds + APART_S)
        return cast("Pm2State", seen["state"]), seen["findings"]

    def _listener(self) -> Optional[str]:
        with self._owner.privileged():  # whoever it is, not only processes of the user's
            state, _ = port.collect(self._settings.port, timeout_s=2)
        if not state["listeners"] and not state["open"]:
            return None
        return f"{state['command'] or '?'} ({state['pid'] or '?'})"

    def _start_from_file(self, until: float) -> None:
        """In the file's directory: PM2 takes what is relative in it from where it is called."""
        file = self._settings.ecosystem
        argv = ["start", file, "--only", self._settings.name]
        self._done(self._pm2(argv, until, cwd=os.path.dirname(file) or "/"), "start")

    def _pm2(self, argv: list[str], until: float, cwd: Optional[str] = None) -> Completed:
        left = min(max(until - time.monotonic(), HASTY_LEAST_S if self._hasty else LEAST_S), COMMAND_S)
        command = [*self._settings.pm2_command.split(), *argv]
        return self._owner.run(command, timeout_s=left, env={"PM2_HOME": self._settings.pm2_home}, cwd=cwd)

    def _done(self, done: Completed, verb: str) -> None:
        if done.code == 0:
            return
        # PM2 writes its errors to either stream, with colours; its last line says most.
        lines = (done.stderr + b"\n" + done.stdout).decode("utf-8", "replace").strip().splitlines()
        reason = "timeout" if done.timed_out else done.error or (scrub_text(lines[-1])[:200] if lines else "")
        app, reason = self._settings.name, reason or f"status {done.code}"
        raise OperatorError(
            msg("pm2 {verb} {app} failed: {reason}: look at the log of PM2", verb=verb, app=app, reason=reason)
        )
