"""Bring timers or a crontab to what is wanted, and take away what was ours and is wanted no longer."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Optional

from ..core.messages import msg
from ..system.command import Completed, run
from ..system.whole_file import write_whole
from . import plan
from .plan import ScheduleError

COMMAND_S = 30.0
MAX_UNIT_BYTES = 1024 * 1024

Run = Callable[..., Completed]


class Change(NamedTuple):
    """What differs: content before and after by name, and what of timers is to be enabled, or no longer."""

    before: dict[str, str]
    after: dict[str, str]
    enable: list[str]
    disable: list[str]

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return self.before != self.after or bool(self.enable or self.disable)


# --- systemd -------------------------------------------------------------------------------------------------------


class Timers:
    """Unit files in a directory, and the manager that reads them (``user``: that of whoever this is)."""

    def __init__(self, directory: str, *, user: bool, run_command: Run = run) -> None:
        self._directory = directory
        self._systemctl = ["systemctl", "--user"] if user else ["systemctl"]
        self._run = run_command
        self._env: Optional[dict[str, str]] = None
        if user and not os.environ.get("XDG_RUNTIME_DIR"):
            self._env = {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"}

    def plan(self, wanted: Mapping[str, str]) -> Change:
        """What has to be done to have exactly ``wanted``. :class:`ScheduleError` for a file that is not ours."""
        ours, foreign = self._held()
        for name in wanted:
            if name in foreign:
                path = os.path.join(self._directory, name)
                raise ScheduleError(msg("{path} is there and was not made by this schedule: move it away", path=path))
        timers = [name for name in wanted if name.endswith(".timer")]
        gone = [name for name in ours if name.endswith(".timer") and name not in wanted]
        return Change(ours, dict(wanted), [name for name in timers if not self._runs(name)], gone)

    def apply(self, change: Change) -> None:
        """Do what was planned. Raises ``OSError`` and :class:`ScheduleError`."""
        self._manage("show", "--property=Version")  # one that does not answer is known before a file is written
        for name in change.disable:
            self._manage("disable", "--now", name)
        for name in set(change.before) - set(change.after):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._directory, name))
        changed = [name for name, text in change.after.items() if change.before.get(name) != text]
        if changed:
            os.makedirs(self._directory, exist_ok=True)
        for name in changed:
            write_whole(os.path.join(self._directory, name), change.after[name].encode(), 0o644)
        if change.before != change.after:
            self._manage("daemon-reload")
        for name in change.enable:
            self._manage("enable", "--now", name)
        # A timer that runs goes on with its old times until it is started anew.
        for name in changed:
            if name.endswith(".timer") and name not in change.enable:
                self._manage("restart", name)

    def _held(self) -> tuple[dict[str, str], set[str]]:
        """Our unit files by name, and the names of those with our prefix that are not ours."""
        ours: dict[str, str] = {}
        foreign: set[str] = set()
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return {}, set()
        for name in names:
            if not name.startswith(plan.PREFIX + "-") or not name.endswith((".service", ".timer")):
                continue
            path = os.path.join(self._directory, name)
            text = "" if os.path.islink(path) else _read(path)
            if text.startswith(plan.MARK):
                ours[name] = text
            else:
                foreign.add(name)
        return ours, foreign

    def _runs(self, timer: str) -> bool:
        asked = [self._do(verb, "--quiet", timer).code for verb in ("is-enabled", "is-active")]
        return asked == [0, 0]

    def _manage(self, *arguments: str) -> None:
        done = self._do(*arguments)
        if done.code != 0:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())[:300] or done.error or "no reason given"
            command = " ".join([*self._systemctl, *arguments])
            raise ScheduleError(msg("{command} failed: {reason}", command=command, reason=said))

    def _do(self, *arguments: str) -> Completed:
        return self._run([*self._systemctl, *arguments], timeout_s=COMMAND_S, env=self._env)


# --- cron ----------------------------------------------------------------------------------------------------------


class Crontab:
    """The crontab of a user; empty: of whoever this is."""

    NAME = "crontab"

    def __init__(self, user: str, run_command: Run = run) -> None:
        self._command = ["crontab", "-u", user] if user else ["crontab"]
        self._run = run_command

    def plan(self, lines: Sequence[str]) -> Change:
        """What has to be done to have exactly ``lines`` in our block. :class:`ScheduleError`: there is no cron."""
        held = self._held()
        wanted = plan.crontab(held, lines)
        return Change({self.NAME: held}, {self.NAME: wanted}, [], [])

    def apply(self, change: Change) -> None:
        """Do what was planned. Raises ``OSError`` and :class:`ScheduleError`."""
        text = change.after[self.NAME]
        if not text:
            self._done(self._run([*self._command, "-r"], timeout_s=COMMAND_S))
            return
        handle, path = tempfile.mkstemp(prefix="orquestrador-crontab-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            self._done(self._run([*self._command, path], timeout_s=COMMAND_S))
        finally:
            os.unlink(path)

    def _held(self) -> str:
        done = self._run([*self._command, "-l"], timeout_s=COMMAND_S)
        if done.code == 1 and b"no crontab" in done.stderr:
            return ""
        self._done(done)
        return done.stdout.decode("utf-8", "surrogateescape")

    def _done(self, done: Completed) -> None:
        if done.code != 0:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())[:300] or done.error or "no reason given"
            text = msg("{command} failed: {reason}", command=" ".join(self._command), reason=said)
            raise ScheduleError(text)


# --- both ----------------------------------------------------------------------------------------------------------


class Both(NamedTuple):
    """What has to be done to timers and to the crontab."""

    timers: Timers
    of_timers: Change
    crontab: Crontab
    of_crontab: Change

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return self.of_timers.needed or self.of_crontab.needed

    def apply(self) -> None:
        """Do it. Raises ``OSError`` and :class:`ScheduleError`."""
        if self.of_timers.needed:
            self.timers.apply(self.of_timers)
        if self.of_crontab.needed:
            self.crontab.apply(self.of_crontab)

    def diff(self) -> list[dict[str, str]]:
        """Every text that changes, as Ansible shows differences."""
        shown = []
        for change in (self.of_timers, self.of_crontab):
            for name in sorted({*change.before, *change.after}):
                before, after = change.before.get(name, ""), change.after.get(name, "")
                if before != after:
                    shown.append({"before": before, "after": after, "before_header": name, "after_header": name})
        return shown


def both(timers: Timers, units: Mapping[str, str], crontab: Crontab, lines: Sequence[str]) -> Both:
    """What has to be done to have exactly these units and lines. Raises :class:`ScheduleError`."""
    try:
        of_crontab = crontab.plan(lines)
    except ScheduleError:
        if lines:
            raise
        of_crontab = Change({}, {}, [], [])  # without cron there is nothing of ours in it
    return Both(timers, timers.plan(units), crontab, of_crontab)


# --- files ---------------------------------------------------------------------------------------------------------


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(MAX_UNIT_BYTES)
    except OSError:
        return ""
