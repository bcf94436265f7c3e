"""Back up a database: dump, compress, encrypt and write in one stream, and say exactly what was written.

``dump → (counted and hashed here) → zstd → age → (hashed and written here)``. The plaintext exists in pipes only; the
host has the public half of the key only, so that who steals the file and the host still can't read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import time
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.jsonable import iso
from ..core.messages import msg
from ..mysql import state as database
from ..mysql import structure as backup_structure
from ..mysql.clients import PRODUCTS, Dumper, find_dumper, need
from ..mysql.dump_scanner import DumpScanner
from ..system.files import FILE_MODE, Lock, free_bytes, locked, new_id
from ..system.pipeline import Pipeline, Worker, teed
from .sink import Sink, commit, no_room
from .store import FORMAT, PARTIAL, SUFFIX, backups, ensure_directory, sweep

CONNECT_TIMEOUT_S = 10.0
GROWTH = 1.25  # a backup may be this much larger than the one before it
FIRST_SHARE = 0.4  # of the tables' size that the first backup is expected to take, compressed
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")


class Source(NamedTuple):
    """The server and schema to dump."""

    product: str
    version: str
    uuid: str
    charset: str
    collation: str
    lower_case_table_names: int
    size_bytes: int  # of tables and indexes, as the server estimates
    structure: backup_structure.Structure
    time_zones: tuple[str, ...] = ()  # that events are given in, by name


class Written(NamedTuple):
    """What the stream left."""

    sha256: str
    bytes_file: int
    bytes_dump: int
    tables: dict[str, dict[str, Any]]


def check_recipient(recipient: str) -> None:
    """Refuse anything but a public key of age: a private one must not get here at all."""
    if recipient.upper().startswith("AGE-SECRET-KEY"):
        raise OperatorError(
            msg("backup_age_recipient is a private key: give the public one, age1…, and keep it secret")
        )
    if not _RECIPIENT.fullmatch(recipient):
        raise OperatorError(msg("backup_age_recipient is no public key of age: give what age-keygen -y prints, age1…"))


def inspect_source(defaults_file: str, name: str) -> Source:
    """Ask the server what it is and what the schema looks like."""
    try:
        defaults, _ = database.read_defaults(defaults_file)
    except database.DatabaseError as error:
        raise OperatorError(error.finding["message"]) from error
    connection = None
    try:
        connection = database.connect(defaults, name, CONNECT_TIMEOUT_S)
        return _source(connection)
    except OperatorError:
        raise
    except Exception as error:  # a server that answers garbage makes PyMySQL raise anything
        where = defaults.socket or defaults.host or "localhost"
        raise OperatorError(
            msg("The database server at {where} can't be asked about {database}: {reason}", where=where, database=name,
                reason=database.reason_of(error))
        ) from error  # fmt: skip
    finally:
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


def _source(connection: Any) -> Source:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT VERSION(), @@version_comment, @@lower_case_table_names, @@character_set_database,"
            " @@collation_database"
        )
        version, comment, lower, charset, collation = cursor.fetchone()
        product = PRODUCTS[database.product_of(str(version), str(comment)).name]
        cursor.execute(f"SELECT {product.uuid}")
        (uuid,) = cursor.fetchone()
        cursor.execute(
            "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = DATABASE()"
        )
        (size,) = cursor.fetchone()
        cursor.execute("SELECT DISTINCT TIME_ZONE FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()")
        zones = tuple(sorted(str(zone) for (zone,) in cursor if zone != "SYSTEM" and str(zone)[0] not in "+-"))
    structure = backup_structure.read(connection, product.name)
    return Source(
        product.name, str(version), str(uuid), str(charset), str(collation), int(lower), int(size), structure, zones
    )


def back_up(
    directory: str,
    *,
    defaults_file: str,
    name: str,
    recipient: str,
    reserve_bytes: int,
    timeout_s: float,
    stall_s: float,
    level: int = 1,
    check_mode: bool = False,
    purpose: str = "routine",
    held: Optional[Lock] = None,
) -> dict[str, Any]:
    """Make one backup of schema ``name`` in ``directory``; what would be done only, with ``check_mode``.

    :param reserve_bytes: free space that a backup must leave on the file system.
    :param stall_s: seconds without a byte after which the run is ended.
    :param purpose: why it is made, for its manifest: ``routine``, or ``safety`` before something is replaced.
    :param held: the lock of the directory, when the caller has it.
    :returns: ``{changed, backup: manifest or None, path, swept: [names], needed_bytes, free_bytes}``
    :raises OperatorError: with the one line for the operator; nothing that looks like a backup is left then.
    """
    began, clock = time.time(), time.monotonic()
    check_recipient(recipient)
    zstd, age = need("zstd"), need("age")
    if check_mode:
        source = inspect_source(defaults_file, name)
        find_dumper(PRODUCTS[source.product])
        place = directory if os.path.isdir(directory) else os.path.dirname(directory)
        needed, free = _room(directory, place, source, name, reserve_bytes)
        return {
            "changed": True, "backup": None, "path": None, "swept": [], "needed_bytes": needed, "free_bytes": free,
        }  # fmt: skip
    ensure_directory(directory)
    with contextlib.nullcontext(held) if held else locked(directory, "database_backup", began) as lock:
        swept = sweep(directory)
        source = inspect_source(defaults_file, name)
        dumper = find_dumper(PRODUCTS[source.product])
        needed, free = _room(directory, directory, source, name, reserve_bytes)
        backup_id = new_id(began)
        partial = os.path.join(directory, f"{PARTIAL}{backup_id}{SUFFIX}")
        argv = dumper.command([f"--defaults-file={defaults_file}"], name)
        stream = _Stream(directory, lock, clock + timeout_s, stall_s, reserve_bytes, iso(began))
        try:
            written = stream.run(dumper.name, argv, [zstd, f"-{level}", "-q", "-c"], [age, "-r", recipient], partial)
            if inspect_source(defaults_file, name).structure != source.structure:
                raise OperatorError(
                    msg(
                        "the structure of {database} changed while it was dumped: try again when it rests",
                        database=name,
                    )
                )
            manifest = _manifest(backup_id, name, recipient, source, dumper, written, began, time.monotonic() - clock)
            manifest["purpose"] = purpose
            commit(directory, partial, manifest)
        except OSError as error:
            raise OperatorError(no_room(directory, error)) from error
        finally:
            for leftover in (partial, os.path.join(directory, f"{PARTIAL}{backup_id}.json")):
                with contextlib.suppress(OSError):
                    os.unlink(leftover)
    path = os.path.join(directory, str(manifest["file"]))
    return {
        "changed": True, "backup": manifest, "path": path, "swept": swept, "needed_bytes": needed, "free_bytes": free,
    }  # fmt: skip


def _room(directory: str, place: str, source: Source, name: str, reserve_bytes: int) -> tuple[int, int]:
    """What the backup is expected to take and what is free; :class:`OperatorError` when that does not go together."""
    before = [manifest for manifest in backups(directory) if manifest.get("database") == name]
    known: Optional[int] = int(before[-1]["bytes_file"]) if before else None
    needed = int(known * GROWTH if known is not None else source.size_bytes * FIRST_SHARE)
    free = free_bytes(place)
    if free < needed + reserve_bytes:
        raise OperatorError(
            msg(
                "a backup needs about {needed_bytes} and has to leave {reserve_bytes}, but {path} has {free_bytes}"
                " left: free some",
                needed_bytes=needed, reserve_bytes=reserve_bytes, free_bytes=free, path=directory,
            )
        )  # fmt: skip
    return needed, free


class _Stream:
    """The pipe itself."""

    def __init__(
        self, directory: str, lock: Lock, deadline: float, stall_s: float, reserve_bytes: int, since_at: Optional[str]
    ) -> None:
        self._directory = directory
        self._lock = lock
        self._reserve = reserve_bytes
        self._since = since_at
        self._pipeline = Pipeline(deadline, stall_s)

    def run(self, program: str, dump: list[str], compress: list[str], encrypt: list[str], partial: str) -> Written:
        target = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            with self._pipeline as pipeline:
                dumper = pipeline.start(program, dump, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                zstd = pipeline.start("zstd", compress, behind=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                age = pipeline.start("age", encrypt, behind=True, stdin=zstd.stdout, stdout=subprocess.PIPE)
                if dumper.stdout is None or zstd.stdin is None or zstd.stdout is None or age.stdout is None:
                    raise RuntimeError("a pipe is missing")
                zstd.stdout.close()  # age's alone: when it ends, zstd has to notice
                result = age.stdout.fileno()
                pipeline.watch()
                sink = Sink(self._directory, target, self._reserve, pipeline)
                writer = Worker(lambda: sink.write(result))
                writer.start()
                scanner, dump_end, sink_end = DumpScanner(), dumper.stdout.fileno(), zstd.stdin
                # In a thread of its own, because a thread that stood back may not step forward again.
                reader = Worker(lambda: self._scan(scanner, dump_end, sink_end))
                reader.start()
                reader.result()
                pipeline.finish()
                writer.join(60)
                if writer.error is not None:
                    raise writer.error
                if writer.is_alive():
                    raise OperatorError(msg("the disk of {path} does not take what is written", path=self._directory))
            if not scanner.complete:
                raise OperatorError(
                    msg("the dump lacks its last line, Dump completed, although {program} reported no error:"
                        " see the log of the database", program=program)
                )  # fmt: skip
            os.fsync(target)
        finally:
            os.close(target)
        return Written(sink.sha256, sink.bytes, scanner.bytes, scanner.tables())

    def _scan(self, scanner: DumpScanner, source: int, sink: Any) -> None:
        try:
            for piece in teed(source, sink.fileno()):
                scanner.feed(piece)
                self._pipeline.alive()
                self._lock.tell(1.0, action="database_backup", since_at=self._since, bytes=scanner.bytes,
                                table=scanner.table)  # fmt: skip
            sink.close()
        except BrokenPipeError:
            self._pipeline.broken()
        except ValueError as error:
            raise OperatorError(msg("the dump can't be understood: {reason}", reason=str(error))) from error


def _manifest(
    backup_id: str,
    name: str,
    recipient: str,
    source: Source,
    dumper: Dumper,
    written: Written,
    began: float,
    duration_s: float,
) -> dict[str, Any]:
    empty = {"rows": 0, "sha256": hashlib.sha256().hexdigest()}
    tables = {table: written.tables.get(table, empty) for table in source.structure["tables"]}
    tables.update(written.tables)
    return {
        "format": FORMAT,
        "kind": "database",
        "id": backup_id,
        "file": backup_id + SUFFIX,
        "host": socket.gethostname(),
        "database": name,
        "server": {
            "product": source.product,
            "version": source.version,
            "uuid": source.uuid,
            "charset": source.charset,
            "collation": source.collation,
            "lower_case_table_names": source.lower_case_table_names,
            "size_bytes": source.size_bytes,
            "time_zones": list(source.time_zones),
        },
        "dump": {"program": dumper.version, "options": list(dumper.options)},
        "started_at": iso(began),
        "ended_at": iso(began + duration_s),
        "duration_s": round(duration_s, 3),
        "sha256": written.sha256,
        "bytes_dump": written.bytes_dump,
        "bytes_file": written.bytes_file,
        "rows": sum(int(table["rows"]) for table in tables.values()),
        "tables": tables,
        "structure": source.structure,
        "recipient": recipient,
        "verified": None,
    }
