"""Replace a schema of the production server by a backup, and compare it with what was dumped.

``age → zstd → (counted and hashed here) → client``. The private key goes into age's standard input; the restoring
account is the database's root, authenticated by the Unix socket, or an account of an option file.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from calendar import timegm
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..core.redact import scrub_text
from ..system.identity import Owner
from ..system.pipeline import Pipeline, Worker, pieces, write_all
from . import driver
from .clients import PRODUCTS, Dumper, ProductTools, find_client, find_dumper
from .dump_scanner import DumpScanner
from .statements import closing, create_schema, drop_schema
from .structure import Structure, differences, read_structure

CONNECT_TIMEOUT_S = 10.0
LOCK_WAIT_S = 60  # lock_wait_timeout of the restore's statements
SHOWN = 5
# The names of these kinds must be equal between versions; their descriptions may change.
NAMED = ("tables", "views", "routines", "triggers", "events")
# Options of the client that loads a dump.
LOAD_OPTIONS = ("--max-allowed-packet=1G", "--default-character-set=utf8mb4", "--binary-mode")

# Starts the decryption of a file as the first children of a pipeline and returns the plaintext stream.
Decrypt = Callable[[Pipeline, str], IO[bytes]]


class ServerInfo(NamedTuple):
    """The server's version and settings, and the current state of the schema to replace."""

    product: str
    version: str
    lower_case_table_names: int
    log_bin: bool
    data_directory: str
    event_scheduler: str  # ON | OFF | DISABLED
    defaults: Optional[tuple[str, str]]  # character set and collation of the schema, None when there is no schema
    size_bytes: int
    structure: Structure

    @property
    def exists(self) -> bool:
        """Whether the schema exists."""
        return self.defaults is not None

    @property
    def empty(self) -> bool:
        """Whether the schema has no objects."""
        return not any(self.structure.values())


def release(version: str) -> tuple[int, int]:
    """Return ``(major, minor)`` of a server's version, ``(0, 0)`` when it has none."""
    numbers = version.split("-", maxsplit=1)[0].split(".")
    try:
        return int(numbers[0]), int(numbers[1])
    except (ValueError, IndexError):
        return 0, 0


class Admin:
    """The account that restores: root over the socket, or an account of an option file."""

    def __init__(self, owner: Owner, socket: str, defaults_file: str) -> None:
        self._owner = owner
        self._socket = socket
        self._defaults_file = defaults_file

    def argv(self) -> list[str]:
        """Return the client's options for the account; an option file must be the first argument."""
        if self._defaults_file:
            return [f"--defaults-file={self._defaults_file}"]
        return ["--no-defaults", f"--socket={self._socket}", "--user=root"]

    def start(self, pipeline: Pipeline, name: str, argv: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        """Start a client with the account's rights."""
        with contextlib.nullcontext() if self._defaults_file else self._owner.privileged():
            return pipeline.start(name, argv, **streams)

    @contextlib.contextmanager
    def connection(self, schema: Optional[str], timeout_s: float) -> Iterator[Any]:
        """Open a connection; any error on it becomes an :class:`OperatorError` of one line."""
        try:
            with closing(self._connect(schema, timeout_s)) as connection:
                driver.rows(connection, f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}")
                yield connection
        except OperatorError:
            raise
        except Exception as error:  # a server that answers garbage makes PyMySQL raise anything
            reason = driver.reason_of(error)
            if reason == "failed":
                reason = scrub_text(str(error.args[-1] if error.args else error))[:200]
            where = self._defaults_file or self._socket
            raise OperatorError(
                msg("the account that restores failed at {where}: {reason}", where=where, reason=reason)
            ) from error

    def _connect(self, schema: Optional[str], timeout_s: float) -> Any:
        options: dict[str, Any] = {"charset": "utf8mb4", "connect_timeout": CONNECT_TIMEOUT_S, "autocommit": True}
        if self._defaults_file:
            return driver.connect(driver.read_defaults(self._defaults_file)[0], schema, timeout_s, **options)
        with self._owner.privileged():
            defaults = driver.Defaults("", self._socket, None)
            return driver.connect(defaults, schema, timeout_s, user="root", **options)


def inspect_server(admin: Admin, name: str) -> ServerInfo:
    """Return the server's version and settings and the schema's structure."""
    with admin.connection(None, 60) as connection:

        def ask(statement: str, *values: Any) -> Sequence[Any]:
            return driver.rows(connection, statement, values)

        ((version, comment, lower, log_bin, data, scheduler_value),) = ask(
            "SELECT VERSION(), @@version_comment, @@lower_case_table_names, @@log_bin, @@datadir,"
            " @@GLOBAL.event_scheduler"
        )
        product = driver.product_of(str(version), str(comment)).name
        charsets = "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
        schemas = ask(f"{charsets} WHERE SCHEMA_NAME = %s", name)
        sizes = "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES"
        ((size,),) = ask(f"{sizes} WHERE TABLE_SCHEMA = %s", name)
        structure: Structure = {}
        if schemas:
            connection.select_db(name)
            structure = read_structure(connection, product)
    defaults = (str(schemas[0][0]), str(schemas[0][1])) if schemas else None
    scheduler = str(scheduler_value).upper()
    return ServerInfo(
        product, str(version), int(lower), bool(log_bin), str(data), scheduler, defaults, int(size), structure
    )


def scan_dump(
    dumper: Dumper, argv: list[str], deadline: float, stall_s: float, start: Callable[..., Any] = Pipeline.start
) -> DumpScanner:
    """Dump a schema and return the scanned dump; the data is discarded."""
    scanner = DumpScanner()
    with Pipeline(deadline, stall_s) as pipeline:
        process = start(pipeline, dumper.name, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        pipeline.watch()

        def scan() -> None:
            for piece in pieces(process.stdout.fileno()):
                scanner.feed(piece)
                pipeline.alive()

        reader = Worker(scan)
        reader.start()
        reader.result()
        pipeline.finish()
    return scanner


def check_structure(expected: Structure, actual: Structure) -> None:
    """:class:`OperatorError` naming the objects that differ."""
    different = differences(expected, actual)
    if different:
        raise OperatorError(
            msg("the restored structure differs from the dumped one: {objects}", objects=", ".join(different))
        )


class Loader:
    """Loader that replaces the schema ``name``; a rollback uses it again with a new deadline."""

    def __init__(
        self,
        admin: Admin,
        product: str,
        name: str,
        decrypt: Decrypt,
        stall_s: float,
        report_progress: Callable[[DumpScanner], None],
    ) -> None:
        self._admin = admin
        self._product: ProductTools = PRODUCTS[product]
        self._name = name
        self._decrypt = decrypt
        self._stall_s = stall_s
        self._report_progress = report_progress
        self._client = find_client(self._product)
        self._dumper = find_dumper(self._product)

    def set_event_scheduler(self, value: str) -> None:
        """Switch the event scheduler of the server."""
        with self._admin.connection(None, self._stall_s) as connection:
            driver.rows(connection, "SET GLOBAL event_scheduler = " + ("ON" if value == "ON" else "OFF"))

    def drop(self, create: Optional[tuple[str, str]]) -> None:
        """Drop the schema; create it again with ``create`` (character set, collation). Grants stay."""
        wait_s = max(self._stall_s, LOCK_WAIT_S + 60)
        with self._admin.connection(None, wait_s) as connection:
            drop_schema(connection, self._name)
            if create is not None:
                create_schema(connection, self._name, *create)

    def replace(self, path: str, manifest: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Load the backup into the schema and compare it; return ``{restore_s, compare_s, exact}``."""
        server = manifest["server"]
        started = time.monotonic()
        self.drop((server["charset"], server["collation"]))
        loaded = self._load(path, manifest, deadline)
        restored = time.monotonic()
        tables = differing_tables(manifest["tables"], loaded.tables())
        if tables:
            raise OperatorError(
                msg("the dump in {path} differs from its manifest in the tables {tables}", path=path, tables=tables)
            )
        exact = self._compare(manifest, deadline)
        compare_s = time.monotonic() - restored
        return {"restore_s": round(restored - started, 3), "compare_s": round(compare_s, 3), "exact": exact}

    def _load(self, path: str, manifest: dict[str, Any], deadline: float) -> DumpScanner:
        session = f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}"
        if manifest["structure"].get("events"):
            # A one-time event that was due since the dump would be dropped when it is created.
            session += f", timestamp = {timegm(time.strptime(manifest['started_at'], '%Y-%m-%dT%H:%M:%SZ'))}"
        options = [*self._admin.argv(), *LOAD_OPTIONS, f"--init-command={session}"]
        with Pipeline(deadline, self._stall_s) as pipeline:
            dump = self._decrypt(pipeline, path)
            argv = [self._client, *options, "--", self._name]
            streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
            client: Any = self._admin.start(pipeline, os.path.basename(self._client), argv, **streams)
            pipeline.watch()
            scanner = DumpScanner()
            try:
                for piece in pieces(dump.fileno()):
                    write_all(client.stdin.fileno(), piece)
                    scanner.feed(piece)
                    pipeline.alive()
                    self._report_progress(scanner)
                client.stdin.close()
                pipeline.finish()
            except BrokenPipeError:
                pipeline.broken()
        if not scanner.complete:
            raise OperatorError(msg("the dump in {path} is incomplete", path=path))
        return scanner

    def _compare(self, manifest: dict[str, Any], deadline: float) -> bool:
        """Dump the schema again and compare; return whether all bytes were compared, not only rows and names."""
        made_by, dumper = manifest["dump"], self._dumper
        same_tool = (made_by["program"], made_by["options"]) == (dumper.version, list(dumper.options))
        argv = dumper.command(self._admin.argv(), self._name)
        scanner = scan_dump(dumper, argv, deadline, self._stall_s, self._admin.start)
        if not scanner.complete:
            raise OperatorError(
                msg("the dump of the restored database is incomplete: read the error log of the database")
            )
        tables = differing_tables(manifest["tables"], scanner.tables(), exact=same_tool)
        if tables:
            text = msg(
                "the restored tables differ from the dump: {tables}: check that nothing else writes to the database",
                tables=tables,
            )
            raise OperatorError(text)
        with self._admin.connection(self._name, 60) as connection:
            structure = read_structure(connection, self._product.name)
            version = str(driver.rows(connection, "SELECT VERSION()")[0][0])
        expected = manifest["structure"]
        same_server = release(version) == release(str(manifest["server"]["version"]))
        if not same_server:
            expected, structure = _names_only(expected), _names_only(structure)
        check_structure(expected, structure)
        return same_tool and same_server


def _names_only(structure: dict[str, Any]) -> Structure:
    return {kind: dict.fromkeys(structure.get(kind, {}), "") for kind in NAMED}


def differing_tables(expected: dict[str, Any], actual: dict[str, Any], *, exact: bool = True) -> str:
    """Return the first tables that differ in their row count, or with ``exact`` in their bytes; empty for none."""

    def compared(tables: dict[str, Any]) -> dict[str, Any]:
        return {name: table if exact else table["rows"] for name, table in tables.items() if table["rows"]}

    left, right = compared(expected), compared(actual)
    return ", ".join(sorted(name for name in {*left, *right} if left.get(name) != right.get(name))[:SHOWN])
