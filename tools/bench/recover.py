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
    """A fault: its command on the lab, and the procedure that repairs it."""

    figure: str
    title: str
    command: str
    procedure: str


STOP_DATABASE = "sudo systemctl stop mysql 2>/dev/null || sudo systemctl stop mariadb"
FAULTS = (
    Fault("recover_stopped_s", "application stopped", "pm2 stop {app} >/dev/null", "offline"),
    Fault("recover_hung_s", "application hangs (SIGSTOP)", f"kill -STOP {APP_PID}", "offline"),
    Fault(
        # Without systemd's restart, or there would be nothing to recover.
        "recover_daemon_s",
        "PM2's daemon killed",
        "echo '[Service]\nRestart=no' | sudo install -D /dev/stdin /run/systemd/system/pm2-$USER.service.d/bench.conf"
        f" && sudo systemctl daemon-reload && kill -KILL {PM2_PID}",
        "offline",
    ),
    Fault("recover_mysql_s", "database stopped", STOP_DATABASE, "database"),
)
LITERAL = "cd {folder} && pm2 stop {app}; sleep 5; pm2 start ecosystem.config.cjs; sleep 15; ./health-monitor.sh"


class HealthClient(threading.Thread):
    """Polls the health endpoint as a client; records since when the application is healthy again."""

    def __init__(self, host: str) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection(host, PORT, timeout=1)
        self._ended = threading.Event()
        self.healthy_since: float | None = None

    def run(self) -> None:
        while not self._ended.is_set():
            if not self._is_healthy():
                self.healthy_since = None
            elif self.healthy_since is None:
                self.healthy_since = time.perf_counter()
            time.sleep(POLL_S)

    def _is_healthy(self) -> bool:
        try:
            self._connection.request("GET", PATH)
            return json.load(self._connection.getresponse()).get("database") == "connected"
        except (OSError, ValueError, http.client.HTTPException):
            return False
        finally:
            self._connection.close()

    def end(self) -> float:
        """Return since when it is healthy. Raises ``CannotMeasureError`` if it is not."""
        until = time.monotonic() + 10
        while self.healthy_since is None and time.monotonic() < until:
            time.sleep(POLL_S)
        self._ended.set()
        self.join()
        if self.healthy_since is None:
            raise CannotMeasureError("the application is not well after the procedure")
        return self.healthy_since


def measure_recovery(lab: Lab, work: Path, fault: Fault) -> float:
    """Return seconds from the fault until the procedure and an independent client have seen the application healthy."""
    settings = environment(work, OPS_STATE_DIR=str(work / "state"))
    lab.run(fault.command.format(app=lab.app))
    started = time.perf_counter()
    client = HealthClient(lab.host)
    client.start()
    # More recoveries than the breaker allows in an hour.
    argv = ["ansible-playbook", f"playbooks/emergency/{fault.procedure}.yml", "-e", "close_breaker=true"]
    timed(argv, settings, work / f"{fault.figure}.log")
    ended = time.perf_counter()
    return max(ended, client.end()) - started


def measure_commands(lab: Lab) -> float:
    """Return seconds of the playbook's commands as written, with a stopped application."""
    lab.run(FAULTS[0].command.format(app=lab.app))
    started = time.perf_counter()
    lab.run(LITERAL.format(folder=lab.folder, app=lab.app))
    return time.perf_counter() - started


def bench_recover(lab: Lab, work: Path, runs: int) -> dict[str, float]:
    """Measure each fault ten times, in turns, so that other load of the machine affects all of them."""
    rounds = max(runs, ROUNDS)
    seconds: dict[str, list[float]] = {fault.figure: [] for fault in FAULTS}
    written: list[float] = []
    for number in range(1, rounds + 1):
        for fault in FAULTS:
            seconds[fault.figure].append(measure_recovery(lab, work, fault))
            lab.run(MEND)
        if number <= LITERAL_ROUNDS:
            written.append(measure_commands(lab))
        last = ", ".join(f"{figure[8:-2]} {values[-1]:.1f} s" for figure, values in seconds.items())
        say(f"  round {number} of {rounds}: {last}")
    rows: list[tuple[str, ...]] = [("fault", "min s", "median s", "max s")]
    rows += [(fault.title, *spread(seconds[fault.figure])) for fault in FAULTS]
    rows += [("application stopped, the playbook's commands as written", *spread(written))]
    say()
    table(rows)
    figures = {figure: statistics.median(values) for figure, values in seconds.items()}
    by_hand = statistics.median(written)
    return {
        **figures,
        "recover_playbook_s": by_hand,
        "recover_stopped_vs_playbook": figures["recover_stopped_s"] / by_hand,
    }
