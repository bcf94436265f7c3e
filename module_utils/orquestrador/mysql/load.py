"""Replace a schema of the server in production by what a backup holds, and compare it with what was dumped.

``age → zstd → (counted and hashed here) → client``. The private key goes into age's standard input; the account that
restores is the database's root, let in by the socket because of who asks, or one of an option file.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from calendar import timegm
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..core.redact import scrub_text
from ..system.identity import Owner
from ..system.pipeline import Pipeline, pieces, write_all
from . import state as database
from . import structure as backup_structure
from .clients import PRODUCTS, Product, find, find_dumper, need
from .dump_scanner import DumpScanner

CONNECT_TIMEOUT_S = 10.0
LOCK_WAIT_S = 60  # that a statement of ours waits for others to let go of a table
SHOWN = 5
# Of these kinds the names have to be the same whatever the version; what describes them changes between versions.
NAMED = ("tables", "views", "routines", "triggers", "events")
MAGIC = b"\x28\xb5\x2f\xfd"  # of a zstd frame


class Server(NamedTuple):
    """What the server is, and what the schema to be replaced is at present."""

    product: str
    version: str
    lower_case_table_names: int
    log_bin: bool
    data_directory: str
    event_scheduler: str  # ON | OFF | DISABLED
    defaults: Optional[tuple[str, str]]  # character set and collation of the schema, None when there is no schema
    size_bytes: int
    structure: backup_structure.Structure

    @property
    def exists(self) -> bool:
        """Whether there is the schema."""
        return self.defaults is not None

    @property
    def empty(self) -> bool:
        """Whether there is nothing in the schema."""
        return not any(self.structure.values())


def release(version: str) -> tuple[int, int]:
    """``(major, minor)`` of a server's version, ``(0, 0)`` when it has none."""
    numbers = version.split("-", maxsplit=1)[0].split(".")
    try:
        return int(numbers[0]), int(numbers[1])
    except (ValueError, IndexError):
        return 0, 0


def schema_name(name: str) -> str:
    """A name as it stands in a statement."""
    return "`" + name.replace("`", "``") + "`"


def word(value: Any) -> str:
    """The name of a character set or collation; nothing else gets into a statement."""
    text = str(value)
    if not text.replace("_", "").isalnum():
        raise OperatorError(msg("the manifest names an unusable character set: it was not written by a backup"))
    return text


class Admin:
    """The account that restores."""

    def __init__(self, owner: Owner, socket: str, defaults_file: str) -> None:
        self._owner = owner
        self._socket = socket
        self._defaults_file = defaults_file

    def argv(self) -> list[str]:
        """How a client is told about the account; an option file has to be the first of its arguments."""
        if self._defaults_file:
            return [f"--defaults-file={self._defaults_file}"]
        return ["--no-defaults", f"--socket={self._socket}", "--user=root"]

    def start(self, pipeline: Pipeline, name: str, argv: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        """Start a client with the account's rights."""
        with contextlib.nullcontext() if self._defaults_file else self._owner.privileged():
            return pipeline.start(name, argv, **streams)

    @contextlib.contextmanager
    def connection(self, schema: Optional[str], timeout_s: float) -> Iterator[Any]:
        """A connection; whatever goes wrong on it becomes a :class:`OperatorError` of one line."""
        connection = None
        try:
            connection = self._connect(schema, timeout_s)
            with connection.cursor() as cursor:
                cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}")
            yield connection
        except OperatorError:
            raise
        except Exception as error:  # a server that answers garbage makes PyMySQL raise anything
            reason = database.reason_of(error)
            if reason == "failed":
                reason = scrub_text(str(error.args[-1] if error.args else error))[:200]
            raise OperatorError(
                msg("the account that restores can't work at {where}: {reason}", where=self._where(), reason=reason)
            ) from error
        finally:
            if connection is not None:
                with contextlib.suppress(Exception):
                    connection.close()

    def _where(self) -> str:
        return self._defaults_file or self._socket

    def _connect(self, schema: Optional[str], timeout_s: float) -> Any:
        if self._defaults_file:
            try:
                defaults, _ = database.read_defaults(self._defaults_file)
            except database.DatabaseError as error:
                raise OperatorError(error.finding["message"]) from error
            place = {"read_default_file": defaults.path, "unix_socket": defaults.socket}
        else:
            defaults, place = None, {"unix_socket": self._socket, "user": "root"}
        lean = defaults is None or defaults.socket is not None
        with contextlib.nullcontext() if self._defaults_file else self._owner.privileged():
            return database.import_pymysql(lean=lean).connect(
                **place, database=schema, charset="utf8mb4", connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=timeout_s, write_timeout=timeout_s, autocommit=True, ssl_disabled=lean,
            )  # fmt: skip


def inspect(admin: Admin, name: str) -> Server:
    """Ask the server what it is and what is in the schema."""
    with admin.connection(None, 60) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT VERSION(), @@version_comment, @@lower_case_table_names, @@log_bin, @@datadir,"
            " @@GLOBAL.event_scheduler"
        )
        version, comment, lower, log_bin, data, events = cursor.fetchone()
        product = database.product_of(str(version), str(comment)).name
        cursor.execute(
            "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
            " WHERE SCHEMA_NAME = %s", (name,)
        )  # fmt: skip
        found = cursor.fetchone()
        cursor.execute(
            "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = %s", (name,)
        )  # fmt: skip
        size = int(cursor.fetchone()[0])
        structure: backup_structure.Structure = {}
        if found is not None:
            connection.select_db(name)
            structure = backup_structure.read(connection, product)
    defaults = (str(found[0]), str(found[1])) if found is not None else None
    return Server(
        product, str(version), int(lower), bool(log_bin), str(data), str(events).upper(), defaults, size, structure
    )


def opens(path: str, identity: str) -> None:
    """Decrypt the beginning of a file: the wrong key is found out before anything is changed."""
    with Pipeline(time.monotonic() + 30, 30) as pipeline:
        age = pipeline.start("age", [need("age"), "-d", "-i", "-", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if age.stdin is None or age.stdout is None:
            raise RuntimeError("a pipe is missing")
        pipeline.watch()
        with contextlib.suppress(BrokenPipeError):
            write_all(age.stdin.fileno(), identity.strip().encode() + b"\n")
        age.stdin.close()
        first = os.read(age.stdout.fileno(), 4)
        if first != MAGIC:
            pipeline.finish()
            raise OperatorError(msg("{path} can't be decrypted to a compressed dump: use another backup", path=path))


class Loader:
    """Replaces the schema ``name``; used once or twice in a run, each time with its own deadline."""

    def __init__(self, admin: Admin, product: str, name: str, identity: str, stall_s: float,
                 tell: Callable[[DumpScanner], None]) -> None:  # fmt: skip
        self._admin = admin
        self._product: Product = PRODUCTS[product]
        self._name = name
        self._identity = identity
        self._stall_s = stall_s
        self._tell = tell
        client = find(self._product.clients)
        if client is None:
            raise OperatorError(msg("{programs} is not installed: install the client of the database",
                                  programs=self._product.clients[0]))  # fmt: skip
        self._client = client
        self._programs = {name: need(name) for name in ("age", "zstd")}
        self._dumper = find_dumper(self._product)

    def events(self, value: str) -> None:
        """Switch the event scheduler of the server."""
        with self._admin.connection(None, self._stall_s) as connection, connection.cursor() as cursor:
            cursor.execute("SET GLOBAL event_scheduler = " + ("ON" if value == "ON" else "OFF"))

    def drop(self, create: Optional[tuple[str, str]]) -> None:
        """Drop the schema and all in it; create it anew with a character set and a collation. Grants stay."""
        wait_s = max(self._stall_s, LOCK_WAIT_S + 60)
        with self._admin.connection(None, wait_s) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {schema_name(self._name)}")
            if create is not None:
                charset, collation = word(create[0]), word(create[1])
                # Words of the server's own, which it would not take were they anything else.
                cursor.execute(f"CREATE DATABASE {schema_name(self._name)} CHARACTER SET {charset} COLLATE {collation}")

    def replace(self, path: str, manifest: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Make the schema what the backup holds and prove it: ``{restore_s, compare_s, exact}``."""
        server = manifest["server"]
        began = time.monotonic()
        self.drop((server["charset"], server["collation"]))
        loaded = self._load(path, manifest, deadline)
        restored = time.monotonic()
        differing = _differing(manifest["tables"], loaded.tables(), exact=True)
        if differing:
            raise OperatorError(msg("the dump in {path} has other rows than its manifest says in {tables}", path=path,
                                  tables=differing))  # fmt: skip
        exact = self._compare(manifest, deadline)
        return {"restore_s": round(restored - began, 3), "compare_s": round(time.monotonic() - restored, 3),
                "exact": exact}  # fmt: skip

    def _load(self, path: str, manifest: dict[str, Any], deadline: float) -> DumpScanner:
        session = f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}"
        if manifest["structure"].get("events"):
            # An event whose only time has passed since the dump would be dropped as it is created.
            session += f", timestamp = {timegm(time.strptime(manifest['started_at'], '%Y-%m-%dT%H:%M:%SZ'))}"
        with Pipeline(deadline, self._stall_s) as pipeline:
            age = pipeline.start("age", [self._programs["age"], "-d", "-i", "-", path], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)  # fmt: skip
            zstd = pipeline.start("zstd", [self._programs["zstd"], "-d", "-q", "-c"], stdin=age.stdout,
                                  stdout=subprocess.PIPE)  # fmt: skip
            client = self._admin.start(
                pipeline, os.path.basename(self._client),
                [self._client, *self._admin.argv(), "--max-allowed-packet=1G", "--default-character-set=utf8mb4",
                 f"--init-command={session}", "--binary-mode", "--", self._name],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            if age.stdin is None or age.stdout is None or zstd.stdout is None or client.stdin is None:
                raise RuntimeError("a pipe is missing")
            age.stdout.close()
            zstd_out = zstd.stdout.fileno()
            pipeline.watch()
            scanner = DumpScanner()
            try:
                with contextlib.suppress(BrokenPipeError):
                    write_all(age.stdin.fileno(), self._identity.strip().encode() + b"\n")
                age.stdin.close()
                for piece in pieces(zstd_out):
                    write_all(client.stdin.fileno(), piece)
                    scanner.feed(piece)
                    pipeline.alive()
                    self._tell(scanner)
                client.stdin.close()
                pipeline.finish()
            except BrokenPipeError:
                pipeline.broken()
        if not scanner.complete:
            raise OperatorError(msg("the dump in {path} is cut off", path=path))
        return scanner

    def _compare(self, manifest: dict[str, Any], deadline: float) -> bool:
        """Dump the schema again and compare. True when bytes were compared, False when only what versions share."""
        same_tool = (manifest["dump"]["program"], manifest["dump"]["options"]) == (
            self._dumper.version, list(self._dumper.options)
        )  # fmt: skip
        scanner = DumpScanner()
        argv = self._dumper.command(self._admin.argv(), self._name)
        with Pipeline(deadline, self._stall_s) as pipeline:
            process = self._admin.start(pipeline, self._dumper.name, argv, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE)  # fmt: skip
            if process.stdout is None:
                raise RuntimeError("a pipe is missing")
            pipeline.watch()
            for piece in pieces(process.stdout.fileno()):
                scanner.feed(piece)
                pipeline.alive()
            pipeline.finish()
        if not scanner.complete:
            raise OperatorError(msg("the restored database can't be dumped to its end: see the log of the database"))
        differing = _differing(manifest["tables"], scanner.tables(), exact=same_tool)
        if differing:
            raise OperatorError(msg("the restored database has other rows than the dump had in {tables}: does anybody"
                                  " else write to it?", tables=differing))  # fmt: skip
        with self._admin.connection(self._name, 60) as connection:
            found = backup_structure.read(connection, self._product.name)
            with connection.cursor() as cursor:
                cursor.execute("SELECT VERSION()")
                same_server = release(str(cursor.fetchone()[0])) == release(str(manifest["server"]["version"]))
        expected = manifest["structure"]
        if not same_server:
            expected, found = _names(expected), _names(found)
        different = backup_structure.differences(expected, found)
        if different:
            raise OperatorError(
                msg("the restored structure differs from the dumped one: {objects}", objects=", ".join(different))
            )
        return same_tool and same_server


def _names(structure: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {kind: dict.fromkeys(structure.get(kind, {}), "") for kind in NAMED}


def _differing(expected: dict[str, Any], found: dict[str, Any], *, exact: bool) -> str:
    """Tables whose rows, or with ``exact`` whose bytes, are others; empty when there is none."""
    wanted = {name: table for name, table in expected.items() if table["rows"]}
    differing = sorted(
        name for name in {*wanted, *found}
        if (wanted.get(name) != found.get(name) if exact
            else wanted.get(name, {}).get("rows") != found.get(name, {}).get("rows"))
    )  # fmt: skip
    return ", ".join(differing[:SHOWN])
