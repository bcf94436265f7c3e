"""Execute a procedure with ansible-runner: start it, follow it, end it at its budget.

Artifacts are in ``<state>/runs/<id>``, readable by their owner alone; the newest runs are retained.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from orquestrador.core.messages import msg, plain
from orquestrador.core.types import Message
from orquestrador.system import long_command

from ...core.files import locked, private_dir, write_atomic
from ...core.outcomes import ERROR, INTERRUPTED, MET, NOT_MET, TIMEOUT
from ...runs import lifecycle
from ..words import CliError
from . import terminate
from .events import HostRun, RunEvents
from .signals import StopRequests

SCHEMA = 1
TICK_S = 0.1
JOIN_S = 10.0
ENDED = {TIMEOUT: 124, INTERRUPTED: 130}
_LOCK = ".lock"
# For this program only: a database's URL may contain its password.
_NOT_PASSED = ("OPS_HISTORY_URL",)


@dataclass(frozen=True)
class Request:
    """A procedure to run, and its limits. ``arguments`` appear on a command line: they must not contain secrets."""

    project: Path
    playbook: Path
    procedure: str
    state_dir: Path
    budget_s: float
    forks: int
    arguments: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    check: bool = False
    verbosity: int = 0
    grace_s: float = 15.0
    keep: int = 20
    folder: str = "runs"  # below the state directory

    def allowed_s(self, hosts: int) -> float:
        """Return the time in seconds for a run on so many hosts: those beyond the forks wait for their turn."""
        return self.budget_s * max(-(-hosts // self.forks), 1)


@dataclass
class Result:
    """Result of a run."""

    id: str
    request: Request
    artifacts: Path
    started_at: str
    ended_at: str = ""
    seconds: float = 0.0
    status: str = "error"  # met, not_met, timeout, interrupted, error
    rc: int = 1
    events: RunEvents = field(default_factory=RunEvents)
    leftovers: terminate.Leftovers | None = None
    problems: list[Message] = field(default_factory=list)

    def as_dict(self, words: Callable[[Message], str]) -> dict[str, Any]:
        """Return the run as one JSON document."""
        request = self.request
        return {
            "schema": SCHEMA,
            "id": self.id,
            "procedure": request.procedure,
            "playbook": str(request.playbook),
            "check_mode": request.check,
            "status": self.status,
            "rc": self.rc,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "seconds": self.seconds,
            "budget_s": request.budget_s,
            "artifacts": str(self.artifacts),
            "hosts": {name: host.as_dict() for name, host in sorted(self.events.hosts.items())},
            "tasks": [task.as_dict() for task in self.events.tasks],
            "ended_on_hosts": None if self.leftovers is None else vars(self.leftovers),
            "problems": [words(problem) for problem in self.problems],
        }


class ProgressDisplay(Protocol):
    """Display of a run's progress. Called from two threads."""

    def event(self, event: Mapping[str, Any], events: RunEvents) -> None:
        """Show an event."""

    def tick(self, elapsed_s: float, allowed_s: float, grace_s: float) -> None:
        """Update the elapsed time."""

    def ending(self, reason: str) -> None:
        """Show that the run is ended early."""


def run(request: Request, display: ProgressDisplay, signals: StopRequests, connections: Path | None = None) -> Result:
    """Run a procedure until it ends, exceeds its budget or is interrupted. Raises :class:`CliError`.

    ``connections``: a directory for SSH connections that several runs share.
    """
    started = lifecycle.utc_now()
    run_id = lifecycle.new_run_id(started)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(_directory(request.state_dir / request.folder, run_id, request.keep))
        result = Result(run_id, request, directory, started.isoformat())
        held = connections or stack.enter_context(terminate.connections(run_id))
        _Execution(request, result, held, display).follow(signals)
        result.ended_at = datetime.now(UTC).isoformat()
    return result


def write_result(result: Result) -> None:
    """Write the result of a run beside its artifacts; in English, as all records are."""
    with contextlib.suppress(OSError):
        written = json.dumps(result.as_dict(plain), default=str)
        write_atomic(result.artifacts / "result.json", written.encode(), sync=False)


class _Execution:
    def __init__(self, request: Request, result: Result, connections: Path, display: ProgressDisplay) -> None:
        self._request, self._result, self._display = request, result, display
        self._connections = connections
        self._started_at = time.monotonic()
        self._cancelled = False
        self._failure: BaseException | None = None
        self._rc: int | None = None

    def follow(self, signals: StopRequests) -> None:
        """Wait until the run ends, or end it after its budget or on a signal."""
        result, events = self._result, self._result.events
        runner = self._prepare()
        thread = threading.Thread(target=self._work, args=(runner,), daemon=True)
        thread.start()
        reason = ""
        try:
            while thread.is_alive() and not reason:
                thread.join(TICK_S)
                allowed_s, grace_s = self._request.allowed_s(len(events.hosts)), self._request.grace_s
                self._display.tick(self._elapsed(), allowed_s, grace_s)
                if signals.received:
                    reason = INTERRUPTED
                elif self._elapsed() > allowed_s + grace_s:
                    reason = TIMEOUT
            if reason and thread.is_alive():
                self._display.ending(reason)
                self._end(reason, thread, signals)
            else:
                reason = ""
        finally:
            self._cancelled = True
            if thread.is_alive() or reason:
                # Not after a run that ended by itself: the next may reuse its connections.
                long_command.end_marked(result.id)
                thread.join(JOIN_S)
            (result.artifacts / "env" / "extravars").unlink(missing_ok=True)
        result.seconds = round(self._elapsed(), 3)
        result.status, result.rc = self._status(reason)
        if reason == INTERRUPTED and signals.received:
            result.rc = 128 + signals.received[0]

    def _status(self, reason: str) -> tuple[str, int]:
        if reason:
            return reason, ENDED[reason]
        if self._failure is not None:
            self._result.problems.append(
                msg("ansible-runner failed: {reason}", reason=f"{type(self._failure).__name__}: {self._failure}")
            )
            return ERROR, 1
        code = 1 if self._rc is None else self._rc
        if code == 0:
            return MET, 0
        concluded = any(host.outcome for host in self._result.events.hosts.values())
        return (NOT_MET if concluded else ERROR), code

    def _elapsed(self) -> float:
        return time.monotonic() - self._started_at

    def _end(self, reason: str, thread: threading.Thread, signals: StopRequests) -> None:
        """End the run here, then on its hosts; a second signal shortens the wait."""
        signals_before = len(signals.received)
        terminate.end_locally(self._result.id, lambda: not thread.is_alive())
        grace_s = 1.0 if len(signals.received) > signals_before else self._request.grace_s
        self._result.leftovers = terminate.end_on_hosts(self._connections, grace_s)

    def _work(self, runner: Any) -> None:
        try:
            _, self._rc = runner.run()
        except Exception as error:  # noqa: BLE001 - of a thread: reported by the one that waits for it
            self._failure = error

    def _event(self, event: dict[str, Any]) -> bool:
        self._result.events.add(event, self._elapsed())
        self._display.event(event, self._result.events)
        return True

    def _prepare(self) -> Any:
        from ansible_runner.config.runner import RunnerConfig
        from ansible_runner.exceptions import AnsibleRunnerException
        from ansible_runner.runner import Runner

        request, result = self._request, self._result
        env = private_dir(result.artifacts / "env")
        # A file, because values of variables must not appear on a command line.
        settings = {"pexpect_timeout": TICK_S, "suppress_ansible_output": True}
        write_atomic(env / "settings", json.dumps(settings).encode(), sync=False)
        if request.variables:
            write_atomic(env / "extravars", json.dumps(dict(request.variables)).encode(), sync=False)
        arguments = [*request.arguments, *(["--check"] if request.check else [])]
        config = RunnerConfig(
            private_data_dir=str(result.artifacts),
            project_dir=str(request.project),
            playbook=str(request.playbook.relative_to(request.project)),
            cmdline=shlex.join(arguments) or None,
            verbosity=request.verbosity or None,
            envvars=environment(request, result.id, self._connections),
            ident="1",
            rotate_artifacts=request.keep,
            fact_cache_type="memory",
            suppress_env_files=True,
            quiet=True,
        )
        try:
            config.prepare()
        except AnsibleRunnerException as error:
            raise CliError(msg("ansible-runner cannot be prepared: {reason}", reason=str(error)), 1) from error
        for name in _NOT_PASSED:
            config.env.pop(name, None)
        config.env = _UnsavedEnvironment(config.env)
        return Runner(config, event_handler=self._event, cancel_callback=lambda: self._cancelled)


class _UnsavedEnvironment(dict[str, str]):
    """An environment that is false, so that ansible-runner does not write it to its artifacts."""

    def __bool__(self) -> bool:
        return False


def environment(request: Request, mark: str, connections: Path) -> dict[str, str]:
    """Return the variables that ``ansible-playbook`` needs in its environment."""
    plugins = os.environ.get("ANSIBLE_CALLBACK_PLUGINS")
    defaults = {
        "ANSIBLE_CONFIG": str(request.project / "ansible.cfg"),
        # ansible-runner would disable both.
        "ANSIBLE_STDOUT_CALLBACK": "operator",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
    }
    return {
        **{name: os.environ.get(name, value) for name, value in defaults.items()},
        "ANSIBLE_CALLBACK_PLUGINS": os.pathsep.join(filter(None, (plugins, str(request.project / "callback_plugins")))),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(connections),
        "OPS_STATE_DIR": str(request.state_dir),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
        long_command.MARK: mark,
        **request.environment,
    }


@contextlib.contextmanager
def _directory(parent: Path, run_id: str, keep: int) -> Iterator[Path]:
    """Create a private directory for a run's artifacts; remove those beyond ``keep``, except of running ones."""
    with contextlib.ExitStack() as stack:
        try:
            directory = private_dir(private_dir(parent) / run_id)
            stack.enter_context(locked(directory / _LOCK, wait_s=None))
        except OSError as error:
            raise CliError(
                msg(
                    "{path} cannot be written: give this user write access, or name another with --state-dir "
                    "({reason})",
                    path=str(parent),
                    reason=str(error.strerror),
                ),
                1,
            ) from error
        rotate(parent, keep)
        yield directory


def rotate(parent: Path, keep: int) -> list[str]:
    """Remove artifacts of all but the newest ``keep`` and the running runs; return the removed names.

    Names sort by time.
    """
    removed = []
    for old in sorted((path for path in parent.iterdir() if (path / _LOCK).exists()), reverse=True)[max(keep, 1) :]:
        with contextlib.suppress(OSError), locked(old / _LOCK, wait_s=0.0, create=False):
            shutil.rmtree(old)
            removed.append(old.name)
    return removed


def unconcluded(result: Result) -> dict[str, HostRun]:
    """Return the hosts without an outcome of a run that was ended early."""
    return {name: host for name, host in result.events.hosts.items() if host.outcome is None}
