"""Timers and cron lines as text, and their installation."""

from __future__ import annotations

import re
import shlex
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.schedule import install as schedule_install
from orquestrador.schedule import plan as schedule
from orquestrador.schedule.plan import Context, Job, ScheduleError
from orquestrador.system.command import Completed

CONTEXT = Context("/srv/ops", "/srv/ops/.venv/bin/ansible-playbook", ["-i", "hosts.yml"], {"OPS_STATE_DIR": "/var/ops"})
DAILY = Job("daily", "playbooks/routine/daily.yml", schedule.DAILY, "09:00", limit_s=900)
WEEKLY = Job("weekly", "playbooks/routine/weekly.yml", schedule.FRIDAY, "17:00")
MONTHLY = Job("monthly", "playbooks/routine/monthly.yml", schedule.FIRST_FRIDAY, "14:00")
QUARTERLY = Job("quarterly", "playbooks/routine/quarterly.yml", schedule.QUARTER, "15:05")
WATCH = Job("watch", "playbooks/monitoring/watch.yml", schedule.INTERVAL, every_s=60)
ALL = (DAILY, WEEKLY, MONTHLY, QUARTERLY, WATCH)


@pytest.mark.parametrize(
    ("job", "calendar", "cron"),
    [
        (DAILY, "*-*-* 09:00:00 America/Sao_Paulo", "0 9 * * * cd"),
        (WEEKLY, "Fri *-*-* 17:00:00 America/Sao_Paulo", "0 17 * * 5 cd"),
        (MONTHLY, "Fri *-*-01..07 14:00:00 America/Sao_Paulo", "0 14 * * 5 test"),
        (QUARTERLY, "Fri *-01,04,07,10-01..07 15:05:00 America/Sao_Paulo", "5 15 * 1,4,7,10 5 test"),
        (WATCH, "", "* * * * * cd"),
        (WATCH._replace(every_s=300), "", "*/5 * * * * cd"),
        (WATCH._replace(every_s=3600), "", "0 * * * * cd"),
    ],
)
def test_times(job: Job, calendar: str, cron: str) -> None:
    assert schedule.calendar(job, "America/Sao_Paulo") == calendar
    assert schedule.cron_line(job, CONTEXT).startswith(cron + " ")


def cron_fires(line: str, day: date) -> bool:
    """Whether cron runs a line on a day, and its guard lets it: day of month and day of week as cron joins them."""
    _, _, dom, month, dow, command = line.split(" ", 5)
    matches = {"*": True}
    of_month = matches.get(dom, dom == str(day.day))
    of_week = matches.get(dow, dow == str(day.isoweekday() % 7))
    days = (of_month and of_week) if "*" in (dom, dow) else (of_month or of_week)
    months = month == "*" or str(day.month) in month.split(",")
    guard = 'test "$(date +\\%d)" -le 7 && ' in command
    return days and months and (not guard or int(f"{day:%d}") <= 7)


@given(st.dates(date(2020, 1, 1), date(2099, 12, 31)))
def test_first_friday_is_the_only_day_of_its_month(day: date) -> None:
    line = schedule.cron_line(MONTHLY, CONTEXT)
    days = [day.replace(day=1) + timedelta(days=n) for n in range(28)]
    fired = [day for day in days if cron_fires(line, day)]
    assert len(fired) == 1
    assert fired[0].weekday() == 4
    assert fired[0].day <= 7
    assert cron_fires(schedule.cron_line(QUARTERLY, CONTEXT), fired[0]) is (day.month in (1, 4, 7, 10))


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60))
def test_words_survive_cron_and_sh(argument: str) -> None:
    line = schedule.cron_line(DAILY, CONTEXT._replace(arguments=[argument], environment={"A": argument}))
    command = re.sub(r"\\%", "%", line.split(" ", 5)[5])
    assert "%" not in re.sub(r"\\%", "", line), "cron ends a command at a percent sign"
    words = shlex.split(command)
    assert argument in words
    assert f"A={argument}" in words


@pytest.mark.parametrize(
    ("argument", "written"),
    [
        ("plain", '"plain"'),
        ("two words", '"two words"'),
        ("100%", '"100%%"'),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("$HOME", '"$$HOME"'),
    ],
)
def test_words_of_a_unit(argument: str, written: str) -> None:
    unit = schedule.units([DAILY], CONTEXT._replace(arguments=[argument]), system=True)[
        "orquestrador-ops-daily.service"
    ]
    assert f'ExecStart="/srv/ops/.venv/bin/ansible-playbook" {written} "playbooks/routine/daily.yml"' in unit


def test_units_of_the_system_and_of_a_user() -> None:
    system = schedule.units(ALL, CONTEXT._replace(user="ops"), system=True)
    assert len(system) == 2 * len(ALL)
    assert "User=ops" in system["orquestrador-ops-daily.service"]
    assert "TimeoutStartSec=900" in system["orquestrador-ops-daily.service"]
    user = schedule.units(ALL, CONTEXT, system=False)
    assert "network-online" not in user["orquestrador-ops-daily.service"]
    for name, text in system.items():
        assert text.startswith(schedule.MARK), name
        catches_up = "Persistent=true" in text
        assert catches_up is (name.endswith(".timer") and "watch" not in name), "the watch makes up for nothing"
    assert "OnUnitActiveSec=60s" in system["orquestrador-ops-watch.timer"]


@pytest.mark.parametrize(
    ("jobs", "context", "cron", "problem"),
    [
        ([DAILY._replace(at="9:00")], CONTEXT, False, "'9:00' is not a time of day"),
        ([DAILY._replace(at="24:00")], CONTEXT, False, "'24:00' is not a time of day"),
        ([DAILY, DAILY], CONTEXT, False, "daily is defined twice"),
        ([DAILY._replace(name="../x")], CONTEXT, False, "'../x' is not a valid job name"),
        ([WATCH._replace(every_s=0)], CONTEXT, False, "not between 5 s and a day"),
        ([WATCH._replace(every_s=15)], CONTEXT, True, "cron can't run a job every 15"),
        ([WATCH._replace(every_s=420)], CONTEXT, True, "cron can't run a job every 420"),
        ([DAILY], CONTEXT._replace(user="root\nExecStart=x"), False, "user contains a line break"),
        ([DAILY], CONTEXT._replace(arguments=["a\nb"]), False, "argument 1 contains a line break"),
        (
            [DAILY],
            CONTEXT._replace(environment={"A B": "x"}),
            False,
            "A B is not a valid name of an environment variable",
        ),
        ([DAILY], CONTEXT._replace(environment={"A": "x\ny"}), False, "environment A contains a line break"),
    ],
)
def test_what_cannot_be_scheduled(jobs: list[Job], context: Context, cron: bool, problem: str) -> None:
    with pytest.raises(ScheduleError, match=re.escape(problem)):
        schedule.check(jobs, context, cron=cron)


def test_what_can_be_scheduled() -> None:
    schedule.check(ALL, CONTEXT, cron=True)
    schedule.check([WATCH._replace(every_s=15)], CONTEXT, cron=False)
    with pytest.raises(ScheduleError, match="longer than cron reads"):
        schedule.cron_line(DAILY, CONTEXT._replace(project="/x" * 600))


LINES = st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20), max_size=5).map(
    lambda lines: [line for line in lines if line.rstrip() not in (schedule.BEGIN, schedule.END)]
)


@given(LINES, LINES)
def test_crontab_keeps_other_lines(current: list[str], own_lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in current)
    once = schedule.render_crontab(text, own_lines)
    assert schedule.render_crontab(once, own_lines) == once
    assert schedule.render_crontab(once, []) == text
    assert schedule.render_crontab(once, ["new"]) == schedule.render_crontab(text, ["new"])
    assert all(line in once.splitlines() for line in own_lines)


def test_crontab_with_half_a_block_is_refused() -> None:
    with pytest.raises(ScheduleError, match="without"):
        schedule.render_crontab(f"{schedule.BEGIN}\n0 3 * * * somebody else's\n", ["x"])


# --- installation --------------------------------------------------------------------------------------------------


class FakeCommands:
    """Fake systemctl and crontab; the received commands are in ``commands``."""

    def __init__(self, crontab: str | None = None, *, running: bool = False) -> None:
        self.commands: list[str] = []
        self.crontab = crontab
        self.running = running
        self.fails = ""

    def __call__(self, argv: list[str], **_: Any) -> Completed:
        words = " ".join(argv)
        self.commands.append(words)
        if self.fails and self.fails in words:
            return Completed(1, b"", b"Access denied\n", False, False, None)
        if argv[0] == "crontab" and argv[-1] == "-l":
            if self.crontab is None:
                return Completed(1, b"", b"no crontab for ops\n", False, False, None)
            return Completed(0, self.crontab.encode(), b"", False, False, None)
        if argv[0] == "crontab" and argv[-1] == "-r":
            self.crontab = None
        elif argv[0] == "crontab":
            self.crontab = Path(argv[-1]).read_text(encoding="utf-8")
        asks = argv[1] in ("is-enabled", "is-active")
        return Completed(0 if self.running or not asks else 3, b"", b"", False, False, None)

    @property
    def changes(self) -> list[str]:
        return [words for words in self.commands if not re.search(r"is-enabled|is-active|show|-l$", words)]


def timers(tmp_path: Path, manager: FakeCommands) -> schedule_install.Timers:
    return schedule_install.Timers(str(tmp_path), user=False, run_command=manager)


def test_timers_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "orquestrador-ops-mine.timer").write_text("[Timer]\n")
    (tmp_path / "other.timer").write_text(schedule.MARK)
    manager = FakeCommands()
    units = schedule.units([DAILY, WATCH], CONTEXT, system=True)
    change = timers(tmp_path, manager).plan(units)
    assert change.needed
    assert manager.changes == [], "a plan changes nothing"
    timers(tmp_path, manager).apply(change)
    assert manager.changes == ["systemctl daemon-reload"] + [
        f"systemctl enable --now orquestrador-ops-{name}.timer" for name in ("daily", "watch")
    ]
    manager = FakeCommands(running=True)
    assert not timers(tmp_path, manager).plan(units).needed
    changed = schedule.units([DAILY._replace(at="10:00")], CONTEXT, system=True)
    timers(tmp_path, manager).apply(timers(tmp_path, manager).plan(changed))
    assert manager.changes == [
        "systemctl disable --now orquestrador-ops-watch.timer",
        "systemctl daemon-reload",
        "systemctl restart orquestrador-ops-daily.timer",
    ]
    timers(tmp_path, manager).apply(timers(tmp_path, manager).plan({}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["orquestrador-ops-mine.timer", "other.timer"]


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    units = schedule.units([DAILY], CONTEXT, system=True)
    (tmp_path / "elsewhere").write_text(schedule.MARK)
    (tmp_path / "orquestrador-ops-daily.timer").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ScheduleError, match="was not made by this schedule"):
        timers(tmp_path, FakeCommands()).plan(units)


def test_manager_that_refuses_is_named(tmp_path: Path) -> None:
    manager = FakeCommands()
    manager.fails = "daemon-reload"
    change = timers(tmp_path, manager).plan(schedule.units([DAILY], CONTEXT, system=True))
    with pytest.raises(ScheduleError, match="systemctl daemon-reload failed: Access denied"):
        timers(tmp_path, manager).apply(change)


def test_manager_that_does_not_answer_has_nothing_written(tmp_path: Path) -> None:
    manager = FakeCommands()
    manager.fails = "systemctl"
    change = timers(tmp_path, manager).plan(schedule.units([DAILY], CONTEXT, system=True))
    with pytest.raises(ScheduleError, match="systemctl show --property=Version failed"):
        timers(tmp_path, manager).apply(change)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("current", [None, "", "0 3 * * * mine\n"])
def test_crontab_comes_and_goes(tmp_path: Path, current: str | None) -> None:
    manager = FakeCommands(current)
    crontab = schedule_install.Crontab("ops", manager)
    line = schedule.cron_line(DAILY, CONTEXT)
    crontab.apply(crontab.plan([line]))
    assert manager.crontab is not None
    assert line in manager.crontab.splitlines()
    assert not crontab.plan([line]).needed
    crontab.apply(crontab.plan([]))
    assert (manager.crontab or "") == (current or "")


def test_without_cron_timers_can_be_had(tmp_path: Path) -> None:
    manager = FakeCommands()
    manager.fails = "crontab"
    crontab = schedule_install.Crontab("", manager)
    change = schedule_install.plan_schedule(
        timers(tmp_path, manager), schedule.units([DAILY], CONTEXT, system=True), crontab, []
    )
    assert change.needed
    assert len(change.diff()) == 2
    with pytest.raises(ScheduleError, match="crontab failed: Access denied"):
        schedule_install.plan_schedule(timers(tmp_path, manager), {}, crontab, ["x"])


def test_default_jobs_suit_timers_and_cron() -> None:
    role = yaml.safe_load((Path(__file__).parents[4] / "roles/schedule/defaults/main.yml").read_text())
    jobs = []
    for job_options in role["schedule_jobs"]:
        every = str(job_options.pop("every_s", 0))
        jobs.append(Job(every_s=int(role[every.strip("{} ")] if "{{" in every else every), **job_options))
    for cron in (False, True):
        schedule.check(jobs, CONTEXT, cron=cron)
    assert {job.name: job.every_s for job in jobs if job.every_s} == {"watch": 60, "sla": 300}
    assert all((Path(__file__).parents[4] / job.playbook).exists() for job in jobs if job.every_s)
