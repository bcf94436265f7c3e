"""The machine under test, seen and handled from outside: SSH for the host, ansible-playbook for the product.

Nothing here uses the project's own modules to look at the host: what they say is what is being tested.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
FINGERPRINT = (Path(__file__).parent / "fingerprint.sh").read_text()
DAILY = "playbooks/routine/daily.yml"
BOOTSTRAP = "playbooks/setup/bootstrap.yml"
BACKUP = "playbooks/operation/backup.yml"
VERIFY = "playbooks/operation/verify_backup.yml"
RESTORE = "playbooks/operation/restore.yml"

APP = "orquestrador-v3"
USER = "flavio"
HOME = f"/home/{USER}"
WEBAPP = f"{HOME}/webapp"
PM2_HOME = f"{HOME}/.pm2"
PM2_UNIT = "pm2-flavio.service"
CRITICAL = f"{WEBAPP}/backups/critical"
BACKUPS = f"{WEBAPP}/backups/db"
CREDENTIAL = f"{HOME}/.config/orquestrador-ops/mysql.cnf"
ERROR_LOG = f"{WEBAPP}/logs/error.log"
HEALTH = "http://127.0.0.1:3001/api/health"

# In the environment of the application, which PM2 keeps and hands to whoever asks for its state.
MARKER_VARIABLE = "OPS_TEST_MARKER"
DATABASE = "orquestrador_ia"
OPS_ACCOUNT = "orquestrador_ops"
CHECKS = (
    "pm2.daemon",
    "pm2.online",
    "pm2.restarts",
    "port.open",
    "http.status",
    "http.latency",
    "app.status",
    "app.database",
    "mysql.reachable",
    "mysql.connections",
    "memory.app",
    "cpu.app",
    "host.memory",
    "host.disk",
    "logs.errors",
)


def damaging(path: str, at: int = 5000) -> str:
    """A shell command that turns one byte of a file into another, which a fixed byte would not do once in 256 times."""
    script = f"f = open({path!r}, 'r+b'); f.seek({at}); b = f.read(1)[0]; f.seek({at}); f.write(bytes([b ^ 255]))"
    return f"python3 -c {shlex.quote(script)}"


@dataclass(frozen=True)
class Machine:
    """One scenario's machine; ``state`` is where its keys, inventory and secrets lie on this side."""

    name: str
    state: Path
    database: str  # mysql | mariadb

    @property
    def inventory(self) -> Path:
        return self.state / "hosts.yml"

    def sh(
        self, script: str, *, user: str = "root", stdin: str = "", timeout: float = 30, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script on the host; secrets go through ``stdin``, never into the script."""
        bounded = f"cd / && exec timeout -k 5 {int(timeout)} bash -euo pipefail -c {shlex.quote(script)}"
        command = bounded if user == USER else f"exec sudo -n -H -u {user} bash -c {shlex.quote(bounded)}"
        argv = ["ssh", "-F", str(self.state / "ssh_config"), "-o", "ConnectTimeout=10", "-o", "ControlMaster=auto"]
        done = subprocess.run(
            [*argv, "-o", "ControlPersist=60", self.name, command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout + 20,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"on {self.name}, status {done.returncode}: {script}\n{done.stdout}{done.stderr}")
        return done

    def reboot(self) -> None:
        """Restart the machine, which is a container here, and wait until it lets somebody in again."""
        argv = [] if os.geteuid() == 0 else ["sudo", "-n"]
        subprocess.run(
            [*argv, "podman", "restart", "--time", "20", self.name], capture_output=True, timeout=120, check=True
        )
        leave = ["ssh", "-F", str(self.state / "ssh_config"), "-O", "exit", self.name]
        subprocess.run(leave, capture_output=True, timeout=20, check=False)  # the connection of before the restart
        self.wait("the machine to be up", lambda: self.sh("true", check=False).returncode == 0)

    def out(self, script: str, **options: Any) -> str:
        """What a script prints."""
        return self.sh(script, **options).stdout.strip()

    def app(self, script: str, **options: Any) -> str:
        """What a script prints that runs as the application's user in its directory."""
        return self.out(f"cd {WEBAPP} && {script}", user=USER, **options)

    def sql(self, statement: str) -> list[str]:
        """Rows of a statement run by the database's root, columns separated by tabs."""
        client = "mysql" if self.database == "mysql" else "mariadb"
        return self.out(f"{client} --batch --skip-column-names", stdin=statement).splitlines()

    def grants(self, account: str = f"'{OPS_ACCOUNT}'@'localhost'") -> dict[str, set[str]]:
        """What an account may do: privileges by object, ``USAGE`` (nothing) left out."""
        found: dict[str, set[str]] = {}
        for line in self.sql(f"SHOW GRANTS FOR {account}"):
            match = re.match(r"GRANT (.+?) ON (\S+) TO ", line)
            assert match, line
            privileges = set(match[1].split(", ")) - {"USAGE"}
            if "WITH GRANT OPTION" in line:
                privileges.add("GRANT OPTION")
            if privileges:
                found.setdefault(match[2].replace("`", "").replace("\\", ""), set()).update(privileges)
        return found

    def least_grants(self) -> dict[str, set[str]]:
        """What the operations account needs to observe and to dump, and nothing more."""
        everywhere, own = {"PROCESS"}, {"SELECT", "SHOW VIEW", "TRIGGER", "EVENT"}
        if self.database == "mysql":
            everywhere.add("SHOW_ROUTINE")
        else:
            own.add("SHOW CREATE ROUTINE")
        return {"*.*": everywhere, f"{DATABASE}.*": own}

    def pids(self) -> list[int]:
        """Processes of the application as the kernel knows them."""
        found = self.sh(f"pgrep -u {USER} -f '^node .*{WEBAPP}/dist/server/index.js'", check=False).stdout
        return [int(pid) for pid in found.split()]

    def daemons(self) -> list[str]:
        """Every PM2 daemon on the host, ``pid user``."""
        return self.out("ps -eo pid=,user=,args= | awk '/God Daemon/ && !/awk/ {print $1, $2}'").splitlines()

    def health(self) -> dict[str, Any]:
        """The health endpoint's answer, asked on the host itself; ``{}`` when there is none."""
        done = self.sh(f"curl -s -m 3 {HEALTH}", user=USER, check=False)
        with contextlib.suppress(ValueError):
            answer = json.loads(done.stdout)
            return answer if isinstance(answer, dict) else {}
        return {}

    def wait_healthy(self, timeout: float = 45) -> None:
        """Wait until the application answers and has its database."""
        self.wait("the application to be healthy", lambda: self.health().get("database") == "connected", timeout)

    def wait(self, what: str, happened: Callable[[], Any], timeout: float = 60) -> None:
        """Poll until something happened; AssertionError when it did not."""
        deadline = time.monotonic() + timeout
        while not happened():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout:.0f} s for {what}\n{self.journal()}")
            time.sleep(0.3)

    def debug(self, path: str, timeout: float = 30) -> dict[str, Any]:
        """Use the application's debug door; its token stays on the host."""
        script = (
            "{ printf 'header = \"Authorization: Bearer '; "
            f"sed -n 's/^APP_DEBUG_TOKEN=//p' {WEBAPP}/.env | tr -d '\\n'; echo '\"'; }} | "
            f"curl -sS --fail -m {int(timeout)} -K - -X POST 'http://127.0.0.1:3001/api/debug/{path}'"
        )
        answer: dict[str, Any] = json.loads(self.out(script, user=USER, timeout=timeout + 5))
        return answer

    def settle(self) -> None:
        """Leave nothing for the next test to see: healthy, no counted restarts, no logged errors."""
        self.wait_healthy()
        self.app(f"pm2 reset {APP} >/dev/null; for log in logs/error*.log; do : > $log; done")

    def fingerprint(self) -> list[str]:
        """Everything on the host that a playbook could change."""
        return self.out(FINGERPRINT, timeout=60).splitlines()

    def journal(self) -> str:
        """The last words of the services and of the application."""
        return self.sh(
            f"journalctl --no-pager -q -n 25 -u {PM2_UNIT} -u mysql.service -u mariadb.service;"
            f" echo '--- {ERROR_LOG}'; tail -n 25 {ERROR_LOG}; echo '--- processes';"
            f" ps -u {USER} -o pid,stat,rss,etime,args | grep -v ssh",
            check=False,
        ).stdout


@dataclass
class Run:
    """One ansible-playbook: how it ended, what it printed, what it left on this side."""

    rc: int
    output: str
    seconds: float
    state: Path
    report: dict[str, Any] | None = None
    files: list[Path] = field(default_factory=list)

    @property
    def statuses(self) -> dict[str, str]:
        """Status of every check."""
        return {check["id"]: check["status"] for check in self._verdict["checks"]}

    @property
    def steps(self) -> dict[str, str]:
        assert self.report, self.output
        return {step["id"]: step["status"] for step in self.report["record"]["steps"]}

    @property
    def _verdict(self) -> dict[str, Any]:
        assert self.report, self.output
        assert self.report["verdict"], self.output
        verdict: dict[str, Any] = self.report["verdict"]
        return verdict

    @property
    def procedure(self) -> str:
        return str(self._verdict["procedure"])

    @property
    def snapshot(self) -> dict[str, Any]:
        assert self.report, self.output
        snapshot: dict[str, Any] = self.report["snapshot"]
        return snapshot

    def check(self, check_id: str) -> dict[str, Any]:
        return next(check for check in self._verdict["checks"] if check["id"] == check_id)

    @property
    def changed(self) -> int:
        """Changed tasks, of the recap."""
        return sum(int(number) for number in re.findall(r"\bchanged=(\d+)", self.output))


def assert_same(before: list[str], after: list[str]) -> None:
    """Two fingerprints of a host are the same."""
    changes = [line for line in difflib.unified_diff(before, after, lineterm="", n=0) if line[0] in "+-"]
    assert not changes, "\n".join(changes[:40])


class Background:
    """A run of a playbook beside the test."""

    def __init__(self, start: Callable[[], Run], limit_s: float = 80) -> None:
        self._result: list[Run] = []
        self._limit_s = limit_s
        self._thread = threading.Thread(target=lambda: self._result.append(start()))
        self._thread.start()

    def result(self) -> Run:
        self._thread.join(self._limit_s)
        assert self._result, "the run did not end"
        return self._result[0]


Runner = Callable[..., Run]


def in_english(message: Mapping[str, Any]) -> str:
    """A message with its arguments that have no unit."""
    text = str(message["text"])
    for name, value in message["args"].items():
        text = text.replace("{" + name + "}", str(value))
    return text


def play(
    machine: Machine,
    playbook: str,
    *args: str,
    state: Path,
    timeout: float = 90,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run a playbook as an operator does: a subprocess, a pipe, a state directory of its own, a limit of time."""
    before = set(state.rglob("*.json"))
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(machine.inventory), playbook, *args]
    if playbook != DAILY:
        argv += ["--vault-password-file", str(machine.state / "vault-password")]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment = {
        **inherited,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "OPS_STATE_DIR": str(state),
        "OPS_OPERATOR": "tester",
        # The checklist falls back to ASCII where the terminal can't do better.
        "LC_ALL": "C.UTF-8",
        **(env or {}),
    }
    started = time.monotonic()
    process = subprocess.Popen(
        argv,
        cwd=PROJECT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=10)
        raise AssertionError(f"{playbook} did not end within {timeout:.0f} s\n{output}") from None
    seconds = time.monotonic() - started
    run = Run(process.returncode, output, seconds, state)
    new = sorted(path for path in set(state.rglob("*.json")) - before if path.parent.parent.name == "reports")
    reports = [path for path in new if not path.is_symlink()]
    if reports:
        run.report = json.loads(reports[-1].read_text())
        run.files = sorted(reports[-1].parent.glob(reports[-1].stem + ".*"))
    return run
