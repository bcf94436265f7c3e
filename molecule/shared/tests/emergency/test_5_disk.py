"""A disk that is full: what is expired goes, the newest and the unknown stay, and who can't be helped is told."""

from __future__ import annotations

import json

from full_disk import OVER, fill
from machine import USER, Machine, Run
from records import Emergency, Untouched, climbed, diagnosis, steps


def run_on(emergency: Emergency, procedure: str, *args: str) -> Run:
    return emergency(procedure, "-e", json.dumps(OVER), *args)


def test_what_is_expired_goes_until_there_is_room(
    machine: Machine, disk: str, emergency: Emergency, untouched: Untouched
) -> None:
    fill(machine, expired=True)
    with untouched():
        run = run_on(emergency, "disk")
    assert run.rc == 0, run.output
    assert diagnosis(run) == {"alert": "disk", "scenario": "disk_full", "severity": "high", "level": "L4"}
    # Neither a lease nor evidence could be written before there was room.
    assert steps(run)["lease"]["status"] == "warn"
    assert steps(run)["evidence"]["status"] == "warn"
    assert climbed(run) == ["usage", "log_archives", "backups", "freed"]
    left = machine.out(f"cd {disk} && ls archive db logs; ls nobody-knows").split()
    assert "logs-20200101.tar.gz" not in left
    assert "logs-20201231.tar.gz" in left
    assert len([name for name in left if name.endswith(".sql.zst.age")]) == 1
    assert {"out.log", "nobody-knows"} <= set(left)
    assert int(machine.out(f"df --output=pcent {disk} | tail -1").strip(" %")) < 90


def test_check_mode_deletes_nothing(machine: Machine, disk: str, emergency: Emergency) -> None:
    fill(machine, expired=True)
    before = machine.out(f"find {disk} -type f | sort")
    run = run_on(emergency, "disk", "--check")
    assert {steps(run)[name]["status"] for name in ("log_archives", "backups")} == {"skipped"}
    assert machine.out(f"find {disk} -type f | sort") == before


def test_where_nothing_is_expired_it_is_told_what_fills_the_disk(
    machine: Machine, disk: str, emergency: Emergency, untouched: Untouched
) -> None:
    machine.out(
        f"systemd-run --quiet --unit=holder --uid={USER} sh -c"
        f" 'exec 3<>{disk}/gone; dd if=/dev/zero bs=1M count=8 >&3 2>/dev/null; rm {disk}/gone; exec sleep 300'"
    )
    held = "ls -l /proc/$(systemctl show -p MainPID --value holder)/fd | grep -F 'gone (deleted)'"
    machine.wait("the file to be deleted", lambda: machine.sh(held, check=False).returncode == 0)
    fill(machine, expired=False)
    before = machine.out(f"find {disk} -type f -not -name '*lock*' | sort")
    with untouched():
        run = run_on(emergency, "triage", "-e", "recover=true")
    assert run.rc != 0, run.output
    assert run.report
    assert run.report["record"]["procedure"] == "disk"
    assert diagnosis(run)["level"] == "L4"
    holder = machine.out("systemctl show -p MainPID --value holder")
    assert [str(one["pid"]) for one in steps(run)["usage"]["evidence"]["deleted"]] == [holder]
    assert machine.out(f"find {disk} -type f -not -name '*lock*' | sort") == before
