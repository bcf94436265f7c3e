"""The archive of the logs on a running application: every line is in exactly one place, whatever happens meanwhile."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machine import APP, DAILY, ERROR_LOG, PM2_HOME, PM2_UNIT, USER, WEBAPP, Background, Machine, Run, assert_same

Runner = Callable[..., Run]
ARCHIVE_LOGS = "playbooks/operation/archive_logs.yml"
LOGS = f"{WEBAPP}/logs"
ARCHIVES = f"{LOGS}/archive"


@pytest.fixture
def archive(run_clean: Runner, state: Path) -> Runner:
    def run(*args: str) -> Run:
        return run_clean(ARCHIVE_LOGS, "-e", "ops_locale=en", *args, state=state)

    return run


@pytest.fixture(autouse=True)
def begun_anew(machine: Machine) -> Iterator[None]:
    """No archive, nothing rotated, and logs that nobody wrote to for a moment."""
    machine.app(
        f"rm -rf {ARCHIVES}/*.gz logs/.*.spool logs/.*.kept logs/[!eo]*.log; for log in logs/*.log; do : > $log; done"
    )
    yield
    machine.settle()


def everywhere(machine: Machine, pattern: str) -> Counter[str]:
    """How often each match stands in the archives and the current logs, counted by tar and grep."""
    script = (
        f"cd {LOGS}; {{ cat *.log; for file in archive/*.gz; do tar -xOzf $file --exclude=manifest.json; done; }}"
        f" | grep -oE {shlex.quote(pattern)} | sort | uniq -c || true"
    )
    counted = (line.split(maxsplit=1) for line in machine.out(script, timeout=60).splitlines())
    return Counter({text: int(count) for count, text in counted})


def step(run: Run, name: str) -> str:
    """What the record says of a step: its note and evidence."""
    assert run.report, run.output
    (found,) = (item for item in run.report["record"]["steps"] if item["id"] == name)
    return json.dumps([found["note"], found["evidence"]])


def waiting(machine: Machine) -> list[str]:
    found = machine.out(f"find {LOGS} -name '.*.spool' -o -name '.partial*'").splitlines()
    return sorted(Path(path).name for path in found)


# Without dates before the lines: where a daemon that lags behind reads half a line, PM2 puts a date before the second
# half and throws the first one away, whoever archives.
WRITER = """
const total = 24000, started = Date.now(), who = `${process.argv[2]}${process.env.NODE_APP_INSTANCE || ''}`;
let i = 0;
setInterval(() => {
  const due = Math.min(total, (Date.now() - started) * 2);
  while (i < due) console.log(`${who} says ${(i += 1)}`);
}, 5);
"""


@pytest.fixture
def writers(machine: Machine) -> Iterator[list[str]]:
    """Processes of PM2 that write 2,000 numbered lines a second for 12 s, by their names: one in fork mode, where the
    daemon writes the log, and two in cluster mode, where each worker does."""
    machine.app("cat > /tmp/numbers.cjs", stdin=WRITER)
    for name, mode in (("fork", ""), ("cluster", "-i 2")):
        machine.app(
            f"pm2 start /tmp/numbers.cjs --name {name} {mode} --merge-logs -o logs/{name}.log -e logs/{name}-error.log"
            f" -- {name} >/dev/null"
        )
    yield ["fork0", "cluster0", "cluster1"]
    machine.app("pm2 delete fork cluster >/dev/null; rm -f /tmp/numbers.cjs logs/fork*.log logs/cluster*.log")


def test_every_line_is_in_one_place_while_it_is_being_written(
    machine: Machine, archive: Runner, writers: list[str]
) -> None:
    runs = [archive(), archive()]
    assert [run.rc for run in runs] == [0, 0], runs[-1].output
    assert runs[0].steps["logs_archive"] == "changed"
    for who in writers:
        machine.wait(f"the end of {who}", lambda who=who: everywhere(machine, rf"^{who} says 24000$"), 60)
    found = everywhere(machine, r"^(fork|cluster)[01] says [0-9]+$")
    assert found == Counter({f"{who} says {number}": 1 for who in writers for number in range(1, 24001)})
    names = machine.out(f"cd {ARCHIVES} && ls *.gz").split()
    day = machine.out("TZ=America/Sao_Paulo date +%Y%m%d")
    assert names == [f"logs-{day}-2.tar.gz", f"logs-{day}.tar.gz"]
    assert machine.out(f"cd {ARCHIVES} && gzip -t *.gz && stat -c '%a %U' *.gz | uniq") == f"640 {USER}"


def test_second_run_and_check_mode_change_nothing(machine: Machine, archive: Runner) -> None:
    machine.app("echo one >> logs/other.log")
    before = machine.fingerprint()
    assert archive("--check").rc == 0
    assert_same(before, machine.fingerprint())
    assert archive().changed == 1
    again = archive()
    assert (again.rc, again.changed) == (0, 0), again.output


def test_killed_while_it_compresses_it_is_finished_by_whoever_archives_next(machine: Machine, archive: Runner) -> None:
    machine.app("head -c 40M /dev/urandom | base64 > logs/big.log; echo precious >> logs/out.log")
    digest = machine.app("sha256sum < logs/big.log")
    run = Background(archive)
    partial = f"find {ARCHIVES} -name '.partial*' -size +100k"
    machine.wait("a half-written archive", lambda: machine.out(partial), 40)
    machine.sh(f"kill -KILL $(jq .pid {ARCHIVES}/.lock)")
    assert machine.out(f"ls {ARCHIVES}") == "", "nothing that looks like an archive"
    assert [name.split(".")[1] for name in waiting(machine) if name.endswith("spool")] == ["big", "out"]
    killed = run.result()
    assert killed.steps["logs_archive"] == "failed"
    # In the same run already: what PM2 keeps is archived by the same means.
    assert killed.steps["pm2_flush"] == "changed"
    assert waiting(machine) == []
    assert machine.app("tar -xOzf logs/archive/*.gz logs/big.log | sha256sum") == digest
    assert everywhere(machine, "precious") == Counter({"precious": 1})


def test_what_was_renamed_and_not_reopened_is_reopened_by_the_next_run(machine: Machine, archive: Runner) -> None:
    """A run that was killed between the two: PM2 writes on into the renamed log, and there is none under its name."""
    machine.app("mv logs/out.log logs/.out.log.20260102T030405Z-0a1b2c.spool")
    machine.debug("log?lines=50")
    assert machine.app("wc -l < logs/.out.log.*.spool") == "50"
    assert archive().rc == 0
    machine.debug("log?lines=51")
    assert waiting(machine) == []
    assert everywhere(machine, "line [0-9]+ of 5[01]$").total() == 101
    assert machine.app("grep -c 'of 51$' logs/out.log") == "51"


def test_full_disk_loses_nothing_and_says_so(machine: Machine, archive: Runner) -> None:
    machine.app("head -c 300000 /dev/urandom | base64 > logs/big.log; echo precious >> logs/out.log")
    digest = machine.app("sha256sum < logs/big.log")
    machine.sh(f"mkdir -p {ARCHIVES}; mount -t tmpfs -o size=64k,uid=$(id -u {USER}),mode=750 none {ARCHIVES}")
    try:
        full = archive()
        assert machine.out(f"ls {ARCHIVES}") == ""
    finally:
        machine.sh(f"umount {ARCHIVES}")
    assert full.steps["logs_archive"] == "failed"
    assert "no space left" in step(full, "logs_archive")
    assert len(waiting(machine)) == 2
    assert archive().rc == 0
    assert machine.app("tar -xOzf logs/archive/*.gz logs/big.log | sha256sum") == digest
    assert everywhere(machine, "precious") == Counter({"precious": 1})


def test_a_log_that_is_kept_open_stays_and_so_does_one_of_root(machine: Machine, archive: Runner) -> None:
    machine.app("echo first | tee logs/mine.log logs/hidden.log")
    machine.sh(f"echo first > {LOGS}/health-monitor.log")  # as root's cron leaves it
    for unit, user, log in (("mine", USER, "mine"), ("hidden", "root", "hidden")):
        endless = (
            f"exec 3>>{LOGS}/{log}.log; echo before >&3; while [ ! -e /run/go ]; do sleep 0.2; done; echo after >&3"
        )
        machine.sh(
            f"systemd-run --quiet --uid={user} --unit=holder-{unit} bash -c {shlex.quote(endless + '; sleep 60')}"
        )
    machine.wait(
        "both writers", lambda: len(everywhere(machine, "before")) and everywhere(machine, "before")["before"] == 2
    )
    try:
        run = archive()
        machine.sh("touch /run/go")
        machine.wait("their last words", lambda: everywhere(machine, "after")["after"] == 2)
    finally:
        machine.sh("rm -f /run/go; systemctl stop holder-mine holder-hidden")
    assert run.steps["logs_archive"] == "warn"
    assert re.search(r"mine\.log is kept open by (bash|sleep) \(process \d+\)", run.output), run.output
    assert "can't see" in step(run, "logs_archive")
    assert "belongs to {user}" in step(run, "logs_archive")
    assert len(waiting(machine)) == 1, "root's log waits for a later run"
    assert machine.out(f"cat {LOGS}/mine.log {LOGS}/hidden.log") == "\n".join(["first", "before", "after"] * 2)
    done = archive("-e", "logs_archive_quiet_s=1")
    assert waiting(machine) == [], step(done, "logs_archive")
    assert everywhere(machine, "^(first|before|after)$") == Counter({"first": 3, "before": 2, "after": 2})


EVENT = "{now} +00:00: [Jobs] Import {number} failed: Error: Simulated failure {word}\n"


def test_errors_from_before_an_archive_are_counted_by_the_next_daily(
    machine: Machine, archive: Runner, run_clean: Runner, state: Path
) -> None:
    def log(word: str) -> None:
        now = machine.out("date -u '+%F %T'")
        machine.sh(f"cat >> {ERROR_LOG}", user=USER, stdin=EVENT.format(now=now, number=1, word=word))

    def daily() -> dict[str, int]:
        logs = run_clean(DAILY, "-e", "ops_locale=en", state=state).snapshot["logs"]
        assert logs["window"]["complete"], logs
        return {name: logs[name] for name in ("errors", "errors_day")}

    before = daily()["errors_day"]
    log("alpha")
    assert daily() == {"errors": 1, "errors_day": before + 1}
    log("beta")
    assert archive().rc == 0
    log("gamma")
    assert archive().rc == 0
    log("delta")
    assert daily() == {"errors": 3, "errors_day": before + 4}
    assert daily() == {"errors": 0, "errors_day": before + 4}
    assert everywhere(machine, "Simulated failure [a-z]+").total() == 4


def test_logs_are_archived_without_pm2_and_none_is_started(machine: Machine, archive: Runner) -> None:
    kept = f"{PM2_HOME}/logs"
    machine.app(f"echo precious >> logs/out.log; echo old > {kept}/{APP}-out-7.log; echo other > {kept}/b-out.log")
    machine.out(f"systemctl stop {PM2_UNIT}", timeout=60)
    # A zone in which it is another day than on the host, whenever this runs.
    zone = "Etc/GMT+12" if int(machine.out("date -u +%H")) < 12 else "Etc/GMT-12"
    try:
        run = archive("-e", f"ops_timezone={zone}")
        day = machine.out(f"TZ={zone} date +%Y%m%d")
        assert machine.daemons() == []
    finally:
        machine.out(f"systemctl start {PM2_UNIT}", timeout=60)
    assert (run.steps["logs_archive"], run.steps["pm2_flush"]) == ("changed", "changed")
    assert "PM2 does not run" in step(run, "logs_archive")
    assert everywhere(machine, "precious|^old$") == Counter({"precious": 1, "old": 1})
    assert machine.app(f"ls {kept}; rm {kept}/b-out.log") == "b-out.log"
    names = machine.out(f"cd {ARCHIVES} && ls *.gz").split()
    assert names == [f"logs-{day}-2.tar.gz", f"logs-{day}.tar.gz"]
    assert machine.app(f"tar -tzf logs/archive/{names[0]} | grep -cF pm2.log") == "1"


def test_a_daemon_that_hangs_keeps_its_logs(machine: Machine, archive: Runner) -> None:
    machine.app("echo precious >> logs/out.log")
    pid = machine.out(f"cat {PM2_HOME}/pm2.pid")
    machine.sh(f"kill -STOP {pid}")
    try:
        started = time.monotonic()
        run = archive()
        assert time.monotonic() - started < 80
    finally:
        machine.sh(f"kill -CONT {pid}")
    assert run.steps["logs_archive"] == "warn"
    assert machine.app("cat logs/out.log") == "precious"
    assert machine.daemons() == [f"{pid} {USER}"]
