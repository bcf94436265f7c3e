"""How a database fails its application, done to the real server; and the one way to mend all of it."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from machine import APP, DATABASE, ERROR_LOG, USER, WEBAPP, Machine

UNIT = "mysql"
CONFIG = "/etc/mysql/mysql.conf.d/zz-test.cnf"
OVERRIDE = f"/run/systemd/system/{UNIT}.service.d/test.conf"
FULL = "/mnt/full"
ENTRY = f"{WEBAPP}/dist/server/index.js"
STRANGER = "relatorio"  # an account that is none of ours
# A server notices only seconds later that the client of a sleeping session is gone; till then it keeps its locks.
END_SLEEPING = (
    "mysql -N -e \"SELECT CONCAT('KILL ', ID, ';') FROM performance_schema.processlist WHERE STATE = 'User sleep'\""
    " | mysql --force"
)

_AS_IT_WAS = f"""
systemctl stop 'test-*' 2>/dev/null || true
pid=$(systemctl show -p MainPID --value {UNIT})
if [ "$pid" -gt 0 ]; then kill -CONT "$pid"; fi
changed=no
for path in {CONFIG} {OVERRIDE}; do if [ -e $path ]; then rm $path; changed=yes; fi; done
if [ -L /run/systemd/system/{UNIT}.service ]; then systemctl unmask --runtime {UNIT} 2>/dev/null; changed=yes; fi
if [ "$(stat -c %U /var/lib/mysql)" != mysql ]; then chown mysql:mysql /var/lib/mysql; fi
if [ $changed = yes ]; then systemctl daemon-reload; fi
if mountpoint -q {FULL}; then  # a server that waits for room does not end otherwise
    systemctl kill -s KILL {UNIT} 2>/dev/null || true
    for i in $(seq 50); do systemctl is-active --quiet {UNIT} || break; sleep 0.1; done
    umount -l {FULL}
    systemctl restart {UNIT}
fi
systemctl reset-failed {UNIT} 2>/dev/null || true
systemctl start {UNIT}
for i in $(seq 50); do mysql -e "SET GLOBAL max_connections = 151" 2>/dev/null && break; sleep 0.1; done
mysql -e "SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF; DROP USER IF EXISTS {STRANGER}@localhost;"
{END_SLEEPING}
mysql -e "DROP TABLE IF EXISTS {DATABASE}.brittle"
"""


class Database:
    """Break one thing of the database or of what is between it and the application."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def pid(self) -> int:
        return int(self.machine.out(f"systemctl show -p MainPID --value {UNIT}"))

    def active(self) -> str:
        return self.machine.out(f"systemctl show -p ActiveState --value {UNIT}")

    def stop(self) -> None:
        self.machine.out(f"systemctl stop {UNIT}", timeout=60)

    def mask(self) -> None:
        self.machine.out(f"systemctl stop {UNIT} && systemctl mask --runtime {UNIT} 2>&1", timeout=60)

    def halt(self) -> None:
        self.machine.out(f"kill -STOP {self.pid()}")

    def kill(self, *, restarts_after_s: int = 15) -> None:
        """SIGKILL; systemd starts it again, but not at once."""
        self.machine.out(
            f"install -D /dev/stdin {OVERRIDE} && systemctl daemon-reload",
            stdin=f"[Service]\nRestartSec={restarts_after_s}\n",
        )
        self.machine.out(f"kill -KILL {self.pid()}")

    def misconfigure(self, text: str) -> None:
        self.stop()
        self.machine.out(f"cat > {CONFIG}", stdin=f"[mysqld]\n{text}\n")

    def fill_disk(self) -> None:
        """What the server has to write first lies on a file system without room."""
        self.machine.out(
            f"mkdir -p {FULL} && mount -t tmpfs -o size=64k,mode=777 none {FULL} && (yes > {FULL}/filler || true)",
            check=False,
        )
        self.misconfigure(f"log_bin={FULL}/binlog")

    def lose_directory(self) -> None:
        self.stop()
        self.machine.out("chown root:root /var/lib/mysql && chmod 700 /var/lib/mysql")

    def background(self, name: str, sql: str, seconds: int = 120) -> None:
        """A session of the database's root that lasts: one statement after the other, then it sleeps."""
        script = f"printf '%s' {shlex.quote(f'{sql}; SELECT SLEEP({seconds});')} | mysql {DATABASE}"
        self.machine.out(f"systemd-run --quiet --collect --unit=test-{name} bash -c {shlex.quote(script)}")
        self.machine.wait(
            f"the session {name}",
            lambda: self.machine.sql("SELECT 1 FROM performance_schema.processlist WHERE STATE = 'User sleep'"),
        )

    def take_connections(self, count: int) -> None:
        """A program of somebody else opens sessions and does nothing with them."""
        password = secrets.token_hex(12)
        self.machine.sql(f"CREATE USER {STRANGER}@localhost IDENTIFIED WITH caching_sha2_password BY '{password}'")
        self.machine.out(
            "install -m 600 /dev/stdin /root/stranger.cnf",
            stdin=(f"[client]\nuser={STRANGER}\npassword={password}\nsocket=/run/mysqld/mysqld.sock\n"),
        )
        program = (
            "import pymysql, time\n"
            f"held = [pymysql.connect(read_default_file='/root/stranger.cnf') for _ in range({count})]\n"
            "time.sleep(300)"
        )
        self.machine.out(f"systemd-run --quiet --collect --unit=test-stranger python3 -c {shlex.quote(program)}")
        self.machine.wait("the stranger's sessions", lambda: self.sessions(STRANGER) == count)

    def ask_for_connections(self, programs: int) -> None:
        """Programs that are turned away and ask again at once; each takes root's own connection meanwhile."""
        program = (
            "import contextlib, pymysql, threading\n"
            "def ask():\n"
            "    while True:\n"
            "        with contextlib.suppress(pymysql.err.OperationalError):\n"
            "            pymysql.connect(read_default_file='/root/stranger.cnf').close()\n"
            f"for _ in range({programs}): threading.Thread(target=ask).start()\n"
        )
        self.machine.out(f"systemd-run --quiet --collect --unit=test-asking python3 -c {shlex.quote(program)}")

    def sessions(self, user: str) -> int:
        rows = self.machine.sql(f"SELECT COUNT(*) FROM performance_schema.processlist WHERE USER = '{user}'")
        return int(rows[0])

    def allow(self, connections: int) -> None:
        self.machine.sql(f"SET GLOBAL max_connections = {connections}")

    def widen_pool(self) -> int:
        """The application opens up to ten connections, kept busy by a lock, and keeps them; how many it has then."""
        url = "http://127.0.0.1:3001/api/trpc/message.count"
        opened = 0
        for _ in range(3):  # on a busy machine some wait for too long and are given up
            self.background("lock", f"LOCK TABLES {DATABASE}.message WRITE", seconds=8)
            self.machine.out(f"seq 30 | xargs -P 30 -I{{}} curl -s -o /dev/null -m 10 {url} || true", timeout=60)
            self.machine.wait("the lock to be gone", lambda: self.sessions("root") == 1)
            opened = self.sessions("orquestrador")
            if 5 <= opened <= 10:
                return opened
        raise AssertionError(f"the application opened {opened} sessions, and not five to ten")

    def rotate_password(self) -> str:
        """The account gets another password, and its sessions end; the application is told nothing."""
        fresh = secrets.token_hex(20)
        self.machine.sql(
            "\n".join(
                f"ALTER USER orquestrador@'{host}' IDENTIFIED BY '{fresh}';" for host in ("localhost", "127.0.0.1")
            )
        )
        self.end_sessions()
        return fresh

    def end_sessions(self) -> None:
        ids = self.machine.sql("SELECT ID FROM performance_schema.processlist WHERE USER = 'orquestrador'")
        for number in ids:
            self.machine.sh(f"mysql -e 'KILL {int(number)}'", check=False)

    def env(self, name: str, value: str) -> None:
        """Change a setting in ``.env``; the application reads it when it starts."""
        self.machine.app(f"sed -i 's|^{name}=.*|{name}=|' .env && sed -i 's|^{name}=|&'$(cat)'|' .env", stdin=value)

    def restart_app(self) -> None:
        self.machine.app(f"pm2 restart {APP} >/dev/null", timeout=40)

    def needs_database(self) -> None:
        """An application that ends when its database is not there, as many do."""
        guard = (
            'import net from "node:net"; net.connect(3306, "127.0.0.1").on("connect", function () { this.end(); })'
            '.on("error", (error) => { console.error("[Database] Connection failed:", error); process.exit(1); });\n'
        )
        self.machine.out(f"cat - /root/kept/dist/server/index.js > {ENTRY}", stdin=guard)

    def crash_table(self) -> None:
        """A MyISAM table whose index file lost its end, and an application's error that names it."""
        machine = self.machine
        machine.sql(
            f"CREATE TABLE {DATABASE}.brittle (id INT PRIMARY KEY, text VARCHAR(200)) ENGINE=MyISAM;"
            f" INSERT INTO {DATABASE}.brittle SELECT id, REPEAT('x', 100) FROM {DATABASE}.message;"
            f" FLUSH TABLES {DATABASE}.brittle"
        )
        machine.out(f"truncate -s 2048 /var/lib/mysql/{DATABASE}/brittle.MYI")
        said = machine.sh(f"mysql {DATABASE} -e 'SELECT * FROM brittle WHERE id = 9' 2>&1", check=False).stdout.strip()
        assert "brittle" in said, said
        self.log_error(said)

    def log_error(self, text: str) -> None:
        """What an application logs when a statement of its fails."""
        machine = self.machine
        stamp = machine.out("date '+%Y-%m-%d %H:%M:%S %:z'")
        machine.out(f"cat >> {ERROR_LOG}", user=USER, stdin=f"{stamp}: [tRPC] brittle.list failed: Error: {text}\n")

    @contextmanager
    def load(self, table: str) -> Iterator[None]:
        """Clients that keep asking for a table."""
        url = f"http://127.0.0.1:3001/api/trpc/{table}.count"
        script = f"while :; do seq 40 | xargs -P 40 -I{{}} curl -s -o /dev/null -m 8 {url}; done"
        self.machine.out(f"systemd-run --quiet --collect --unit=test-load bash -c {shlex.quote(script)}")
        try:
            yield
        finally:
            self.machine.out("systemctl stop test-load", check=False)

    def mend(self) -> None:
        self.machine.out(_AS_IT_WAS, timeout=90)
        password = self.machine.out("sed -n 's/^DB_PASSWORD=//p' /root/kept/.env")
        self.machine.sql(
            "\n".join(
                f"ALTER USER orquestrador@'{host}' IDENTIFIED BY '{password}';" for host in ("localhost", "127.0.0.1")
            )
        )
