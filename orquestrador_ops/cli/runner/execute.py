"""One run of a procedure over ansible-runner: started, followed, ended at its budget, and what it left.

Artifacts lie under ``<state>/runs/<id>``, readable by their owner alone, the newest of them kept.
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
from ...runs import lifecycle as runs
from ..words import Refused
from . import terminate as ending
from .events import HostRun, Tally
from .signals import Asked

SCHEMA = 1
TICK_S = 0.1
JOIN_S = 10.0
ENDED = {TIMEOUT: 124, INTERRUPTED: 130}
_LOCK = ".lock"
# Of this program alone: a database's address may hold its password.
_NOT_PASSED = ("OPS_HISTORY_URL",)


@dataclass(frozen=True)
class Request:
    """What to run, and within which bounds. ``arguments`` stand on a command line: they hold no secret."""

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
    place: str = "runs"  # below the state directory

    def allowed_s(self, hosts: int) -> float:
        """How long a run on so many hosts may take, in seconds: those beyond the forks wait for their turn."""
        return self.budget_s * max(-(-hosts // self.forks), 1)


@dataclass
class Result:
    """What became of a run."""

    id: str
    request: Request
    artifacts: Path
    started_at: str
    ended_at: str = ""
    seconds: float = 0.0
    status: str = "error"  # met, not_met, timeout, interrupted, error
    rc: int = 1
    tally: Tally = field(default_factory=Tally)
    rest: ending.Rest | None = None
    problems: list[Message] = field(default_factory=list)

    def as_dict(self, words: Callable[[Message], str]) -> dict[str, Any]:
        """The run as one JSON document; see ``runbook run --help`` of the keys."""
        asked = self.request
        return {
            "schema": SCHEMA,
            "id": self.id,
            "procedure": asked.procedure,
            "playbook": str(asked.playbook),
            "check_mode": asked.check,
            "status": self.status,
            "rc": self.rc,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "seconds": self.seconds,
            "budget_s": asked.budget_s,
            "artifacts": str(self.artifacts),
            "hosts": {name: host.as_dict() for name, host in sorted(self.tally.hosts.items())},
            "tasks": [task.as_dict() for task in self.tally.tasks],
            "ended_on_hosts": None if self.rest is None else vars(self.rest),
            "problems": [words(problem) for problem in self.problems],
        }


class Show(Protocol):
    """Whoever shows a run as it goes. Called from two threads."""

    def event(self, event: Mapping[str, Any], tally: Tally) -> None:
        """Something happened."""

    def tick(self, elapsed_s: float, allowed_s: float, grace_s: float) -> None:
        """A moment has passed."""

    def ending(self, why: str) -> None:
        """The run is being ended before its own end."""


def run(request: Request, show: Show, signals: Asked, connections: Path | None = None) -> Result:
    """Run a procedure to its end, or to the end of its budget, or to the operator's. Raises :class:`Refused`.

    ``connections``: a directory for SSH connections that outlives this run, of runs that follow each other.
    """
    started = runs.utc_now()
    run_id = runs.new_run_id(started)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(_directory(request.state_dir / request.place, run_id, request.keep))
        result = Result(run_id, request, directory, started.isoformat())
        held = connections or stack.enter_context(ending.connections(run_id))
        _Execution(request, result, held, show).follow(signals)
        result.ended_at = datetime.now(UTC).isoformat()
    return result


def keep(result: Result) -> None:
    """Write what became of a run beside its artifacts; in English, as records are."""
    with contextlib.suppress(OSError):
        written = json.dumps(result.as_dict(plain), default=str)
        write_atomic(result.artifacts / "result.json", written.encode(), sync=False)


class _Execution:
    def __init__(self, request: Request, result: Result, connections: Path, show: Show) -> None:
        self._request, self._result, self._show = request, result, show
        self._connections = connections
        self._began = time.monotonic()
        self._cancelled = False
        self._failure: BaseException | None = None
        self._rc: int | None = None

    def follow(self, signals: Asked) -> None:
        """Wait for the end, whoever makes it."""
        result, tally = self._result, self._result.tally
        runner = self._prepared()
        thread = threading.Thread(target=self._work, args=(runner,), daemon=True)
        thread.start()
        why = ""
        try:
            while thread.is_alive() and not why:
                thread.join(TICK_S)
                allowed_s, grace_s = self._request.allowed_s(len(tally.hosts)), self._request.grace_s
                self._show.tick(self._elapsed(), allowed_s, grace_s)
                if signals.got:
                    why = INTERRUPTED
                elif self._elapsed() > allowed_s + grace_s:
                    why = TIMEOUT
            if why and thread.is_alive():
                self._show.ending(why)
                self._end(why, thread, signals)
            else:
                why = ""
        finally:
            self._cancelled = True
            if thread.is_alive() or why:
                # Not after a run that came to its end: its connections may serve the next.
                long_command.end_marked(result.id)
                thread.join(JOIN_S)
            (result.artifacts / "env" / "extravars").unlink(missing_ok=True)
        result.seconds = round(self._elapsed(), 3)
        result.status, result.rc = self._judged(why)
        if why == INTERRUPTED and signals.got:
            result.rc = 128 + signals.got[0]

    def _judged(self, why: str) -> tuple[str, int]:
        if why:
            return why, ENDED[why]
        if self._failure is not None:
            self._result.problems.append(
                msg("ansible-runner failed: {reason}", reason=f"{type(self._failure).__name__}: {self._failure}")
            )
            return ERROR, 1
        code = 1 if self._rc is None else self._rc
        if code == 0:
            return MET, 0
        concluded = any(host.outcome for host in self._result.tally.hosts.values())
        return (NOT_MET if concluded else ERROR), code

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _end(self, why: str, thread: threading.Thread, signals: Asked) -> None:
        """End the run here, then on its hosts; a second signal shortens every wait."""
        asked = len(signals.got)
        ending.locally(self._result.id, lambda: not thread.is_alive())
        grace_s = 1.0 if len(signals.got) > asked else self._request.grace_s
        self._result.rest = ending.on_hosts(self._connections, grace_s)

    def _work(self, runner: Any) -> None:
        try:
            _, self._rc = runner.run()
        except Exception as error:  # noqa: BLE001 - of a thread: told by the one that waits for it
            self._failure = error

    def _event(self, event: dict[str, Any]) -> bool:
        self._result.tally.add(event, self._elapsed())
        self._show.event(event, self._result.tally)
        return True

    def _prepared(self) -> Any:
        from ansible_runner.config.runner import RunnerConfig
        from ansible_runner.exceptions import AnsibleRunnerException
        from ansible_runner.runner import Runner

        request, result = self._request, self._result
        env = private_dir(result.artifacts / "env")
        # Read from here only; a file, because a variable's value has no business on a command line.
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
            raise Refused(msg("ansible-runner cannot be prepared: {reason}", reason=str(error)), 1) from error
        for name in _NOT_PASSED:
            config.env.pop(name, None)
        config.env = _Unwritten(config.env)
        return Runner(config, event_handler=self._event, cancel_callback=lambda: self._cancelled)


class _Unwritten(dict[str, str]):
    """An environment for a child that JSON writes as ``{}``: ansible-runner keeps it among its artifacts."""

    def __bool__(self) -> bool:
        return False


def environment(request: Request, mark: str, connections: Path) -> dict[str, str]:
    """What ``ansible-playbook`` needs in its environment besides what is there already."""
    plugins = os.environ.get("ANSIBLE_CALLBACK_PLUGINS")
    defaults = {
        "ANSIBLE_CONFIG": str(request.project / "ansible.cfg"),
        # ansible-runner would switch both off.
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
    """A private directory for the artifacts of a run; older ones beyond ``keep`` go, none that is still written."""
    with contextlib.ExitStack() as stack:
        try:
            directory = private_dir(private_dir(parent) / run_id)
            stack.enter_context(locked(directory / _LOCK, wait_s=None))
        except OSError as error:
            raise Refused(
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
    """Remove artifacts of runs but the newest ``keep``, and but those of runs that still go on; names of the removed.

    Names sort by time.
    """
    gone = []
    for old in sorted((path for path in parent.iterdir() if (path / _LOCK).exists()), reverse=True)[max(keep, 1) :]:
        with contextlib.suppress(OSError), locked(old / _LOCK, wait_s=0.0, create=False):
            shutil.rmtree(old)
            gone.append(old.name)
    return gone


def unconcluded(result: Result) -> dict[str, HostRun]:
    """Hosts of a run that was ended before it could say how it went."""
    return {name: host for name, host in result.tally.hosts.items() if host.outcome is None}
