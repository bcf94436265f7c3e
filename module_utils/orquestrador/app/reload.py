"""Reload the application worker by worker, each proven over HTTP by its new process before the next, with a way back.

``pm2 reload`` of a name kills every old worker when its successor's ``listen_timeout`` ends, ready or not, and exits 0.
So each worker is reloaded by its id, and watched over PM2's socket. Its predecessor still serves meanwhile, so a worker
that fails leaves time until ``listen_timeout`` to put the previous ``dist`` back, on which PM2's own restart of the
worker then comes up. (Asked for an id, PM2 7.0 compares it as text with the number, does not recognise the worker's
``ready`` and lets the predecessor serve for all of ``listen_timeout``. Nothing here depends on that.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from typing import Any, NamedTuple, Optional
from urllib.parse import SplitResult

from ..core.errors import os_reason
from ..core.messages import msg
from ..core.types import Message
from ..pm2 import axon
from ..pm2 import daemon as pm2
from ..system import signals, tcp_owner
from ..system.command import start
from . import health_endpoint
from .dist import DeployError, Dist
from .prober import Prober
from .workers import CLUSTER, ENDED, FORK, ONLINE, NotReadyError, Worker, fallen, limit_of, planned, select

POLL_S = 0.1
RPC_TIMEOUT_S = 3.0
# An old worker that does not end gets SIGKILL from PM2 after its kill_timeout; longer means that PM2 is stuck.
OLD_GONE_S = 30.0
PROOF_MIN_S = 2.0
FAREWELL_S = 1.0


class Options(NamedTuple):
    """What to reload and how."""

    home: str
    command: str
    app: str
    url: SplitResult
    dist: Dist
    ready_timeout_s: float
    stable_s: float
    rate: float
    status_expected: str = "ok"
    database_expected: str = "connected"


# --- one at a time -------------------------------------------------------------------------------------------------


class Reload:
    """One reload of all workers. ``evidence`` is filled as it goes, so that a failure has it too."""

    def __init__(self, options: Options) -> None:
        self._o = options
        self.replaced: list[dict[str, Any]] = []
        self.touched: set[int] = set()
        self._way_back = options.dist.way_back()
        self._last_reload: Optional[subprocess.Popen[bytes]] = None

    def workers(self) -> tuple[list[Worker], int]:
        """What PM2 says now."""
        try:
            raw = axon.call(f"{self._o.home}/rpc.sock", "getMonitorData", timeout_s=RPC_TIMEOUT_S)
        except (axon.AxonError, OSError) as error:
            raise DeployError(
                msg(
                    "PM2 does not answer on {path} ({reason}): look at its daemon",
                    path=f"{self._o.home}/rpc.sock",
                    reason=str(error) or type(error).__name__,
                )
            ) from error
        return select(raw, self._o.app)

    def worker(self, pm_id: int) -> Optional[Worker]:
        """One worker as it is now; ``None`` for the moment in which PM2 has none of this id."""
        return next((one for one in self.workers()[0] if one.pm_id == pm_id), None)

    def replace(self, before: Worker) -> None:
        """Have a new process for this worker, proven. :class:`NotReadyError` when it does not come up."""
        self.touched.add(before.pm_id)
        began = time.monotonic()
        process = self._command(before.pm_id)
        try:
            pid, ready_s = self._await_ready(before, process)
            left = self._limit(before) - ready_s
            proven_s = self._settled(before, pid, max(left, PROOF_MIN_S))
        except NotReadyError:
            self._last_reload = process
            raise
        except BaseException:
            _end(process)
            raise
        self._await_end(process, before)
        self.replaced.append(
            {
                "pm_id": before.pm_id,
                "old_pid": before.pid,
                "new_pid": pid,
                "ready_s": round(ready_s, 3),
                "proven_s": round(proven_s, 3),
                "duration_s": round(time.monotonic() - began, 3),
            }
        )

    def _limit(self, before: Worker) -> float:
        return limit_of(before, self._o.ready_timeout_s, self._way_back)

    def _command(self, pm_id: int) -> subprocess.Popen[bytes]:
        try:
            return start(
                [*self._o.command.split(), "reload", str(pm_id)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PM2_HOME": self._o.home, "LC_ALL": "C"},
                cwd=self._o.home,
            )
        except OSError as error:
            raise DeployError(
                msg(
                    "{program} can't be started: {reason}: correct pm2_command",
                    program=self._o.command,
                    reason=os_reason(error),
                )
            ) from error

    def _await_ready(self, before: Worker, process: subprocess.Popen[bytes]) -> tuple[int, float]:
        """The new process, once PM2 says it is online, and the seconds from its start."""
        limit = self._limit(before)
        first_pid, seen_at = 0, 0.0
        give_up = time.monotonic() + OLD_GONE_S
        while True:
            now = self.worker(before.pm_id)
            moment = time.monotonic()
            if now is not None and now.pid not in (0, before.pid):
                if not first_pid:
                    first_pid, seen_at = now.pid, moment
                reason = fallen(before, first_pid, now)
                if reason is not None:
                    raise NotReadyError(reason, before.pm_id)
                if now.status == ONLINE:
                    return first_pid, moment - seen_at
            elif now is not None and first_pid and now.status in ENDED:
                raise NotReadyError(
                    msg("worker {worker} does not stay up: its new process ended", worker=before.pm_id), before.pm_id
                )
            if first_pid and moment - seen_at > limit:
                raise NotReadyError(
                    msg("worker {worker} was not ready within {limit_s}", worker=before.pm_id, limit_s=limit),
                    before.pm_id,
                    first_pid,
                )
            if not first_pid and (moment > give_up or process.poll() not in (None, 0)):
                _end(process)
                raise DeployError(
                    msg(
                        "PM2 did not begin to reload worker {worker}: look at pm2.log in {home}",
                        worker=before.pm_id,
                        home=self._o.home,
                    )
                )
            time.sleep(POLL_S)

    def _settled(self, before: Worker, pid: int, limit_s: float) -> float:
        """Prove the process over HTTP and that it stays; the seconds until the proof."""
        began = time.monotonic()
        self.prove(before.pm_id, pid, limit_s)
        proven_s = time.monotonic() - began
        until = time.monotonic() + self._o.stable_s
        while time.monotonic() < until:
            now = self.worker(before.pm_id)
            reason = fallen(before, pid, now) if now is not None else None
            if reason is not None:
                raise NotReadyError(reason, before.pm_id)
            time.sleep(POLL_S)
        return proven_s

    def prove(self, pm_id: int, pid: int, limit_s: float) -> None:
        """Have a good health answer over a connection that this very process has accepted."""
        deadline = time.monotonic() + limit_s
        why: Optional[Message] = None
        while time.monotonic() < deadline:
            owned, why_now = ask_process(self._o, pid, deadline)
            if owned and why_now is None:
                return
            why = why_now if owned else why
            time.sleep(0.02)
        raise NotReadyError(
            why
            or msg(
                "worker {worker} (process {pid}) accepted no connection at {url} within {limit_s}",
                worker=pm_id,
                pid=pid,
                url=health_endpoint.shown_url(self._o.url),
                limit_s=limit_s,
            ),
            pm_id,
            pid,
        )

    def _await_end(self, process: subprocess.Popen[bytes], before: Worker) -> None:
        """Wait until PM2 has let the predecessor go."""
        try:
            process.wait(before.listen_timeout_s + OLD_GONE_S)
        except subprocess.TimeoutExpired:
            _end(process)
            raise DeployError(
                msg(
                    "PM2 did not end the predecessor of worker {worker}: look at pm2.log in {home}",
                    worker=before.pm_id,
                    home=self._o.home,
                )
            ) from None

    def quiet(self) -> list[Worker]:
        """The workers once no predecessor is on its way out: PM2 refuses a reload meanwhile."""
        until = time.monotonic() + OLD_GONE_S
        while True:
            workers, leaving = self.workers()
            if not leaving or time.monotonic() > until:
                return workers
            time.sleep(POLL_S)

    # ---- the way back

    def go_back(self, failed: NotReadyError, before: Worker) -> Optional[Message]:
        """Everything on the previous dist again; what went wrong with that, ``None`` for nothing."""
        self._way_back = False  # this is it
        done_before, (workers, leaving) = list(self.replaced), self.workers()
        process, self._last_reload = self._last_reload, None
        hung = next((one for one in workers if one.pm_id == failed.worker), None)
        predecessor_serves = before.mode == CLUSTER and hung is not None and (leaving or hung.status != ONLINE)
        if predecessor_serves and hung is not None and failed.pid and hung.pid == failed.pid:
            # PM2 starts it again, on what is in dist now, before it lets the predecessor go.
            self._send_away(hung)
        try:
            if process is not None:
                self._await_end(process, before)
            self._bring_up(failed.worker)
            for done in done_before:
                now = self.worker(done["pm_id"])
                if now is not None:
                    self.replace(now)
        except (NotReadyError, DeployError) as error:
            return error.message
        finally:
            if self._last_reload is not None:
                _end(self._last_reload)
        return None

    def _send_away(self, hung: Worker) -> None:
        """End a process: it may serve all the same, so it gets a moment to finish what it has."""
        signals.end([hung.pid], signals.Target(os.geteuid()), first=signal.SIGINT, patience_s=FAREWELL_S)

    def _bring_up(self, pm_id: int) -> None:
        """Have the worker that failed up and proven, by PM2's own restart of it or by one more reload."""
        until = time.monotonic() + self._o.stable_s + 2
        while time.monotonic() < until:
            now = self.worker(pm_id)
            if now is not None and now.status == ONLINE and now.pid:
                with contextlib.suppress(NotReadyError):
                    self.prove(pm_id, now.pid, 2)
                    return
            time.sleep(POLL_S)
        workers = {worker.pm_id: worker for worker in self.quiet()}
        if pm_id not in workers:
            raise DeployError(msg("PM2 has lost worker {worker}: start it from its ecosystem file", worker=pm_id))
        self.replace(workers[pm_id])


def ask_process(o: Options, pid: int, deadline: float) -> tuple[bool, Optional[Message]]:
    """Ask for the health over one connection: whether ``pid`` has accepted it, and what is wrong with its answer."""
    import http.client

    kind = http.client.HTTPSConnection if o.url.scheme == "https" else http.client.HTTPConnection
    timeout = max(min(deadline - time.monotonic(), 5.0), 0.1)
    connection = kind(o.url.hostname or "", o.url.port, timeout=timeout)
    shown = health_endpoint.shown_url(o.url)
    owned = False
    try:
        connection.connect()
        ours, theirs = connection.sock.getsockname()[1], connection.sock.getpeername()[1]
        owned = tcp_owner.has_accepted(pid, theirs, ours)
        if not owned:
            return False, None
        target = (o.url.path or "/") + (f"?{o.url.query}" if o.url.query else "")
        connection.request("GET", target, headers={"Connection": "close", "User-Agent": "orquestrador-ops"})
        with connection.getresponse() as response:
            status, body = response.status, response.read(health_endpoint.MAX_BODY_BYTES)
    except (OSError, http.client.HTTPException, ValueError) as error:
        code = health_endpoint.error_code(error)
        return owned, msg("process {pid} did not answer at {url}: {reason}", pid=pid, url=shown, reason=code)
    finally:
        connection.close()
    return True, bad_answer(o, status, body, pid)


def bad_answer(o: Options, status: int, body: bytes, pid: int) -> Optional[Message]:
    """What is wrong with a health answer; ``None`` when it is good."""
    shown = health_endpoint.shown_url(o.url)
    if status != 200:
        return msg("process {pid} answered HTTP {status} at {url}", pid=pid, status=status, url=shown)
    answer = health_endpoint.parse_body(body)[0] or {}
    for key, expected in (("status", o.status_expected), ("database", o.database_expected)):
        if answer.get(key) != expected:
            return msg(
                'process {pid} answered "{key}": "{value}" at {url}, not "{expected}"',
                pid=pid,
                key=key,
                value=str(answer.get(key)),
                url=shown,
                expected=expected,
            )
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a pm2 command of ours; the daemon goes on with what it was told."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2)


# --- the whole -----------------------------------------------------------------------------------------------------


def _require(o: Options, run: Reload) -> list[Worker]:
    """The workers, when PM2 is the right one and the application is good now; else :class:`DeployError`."""
    state, findings = pm2.collect(pm2.Target(o.home, o.app, o.command), timeout_s=5)
    if state["daemon"] != pm2.ONLINE:
        raise DeployError(findings[0]["message"] if findings else msg("PM2 does not run for {home}", home=o.home))
    workers = run.quiet()
    if not workers:
        raise DeployError(
            msg("PM2 knows no process named {name}: start it from its ecosystem file, then save the list", name=o.app)
        )
    reply = health_endpoint.request(o.url, time.monotonic() + 5)
    shown = health_endpoint.shown_url(o.url)
    if reply.error is not None or reply.status is None:
        raise DeployError(
            msg(
                "{url} does not answer ({reason}), and a reload would prove nothing: nothing was reloaded, heal the"
                " application first",
                url=shown,
                reason=reply.error,
            )
        )
    bad = bad_answer(o, reply.status, reply.body, workers[0].pid)
    if bad is not None:
        raise DeployError(
            bad,
            msg("a reload of an application that is not healthy proves nothing: nothing was reloaded, heal it first"),
        )
    return workers


def reload(o: Options, *, check_mode: bool) -> dict[str, Any]:
    """Reload every worker; ``{changed, evidence, note}``.

    Raises :class:`.app_dist.DeployError` with ``evidence`` when a worker did not come up, after the way back.
    """
    run = Reload(o)
    if check_mode:
        workers = _require(o, run)
        text = msg("{count} workers would be reloaded, one after another.", count=len(workers))
        if workers[0].mode == FORK:
            text = msg("The application would be restarted: in fork mode a reload is not without interruption.")
        return {"changed": True, "evidence": {}, "note": text}
    with o.dist.locked():
        repaired = o.dist.repair()
        before = _require(o, run)
        began = time.monotonic()
        with Prober(o.url, o.rate) as prober:
            failure, rolled_back = _attempt(run, o.dist, before)
            prober.stop()
        after: list[Worker] = []
        with contextlib.suppress(DeployError):  # then that is what failed
            after = run.quiet()
        counted = prober.counted()
        evidence: dict[str, Any] = {
            "app": o.app,
            "mode": before[0].mode,
            "uptime_before_s": _uptime(before, time.time()),
            "workers": run.replaced,
            **{key: counted[key] for key in ("requests", "failures", "longest_gap_s", "errors")},
            "planned_restarts": planned(before, after, run.touched),
            "duration_s": round(time.monotonic() - began, 3),
            "rolled_back": rolled_back,
            "repaired": repaired,
        }
        if failure:
            raise DeployError(*failure, evidence=evidence)
        o.dist.proven()
    return {"changed": True, "evidence": evidence, "note": _note(before, evidence)}


def _uptime(workers: list[Worker], now: float) -> Optional[float]:
    """Seconds since the youngest worker started; ``None`` when PM2 does not say."""
    started = max((worker.started_ms for worker in workers), default=0)
    return round(max(now - started / 1000, 0.0), 1) if started else None


def _all(run: Reload, before: list[Worker]) -> None:
    for worker in before:
        run.replace(worker)
    old = {worker.pid for worker in before}
    for worker in run.quiet():
        if worker.status != ONLINE or worker.pid in old:
            raise NotReadyError(
                msg("worker {worker} is {status} after the reload", worker=worker.pm_id, status=worker.status),
                worker.pm_id,
            )


def _attempt(run: Reload, dist: Dist, before: list[Worker]) -> tuple[list[Message], bool]:
    """Reload all, or go back: what went wrong, and whether the previous dist is back. Nothing wrong: all are new."""
    rolled_back = False
    said: list[Message] = []
    try:
        try:
            _all(run, before)
        except NotReadyError as error:
            said = [error.message]
            rolled_back = dist.roll_back()
            if rolled_back:
                worker = next((one for one in before if one.pm_id == error.worker), before[0])
                said += _went_back(run.go_back(error, worker))
        except DeployError as error:
            # PM2 itself does not do as it is told. What it starts next is at least what was good.
            said = [error.message]
            rolled_back = dist.roll_back()
            if rolled_back:
                said.append(msg("the build before it is back in its place: see which workers run, and reload again"))
    except DeployError as error:
        said.append(error.message)
    if said and not rolled_back:
        said.append(
            msg("there was no build of ours to go back from: the workers that were not reloaded go on as they were")
        )
    return said, rolled_back


def _went_back(wrong: Optional[Message]) -> list[Message]:
    if wrong is None:
        return [msg("the build before it is back, and every worker serves it again")]
    return [msg("the build before it is back in its place, but not every worker serves it:"), wrong]


def _note(before: list[Worker], evidence: dict[str, Any]) -> Message:
    known: dict[str, Any] = {
        "count": len(before),
        "requests": evidence["requests"],
        "failures": evidence["failures"],
        "gap_s": evidence["longest_gap_s"],
    }
    if before[0].mode == FORK:
        return msg(
            "fork mode is not without interruption: {failures} of {requests} requests failed, {gap_s} without an"
            " answer; cluster mode would spare that",
            **known,
        )
    if evidence["failures"]:
        return msg(
            "{count} workers reloaded one after another; {failures} of {requests} requests failed, {gap_s} at most"
            " without an answer",
            **known,
        )
    return msg("{count} workers reloaded one after another; none of {requests} requests failed", **known)
