"""Throwaway database server, started to restore a backup into and removed afterwards.

It has its own data directory and none of the host's configuration; network, event scheduler and binary log are off.
Crash safety is off as well, so that a restore is limited by the processor, not by the disk.
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
from .clients import PRODUCTS, ProductTools, find_program, require_program
from .statements import closing, create_schema

START_S, EXIT_S = 60.0, 10.0
GROWTH = 3.0  # space needed, as a multiple of the tables' size: restored tables, undo and redo
BASE_BYTES = 400 * 1024 * 1024  # of an empty data directory and its logs
ZONES = "/usr/share/zoneinfo"
MAX_SOCKET = 100  # a Unix socket's path has at most 107 characters
CONNECT_S, ANSWER_S = 10.0, 60.0
_NO_DURABILITY = ("--innodb-flush-method=nosync", "--innodb-doublewrite=0")
_SETTINGS = (
    *("--skip-networking", "--event-scheduler=OFF", "--skip-log-bin", "--max-allowed-packet=1G", *_NO_DURABILITY),
    *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=256M", "--innodb-stats-auto-recalc=OFF"),
    "--performance-schema=OFF",
)
_MYSQL_SETTINGS = ("--mysqlx=OFF", "--log-error-verbosity=1", "--innodb-redo-log-capacity=256M")

_ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*")


class NoServerError(OperatorError):
    """No second server can be started on this host: a program, a privilege or an AppArmor profile is in the way."""


class Location(NamedTuple):
    """An empty schema to restore a dump into, and how to connect to it."""

    method: str
    schema: str
    access: tuple[str, ...]  # options of the product's programs for server and account
    connect: Callable[[], Any]  # to the schema
    settings: str = ""  # further session variables of the restore, as in SET SESSION a = 1, b = 2


@contextlib.contextmanager
def throwaway_server(
    directory: str, server: Mapping[str, Any], schema: str, *, size_bytes: int, reserve_bytes: int, deadline: float
) -> Iterator[Location]:
    """Start a server like ``server`` (of a manifest) below ``directory`` with an empty schema; remove it afterwards.

    :param size_bytes: size of the data to restore.
    :param reserve_bytes: space that must stay free.
    :raises NoServerError: no second server can be started on this host.
    """
    product = PRODUCTS[str(server["product"])]
    program = find_program(product.servers)
    if program is None:
        raise NoServerError(
            msg("{program} is not installed here: no throwaway server can be started", program=product.servers[0])
        )
    check_space(directory, int(size_bytes * GROWTH) + BASE_BYTES, reserve_bytes)
    home = tempfile.mkdtemp(prefix=SCRATCH, dir=directory)
    data, socket = os.path.join(home, "data"), os.path.join(home, "s")
    lower = f"--lower-case-table-names={int(server['lower_case_table_names'])}"
    try:
        if len(socket) > MAX_SOCKET:
            raise OperatorError(msg("{path} is too long for a socket: use a shorter backup_dir", path=home))
        _initialise(product, program, data, lower, deadline)
        files = [f"--datadir={data}", f"--socket={socket}", f"--pid-file={home}/pid", f"--tmpdir={home}"]
        own = _MYSQL_SETTINGS if product.name == "mysql" else ()
        argv = [program, "--no-defaults", *files, lower, *_SETTINGS, *own]
        with Pipeline(deadline, 10**9) as pipeline:
            pipeline.start("the throwaway server", argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            pipeline.watch()
            _create_schema(pipeline, socket, schema, server, deadline)
            access = ("--no-defaults", f"--socket={socket}", "--user=root")
            yield Location("throwaway_server", schema, access, lambda: _connect(socket, schema))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def check_space(path: str, needed: int, reserve_bytes: int) -> None:
    """Raise :class:`OperatorError` when a proof would not leave ``reserve_bytes`` free."""
    free = free_bytes(path)
    if free < needed + reserve_bytes:
        facts: dict[str, Any] = {"needed_bytes": needed, "free_bytes": free, "path": path}
        raise OperatorError(
            msg("the proof needs about {needed_bytes}, but {path} has {free_bytes} free: free some space", **facts)
        )


def sweep_servers(directory: str) -> None:
    """Stop the throwaway servers of killed runs and remove their directories; the caller holds the lock."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if not name.startswith(SCRATCH) or os.path.islink(path) or not os.path.isdir(path):
            continue
        for pid in (entry for entry in os.listdir("/proc") if entry.isdigit()):
            # The directory's name is random: a process with it in its arguments is that server.
            if _serves(int(pid), path):
                target = signals.Target(os.geteuid(), still=functools.partial(_serves, path=path))
                signals.end([int(pid)], target, first=None, gone_s=EXIT_S)
        shutil.rmtree(path, ignore_errors=True)


def _serves(pid: int, path: str) -> bool:
    """Whether a process is the server of a directory."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return f"--datadir={path}/data".encode() in file.read().split(b"\0")
    except OSError:
        return False


def _initialise(product: ProductTools, program: str, data: str, lower: str, deadline: float) -> None:
    if product.name == "mysql":
        argv = [program, "--no-defaults", "--initialize-insecure", f"--datadir={data}", lower, *_NO_DURABILITY]
    else:
        own = ["--skip-test-db", "--auth-root-authentication-method=normal"]
        argv = [require_program("mariadb-install-db"), "--no-defaults", f"--datadir={data}", *own]
    result = run(argv, timeout_s=min(max(deadline - time.monotonic(), 1.0), START_S))
    if result.code != 0:
        lines = (result.stderr or result.stdout).decode("utf-8", "replace").strip().splitlines()
        reason, path = lines[-1][:300] if lines else str(result.error or result.code), os.path.dirname(data)
        raise NoServerError(msg("no throwaway server can be prepared in {path}: {reason}", path=path, reason=reason))


def _create_schema(pipeline: Pipeline, socket: str, schema: str, server: Mapping[str, Any], deadline: float) -> None:
    """Wait until the server answers, and create the schema."""
    until = min(time.monotonic() + START_S, deadline)
    while True:
        try:
            connection = _connect(socket, None)
            break
        except Exception as error:
            if pipeline.children[0].process.poll() is not None:
                try:
                    pipeline.verdict()
                except OperatorError as failure:
                    raise NoServerError(failure.message) from error
            if time.monotonic() > until:
                raise OperatorError(msg("the throwaway server does not answer: check the load of the host")) from error
            time.sleep(0.1)
    with closing(connection):
        create_schema(connection, schema, server["charset"], server["collation"])
        for zone in server.get("time_zones") or ():
            _load_zone(connection, str(zone), deadline)
        if server["product"] == "mysql":
            with contextlib.suppress(Exception), connection.cursor() as cursor:  # since 8.0.21; only for speed
                cursor.execute("ALTER INSTANCE DISABLE INNODB REDO_LOG")


def _load_zone(connection: Any, zone: str, deadline: float) -> None:
    """Load a named time zone of an event into the server; a new server has none."""
    program = find_program(("mysql_tzinfo_to_sql", "mariadb-tzinfo-to-sql"))
    path = os.path.join(ZONES, zone)
    if program is None or not _ZONE.fullmatch(zone) or not os.path.isfile(path):
        raise OperatorError(
            msg(
                "an event of the backup uses the time zone {zone}, which this host does not have: install tzdata",
                zone=zone,
            )
        )
    result = run([program, path, zone], timeout_s=min(max(deadline - time.monotonic(), 1.0), START_S))
    with connection.cursor() as cursor:
        cursor.execute("USE mysql")
        for statement in result.stdout.decode().split(";\n"):
            if statement.strip():
                cursor.execute(statement)


def _connect(socket: str, schema: Optional[str]) -> Any:
    defaults = driver.Defaults("", socket, None)
    return driver.connect(defaults, schema, ANSWER_S, user="root", charset="utf8mb4", connect_timeout=CONNECT_S)
