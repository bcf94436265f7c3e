"""A server of a product that is started to be restored into and thrown away.

Its own data directory, no network, no event scheduler, no binary log, nothing of the host's configuration. What makes a
server survive a crash is off: a restore waits for the processor then, not for the disk.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..system import signals
from ..system.command import run
from ..system.files import SCRATCH, free_bytes
from ..system.pipeline import Pipeline
from . import driver
from .clients import PRODUCTS, Product, find, need
from .statements import closing, create_schema

START_S, GONE_S = 60.0, 10.0
GROWTH = 3.0  # of the tables' size: restored tables, their undo and redo
BASE_BYTES = 400 * 1024 * 1024  # of an empty data directory and its logs
ZONES = "/usr/share/zoneinfo"
MAX_SOCKET = 100  # characters that a Unix socket's path may have, less some
CONNECT_S, ANSWER_S = 10.0, 60.0
_CARELESS = ("--innodb-flush-method=nosync", "--innodb-doublewrite=0")
_SETTINGS = (
    *("--skip-networking", "--event-scheduler=OFF", "--skip-log-bin", "--max-allowed-packet=1G", *_CARELESS),
    *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=256M", "--innodb-stats-auto-recalc=OFF"),
    "--performance-schema=OFF",
)
_OWN = {"mysql": ("--mysqlx=OFF", "--log-error-verbosity=1", "--innodb-redo-log-capacity=256M"), "mariadb": ()}

_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")


class NoServerError(OperatorError):
    """No second server can be started here, whatever is restored: programs, rights or a profile forbid it."""


class Place(NamedTuple):
    """Where a dump can be restored into: an empty schema and how it is reached."""

    method: str
    schema: str
    access: tuple[str, ...]  # options of the product's programs that say where and who
    connect: Callable[[], Any]  # to the schema
    settings: str = ""  # more of them for the session that restores, as in SET SESSION a = 1, b = 2


@contextlib.contextmanager
def throwaway_server(
    directory: str, server: Mapping[str, Any], schema: str, *, size_bytes: int, reserve_bytes: int, deadline: float
) -> Iterator[Place]:
    """An empty schema of that name on a server like ``server`` (of a manifest), below ``directory``; gone afterwards.

    :param size_bytes: what is going to be restored.
    :param reserve_bytes: free space that has to be left.
    :raises NoServerError: there can be none on this host.
    """
    product = PRODUCTS[str(server["product"])]
    program = find(product.servers)
    if program is None:
        raise NoServerError(
            msg("{program} is not installed here: no throwaway server can be started", program=product.servers[0])
        )
    check_room(directory, int(size_bytes * GROWTH) + BASE_BYTES, reserve_bytes)
    place = tempfile.mkdtemp(prefix=SCRATCH, dir=directory)
    data, socket = os.path.join(place, "data"), os.path.join(place, "s")
    lower = f"--lower-case-table-names={int(server['lower_case_table_names'])}"
    try:
        if len(socket) > MAX_SOCKET:
            raise OperatorError(msg("{path} is too long for a socket: use a shorter backup_dir", path=place))
        _initialise(product, program, data, lower, deadline)
        files = [f"--datadir={data}", f"--socket={socket}", f"--pid-file={place}/pid", f"--tmpdir={place}"]
        argv = [program, "--no-defaults", *files, lower, *_SETTINGS, *_OWN[product.name]]
        with Pipeline(deadline, 10**9) as pipeline:
            pipeline.start("the throwaway server", argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            pipeline.watch()
            _create(pipeline, socket, schema, server, deadline)
            access = ("--no-defaults", f"--socket={socket}", "--user=root")
            yield Place("throwaway_server", schema, access, lambda: _connect(socket, schema))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def check_room(path: str, needed: int, reserve_bytes: int) -> None:
    """:class:`OperatorError` when a proof would not leave what has to be left."""
    free = free_bytes(path)
    if free < needed + reserve_bytes:
        facts: dict[str, Any] = {"needed_bytes": needed, "free_bytes": free, "path": path}
        raise OperatorError(
            msg("the proof needs about {needed_bytes}, but {path} has {free_bytes} left: free some", **facts)
        )


def sweep_servers(directory: str) -> None:
    """Under the lock: end throwaway servers that killed runs left, and remove their directories."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if not name.startswith(SCRATCH) or os.path.islink(path) or not os.path.isdir(path):
            continue
        for pid in (entry for entry in os.listdir("/proc") if entry.isdigit()):
            # The directory's name is random: who has it among the arguments is that server and no other.
            if _serves(int(pid), path):
                ours = signals.Target(os.geteuid(), still=functools.partial(_serves, path=path))
                signals.end([int(pid)], ours, first=None, gone_s=GONE_S)
        shutil.rmtree(path, ignore_errors=True)


def _serves(pid: int, path: str) -> bool:
    """Whether a process is the server of a directory."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return f"--datadir={path}/data".encode() in file.read().split(b"\0")
    except OSError:
        return False


def _initialise(product: Product, program: str, data: str, lower: str, deadline: float) -> None:
    if product.name == "mysql":
        argv = [program, "--no-defaults", "--initialize-insecure", f"--datadir={data}", lower, *_CARELESS]
    else:
        own = ["--skip-test-db", "--auth-root-authentication-method=normal"]
        argv = [need("mariadb-install-db"), "--no-defaults", f"--datadir={data}", *own]
    done = run(argv, timeout_s=min(max(deadline - time.monotonic(), 1.0), START_S))
    if done.code != 0:
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        reason, path = lines[-1][:300] if lines else str(done.error or done.code), os.path.dirname(data)
        raise NoServerError(msg("no throwaway server can be prepared in {path}: {reason}", path=path, reason=reason))


def _create(pipeline: Pipeline, socket: str, schema: str, server: Mapping[str, Any], deadline: float) -> None:
    """Wait until it answers, and create the schema."""
    until = min(time.monotonic() + START_S, deadline)
    while True:
        try:
            connection = _connect(socket, None)
            break
        except Exception as error:
            if pipeline.children[0].process.poll() is not None:
                try:
                    pipeline.verdict()
                except OperatorError as why:
                    raise NoServerError(why.message) from error
            if time.monotonic() > until:
                raise OperatorError(msg("the throwaway server does not answer: look at the load")) from error
            time.sleep(0.1)
    with closing(connection):
        create_schema(connection, schema, server["charset"], server["collation"])
        for zone in server.get("time_zones") or ():
            _load_zone(connection, str(zone), deadline)
        if server["product"] == "mysql":
            with contextlib.suppress(Exception), connection.cursor() as cursor:  # since 8.0.21; only a matter of speed
                cursor.execute("ALTER INSTANCE DISABLE INNODB REDO_LOG")


def _load_zone(connection: Any, zone: str, deadline: float) -> None:
    """Teach the server a time zone that an event is given in; a new server knows none by name."""
    program = find(("mysql_tzinfo_to_sql", "mariadb-tzinfo-to-sql"))
    path = os.path.join(ZONES, zone)
    if program is None or not _ZONE.fullmatch(zone) or not os.path.isfile(path):
        raise OperatorError(
            msg(
                "an event of the backup is in time zone {zone}, which this host does not know: install tzdata",
                zone=zone,
            )
        )
    done = run([program, path, zone], timeout_s=min(max(deadline - time.monotonic(), 1.0), START_S))
    with connection.cursor() as cursor:
        cursor.execute("USE mysql")
        for statement in done.stdout.decode().split(";\n"):
            if statement.strip():
                cursor.execute(statement)


def _connect(socket: str, schema: Optional[str]) -> Any:
    defaults = driver.Defaults("", socket, None)
    return driver.connect(defaults, schema, ANSWER_S, user="root", charset="utf8mb4", connect_timeout=CONNECT_S)
