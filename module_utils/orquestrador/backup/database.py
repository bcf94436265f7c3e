"""Back up a database: dump, compress, encrypt and write in one stream, and say exactly what was written.

``dump → (counted and hashed here) → zstd → age → (hashed and written here)``. The plaintext exists in pipes only; the
host has the public half of the key only, so that who steals the file and the host still can't read it.
"""

from __future__ import annotations

import hashlib
from typing import IO, Any, Callable, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.jsonable import iso
from ..core.messages import msg
from ..mysql import driver
from ..mysql.clients import PRODUCTS, find_dumper, need
from ..mysql.dump_scanner import DumpScanner
from ..mysql.statements import asked
from ..mysql.structure import Structure, read
from ..system.files import Lock
from ..system.pipeline import Pipeline, Worker, teed
from . import session
from .keys import check_recipient
from .session import GROWTH, Limits, Room, Session, room
from .store import backups

KIND = "database"
CONNECT_TIMEOUT_S = 10.0
FIRST_SHARE = 0.4  # of the tables' size that the first backup is expected to take, compressed


class Source(NamedTuple):
    """The server and schema to dump."""

    product: str
    version: str
    uuid: str
    charset: str
    collation: str
    lower_case_table_names: int
    size_bytes: int  # of tables and indexes, as the server estimates
    structure: Structure
    time_zones: tuple[str, ...] = ()  # that events are given in, by name


def inspect_source(defaults_file: str, name: str) -> Source:
    """Ask the server what it is and what the schema looks like."""
    defaults, _ = driver.read_defaults(defaults_file)
    with asked(defaults, name, CONNECT_TIMEOUT_S) as connection:
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
    found = read(connection, product.name)
    return Source(
        product.name, str(version), str(uuid), str(charset), str(collation), int(lower), int(size), found, zones
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
    held: Optional[Lock] = None,
) -> dict[str, Any]:
    """Make one backup of schema ``name`` in ``directory``; what would be done only, with ``check_mode``.

    :param purpose: why it is made, for its manifest: ``routine``, or ``safety`` before something is replaced.
    :param held: the lock of the directory, when the caller has it.
    :returns: ``{changed, backup: manifest or None, path, swept: [names], needed_bytes, free_bytes}``
    :raises OperatorError: with the one line for the operator; nothing that looks like a backup is left then.
    """
    check_recipient(recipient)
    need("zstd"), need("age")
    if check_mode:
        source = inspect_source(defaults_file, name)
        find_dumper(PRODUCTS[source.product])
        return _room(directory, source, name, limits).result()
    with session.session(directory, KIND, limits, recipient, held) as making:
        source = inspect_source(defaults_file, name)
        dumper = find_dumper(PRODUCTS[source.product])
        space = _room(directory, source, name, limits)
        program = session.Source(dumper.name, dumper.command([f"--defaults-file={defaults_file}"], name))
        sink, scanner = making.write([f"-{level}"], _feed(making), program)
        if not scanner.complete:
            text = msg(
                "the dump lacks its last line, Dump completed, although {program} reported no error:"
                " see the log of the database",
                program=dumper.name,
            )
            raise OperatorError(text)
        if inspect_source(defaults_file, name).structure != source.structure:
            raise OperatorError(
                msg("the structure of {database} changed while it was dumped: try again when it rests", database=name)
            )
        dump = {"program": dumper.version, "options": list(dumper.options)}
        manifest = making.commit(sink, purpose, database=name, dump=dump, **_facts(source, scanner))
    return making.result(manifest, space)


def _room(directory: str, source: Source, name: str, limits: Limits) -> Room:
    before = [manifest for manifest in backups(directory) if manifest.get("database") == name]
    needed = int(before[-1]["bytes_file"]) * GROWTH if before else source.size_bytes * FIRST_SHARE
    return room(directory, int(needed), limits)


def _feed(making: Session) -> Callable[[Pipeline, IO[bytes], IO[bytes]], DumpScanner]:
    since_at, scanner = iso(making.began), DumpScanner()

    def feed(pipeline: Pipeline, pipe: IO[bytes], dump: IO[bytes]) -> DumpScanner:
        def scan() -> None:
            for piece in teed(dump.fileno(), pipe.fileno()):
                scanner.feed(piece)
                pipeline.alive()
                facts = {"bytes": scanner.bytes, "table": scanner.table}
                making.lock.tell(1.0, action="database_backup", since_at=since_at, **facts)

        # In a thread of its own, because a thread that stood back may not step forward again.
        reader = Worker(scan)
        reader.start()
        try:
            reader.result()
        except ValueError as error:
            raise OperatorError(msg("the dump can't be understood: {reason}", reason=str(error))) from error
        return scanner

    return feed


def _facts(source: Source, scanner: DumpScanner) -> dict[str, Any]:
    """What the manifest of a backup of a database has of its own."""
    found, empty = scanner.tables(), {"rows": 0, "sha256": hashlib.sha256().hexdigest()}
    tables = {**dict.fromkeys(source.structure["tables"], empty), **found}
    server = source._asdict()
    return {
        "structure": server.pop("structure"),
        "server": {**server, "time_zones": list(source.time_zones)},
        "bytes_dump": scanner.bytes,
        "rows": sum(int(table["rows"]) for table in tables.values()),
        "tables": tables,
    }
