"""Prove a backup by restoring its file and comparing the result with what was dumped.

The dump is loaded into a throwaway server or, where none can be started, into a scratch schema of the production
server. Rows and digests come from dumping that again with the program and options of the backup, the structure from
its ``information_schema``. The private key is held in memory and written to age's standard input.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg, plain
from ..core.types import Message
from ..mysql.clients import PRODUCTS, ProductTools, find_client, find_dumper, require_program
from ..mysql.dump_scanner import CodeFilter, DumpScanner, Ending
from ..mysql.load import LOAD_OPTIONS, check_structure, differing_tables, scan_dump
from ..mysql.scratch_schema import ACCOUNT, METHOD, scratch_schema, sweep_schemas
from ..mysql.statements import closing
from ..mysql.structure import CODE, OWNERS, read_structure
from ..mysql.throwaway_server import Location, NoServerError, sweep_servers, throwaway_server
from ..system.files import Lock, seconds_of
from ..system.pipeline import Pipeline, Worker, pieces, teed, write_all
from .keys import check_identity, decrypted
from .session import Limits, check_file, locked_for_proof, prove
from .store import RefutedError, data_path, find_backup

KIND = "database"
METHODS = ("auto", "throwaway_server", METHOD)
NOT_IN_SCRATCH = CODE | OWNERS


class ProofMethod(NamedTuple):
    """How to prove: one of ``METHODS``; file and user are for a scratch schema."""

    method: str = "throwaway_server"
    defaults_file: str = ""
    user: str = ACCOUNT


def verify(
    directory: str,
    *,
    backup: str,
    identity: str,
    limits: Limits,
    method: ProofMethod = ProofMethod(),  # noqa: B008 - immutable
    check_mode: bool = False,
) -> dict[str, Any]:
    """Prove one backup and write the proof into its manifest.

    :param identity: private key of age; never written, never an argument.
    :returns: ``{changed, backup: manifest, path}``; ``backup.verified`` is ``{at, method, restore_s, age_s, …}``.
    :raises OperatorError: the backup is damaged, or could not be restored; the manifest records a refuted proof.
    """
    check_identity(identity)
    require_program("age"), require_program("zstd")
    if not backup:
        if check_mode:
            return {"changed": True, "backup": {}, "path": directory}
        raise OperatorError(msg("there is nothing to prove, because no backup was made"))
    if check_mode or not os.path.isdir(directory):
        manifest = find_backup(directory, backup)
    else:
        with locked_for_proof(directory, KIND) as lock:
            sweep_servers(directory)
            sweep_schemas(directory, method.defaults_file, method.user)
            manifest = find_backup(directory, backup)
            prove(directory, manifest, _Proof(directory, manifest, identity, lock, limits, method).prove)
    return {"changed": True, "backup": manifest, "path": data_path(directory, manifest)}


class _Proof:
    """One proof of one backup."""

    def __init__(
        self, directory: str, manifest: dict[str, Any], identity: str, lock: Lock, limits: Limits, method: ProofMethod
    ) -> None:
        self._directory = directory
        self._manifest = manifest
        self._identity = identity
        self._lock = lock
        self._limits = limits
        self._deadline = time.monotonic() + limits.timeout_s
        self._method = method
        self._server_error: Optional[Message] = None  # why no throwaway server was started
        product = PRODUCTS.get(str(manifest["server"]["product"]))
        if product is None:
            raise OperatorError(
                msg("the backup is of an unknown database product: use the version of Orquestrador Ops that made it")
            )
        self._product: ProductTools = product
        self._dumper = find_dumper(product)

    def prove(self) -> dict[str, Any]:
        """Return the proof for the manifest; :class:`RefutedError` when the backup differs from its manifest."""
        manifest = self._manifest
        path = check_file(self._directory, manifest)
        with self._open_location() as location:
            started = time.monotonic()
            self._restore(path, location)
            restored_s = time.monotonic() - started
            tables = differing_tables(manifest["tables"], self._dump_again(location).tables())
            if tables:
                raise RefutedError(msg("the restored tables differ from the dump: {tables}", tables=tables))
            self._compare_structure(location)
        return {
            "method": location.method,
            **self._limitations(location),
            "restore_s": round(restored_s, 3),
            "rows": manifest["rows"],
            "tables": len(manifest["tables"]),
        }

    @contextlib.contextmanager
    def _open_location(self) -> Iterator[Location]:
        """Open an empty schema to restore into; a scratch schema only where no second server can be started."""
        server, schema, method = self._manifest["server"], str(self._manifest["database"]), self._method
        size = max(int(server["size_bytes"]), int(self._manifest["bytes_dump"]))
        space = {"size_bytes": size, "reserve_bytes": self._limits.reserve_bytes}
        with contextlib.ExitStack() as stack:
            if method.method != METHOD:
                server = throwaway_server(self._directory, server, schema, deadline=self._deadline, **space)
                try:
                    location = stack.enter_context(server)
                except NoServerError as error:
                    if method.method != "auto":
                        raise
                    self._server_error = error.message
            if method.method == METHOD or self._server_error is not None:
                scratch = scratch_schema(self._directory, self._manifest, method.defaults_file, method.user, **space)
                try:
                    location = stack.enter_context(scratch)
                except OperatorError as error:
                    if self._server_error is None:
                        raise
                    text = msg(
                        "no second server can be started here ({server}), and a scratch schema can't be used: {schema}",
                        server=plain(self._server_error),
                        schema=plain(error.message),
                    )
                    raise OperatorError(text) from error
            yield location

    def _limitations(self, location: Location) -> dict[str, Any]:
        """Return the kinds that a proof in a scratch schema did not compare, and why no server was started."""
        if location.method != METHOD:
            return {}
        reason = {} if self._server_error is None else {"reason": plain(self._server_error)}
        return {"not_compared": sorted(NOT_IN_SCRATCH), **reason}

    def _restore(self, path: str, location: Location) -> None:
        """Load the file; its SHA-256 has been compared, its rows are compared when the schema is dumped again."""
        client = find_client(self._product)
        # A one-time event that was due since the dump would be rejected or dropped at the current time.
        dumped_at = int(seconds_of(str(self._manifest["started_at"])))
        session = f"--init-command=SET SESSION timestamp = {dumped_at}{location.settings}"
        argv = [client, *location.access, session, *LOAD_OPTIONS, location.schema]
        with Pipeline(self._deadline, self._limits.stall_s) as pipeline:
            dump = decrypted(pipeline, path, self._identity, low_priority=True)
            streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
            loader: Any = pipeline.start(os.path.basename(client), argv, **streams)
            pipeline.watch()
            ending = Ending()

            def scan() -> None:
                for piece in self._send(dump.fileno(), loader.stdin.fileno(), location):
                    ending.feed(piece)
                    pipeline.alive()
                    self._lock.tell(1.0, action="database_verify", bytes=ending.bytes)
                loader.stdin.close()

            try:
                reader = Worker(scan)
                reader.start()
                reader.result()
                pipeline.finish()
            except BrokenPipeError:
                pipeline.broken()
        if not ending.complete or ending.bytes != self._manifest["bytes_dump"]:
            raise RefutedError(msg("the dump in {path} is incomplete", path=path))

    def _send(self, source: int, sink: int, location: Location) -> Iterator[bytes]:
        """Write the dump to the server and yield its pieces; stored code is filtered out for a production server."""
        if location.method != METHOD:
            yield from teed(source, sink)
            return
        code_filter = CodeFilter()
        for piece in pieces(source):
            write_all(sink, code_filter.feed(piece))
            yield piece
        write_all(sink, code_filter.end())

    def _dump_again(self, location: Location) -> DumpScanner:
        options = [str(option) for option in self._dumper.options]
        if location.method == METHOD:
            options = [option for option in options if option not in ("--routines", "--triggers", "--events")]
            options.append("--skip-triggers")
        argv = self._dumper.command(location.access, location.schema, options)
        return scan_dump(self._dumper, argv, self._deadline, self._limits.stall_s)

    def _compare_structure(self, location: Location) -> None:
        expected = self._manifest["structure"]
        with closing(location.connect()) as connection:
            structure = read_structure(connection, self._product.name, (location.schema, self._manifest["database"]))
        if location.method == METHOD:
            expected, structure = (
                {kind: objects for kind, objects in structure.items() if kind not in NOT_IN_SCRATCH}
                for structure in (expected, structure)
            )
        try:
            check_structure(expected, structure)
        except OperatorError as error:
            raise RefutedError(error.message) from error
