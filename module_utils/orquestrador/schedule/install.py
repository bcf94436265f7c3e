"""Install timers or crontab lines, and remove those that the schedule no longer contains."""

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
    """Contents before and after by name, and the timers to enable and to disable."""

    before: dict[str, str]
    after: dict[str, str]
    enable: list[str]
    disable: list[str]

    @property
    def needed(self) -> bool:
        """Whether anything changes."""
        return self.before != self.after or bool(self.enable or self.disable)


# --- systemd -------------------------------------------------------------------------------------------------------


class Timers:
    """Unit files in a directory, and systemd, or with ``user`` this user's systemd, that reads them."""

    def __init__(self, directory: str, *, user: bool, run_command: Run = run) -> None:
        self._directory = directory
        self._command = ["systemctl", "--user"] if user else ["systemctl"]
        self._run = run_command
        self._env: Optional[dict[str, str]] = None
        if user and not os.environ.get("XDG_RUNTIME_DIR"):
            self._env = {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"}

    def plan(self, units: Mapping[str, str]) -> Change:
        """Return the change to exactly these units. :class:`ScheduleError` for a unit that is not ours."""
        own, foreign = self._read_units()
        for name in units:
            if name in foreign:
                path = os.path.join(self._directory, name)
                raise ScheduleError(msg("{path} exists and was not made by this schedule: move it away", path=path))
        timers = [name for name in units if name.endswith(".timer")]
        obsolete = [name for name in own if name.endswith(".timer") and name not in units]
        return Change(own, dict(units), [name for name in timers if not self._is_running(name)], obsolete)

    def apply(self, change: Change) -> None:
        """Apply the change. Raises ``OSError`` and :class:`ScheduleError`."""
        self._manage("show", "--property=Version")  # fail before writing any file when systemd does not answer
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
        # A running timer keeps its old times until it is restarted.
        for name in changed:
            if name.endswith(".timer") and name not in change.enable:
                self._manage("restart", name)

    def _read_units(self) -> tuple[dict[str, str], set[str]]:
        """Return our unit files by name, and the names with our prefix that are not ours."""
        own: dict[str, str] = {}
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
                own[name] = text
            else:
                foreign.add(name)
        return own, foreign

    def _is_running(self, timer: str) -> bool:
        statuses = [self._systemctl_run(verb, "--quiet", timer).code for verb in ("is-enabled", "is-active")]
        return statuses == [0, 0]

    def _manage(self, *arguments: str) -> None:
        result = self._systemctl_run(*arguments)
        if result.code != 0:
            command = " ".join([*self._command, *arguments])
            raise ScheduleError(msg("{command} failed: {reason}", command=command, reason=_error_text(result)))

    def _systemctl_run(self, *arguments: str) -> Completed:
        return self._run([*self._command, *arguments], timeout_s=COMMAND_S, env=self._env)


# --- cron ----------------------------------------------------------------------------------------------------------


class Crontab:
    """The crontab of a user; of this process's user when ``user`` is empty."""

    NAME = "crontab"

    def __init__(self, user: str, run_command: Run = run) -> None:
        self._command = ["crontab", "-u", user] if user else ["crontab"]
        self._run = run_command

    def plan(self, lines: Sequence[str]) -> Change:
        """Return the change to exactly ``lines`` in our block. :class:`ScheduleError` when there is no cron."""
        current = self._read_crontab()
        text = plan.render_crontab(current, lines)
        return Change({self.NAME: current}, {self.NAME: text}, [], [])

    def apply(self, change: Change) -> None:
        """Apply the change. Raises ``OSError`` and :class:`ScheduleError`."""
        text = change.after[self.NAME]
        if not text:
            self._require_success(self._run([*self._command, "-r"], timeout_s=COMMAND_S))
            return
        handle, path = tempfile.mkstemp(prefix="orquestrador-crontab-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            self._require_success(self._run([*self._command, path], timeout_s=COMMAND_S))
        finally:
            os.unlink(path)

    def _read_crontab(self) -> str:
        result = self._run([*self._command, "-l"], timeout_s=COMMAND_S)
        if result.code == 1 and b"no crontab" in result.stderr:
            return ""
        self._require_success(result)
        return result.stdout.decode("utf-8", "surrogateescape")

    def _require_success(self, result: Completed) -> None:
        if result.code != 0:
            command = " ".join(self._command)
            raise ScheduleError(msg("{command} failed: {reason}", command=command, reason=_error_text(result)))


# --- both ----------------------------------------------------------------------------------------------------------


class SchedulePlan(NamedTuple):
    """Changes of the timers and of the crontab."""

    timers: Timers
    timer_change: Change
    crontab: Crontab
    crontab_change: Change

    @property
    def needed(self) -> bool:
        """Whether anything changes."""
        return self.timer_change.needed or self.crontab_change.needed

    def apply(self) -> None:
        """Apply both changes. Raises ``OSError`` and :class:`ScheduleError`."""
        if self.timer_change.needed:
            self.timers.apply(self.timer_change)
        if self.crontab_change.needed:
            self.crontab.apply(self.crontab_change)

    def diff(self) -> list[dict[str, str]]:
        """Return every text that changes, for Ansible's ``--diff``."""
        shown = []
        for change in (self.timer_change, self.crontab_change):
            for name in sorted({*change.before, *change.after}):
                before, after = change.before.get(name, ""), change.after.get(name, "")
                if before != after:
                    shown.append({"before": before, "after": after, "before_header": name, "after_header": name})
        return shown


def plan_schedule(timers: Timers, units: Mapping[str, str], crontab: Crontab, lines: Sequence[str]) -> SchedulePlan:
    """Return the changes to exactly these units and lines. Raises :class:`ScheduleError`."""
    try:
        crontab_change = crontab.plan(lines)
    except ScheduleError:
        if lines:
            raise
        crontab_change = Change({}, {}, [], [])  # without cron there is no block of ours to remove
    return SchedulePlan(timers, timers.plan(units), crontab, crontab_change)


def _error_text(result: Completed) -> str:
    return " ".join(result.stderr.decode("utf-8", "replace").split())[:300] or result.error or "no reason given"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(MAX_UNIT_BYTES)
    except OSError:
        return ""
