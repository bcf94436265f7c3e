"""Render timers and cron lines of the routines as text; pure.

cron joins day of month and day of week with OR, so that ``0 14 1-7 * 5`` is every Friday and the first week: the
command tests the day of the month instead. systemd joins them with AND.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg

MARK = "# Managed by orquestrador-ops: changed here, it is changed back."
PREFIX = "orquestrador-ops"
ON = ("daily", "friday", "first_friday", "first_friday_of_quarter", "interval")
DAILY, FRIDAY, FIRST_FRIDAY, QUARTER, INTERVAL = ON
CRON_LINE_MAX = 990  # cron's own limit is 999
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_AT = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Job(NamedTuple):
    """A playbook and its schedule: ``at`` HH:MM, or every ``every_s`` (``on: interval``); killed after ``limit_s``."""

    name: str
    playbook: str
    on: str
    at: str = ""
    every_s: int = 0
    limit_s: int = 3600


class Context(NamedTuple):
    """Settings of all jobs; ``user`` is empty for timers of the installing user."""

    project: str
    command: str  # ansible-playbook
    arguments: Sequence[str]
    environment: Mapping[str, str]
    user: str = ""
    timezone: str = ""


class ScheduleError(OperatorError, ValueError):
    """An invalid schedule; ``message`` has the part and what to do."""


# --- validation ----------------------------------------------------------------------------------------------------


def check(jobs: Iterable[Job], context: Context, *, cron: bool) -> None:
    """Raise :class:`ScheduleError` for a job or a setting that a timer or cron can't run as intended."""
    names = set()
    for job in jobs:
        _check_job(job, cron)
        if job.name in names:
            raise ScheduleError(msg("Job {name} is defined twice", name=job.name))
        names.add(job.name)
    texts = {"project": context.project, "command": context.command, "user": context.user}
    texts.update({f"argument {number}": text for number, text in enumerate(context.arguments, 1)})
    texts.update({f"environment {name}": value for name, value in context.environment.items()})
    for field, text in texts.items():
        if any(character < " " or character == "\x7f" for character in text):
            raise ScheduleError(msg("The schedule's {what} contains a line break or a control character", what=field))
    for name in context.environment:
        if not _ENVIRONMENT.fullmatch(name):
            raise ScheduleError(msg("{name} is not a valid name of an environment variable", name=name))


def _check_job(job: Job, cron: bool) -> None:
    if not _NAME.fullmatch(job.name):
        raise ScheduleError(
            msg("{name} is not a valid job name: use lower case letters, digits and underscores", name=repr(job.name))
        )
    if job.on == INTERVAL:
        if cron and (job.every_s < 60 or job.every_s % 60 or 3600 % job.every_s):
            text = msg(
                "Job {name}: cron can't run a job every {every_s}: give whole minutes that divide an hour, or use"
                " systemd timers",
                name=job.name,
                every_s=job.every_s,
            )
            raise ScheduleError(text)
        if not 5 <= job.every_s <= 86400:
            raise ScheduleError(
                msg(
                    "Job {name}: an interval of {every_s} is not between 5 s and a day",
                    name=job.name,
                    every_s=job.every_s,
                )
            )
    elif not _AT.fullmatch(job.at):
        text = msg("Job {name}: {at} is not a time of day: give HH:MM, in quotes", name=job.name, at=repr(job.at))
        raise ScheduleError(text)


# --- systemd -------------------------------------------------------------------------------------------------------


def calendar(job: Job, timezone: str = "") -> str:
    """Return ``OnCalendar`` of a job; empty for one that runs at an interval."""
    days = {
        DAILY: "*-*-*",
        FRIDAY: "Fri *-*-*",
        FIRST_FRIDAY: "Fri *-*-01..07",
        QUARTER: "Fri *-01,04,07,10-01..07",
    }
    if job.on == INTERVAL:
        return ""
    return " ".join(filter(None, (days[job.on], f"{job.at}:00", timezone)))


def unit_names(job: Job) -> tuple[str, str]:
    """Return the file names of a job's service and timer."""
    return f"{PREFIX}-{job.name}.service", f"{PREFIX}-{job.name}.timer"


def units(jobs: Iterable[Job], context: Context, *, system: bool) -> dict[str, str]:
    """Return the content of every unit file by its name."""
    files: dict[str, str] = {}
    for job in jobs:
        service, timer = unit_names(job)
        files[service] = _service(job, context, system)
        files[timer] = _timer(job, context)
    return files


def _service(job: Job, context: Context, system: bool) -> str:
    lines = [MARK, "[Unit]", f"Description=Orquestrador Ops: {job.name}"]
    if system:
        lines += ["Wants=network-online.target", "After=network-online.target"]
    lines += ["", "[Service]", "Type=oneshot"]
    if system and context.user:
        lines.append(f"User={_specifiers(context.user)}")
    lines.append(f"WorkingDirectory={_specifiers(context.project)}")
    lines += [f"Environment={_quoted(f'{name}={value}')}" for name, value in sorted(context.environment.items())]
    # systemd expands $ in arguments, but not in the command itself.
    arguments = [_quoted(part).replace("$", "$$") for part in (*context.arguments, job.playbook)]
    lines.append("ExecStart=" + " ".join([_quoted(context.command), *arguments]))
    # A routine has its own limit; this kills one that hangs nevertheless, with its children.
    lines += [f"TimeoutStartSec={job.limit_s}", ""]
    return "\n".join(lines)


def _timer(job: Job, context: Context) -> str:
    lines = [MARK, "[Unit]", f"Description=Orquestrador Ops: {job.name}", "", "[Timer]"]
    if job.on == INTERVAL:
        # From one start to the next; runs never overlap, and missed ones are not repeated.
        lines += ["OnActiveSec=1s", f"OnUnitActiveSec={job.every_s}s", "AccuracySec=1s"]
    else:
        lines += [f"OnCalendar={calendar(job, context.timezone)}", "Persistent=true", "AccuracySec=30s"]
    return "\n".join([*lines, "", "[Install]", "WantedBy=timers.target", ""])


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """Return a quoted word of a unit file."""
    return '"' + _specifiers(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- cron ----------------------------------------------------------------------------------------------------------


def cron_line(job: Job, context: Context) -> str:
    """Return the crontab line of a job; its output goes to syslog under the job's name.

    Raises:
        ScheduleError: the line would be longer than cron reads.
    """
    variables = [shlex.quote(f"{name}={value}") for name, value in sorted(context.environment.items())]
    argv = [shlex.quote(part) for part in (context.command, *context.arguments, job.playbook)]
    run = " ".join(["timeout", "-k", "30", str(job.limit_s), "env", *variables, *argv])
    command = f"cd {shlex.quote(context.project)} && {run} 2>&1 | logger -t {PREFIX}-{job.name}"
    if job.on in (FIRST_FRIDAY, QUARTER):
        # cron would join day of month and weekday with OR (see above). The first seven days contain one Friday.
        command = f'test "$(date +%d)" -le 7 && {command}'
    line = f"{_cron_time(job)} {command}".replace("%", r"\%")
    if len(line.encode()) > CRON_LINE_MAX:
        raise ScheduleError(msg("Job {name}: its line is longer than cron reads; use shorter paths", name=job.name))
    return line


def _cron_time(job: Job) -> str:
    if job.on == INTERVAL:
        minutes = job.every_s // 60
        return "0 * * * *" if minutes == 60 else "* * * * *" if minutes == 1 else f"*/{minutes} * * * *"
    hour, minute = (int(part) for part in job.at.split(":"))
    days = {DAILY: "* * *", FRIDAY: "* * 5", FIRST_FRIDAY: "* * 5", QUARTER: "* 1,4,7,10 5"}
    return f"{minute} {hour} {days[job.on]}"


BEGIN, END = f"# BEGIN {PREFIX}", f"# END {PREFIX}"


def render_crontab(current: str, lines: Sequence[str]) -> str:
    """Return a crontab with our block replaced and all other lines unchanged; no block without lines.

    Raises:
        ScheduleError: our block has no end, so that other lines might be in it.
    """
    other_lines: list[str] = []
    position: Optional[int] = None
    inside = False
    for line in current.splitlines():
        if line.rstrip() == BEGIN and not inside:
            inside, position = True, len(other_lines) if position is None else position
        elif line.rstrip() == END and inside:
            inside = False
        elif not inside:
            other_lines.append(line)
    if inside:
        raise ScheduleError(msg('The crontab has a line "{begin}" without "{end}": correct it', begin=BEGIN, end=END))
    block = [BEGIN, MARK, *lines, END] if lines else []
    at = len(other_lines) if position is None else position
    whole = [*other_lines[:at], *block, *other_lines[at:]]
    return "\n".join(whole) + "\n" if whole else ""
