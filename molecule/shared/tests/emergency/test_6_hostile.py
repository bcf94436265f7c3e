"""The application's user is hostile: what root reads of it, runs because of it, and ends at its word."""

from __future__ import annotations

from faults import ENTRY, Faults
from machine import APP, HOME, USER, Machine
from records import Emergency, Untouched, climbed, steps

# Processes that work as somebody and may become root again.
_HALF_ROOT = """for status in /proc/[0-9]*/status; do
awk '/^Name:/ {name=$2} /^Uid:/ && ($2 == 0 || $4 == 0) && $3 != 0 {print name, $2, $3, $4, $5}' $status 2>/dev/null \\
|| true; done"""


def test_nothing_in_the_logins_home_is_imported(
    machine: Machine, faults: Faults, emergency: Emergency, untouched: Untouched
) -> None:
    """An SSH login starts there, and sudo stays there."""
    faults.plant_modules()
    machine.out(f"cd {HOME} && python3 -c 'import json'; test -s /var/tmp/imported && rm /var/tmp/imported", user=USER)
    with untouched():
        run = emergency("triage")
    assert run.rc == 0, run.output
    machine.out(f"test -f {HOME}/json.py && test ! -e /var/tmp/imported")


def test_a_pm2_that_vanishes_as_it_is_asked_is_not_started_anew(
    machine: Machine, faults: Faults, emergency: Emergency
) -> None:
    """A command of PM2 would start a daemon then, by root; what is not seen is said, and diagnosed without."""
    daemons = machine.daemons()
    faults.impersonate_pm2("rubbish")
    run = emergency("triage")
    assert steps(run)["triage"]["evidence"]["alert"] == "offline", run.output
    assert machine.daemons() == daemons
    assert machine.out(_HALF_ROOT) == ""


def test_a_process_of_root_that_pm2_names_is_left_alone(machine: Machine, faults: Faults, emergency: Emergency) -> None:
    named = faults.bystander()
    faults.halt()
    faults.impersonate_pm2("names", APP, named, ENTRY)
    run = emergency("offline", "-e", "report_budget_s=50")
    assert "end_hung" in climbed(run), run.output
    assert int(machine.out("systemctl show -p MainPID --value bystander")) == named
    told = steps(run)["end_hung"]
    assert told["status"] == "failed"
    assert told["note"][0]["args"] == {"pid": str(named), "user": "root", "owner": USER}
    assert len(climbed(run)) > 1, "the ladder goes on"
