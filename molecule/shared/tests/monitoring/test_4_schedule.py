"""The schedule: timers and cron lines that fire when they should, and are gone without a trace when they should be.

The host of the tests stands for the controller here, because it has the systemd and the cron to try them on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from machine import HOME, USER, Machine, Run, Runner, assert_same

SCHEDULE = "playbooks/setup/schedule.yml"
# A blank, a percent sign and a dollar: what units and cron lines have to quote.
PROJECT = "/srv/ops 100% $5"
UNITS = "/etc/systemd/system"
FOREIGN = "# somebody else's\n0 3 * * * /usr/bin/true 100\\% of it\n"
# Stands for ansible-playbook, and says how it was called.
RECORDER = """#!/bin/sh
{ pwd; id -un; printf '%s\\n' "$ANSIBLE_CONFIG" "$OPS_STATE_DIR" "$OPS_OPERATOR" "$@"; } > /tmp/scheduled
"""


@pytest.fixture(scope="module", autouse=True)
def project(machine: Machine) -> Iterator[None]:
    """A checkout on the host, as far as a schedule looks at it."""
    quoted = f"'{PROJECT}'"
    for folder in ("playbooks/routine", "playbooks/monitoring", ".venv/bin"):
        machine.out(f"mkdir -p {quoted}/{folder}")
    for playbook in ("routine/daily", "routine/weekly", "routine/monthly", "monitoring/watch"):
        machine.out(f"touch {quoted}/playbooks/{playbook}.yml")
    machine.out(f"cat > {quoted}/.venv/bin/ansible-playbook; chmod 755 {quoted}/.venv/bin/*", stdin=RECORDER)
    machine.out(f"crontab -u {USER} -", stdin=FOREIGN)
    machine.out(f"touch {UNITS}/orquestrador-ops-mine.timer")
    yield
    machine.out(
        f"rm -rf {quoted} /tmp/scheduled {UNITS}/orquestrador-ops-*; crontab -u {USER} -r; systemctl daemon-reload"
    )


@pytest.fixture
def schedule(run_clean: Runner, machine: Machine, state: Path) -> Runner:
    """Run the playbook against the host."""

    def run(*args: str, **options: Any) -> Run:
        told = {
            "schedule_host": machine.name,
            "schedule_become": True,
            "schedule_user": USER,
            "schedule_project_dir": PROJECT,
            "schedule_inventory": "/etc/ops/hosts.yml",
            "schedule_vault_password_file": "/etc/ops/vault password",
            "schedule_state_dir": "/var/lib/ops",
            **options,
        }
        return run_clean(SCHEDULE, *args, "-e", json.dumps(told), state=state)

    return run


def ours(machine: Machine) -> list[str]:
    return machine.out(f"cd {UNITS} && ls | grep ^orquestrador-ops- || true").splitlines()


def crontab(machine: Machine) -> str:
    return machine.sh(f"crontab -u {USER} -l").stdout


def test_timers_are_installed_once_and_are_what_systemd_understands(schedule: Runner, machine: Machine) -> None:
    before = machine.fingerprint()
    planned = schedule("--check")
    assert planned.rc == 0, planned.output
    assert planned.changed == 1
    assert_same(before, machine.fingerprint())

    run = schedule()
    assert run.rc == 0, run.output
    names = ["daily", "monthly", "watch", "weekly"]
    files = sorted([f"orquestrador-ops-{name}.{kind}" for name in names for kind in ("service", "timer")])
    assert [name for name in ours(machine) if "mine" not in name] == files, "the quarterly one has no playbook"
    units = " ".join(f"{UNITS}/{name}" for name in files)
    assert machine.out(f"systemd-analyze verify {units} 2>&1 | grep orquestrador || true") == ""
    assert machine.out(f"stat -c '%a %U' {units} | sort -u") == "644 root"
    timers = [name for name in files if name.endswith("timer")]
    assert machine.out(f"systemctl is-active {' '.join(timers)}").split() == ["active"] * len(timers)
    assert machine.out(f"systemctl is-enabled {' '.join(timers)}").split() == ["enabled"] * len(timers)
    assert "password" not in machine.out(f"cat {units}").replace("/etc/ops/vault password", "").replace(
        "--vault-password-file", ""
    )

    # The watch ran at once: its words arrived as they were meant, whatever is in them.
    machine.wait("the watch to run", lambda: machine.out("cat /tmp/scheduled 2>/dev/null || true"), 10)
    assert machine.out("cat /tmp/scheduled").splitlines() == [
        PROJECT,
        USER,
        f"{PROJECT}/ansible.cfg",
        "/var/lib/ops",
        "schedule",
        "-i",
        "/etc/ops/hosts.yml",
        "--vault-password-file",
        "/etc/ops/vault password",
        "playbooks/monitoring/watch.yml",
    ]
    again = schedule()
    assert again.rc == 0, again.output
    assert again.changed == 0
    assert schedule("--check").changed == 0


def test_monthly_timer_is_the_first_friday(machine: Machine) -> None:
    """By the calendar of systemd itself, two years on."""
    timer = f"{UNITS}/orquestrador-ops-monthly.timer"
    asked = f"systemd-analyze calendar --iterations=24 \"$(sed -n 's/^OnCalendar=//p' {timer})\""
    script = f"{asked} | sed -nE 's/.*(elapse|#[0-9]+): (.*) UTC$/\\2/p'"
    days = [datetime.strptime(line, "%a %Y-%m-%d %H:%M:%S") for line in machine.out(script).splitlines()]
    assert len(days) == 24
    for day in days:
        local = day.replace(tzinfo=UTC).astimezone(ZoneInfo("America/Sao_Paulo"))
        assert (local.weekday(), local.hour, local.minute) == (4, 14, 0)
        assert local.day <= 7
    assert len({(day.year, day.month) for day in days}) == 24, "one a month"


def test_cron_takes_over_and_leaves_the_timers_nothing(schedule: Runner, machine: Machine) -> None:
    run = schedule(schedule_kind="cron")
    assert run.rc == 0, run.output
    assert ours(machine) == ["orquestrador-ops-mine.timer"], "nothing runs twice, and nobody else's is touched"
    held = crontab(machine)
    assert held.startswith(FOREIGN)
    lines = {line.rsplit("-", 1)[1]: line for line in held.splitlines() if "logger" in line}
    assert list(lines) == ["daily", "weekly", "monthly", "watch"]
    assert schedule(schedule_kind="cron").changed == 0

    # Run as cron runs them: by sh, the percent sign without its backslash, on two Fridays.
    assert lines["monthly"].startswith("0 14 * * 5 test ")
    command = lines["monthly"].split(" ", 5)[5].replace("\\%", "%")
    for date, fires in (("2026-05-01", True), ("2026-05-08", False), ("2026-08-07", True)):
        script = f'rm -f /tmp/scheduled; date() {{ command date -d {date} "$@"; }}\n{command}\ntrue'
        machine.out(f"runuser -u {USER} -- sh", stdin=script)
        assert (machine.sh("test -s /tmp/scheduled", check=False).returncode == 0) is fires, date
    assert "playbooks/routine/monthly.yml" in machine.out("cat /tmp/scheduled")
    assert PROJECT in machine.out("cat /tmp/scheduled")

    removed = schedule(schedule_kind="cron", schedule_state="absent")
    assert removed.rc == 0, removed.output
    assert removed.changed == 1
    assert crontab(machine) == FOREIGN
    assert schedule(schedule_kind="cron", schedule_state="absent").changed == 0


def test_absent_removes_exactly_the_timers(schedule: Runner, machine: Machine) -> None:
    before = machine.fingerprint()
    assert schedule().rc == 0
    run = schedule(schedule_state="absent")
    assert run.rc == 0, run.output
    assert run.changed == 1
    assert ours(machine) == ["orquestrador-ops-mine.timer"]
    same = [line for line in machine.fingerprint() if not line.startswith(f"file {UNITS} ")]
    gone = [line for line in before if not line.startswith(f"file {UNITS} ")]
    assert [line for line in same if "timers.target.wants" not in line] == [
        line for line in gone if "timers.target.wants" not in line
    ]
    assert machine.out("systemctl list-timers --all --no-legend | grep orquestrador || true") == ""
    assert schedule(schedule_state="absent").changed == 0


@pytest.fixture
def user_manager(machine: Machine) -> Iterator[str]:
    """A systemd of the user's own; the machine has no logind to start one."""
    directory = f"/run/user/{machine.out(f'id -u {USER}')}"
    machine.out(
        f"install -d -m 700 -o {USER} {directory}; systemd-run --quiet --unit=test-user-manager -p User={USER}"
        f" -p Type=notify -p Delegate=yes -p Environment=XDG_RUNTIME_DIR={directory} /usr/lib/systemd/systemd --user"
    )
    yield f"XDG_RUNTIME_DIR={directory} systemctl --user"
    machine.out(f"systemctl stop test-user-manager; rm -rf {directory} {HOME}/.config/systemd")


def test_timers_of_a_user(schedule: Runner, machine: Machine, user_manager: str) -> None:
    own = {"schedule_kind": "systemd_user", "schedule_become": False}
    assert schedule(**own).changed == 1
    assert schedule(**own).changed == 0
    listed = machine.out(f"{user_manager} list-timers --all --no-legend", user=USER)
    assert all(f"orquestrador-ops-{name}.timer" in listed for name in ("daily", "weekly", "monthly", "watch"))
    assert ours(machine) == ["orquestrador-ops-mine.timer"], "the system's own are left alone"
    assert schedule(schedule_state="absent", **own).changed == 1
    assert machine.out(f"{user_manager} list-timers --all --no-legend", user=USER) == ""
    assert machine.out(f"find {HOME}/.config/systemd -type f") == ""


def test_what_cannot_be_scheduled_is_refused_in_a_line(schedule: Runner, machine: Machine) -> None:
    too_often = schedule(schedule_kind="cron", schedule_watch_interval_s=15)
    assert too_often.rc != 0
    assert "o cron não consegue executar uma tarefa a cada 15 s" in " ".join(too_often.output.split())
    nobody = schedule(schedule_kind="systemd_user", schedule_become=False)
    assert nobody.rc != 0
    assert "systemctl --user show --property=Version falhou" in " ".join(nobody.output.split())
    assert machine.out(f"find {HOME}/.config -name 'orquestrador-ops-*'") == ""
    nowhere = schedule(schedule_project_dir="/srv/nowhere")
    assert nowhere.rc != 0
    assert "/srv/nowhere não existe" in " ".join(nowhere.output.split())
    machine.out(f"touch {UNITS}/orquestrador-ops-daily.timer")
    try:
        foreign = schedule()
    finally:
        machine.out(f"rm {UNITS}/orquestrador-ops-daily.timer")
    assert foreign.rc != 0
    assert "orquestrador-ops-daily.timer existe e não foi criado por este agendamento" in " ".join(
        foreign.output.split()
    )
    assert ours(machine) == ["orquestrador-ops-mine.timer"]
