"""Prove a backup by restoring its file and comparing what is there with what was dumped.

Restored into a throwaway server; where none can be started, into a scratch schema of the server in production. Rows and
digests come from dumping that again with the program and options of the backup, structure from its
``information_schema``. The private key comes from memory and goes into age's standard input.
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
from ..mysql.clients import PRODUCTS, Product, find_client, find_dumper, need
from ..mysql.dump_scanner import CodeFilter, DumpScanner, Ending
from ..mysql.load import TAKES_DUMPS, check_structure, differing, dumped
from ..mysql.scratch_schema import ACCOUNT, METHOD, scratch_schema, sweep_schemas
from ..mysql.statements import closing
from ..mysql.structure import CODE, OWNERS, read
from ..mysql.throwaway_server import NoServerError, Place, sweep_servers, throwaway_server
from ..system.files import Lock, seconds_of
from ..system.pipeline import Pipeline, Worker, pieces, teed, write_all
from .keys import check_identity, decrypted
from .session import Limits, check_file, prove, proving
from .store import RefutedError, choose, data_path

KIND = "database"
METHODS = ("auto", "throwaway_server", METHOD)
NOT_IN_SCRATCH = CODE | OWNERS


class Ways(NamedTuple):
    """How a proof may be made: ``method`` of ``METHODS``; the rest is for a scratch schema."""

    method: str = "throwaway_server"
    defaults_file: str = ""
    user: str = ACCOUNT


def verify(
    directory: str,
    *,
    wanted: str,
    identity: str,
    limits: Limits,
    ways: Ways = Ways(),  # noqa: B008 - immutable
    check_mode: bool = False,
) -> dict[str, Any]:
    """Prove one backup and write the proof into its manifest.

    :param identity: private key of age; never written, never an argument.
    :returns: ``{changed, backup: manifest, path}``; ``backup.verified`` is ``{at, method, restore_s, age_s, …}``.
    :raises OperatorError: what is wrong with the backup, or why it could not be proven; the manifest says so too.
    """
    check_identity(identity)
    need("age"), need("zstd")
    if not wanted:
        if check_mode:
            return {"changed": True, "backup": {}, "path": directory}
        raise OperatorError(msg("there is nothing to prove, because no backup was made"))
    if check_mode or not os.path.isdir(directory):
        manifest = choose(directory, wanted)
    else:
        with proving(directory, KIND) as lock:
            sweep_servers(directory)
            sweep_schemas(directory, ways.defaults_file, ways.user)
            manifest = choose(directory, wanted)
            prove(directory, manifest, _Proof(directory, manifest, identity, lock, limits, ways).prove)
    return {"changed": True, "backup": manifest, "path": data_path(directory, manifest)}


class _Proof:
    """One proof of one backup."""

    def __init__(
        self, directory: str, manifest: dict[str, Any], identity: str, lock: Lock, limits: Limits, ways: Ways
    ) -> None:
        self._directory = directory
        self._manifest = manifest
        self._identity = identity
        self._lock = lock
        self._limits = limits
        self._deadline = time.monotonic() + limits.timeout_s
        self._ways = ways
        self._why_not: Optional[Message] = None  # no throwaway server
        product = PRODUCTS.get(str(manifest["server"]["product"]))
        if product is None:
            raise OperatorError(msg("the backup is of an unknown product: use the version that made it"))
        self._product: Product = product
        self._dumper = find_dumper(product)

    def prove(self) -> dict[str, Any]:
        """What is proven; :class:`RefutedError` when something is wrong with the backup."""
        manifest = self._manifest
        path = check_file(self._directory, manifest)
        with self._place() as place:
            started = time.monotonic()
            self._restore(path, place)
            restored_s = time.monotonic() - started
            tables = differing(manifest["tables"], self._dump_again(place).tables())
            if tables:
                raise RefutedError(
                    msg("the restored server has other rows than the dump had in {tables}", tables=tables)
                )
            self._compare_structure(place)
        return {
            "method": place.method,
            **self._reservations(place),
            "restore_s": round(restored_s, 3),
            "rows": manifest["rows"],
            "tables": len(manifest["tables"]),
        }

    @contextlib.contextmanager
    def _place(self) -> Iterator[Place]:
        """An empty schema of the backup's own; a scratch schema only where no second server can be started."""
        server, schema, ways = self._manifest["server"], str(self._manifest["database"]), self._ways
        size = max(int(server["size_bytes"]), int(self._manifest["bytes_dump"]))
        room = {"size_bytes": size, "reserve_bytes": self._limits.reserve_bytes}
        with contextlib.ExitStack() as stack:
            if ways.method != METHOD:
                alone = throwaway_server(self._directory, server, schema, deadline=self._deadline, **room)
                try:
                    place = stack.enter_context(alone)
                except NoServerError as error:
                    if ways.method != "auto":
                        raise
                    self._why_not = error.message
            if ways.method == METHOD or self._why_not is not None:
                beside = scratch_schema(self._directory, self._manifest, ways.defaults_file, ways.user, **room)
                try:
                    place = stack.enter_context(beside)
                except OperatorError as error:
                    if self._why_not is None:
                        raise
                    text = msg(
                        "no second server can be started here ({server}), and a scratch schema can't be used: {schema}",
                        server=plain(self._why_not),
                        schema=plain(error.message),
                    )
                    raise OperatorError(text) from error
            yield place

    def _reservations(self, place: Place) -> dict[str, Any]:
        """What a proof in a scratch schema did not compare, and why there was no server of its own."""
        if place.method != METHOD:
            return {}
        reason = {} if self._why_not is None else {"reason": plain(self._why_not)}
        return {"not_compared": sorted(NOT_IN_SCRATCH), **reason}

    def _restore(self, path: str, place: Place) -> None:
        """Load the file, whose SHA-256 has been compared: what it holds is compared when it is dumped again."""
        client = find_client(self._product)
        # An event that was due only once, since the dump, would be refused or dropped by a session of today.
        dumped_at = int(seconds_of(str(self._manifest["started_at"])))
        session = f"--init-command=SET SESSION timestamp = {dumped_at}{place.settings}"
        argv = [client, *place.access, session, *TAKES_DUMPS, place.schema]
        with Pipeline(self._deadline, self._limits.stall_s) as pipeline:
            dump = decrypted(pipeline, path, self._identity, behind=True)
            streams: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
            loader: Any = pipeline.start(os.path.basename(client), argv, **streams)
            pipeline.watch()
            ending = Ending()

            def scan() -> None:
                for piece in self._passing(dump.fileno(), loader.stdin.fileno(), place):
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
            raise RefutedError(msg("the dump in {path} is cut off", path=path))

    def _passing(self, source: int, sink: int, place: Place) -> Iterator[bytes]:
        """The dump, piece by piece, as it goes to the server; no code of it goes into one in production."""
        if place.method != METHOD:
            yield from teed(source, sink)
            return
        code_filter = CodeFilter()
        for piece in pieces(source):
            write_all(sink, code_filter.feed(piece))
            yield piece
        write_all(sink, code_filter.end())

    def _dump_again(self, place: Place) -> DumpScanner:
        options = [str(option) for option in self._dumper.options]
        if place.method == METHOD:
            options = [option for option in options if option not in ("--routines", "--triggers", "--events")]
            options.append("--skip-triggers")
        argv = self._dumper.command(place.access, place.schema, options)
        return dumped(self._dumper, argv, self._deadline, self._limits.stall_s)

    def _compare_structure(self, place: Place) -> None:
        expected = self._manifest["structure"]
        with closing(place.connect()) as connection:
            found = read(connection, self._product.name, (place.schema, self._manifest["database"]))
        if place.method == METHOD:
            expected, found = (
                {kind: objects for kind, objects in structure.items() if kind not in NOT_IN_SCRATCH}
                for structure in (expected, found)
            )
        try:
            check_structure(expected, found)
        except OperatorError as error:
            raise RefutedError(error.message) from error
