"""How an application, its PM2 and its host break, done to the real thing; and the one way to mend all of it.

Faults use signals, systemd and files, never the project's own modules.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from machine import APP, ERROR_LOG, HEALTH, HOME, PM2_HOME, PM2_UNIT, PROJECT, USER, WEBAPP, Machine

KEPT = "/root/kept"  # copies of what faults damage
OVERRIDE = f"/run/systemd/system/{PM2_UNIT}.d/test.conf"
STATE = f"/home/{USER}/.local/state/orquestrador-ops"
PLANTED = ("json", "zlib", "sitecustomize", "usercustomize")
HOSTILE = " ".join(f"{HOME}/{name}.py" for name in PLANTED)
ENTRY = f"{WEBAPP}/dist/server/index.js"
PORT = 3001
STALE = "stale"  # said of an application that may run with what was put back since
_GOOD = (
    f'curl -s -m 2 {HEALTH} | grep -q \'"database":"connected"\''
    f' && test "$(sudo -n -H -u {USER} pm2 jlist | jq -r \'[.[]|[.name,.pm2_env.status,.pm2_env.exec_mode]|join(" ")]'
    f"|join(\",\")')\" = '{APP} online fork_mode'"
)

_AS_IT_WAS = f"""
systemctl stop squatter impostor bystander 2>/dev/null || true
systemctl reset-failed squatter impostor bystander 2>/dev/null || true
if [ -d {PM2_HOME}/kept ]; then mv {PM2_HOME}/kept/*.sock {PM2_HOME}/; rmdir {PM2_HOME}/kept; fi
rm -rf {HOSTILE} /var/tmp/imported
pkill -CONT -u {USER} || true
rm -f {STATE}/lease.json
cmp -s {KEPT}/.env {WEBAPP}/.env || {{ cp -a {KEPT}/.env {WEBAPP}/.env; echo {STALE}; }}
cmp -s {KEPT}/dump.pm2 {PM2_HOME}/dump.pm2 || cp -a {KEPT}/dump.pm2 {PM2_HOME}/dump.pm2
test -f {WEBAPP}/ecosystem.config.cjs || cp -a {KEPT}/ecosystem.config.cjs {WEBAPP}/
diff -rq {KEPT}/dist {WEBAPP}/dist >/dev/null \\
    || {{ rm -rf {WEBAPP}/dist; cp -a {KEPT}/dist {WEBAPP}/dist; echo {STALE}; }}
if [ -e {OVERRIDE} ]; then rm {OVERRIDE}; systemctl daemon-reload; fi
systemctl is-enabled --quiet {PM2_UNIT} || systemctl enable --quiet {PM2_UNIT}
systemctl is-active --quiet mysql mariadb || systemctl start mysql 2>/dev/null || systemctl start mariadb
"""
_ACQUIRE = """
import json, os, sys
for name, text in json.load(sys.stdin).items():
    path = f"{sys.argv[1]}/orquestrador/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, "w").write(text)
sys.path.insert(0, sys.argv[1])
from orquestrador.lease import lease_file as lease
wanted = {"run_id": "other-run", "owner": "somebody@elsewhere", "procedure": sys.argv[3], "ttl_s": float(sys.argv[4])}
lease.acquire(sys.argv[2], lease.request(**wanted))
"""


class Faults:
    """Break one thing of a machine."""

    def __init__(self, machine: Machine, *, keep: bool = True) -> None:
        self.machine = machine
        if not keep:
            return
        if not machine.health() and not machine.sh(f"test -d {KEPT}/dist", check=False).returncode:
            self.mend()  # what tests that were interrupted left
        machine.wait_healthy()
        machine.out(
            f"mkdir -p {KEPT} && cp -a {WEBAPP}/.env {WEBAPP}/ecosystem.config.cjs {PM2_HOME}/dump.pm2 {KEPT}/"
            f" && rm -rf {KEPT}/dist && cp -a {WEBAPP}/dist {KEPT}/dist"
        )

    # ---- the application

    def stop(self) -> None:
        self.machine.app(f"pm2 stop {APP} >/dev/null")

    def delete(self) -> None:
        self.machine.app(f"pm2 delete {APP} >/dev/null")

    def kill(self, pid: int | None = None) -> None:
        self.machine.out(f"kill -KILL {pid or self.machine.pids()[0]}")

    def halt(self, pid: int | None = None) -> int:
        """SIGSTOP."""
        pid = pid or self.machine.pids()[0]
        self.machine.out(f"kill -STOP {pid}")
        return pid

    def block(self) -> int:
        """A loop that never ends: the process runs, its port is open, nobody is answered."""
        (pid,) = self.machine.pids()
        self.machine.debug("block?ms=600000")
        silent = f"! curl -s -m 1 {HEALTH}"
        self.machine.wait("the event loop to be blocked", lambda: not self.machine.sh(silent, check=False).returncode)
        return pid

    def cluster(self) -> list[int]:
        """Two workers in cluster mode; their processes in PM2's order."""
        self.machine.app(f"pm2 delete {APP} >/dev/null; INSTANCES=2 pm2 start ecosystem.config.cjs >/dev/null")
        self.machine.wait_healthy()
        return self.workers()

    def workers(self) -> list[int]:
        listed = self.machine.app(f"pm2 jlist | jq '.[] | select(.name == \"{APP}\") | .pid'")
        return [int(pid) for pid in listed.split()]

    def break_dist(self, *, loops: bool = False) -> None:
        """A syntax error in what the application starts from; or, with ``loops``, an error that ends it each time."""
        text = "setTimeout(() => null.gone, 20);" if loops else "const broken = ;"
        self.machine.out(f"cat > {ENTRY}", user=USER, stdin=text + "\n")
        self.machine.app(f"pm2 restart {APP} >/dev/null || true")
        if loops:
            self.wait_status("errored")
        said = f"grep -q {'TypeError' if loops else 'SyntaxError'} {ERROR_LOG}"
        self.machine.wait("the error to be logged", lambda: not self.machine.sh(said, check=False).returncode)

    def lose_env(self) -> None:
        self.machine.out(f"rm {WEBAPP}/.env")

    def wait_status(self, status: str, timeout: float = 90) -> None:
        """Wait for PM2's word of the application."""
        asked = f"pm2 jlist | jq -r '.[] | select(.name == \"{APP}\") | .pm2_env.status'"
        self.machine.wait(f"PM2 to say {status}", lambda: self.machine.app(asked) == status, timeout)

    # ---- PM2

    def kill_daemon(self, *, restarts: bool = False) -> None:
        """As the kernel's OOM killer would; its unit starts it again only with ``restarts``."""
        if not restarts:
            script = f"install -D /dev/stdin {OVERRIDE} && systemctl daemon-reload"
            self.machine.out(script, stdin="[Service]\nRestart=no\n")
        self.machine.out(f"kill -KILL $(cat {PM2_HOME}/pm2.pid)")
        if not restarts:
            self.machine.wait("PM2's daemon to be gone", lambda: not self.machine.daemons())

    def halt_daemon(self) -> int:
        pid = int(self.machine.out(f"cat {PM2_HOME}/pm2.pid"))
        self.machine.out(f"kill -STOP {pid}")
        return pid

    def stop_unit(self, *, disable: bool = False) -> None:
        self.machine.out(f"systemctl stop {PM2_UNIT}", timeout=60)
        if disable:
            self.machine.out(f"systemctl disable {PM2_UNIT} 2>&1")
        assert not self.machine.daemons()

    # ---- others

    def squat(self, user: str = "nobody") -> int:
        """A process of ``user`` that has nothing to do with the application takes its port."""
        self.machine.app(f"pm2 stop {APP} >/dev/null")
        self.machine.out(
            f"systemd-run --quiet --uid={shlex.quote(user)} --unit=squatter"
            f" python3 -m http.server --bind 0.0.0.0 --directory /usr/share/doc {PORT}"
        )
        self.machine.wait("the squatter to listen", lambda: self.machine.out(f"ss -Hltn 'sport = :{PORT}'"))
        return int(self.machine.out("systemctl show -p MainPID --value squatter"))

    def impersonate_pm2(self, mode: str, *args: object) -> None:
        """The application's user moves its PM2's sockets away and has a program of its own answer (:mod:`impostor`)."""
        script = (Path(__file__).parent / "impostor.py").read_text(encoding="utf-8")
        self.machine.out(
            f"cat > /tmp/impostor.py; mkdir {PM2_HOME}/kept; mv {PM2_HOME}/*.sock {PM2_HOME}/kept/",
            user=USER,
            stdin=script,
        )
        told = shlex.join(map(str, (PM2_HOME, mode, *args)))
        self.machine.out(
            f"systemd-run --quiet --uid={USER} --unit=impostor --property=Restart=no python3 /tmp/impostor.py {told}"
        )
        listens = f"test -S {PM2_HOME}/rpc.sock"
        self.machine.wait("the impostor", lambda: not self.machine.sh(listens, check=False).returncode)

    def bystander(self) -> int:
        """A process of root's that has nothing to do with anything."""
        self.machine.out("systemd-run --quiet --unit=bystander sleep 9876")
        return int(self.machine.out("systemctl show -p MainPID --value bystander"))

    def plant_modules(self) -> None:
        """The application's user leaves modules where an SSH login starts; whoever imports one is noted."""
        script = f"cat > /tmp/planted.py; for name in {' '.join(PLANTED)}; do cp /tmp/planted.py {HOME}/$name.py; done"
        self.machine.out(script, user=USER, stdin="open('/var/tmp/imported', 'a').write(__name__ + ' ')\n")

    def hold_lease(self, procedure: str, seconds: int = 600) -> None:
        """Another run has the host: taken as that run would, by the program that is on the host."""
        folder = PROJECT / "module_utils" / "orquestrador"
        sources = folder.rglob("*.py")
        run = f"python3 -c {shlex.quote(_ACQUIRE)} $d {STATE}/lease.json {procedure} {seconds}"
        self.machine.out(
            f"d=$(mktemp -d) && {run} && rm -r $d",
            user=USER,
            stdin=json.dumps({path.relative_to(folder).as_posix(): path.read_text() for path in sources}),
        )

    # ---- and back

    def mend(self) -> None:
        """Whatever is broken: as it was. Nothing is done to a machine that is well."""
        machine = self.machine
        stale = STALE in machine.out(_AS_IT_WAS, timeout=60)
        if stale or machine.sh(_GOOD, check=False, timeout=20).returncode or not self._unit_has_daemon():
            self._start_over()
        machine.debug("free")
        machine.settle()

    def _unit_has_daemon(self) -> bool:
        """A daemon that the unit does not know is one that a fallback started."""
        script = f'test "$(systemctl show -p MainPID --value {PM2_UNIT})" = "$(cat {PM2_HOME}/pm2.pid)"'
        return self.machine.sh(script, check=False).returncode == 0

    def _start_over(self) -> None:
        self.machine.out(
            f"systemctl stop {PM2_UNIT} || true; pkill -KILL -u {USER} -f 'God Daemon' || true;"
            f" pkill -KILL -u {USER} -f '{WEBAPP}/dist/server/index.js' || true;"
            f" rm -f {PM2_HOME}/*.sock {PM2_HOME}/pm2.pid; : > {ERROR_LOG};"
            f" systemctl reset-failed {PM2_UNIT} || true; systemctl start {PM2_UNIT}",
            timeout=90,
        )
        self.machine.app(
            "pm2 delete all >/dev/null 2>&1 || true; pm2 start ecosystem.config.cjs >/dev/null", timeout=60
        )
        self.machine.wait_healthy()
