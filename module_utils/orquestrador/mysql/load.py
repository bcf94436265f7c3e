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
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..core.redact import scrub_text
from ..system.identity import Owner
from ..system.pipeline import Pipeline, Worker, pieces, write_all
from . import driver
from .clients import PRODUCTS, Dumper, Product, find_client, find_dumper
from .dump_scanner import DumpScanner
from .statements import closing, create_schema, drop_schema
from .structure import Structure, differences, read

CONNECT_TIMEOUT_S = 10.0
LOCK_WAIT_S = 60  # that a statement of ours waits for others to let go of a table
SHOWN = 5
# Of these kinds the names have to be the same whatever the version; what describes them changes between versions.
NAMED = ("tables", "views", "routines", "triggers", "events")
# Options of a client that reads a dump.
TAKES_DUMPS = ("--max-allowed-packet=1G", "--default-character-set=utf8mb4", "--binary-mode")

# Starts what decrypts a file as the first children of a pipeline; what comes out of it.
Decrypt = Callable[[Pipeline, str], IO[bytes]]


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
    structure: Structure

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
                msg("the account that restores can't work at {where}: {reason}", where=where, reason=reason)
            ) from error

    def _connect(self, schema: Optional[str], timeout_s: float) -> Any:
        options: dict[str, Any] = {"charset": "utf8mb4", "connect_timeout": CONNECT_TIMEOUT_S, "autocommit": True}
        if self._defaults_file:
            return driver.connect(driver.read_defaults(self._defaults_file)[0], schema, timeout_s, **options)
        with self._owner.privileged():
            defaults = driver.Defaults("", self._socket, None)
            return driver.connect(defaults, schema, timeout_s, user="root", **options)


def inspect(admin: Admin, name: str) -> Server:
    """Ask the server what it is and what is in the schema."""
    with admin.connection(None, 60) as connection:

        def ask(statement: str, *values: Any) -> Sequence[Any]:
            return driver.rows(connection, statement, values)

        ((version, comment, lower, log_bin, data, events),) = ask(
            "SELECT VERSION(), @@version_comment, @@lower_case_table_names, @@log_bin, @@datadir,"
            " @@GLOBAL.event_scheduler"
        )
        product = driver.product_of(str(version), str(comment)).name
        charsets = "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
        found = ask(f"{charsets} WHERE SCHEMA_NAME = %s", name)
        sizes = "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES"
        ((size,),) = ask(f"{sizes} WHERE TABLE_SCHEMA = %s", name)
        structure: Structure = {}
        if found:
            connection.select_db(name)
            structure = read(connection, product)
    defaults = (str(found[0][0]), str(found[0][1])) if found else None
    scheduler = str(events).upper()
    return Server(
        product, str(version), int(lower), bool(log_bin), str(data), scheduler, defaults, int(size), structure
    )


def dumped(
    dumper: Dumper, argv: list[str], deadline: float, stall_s: float, start: Callable[..., Any] = Pipeline.start
) -> DumpScanner:
    """Dump a schema to look at the dump alone."""
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


def check_structure(expected: Structure, found: Structure) -> None:
    """:class:`OperatorError` naming the objects that differ."""
    different = differences(expected, found)
    if different:
        raise OperatorError(
            msg("the restored structure differs from the dumped one: {objects}", objects=", ".join(different))
        )


class Loader:
    """Replaces the schema ``name``; used once or twice in a run, each time with its own deadline."""

    def __init__(
        self,
        admin: Admin,
        product: str,
        name: str,
        decrypt: Decrypt,
        stall_s: float,
        tell: Callable[[DumpScanner], None],
    ) -> None:
        self._admin = admin
        self._product: Product = PRODUCTS[product]
        self._name = name
        self._decrypt = decrypt
        self._stall_s = stall_s
        self._tell = tell
        self._client = find_client(self._product)
        self._dumper = find_dumper(self._product)

    def events(self, value: str) -> None:
        """Switch the event scheduler of the server."""
        with self._admin.connection(None, self._stall_s) as connection:
            driver.rows(connection, "SET GLOBAL event_scheduler = " + ("ON" if value == "ON" else "OFF"))

    def drop(self, create: Optional[tuple[str, str]]) -> None:
        """Drop the schema and all in it; create it anew with a character set and a collation. Grants stay."""
        wait_s = max(self._stall_s, LOCK_WAIT_S + 60)
        with self._admin.connection(None, wait_s) as connection:
            drop_schema(connection, self._name)
            if create is not None:
                create_schema(connection, self._name, *create)

    def replace(self, path: str, manifest: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Make the schema what the backup holds and prove it: ``{restore_s, compare_s, exact}``."""
        server = manifest["server"]
        began = time.monotonic()
        self.drop((server["charset"], server["collation"]))
        loaded = self._load(path, manifest, deadline)
        restored = time.monotonic()
        tables = differing(manifest["tables"], loaded.tables())
        if tables:
            raise OperatorError(
                msg("the dump in {path} has other rows than its manifest says in {tables}", path=path, tables=tables)
            )
        exact = self._compare(manifest, deadline)
        compare_s = time.monotonic() - restored
        return {"restore_s": round(restored - began, 3), "compare_s": round(compare_s, 3), "exact": exact}

    def _load(self, path: str, manifest: dict[str, Any], deadline: float) -> DumpScanner:
        session = f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}"
        if manifest["structure"].get("events"):
            # An event whose only time has passed since the dump would be dropped as it is created.
            session += f", timestamp = {timegm(time.strptime(manifest['started_at'], '%Y-%m-%dT%H:%M:%SZ'))}"
        options = [*self._admin.argv(), *TAKES_DUMPS, f"--init-command={session}"]
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
        made_by, ours = manifest["dump"], self._dumper
        same_tool = (made_by["program"], made_by["options"]) == (ours.version, list(ours.options))
        argv = ours.command(self._admin.argv(), self._name)
        scanner = dumped(ours, argv, deadline, self._stall_s, self._admin.start)
        if not scanner.complete:
            raise OperatorError(msg("the restored database can't be dumped to its end: see the log of the database"))
        tables = differing(manifest["tables"], scanner.tables(), exact=same_tool)
        if tables:
            text = msg(
                "the restored database has other rows than the dump had in {tables}: does anybody else write to it?",
                tables=tables,
            )
            raise OperatorError(text)
        with self._admin.connection(self._name, 60) as connection:
            found = read(connection, self._product.name)
            version = str(driver.rows(connection, "SELECT VERSION()")[0][0])
        expected = manifest["structure"]
        same_server = release(version) == release(str(manifest["server"]["version"]))
        if not same_server:
            expected, found = _names(expected), _names(found)
        check_structure(expected, found)
        return same_tool and same_server


def _names(structure: dict[str, Any]) -> Structure:
    return {kind: dict.fromkeys(structure.get(kind, {}), "") for kind in NAMED}


def differing(expected: dict[str, Any], found: dict[str, Any], *, exact: bool = True) -> str:
    """Tables whose rows, or with ``exact`` whose bytes, are others; empty when there is none."""

    def compared(tables: dict[str, Any]) -> dict[str, Any]:
        return {name: table if exact else table["rows"] for name, table in tables.items() if table["rows"]}

    ours, theirs = compared(expected), compared(found)
    return ", ".join(sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))[:SHOWN])
