"""Recovery: from a fault to proven health, by the emergency procedures and by the playbook's commands as written."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tools.bench.common import CannotMeasureError, environment, say, spread, table, timed
from tools.bench.lab import MEND, Lab

ROUNDS = 10
LITERAL_ROUNDS = 3
POLL_S = 0.02
# Where the lab publishes the application on this machine.
PORT, PATH = int(os.environ.get("LAB_APP_PORT") or 3001), "/api/health"
PM2_PID = "$(cat ~/.pm2/pm2.pid)"
APP_PID = "$(pgrep -u $USER -f '^node .*/dist/server/index.js')"


class Fault(NamedTuple):
    """What is broken, by which command on the lab, and which procedure mends it."""

    figure: str
    title: str
    command: str
    procedure: str


STOP_DATABASE = "sudo systemctl stop mysql 2>/dev/null || sudo systemctl stop mariadb"
FAULTS = (
    Fault("recover_stopped_s", "application stopped", "pm2 stop {app} >/dev/null", "offline"),
    Fault("recover_hung_s", "application hangs (SIGSTOP)", f"kill -STOP {APP_PID}", "offline"),
    Fault(
        # Told not to start again by itself, or there would be nothing to recover.
        "recover_daemon_s",
        "PM2's daemon killed",
        "echo '[Service]\nRestart=no' | sudo install -D /dev/stdin /run/systemd/system/pm2-$USER.service.d/bench.conf"
        f" && sudo systemctl daemon-reload && kill -KILL {PM2_PID}",
        "offline",
    ),
    Fault("recover_mysql_s", "database stopped", STOP_DATABASE, "database"),
)
LITERAL = "cd {folder} && pm2 stop {app}; sleep 5; pm2 start ecosystem.config.cjs; sleep 15; ./health-monitor.sh"


class Watch(threading.Thread):
    """Asks the health address as a client does; knows when the application was seen well last after it was not."""

    def __init__(self, host: str) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(host, PORT, timeout=1)
        self._ended = threading.Event()
        self.well_since: float | None = None

    def run(self) -> None:
        while not self._ended.is_set():
            if not self._well():
                self.well_since = None
            elif self.well_since is None:
                self.well_since = time.perf_counter()
            time.sleep(POLL_S)

    def _well(self) -> bool:
        try:
            self._connection.request("GET", PATH)
            return json.load(self._connection.getresponse()).get("database") == "connected"
        except (OSError, ValueError, http.client.HTTPException):
            return False
        finally:
            self._connection.close()

    def end(self) -> float:
        """When it was well for good; a benchmark of something that is not well measures nothing."""
        until = time.monotonic() + 10
        while self.well_since is None and time.monotonic() < until:
            time.sleep(POLL_S)
        self._ended.set()
        self.join()
        if self.well_since is None:
            raise CannotMeasureError("the application is not well after the procedure")
        return self.well_since


def recovered(lab: Lab, work: Path, fault: Fault) -> float:
    """Seconds from the fault until the procedure has proven health and a client of its own sees it, too."""
    settings = environment(work, OPS_STATE_DIR=str(work / "state"))
    lab.run(fault.command.format(app=lab.app))
    began = time.perf_counter()
    watch = Watch(lab.host)
    watch.start()
    # More recoveries than an hour may have.
    argv = ["ansible-playbook", f"playbooks/emergency/{fault.procedure}.yml", "-e", "close_breaker=true"]
    timed(argv, settings, work / f"{fault.figure}.log")
    ended = time.perf_counter()
    return max(ended, watch.end()) - began


def literal(lab: Lab) -> float:
    """Seconds that the commands of the playbook take as they are written, from a stopped application."""
    lab.run(FAULTS[0].command.format(app=lab.app))
    began = time.perf_counter()
    lab.run(LITERAL.format(folder=lab.folder, app=lab.app))
    return time.perf_counter() - began


def bench_recover(lab: Lab, work: Path, runs: int) -> dict[str, float]:
    """Each fault ten times, one after another, so that what else the machine does hits all of them."""
    rounds = max(runs, ROUNDS)
    found: dict[str, list[float]] = {fault.figure: [] for fault in FAULTS}
    written: list[float] = []
    for number in range(1, rounds + 1):
        for fault in FAULTS:
            found[fault.figure].append(recovered(lab, work, fault))
            lab.run(MEND)
        if number <= LITERAL_ROUNDS:
            written.append(literal(lab))
        last = ", ".join(f"{figure[8:-2]} {values[-1]:.1f} s" for figure, values in found.items())
        say(f"  round {number} of {rounds}: {last}")
    rows: list[tuple[str, ...]] = [("fault", "min s", "median s", "max s")]
    rows += [(fault.title, *spread(found[fault.figure])) for fault in FAULTS]
    rows += [("application stopped, the playbook's commands as written", *spread(written))]
    say()
    table(rows)
    figures = {figure: statistics.median(values) for figure, values in found.items()}
    by_hand = statistics.median(written)
    return {
        **figures,
        "recover_playbook_s": by_hand,
        "recover_stopped_vs_playbook": figures["recover_stopped_s"] / by_hand,
    }
