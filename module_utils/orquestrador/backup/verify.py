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
from typing import Any, NamedTuple

from ..core.errors import OperatorError
from ..core.jsonable import iso
from ..core.messages import msg, plain
from ..mysql import structure as backup_structure
from ..mysql.clients import PRODUCTS, Product, find, find_dumper, need
from ..mysql.dump_scanner import CodeFilter, DumpScanner, Ending
from ..mysql.scratch_schema import ACCOUNT, METHOD, scratch_schema, sweep_schemas
from ..mysql.throwaway_server import NoServerError, Place, sweep_servers, throwaway_server
from ..system.files import Lock, locked, seconds_of, sha256_of
from ..system.pipeline import Pipeline, Worker, pieces, teed, write_all
from .store import choose, replace_manifest, sweep

SHOWN = 5
METHODS = ("auto", "throwaway_server", METHOD)


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
    timeout_s: float,
    stall_s: float,
    reserve_bytes: int,
    ways: Ways = Ways(),  # noqa: B008 - immutable
    check_mode: bool = False,
) -> dict[str, Any]:
    """Prove one backup and write the proof into its manifest.

    :param identity: private key of age; never written, never an argument.
    :returns: ``{changed, backup: manifest, path}``; ``backup.verified`` is ``{at, method, restore_s, age_s, …}``.
    :raises OperatorError: what is wrong with the backup, or why it could not be proven; the manifest says so too.
    """
    if not identity.strip().startswith("AGE-SECRET-KEY-1"):
        raise OperatorError(msg("backup_age_identity is no private key of age: give AGE-SECRET-KEY-1… from Vault"))
    programs = {name: need(name) for name in ("age", "zstd")}
    if not wanted:
        if check_mode:
            return {"changed": True, "backup": {}, "path": directory}
        raise OperatorError(msg("there is nothing to prove, because no backup was made"))
    if check_mode:
        manifest = choose(directory, wanted)
        return {"changed": True, "backup": manifest, "path": os.path.join(directory, str(manifest["file"]))}
    began = time.time()
    if not os.path.isdir(directory):
        choose(directory, wanted)
    with locked(directory, "database_verify", began) as lock:
        sweep(directory)
        sweep_servers(directory)
        sweep_schemas(directory, ways.defaults_file, ways.user)
        manifest = choose(directory, wanted)
        proof = _Proof(directory, manifest, programs, lock, time.monotonic() + timeout_s, stall_s, ways)
        try:
            manifest["verified"] = proof.prove(identity, reserve_bytes)
        except OperatorError:
            # What was proven once may have been damaged since: it must not go on counting as proven.
            if proof.refuted and manifest.get("verified") is not None:
                replace_manifest(directory, {**manifest, "verified": None})
            raise
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise OperatorError(
                msg("the proof can't go on in {path}: {reason}", path=directory, reason=reason)
            ) from error
        replace_manifest(directory, manifest)
    return {"changed": True, "backup": manifest, "path": os.path.join(directory, str(manifest["file"]))}


class _Proof:
    """One proof of one backup."""

    def __init__(
        self, directory: str, manifest: dict[str, Any], programs: dict[str, str], lock: Lock, deadline: float,
        stall_s: float, ways: Ways,
    ) -> None:  # fmt: skip
        self.refuted = False
        self._directory = directory
        self._manifest = manifest
        self._programs = programs
        self._lock = lock
        self._deadline = deadline
        self._stall_s = stall_s
        self._ways = ways
        self._why_not: Any = None  # no throwaway server
        product = PRODUCTS.get(str(manifest["server"]["product"]))
        if product is None:
            raise OperatorError(msg("the backup is of an unknown product: use the version that made it"))
        self._product: Product = product
        self._dumper = find_dumper(product)

    def _wrong(self, message: Any) -> OperatorError:
        self.refuted = True
        return OperatorError(message)

    def prove(self, identity: str, reserve_bytes: int) -> dict[str, Any]:
        path = os.path.join(self._directory, str(self._manifest["file"]))
        began = time.monotonic()
        if sha256_of(path) != self._manifest["sha256"]:
            raise self._wrong(
                msg("{path} is damaged: its SHA-256 is not the one in its manifest: keep an older backup", path=path)
            )
        with self._place(reserve_bytes) as place:
            started = time.monotonic()
            self._restore(path, identity, place)
            restored_s = time.monotonic() - started
            differs = self._differing(self._dump_again(place))
            if differs:
                raise self._wrong(msg("the restored server has other rows than the dump had in {tables}",
                                      tables=differs))  # fmt: skip
            self._compare_structure(place)
        now = time.time()
        return {
            "at": iso(now),
            "method": place.method,
            **self._reservations(place),
            "restore_s": round(restored_s, 3),
            "duration_s": round(time.monotonic() - began, 3),
            "age_s": int(now - seconds_of(str(self._manifest["started_at"]))),
            "rows": self._manifest["rows"],
            "tables": len(self._manifest["tables"]),
        }

    @contextlib.contextmanager
    def _place(self, reserve_bytes: int) -> Iterator[Place]:
        """An empty schema of the backup's own; a scratch schema only where no second server can be started."""
        server, schema = self._manifest["server"], str(self._manifest["database"])
        size = max(int(server["size_bytes"]), int(self._manifest["bytes_dump"]))
        with contextlib.ExitStack() as stack:
            if self._ways.method != METHOD:
                try:
                    place = stack.enter_context(
                        throwaway_server(self._directory, server, schema, size_bytes=size, reserve_bytes=reserve_bytes,
                                         deadline=self._deadline)
                    )  # fmt: skip
                except NoServerError as error:
                    if self._ways.method != "auto":
                        raise
                    self._why_not = error.message
            if self._ways.method == METHOD or self._why_not is not None:
                try:
                    place = stack.enter_context(
                        scratch_schema(self._directory, self._manifest, self._ways.defaults_file, self._ways.user,
                                       size_bytes=size, reserve_bytes=reserve_bytes)
                    )  # fmt: skip
                except OperatorError as error:
                    if self._why_not is None:
                        raise
                    raise OperatorError(
                        msg("no second server can be started here ({server}), and a scratch schema can't be used:"
                            " {schema}", server=plain(self._why_not), schema=plain(error.message))
                    ) from error  # fmt: skip
            yield place

    def _reservations(self, place: Place) -> dict[str, Any]:
        """What a proof in a scratch schema did not compare, and why there was no server of its own."""
        if place.method != METHOD:
            return {}
        reason = {} if self._why_not is None else {"reason": plain(self._why_not)}
        return {"not_compared": sorted(backup_structure.CODE | backup_structure.OWNERS), **reason}

    def _restore(self, path: str, identity: str, place: Place) -> None:
        """Load the file, whose SHA-256 has been compared: what it holds is compared when it is dumped again."""
        client = find(self._product.clients)
        if client is None:
            raise OperatorError(msg("{programs} is not installed: install the client of the database",
                                  programs=self._product.clients[0]))  # fmt: skip
        # An event that was due only once, since the dump, would be refused or dropped by a session of today.
        dumped_at = int(seconds_of(str(self._manifest["started_at"])))
        with Pipeline(self._deadline, self._stall_s) as pipeline:
            age = pipeline.start("age", [self._programs["age"], "-d", "-i", "-", path], behind=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
            zstd = pipeline.start("zstd", [self._programs["zstd"], "-d", "-q", "-c"], behind=True, stdin=age.stdout,
                                  stdout=subprocess.PIPE)  # fmt: skip
            loader = pipeline.start(
                os.path.basename(client),
                [client, *place.access, f"--init-command=SET SESSION timestamp = {dumped_at}{place.settings}",
                 "--max-allowed-packet=1G", "--default-character-set=utf8mb4", "--binary-mode", place.schema],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            if age.stdin is None or age.stdout is None or zstd.stdout is None or loader.stdin is None:
                raise RuntimeError("a pipe is missing")
            age.stdout.close()
            pipeline.watch()
            ending, source, sink = Ending(), zstd.stdout.fileno(), loader.stdin

            def scan() -> None:
                for piece in self._passing(source, sink.fileno(), place):
                    ending.feed(piece)
                    pipeline.alive()
                    self._lock.tell(1.0, action="database_verify", bytes=ending.bytes)
                sink.close()

            try:
                with contextlib.suppress(BrokenPipeError):
                    write_all(age.stdin.fileno(), identity.strip().encode() + b"\n")
                age.stdin.close()
                reader = Worker(scan)
                reader.start()
                reader.result()
                pipeline.finish()
            except BrokenPipeError:
                pipeline.broken()
        if not ending.complete or ending.bytes != self._manifest["bytes_dump"]:
            raise self._wrong(msg("the dump in {path} is cut off", path=path))

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
        scanner = DumpScanner()
        with Pipeline(self._deadline, self._stall_s) as pipeline:
            process = pipeline.start(self._dumper.name, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            if process.stdout is None:
                raise RuntimeError("a pipe is missing")
            pipeline.watch()
            source = process.stdout.fileno()

            def scan() -> None:
                for piece in pieces(source):
                    scanner.feed(piece)
                    pipeline.alive()

            reader = Worker(scan)
            reader.start()
            reader.result()
            pipeline.finish()
        return scanner

    def _differing(self, scanner: DumpScanner) -> str:
        """Tables whose rows or bytes are not those of the manifest, empty when there is none."""
        expected = {name: table for name, table in self._manifest["tables"].items() if table["rows"]}
        found = scanner.tables()
        differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        return ", ".join(differing[:SHOWN])

    def _compare_structure(self, place: Place) -> None:
        connection = place.connect()
        try:
            found = backup_structure.read(connection, self._product.name, (place.schema, self._manifest["database"]))
        finally:
            connection.close()
        expected = self._manifest["structure"]
        if place.method == METHOD:
            left_out = backup_structure.CODE | backup_structure.OWNERS
            expected, found = ({kind: objects for kind, objects in structure.items() if kind not in left_out}
                               for structure in (expected, found))  # fmt: skip
        differing = backup_structure.differences(expected, found)
        if differing:
            raise self._wrong(
                msg("the restored structure differs from the dumped one: {objects}", objects=", ".join(differing))
            )
