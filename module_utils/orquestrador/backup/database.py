"""Back up a database: dump, compress, encrypt and write in one stream, with the counts and digests of what was dumped.

``dump → (counted and hashed here) → zstd → age → (hashed and written here)``. The plaintext exists in pipes only, and
the host holds only the public key: nobody can decrypt the file with what is on the host.
"""

from __future__ import annotations

import hashlib
from typing import IO, Any, Callable, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.jsonable import iso
from ..core.messages import msg
from ..mysql import driver
from ..mysql.clients import PRODUCTS, find_dumper, require_program
from ..mysql.dump_scanner import DumpScanner
from ..mysql.statements import open_connection
from ..mysql.structure import Structure, read_structure
from ..system.files import Lock
from ..system.pipeline import Pipeline, Worker, teed
from .keys import check_recipient
from .session import GROWTH, Limits, Producer, Session, Space, check_space, open_session
from .store import list_backups

KIND = "database"
CONNECT_TIMEOUT_S = 10.0
FIRST_SHARE = 0.4  # expected size of the first backup, compressed, as a share of the tables' size


class Source(NamedTuple):
    """The server and the schema to dump."""

    product: str
    version: str
    uuid: str
    charset: str
    collation: str
    lower_case_table_names: int
    size_bytes: int  # of tables and indexes, as the server estimates
    structure: Structure
    time_zones: tuple[str, ...] = ()  # named time zones of the schema's events


def inspect_source(defaults_file: str, name: str) -> Source:
    """Return the server's version and settings and the schema's structure."""
    defaults, _ = driver.read_defaults(defaults_file)
    with open_connection(defaults, name, CONNECT_TIMEOUT_S) as connection:
        return _source(connection)


def _source(connection: Any) -> Source:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT VERSION(), @@version_comment, @@lower_case_table_names, @@character_set_database,"
            " @@collation_database"
        )
        version, comment, lower, charset, collation = cursor.fetchone()
        product = PRODUCTS[driver.product_of(str(version), str(comment)).name]
        cursor.execute(f"SELECT {product.uuid}")
        (uuid,) = cursor.fetchone()
        cursor.execute(
            "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) FROM information_schema.TABLES"
            " WHERE TABLE_SCHEMA = DATABASE()"
        )
        (size,) = cursor.fetchone()
        cursor.execute("SELECT DISTINCT TIME_ZONE FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()")
        zones = tuple(sorted(str(zone) for (zone,) in cursor if zone != "SYSTEM" and str(zone)[0] not in "+-"))
    structure = read_structure(connection, product.name)
    return Source(
        product.name, str(version), str(uuid), str(charset), str(collation), int(lower), int(size), structure, zones
    )


def back_up(
    directory: str,
    *,
    defaults_file: str,
    name: str,
    recipient: str,
    limits: Limits,
    level: int = 1,
    check_mode: bool = False,
    purpose: str = "routine",
    held_lock: Optional[Lock] = None,
) -> dict[str, Any]:
    """Make one backup of schema ``name`` in ``directory``; with ``check_mode``, only estimate its size.

    :param purpose: for the manifest: ``routine``, or ``safety`` before a restore.
    :param held_lock: the lock of the directory, when the caller holds it.
    :returns: ``{changed, backup: manifest or None, path, swept: [names], needed_bytes, free_bytes}``
    :raises OperatorError: no backup was made; its partial files are removed.
    """
    check_recipient(recipient)
    require_program("zstd"), require_program("age")
    if check_mode:
        source = inspect_source(defaults_file, name)
        find_dumper(PRODUCTS[source.product])
        return _check_space(directory, source, name, limits).result()
    with open_session(directory, KIND, limits, recipient, held_lock) as session:
        source = inspect_source(defaults_file, name)
        dumper = find_dumper(PRODUCTS[source.product])
        estimate = _check_space(directory, source, name, limits)
        program = Producer(dumper.name, dumper.command([f"--defaults-file={defaults_file}"], name))
        sink, scanner = session.write([f"-{level}"], _feed(session), program)
        if not scanner.complete:
            text = msg(
                "the dump does not end with the line Dump completed, although {program} reported no error: read"
                " the error log of the database",
                program=dumper.name,
            )
            raise OperatorError(text)
        if inspect_source(defaults_file, name).structure != source.structure:
            raise OperatorError(
                msg(
                    "the structure of {database} changed while it was dumped: back up again when no migration runs",
                    database=name,
                )
            )
        dump = {"program": dumper.version, "options": list(dumper.options)}
        manifest = session.commit(sink, purpose, database=name, dump=dump, **_manifest_fields(source, scanner))
    return session.result(manifest, estimate)


def _check_space(directory: str, source: Source, name: str, limits: Limits) -> Space:
    before = [manifest for manifest in list_backups(directory) if manifest.get("database") == name]
    needed = int(before[-1]["bytes_file"]) * GROWTH if before else source.size_bytes * FIRST_SHARE
    return check_space(directory, int(needed), limits)


def _feed(session: Session) -> Callable[[Pipeline, IO[bytes], IO[bytes]], DumpScanner]:
    since_at, scanner = iso(session.started_at), DumpScanner()

    def feed(pipeline: Pipeline, pipe: IO[bytes], dump: IO[bytes]) -> DumpScanner:
        def scan() -> None:
            for piece in teed(dump.fileno(), pipe.fileno()):
                scanner.feed(piece)
                pipeline.alive()
                facts = {"bytes": scanner.bytes, "table": scanner.table}
                session.lock.tell(1.0, action="database_backup", since_at=since_at, **facts)

        # In its own thread, because a thread's nice value cannot be lowered again.
        reader = Worker(scan)
        reader.start()
        try:
            reader.result()
        except ValueError as error:
            raise OperatorError(msg("the dump can't be parsed: {reason}", reason=str(error))) from error
        return scanner

    return feed


def _manifest_fields(source: Source, scanner: DumpScanner) -> dict[str, Any]:
    """Return the manifest fields that only a database backup has."""
    dumped, empty = scanner.tables(), {"rows": 0, "sha256": hashlib.sha256().hexdigest()}
    tables = {**dict.fromkeys(source.structure["tables"], empty), **dumped}
    server = source._asdict()
    return {
        "structure": server.pop("structure"),
        "server": {**server, "time_zones": list(source.time_zones)},
        "bytes_dump": scanner.bytes,
        "rows": sum(int(table["rows"]) for table in tables.values()),
        "tables": tables,
    }
