"""Prove a backup by restoring its file into a throwaway server and comparing what is there with what was dumped.

The server is started for the proof alone: its own data directory, no network, no event scheduler, no binary log. Rows
and digests come from dumping it again with the program and options of the backup, structure from its
``information_schema``. The private key comes from memory and goes into age's standard input.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from calendar import timegm
from collections.abc import Iterator
from typing import Any, Optional

from . import backup_structure, database
from .backup_clients import PRODUCTS, BackupError, Product, find, find_dumper, need
from .backup_files import SCRATCH, SUFFIX, Lock, backups, free_bytes, locked, replace_manifest, stamp, sweep
from .backup_pipe import Pipeline, pieces, write_all
from .backup_stream import DumpScanner
from .messages import msg
from .runner import run

START_S = 60.0
GROWTH = 3.0  # of the tables' size: restored tables, their undo and redo
BASE_BYTES = 400 * 1024 * 1024  # of an empty data directory and its logs
MAX_SOCKET = 100  # characters that a Unix socket's path may have, less some
SHOWN = 5


def choose(directory: str, wanted: str) -> dict[str, Any]:
    """The manifest of backup ``wanted``: its id, its file's name or path, or ``latest``."""
    found = backups(directory)
    if wanted == "latest" and found:
        return found[-1]
    name = os.path.basename(wanted)
    name = name[: -len(SUFFIX)] if name.endswith(SUFFIX) else name
    for manifest in found:
        if manifest["id"] == name:
            return manifest
    raise BackupError(
        msg("there is no backup {wanted} in {path}: look at what is there", wanted=wanted, path=directory)
    )


def verify(
    directory: str,
    *,
    wanted: str,
    identity: str,
    timeout_s: float,
    stall_s: float,
    reserve_bytes: int,
    check_mode: bool = False,
) -> dict[str, Any]:
    """Prove one backup and write the proof into its manifest.

    :param identity: private key of age; never written, never an argument.
    :returns: ``{changed, backup: manifest, path}``; ``backup.verified`` is ``{at, method, restore_s, age_s, …}``.
    :raises BackupError: what is wrong with the backup, or why it could not be proven; the manifest says so too.
    """
    if not identity.strip().startswith("AGE-SECRET-KEY-1"):
        raise BackupError(msg("backup_age_identity is no private key of age: give AGE-SECRET-KEY-1… from Vault"))
    programs = {name: need(name) for name in ("age", "zstd")}
    if not wanted:
        if check_mode:
            return {"changed": True, "backup": {}, "path": directory}
        raise BackupError(msg("there is nothing to prove, because no backup was made"))
    if check_mode:
        manifest = choose(directory, wanted)
        return {"changed": True, "backup": manifest, "path": os.path.join(directory, str(manifest["file"]))}
    began = time.time()
    if not os.path.isdir(directory):
        choose(directory, wanted)
    with locked(directory, "database_verify", began) as lock:
        sweep(directory)
        sweep_scratch(directory)
        manifest = choose(directory, wanted)
        proof = _Proof(directory, manifest, programs, lock, time.monotonic() + timeout_s, stall_s)
        try:
            manifest["verified"] = proof.prove(identity, reserve_bytes)
        except BackupError:
            # What was proven once may have been damaged since: it must not go on counting as proven.
            if proof.refuted and manifest.get("verified") is not None:
                replace_manifest(directory, {**manifest, "verified": None})
            raise
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise BackupError(
                msg("the proof can't go on in {path}: {reason}", path=directory, reason=reason)
            ) from error
        replace_manifest(directory, manifest)
    return {"changed": True, "backup": manifest, "path": os.path.join(directory, str(manifest["file"]))}


def sweep_scratch(directory: str) -> None:
    """Under the lock: end throwaway servers that killed runs left, and remove their directories."""
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if not name.startswith(SCRATCH) or os.path.islink(path) or not os.path.isdir(path):
            continue
        for pid in (entry for entry in os.listdir("/proc") if entry.isdigit()):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
                # The directory's name is random: who has it among the arguments is that server and no other.
                if f"--datadir={path}/data".encode() in file.read().split(b"\0"):
                    os.kill(int(pid), signal.SIGKILL)
                    _wait_gone(int(pid))
        shutil.rmtree(path, ignore_errors=True)


def _wait_gone(pid: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until and os.path.exists(f"/proc/{pid}"):
        time.sleep(0.05)


class _Proof:
    """One proof of one backup."""

    def __init__(
        self, directory: str, manifest: dict[str, Any], programs: dict[str, str], lock: Lock, deadline: float,
        stall_s: float,
    ) -> None:  # fmt: skip
        self.refuted = False
        self._directory = directory
        self._manifest = manifest
        self._programs = programs
        self._lock = lock
        self._deadline = deadline
        self._stall_s = stall_s
        product = PRODUCTS.get(str(manifest["server"]["product"]))
        if product is None:
            raise BackupError(msg("the backup is of an unknown product: use the version that made it"))
        self._product: Product = product
        self._dumper = find_dumper(product)

    def _wrong(self, message: Any) -> BackupError:
        self.refuted = True
        return BackupError(message)

    def prove(self, identity: str, reserve_bytes: int) -> dict[str, Any]:
        path = os.path.join(self._directory, str(self._manifest["file"]))
        began = time.monotonic()
        if _digest(path) != self._manifest["sha256"]:
            raise self._wrong(
                msg("{path} is damaged: its SHA-256 is not the one in its manifest: keep an older backup", path=path)
            )
        size = int(self._manifest["server"]["size_bytes"])
        needed, free = (
            int(max(size, int(self._manifest["bytes_dump"])) * GROWTH) + BASE_BYTES,
            free_bytes(self._directory),
        )
        if free < needed + reserve_bytes:
            raise BackupError(
                msg("the proof needs about {needed_bytes}, but {path} has {free_bytes} left: free some",
                    needed_bytes=needed, free_bytes=free, path=self._directory)
            )  # fmt: skip
        with self._server() as socket:
            started = time.monotonic()
            file_differs = self._differing(self._restore(path, identity, socket))
            restored_s = time.monotonic() - started
            if file_differs:
                raise self._wrong(msg("the dump in {path} has other rows than its manifest says in {tables}", path=path,
                                      tables=file_differs))  # fmt: skip
            differs = self._differing(self._dump_again(socket))
            if differs:
                raise self._wrong(msg("the restored server has other rows than the dump had in {tables}",
                                      tables=differs))  # fmt: skip
            self._compare_structure(socket)
        now = time.time()
        return {
            "at": stamp(now),
            "method": "throwaway_server",
            "restore_s": round(restored_s, 3),
            "duration_s": round(time.monotonic() - began, 3),
            "age_s": int(now - _seconds(str(self._manifest["started_at"]))),
            "rows": self._manifest["rows"],
            "tables": len(self._manifest["tables"]),
        }

    def _left_s(self) -> float:
        return max(self._deadline - time.monotonic(), 1.0)

    @contextlib.contextmanager
    def _server(self) -> Iterator[str]:
        """A server of the product with an empty schema of the backup's name; its socket. Gone afterwards."""
        program = find(self._product.servers)
        if program is None:
            raise BackupError(msg("{program} is not installed here: no throwaway server can be started",
                                  program=self._product.servers[0]))  # fmt: skip
        place = tempfile.mkdtemp(prefix=SCRATCH, dir=self._directory)
        data, socket = os.path.join(place, "data"), os.path.join(place, "s")
        try:
            if len(socket) > MAX_SOCKET:
                raise BackupError(msg("{path} is too long for a socket: use a shorter backup_dir", path=place))
            self._initialise(program, place, data)
            lower = f"--lower-case-table-names={int(self._manifest['server']['lower_case_table_names'])}"
            argv = [program, "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--skip-networking", lower,
                    "--event-scheduler=OFF", "--skip-log-bin", f"--pid-file={place}/pid", f"--tmpdir={place}",
                    "--max-allowed-packet=1G", *self._more()]  # fmt: skip
            with Pipeline(self._deadline, 10**9) as pipeline:
                pipeline.start("the throwaway server", argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
                pipeline.watch()
                self._wait_up(pipeline, socket)
                yield socket
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _more(self) -> list[str]:
        # Nothing of it has to survive a crash: not waiting for the disk is what makes a proof cheap.
        own = ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"]
        return [*own, "--mysqlx=OFF", "--log-error-verbosity=1"] if self._product.name == "mysql" else own

    def _initialise(self, program: str, place: str, data: str) -> None:
        if self._product.name == "mysql":
            lower = f"--lower-case-table-names={int(self._manifest['server']['lower_case_table_names'])}"
            argv = [program, "--no-defaults", "--initialize-insecure", f"--datadir={data}", lower]
        else:
            argv = [need("mariadb-install-db"), "--no-defaults", f"--datadir={data}", "--skip-test-db",
                    "--auth-root-authentication-method=normal"]  # fmt: skip
        done = run(argv, timeout_s=min(self._left_s(), START_S))
        if done.code != 0:
            lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
            raise BackupError(msg("no throwaway server can be prepared in {path}: {reason}", path=place,
                                  reason=lines[-1][:300] if lines else str(done.error or done.code)))  # fmt: skip

    def _wait_up(self, pipeline: Pipeline, socket: str) -> None:
        until = min(time.monotonic() + START_S, self._deadline)
        server = self._manifest["server"]
        while True:
            try:
                connection = self._connect(socket, None)
                break
            except Exception as error:
                if pipeline.children[0].process.poll() is not None:
                    pipeline.verdict()
                if time.monotonic() > until:
                    raise BackupError(msg("the throwaway server does not answer: look at the load")) from error
                time.sleep(0.1)
        try:
            with connection.cursor() as cursor:
                schema = str(self._manifest["database"]).replace("`", "``")
                # Words of the server's own, which it would not take were they anything else.
                cursor.execute(
                    f"CREATE DATABASE `{schema}` CHARACTER SET {_word(server['charset'])}"
                    f" COLLATE {_word(server['collation'])}"
                )
        finally:
            connection.close()

    def _connect(self, socket: str, schema: Optional[str]) -> Any:
        return database.import_pymysql(lean=True).connect(
            unix_socket=socket, user="root", database=schema,
            charset="utf8mb4", connect_timeout=10, read_timeout=60, write_timeout=60, ssl_disabled=True,
        )  # fmt: skip

    def _restore(self, path: str, identity: str, socket: str) -> DumpScanner:
        client = find(self._product.clients)
        if client is None:
            raise BackupError(msg("{programs} is not installed: install the client of the database",
                                  programs=self._product.clients[0]))  # fmt: skip
        with Pipeline(self._deadline, self._stall_s) as pipeline:
            age = pipeline.start("age", [self._programs["age"], "-d", "-i", "-", path], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE)  # fmt: skip
            zstd = pipeline.start("zstd", [self._programs["zstd"], "-d", "-q", "-c"], stdin=age.stdout,
                                  stdout=subprocess.PIPE)  # fmt: skip
            loader = pipeline.start(
                os.path.basename(client),
                [client, "--no-defaults", f"--socket={socket}", "--user=root", "--max-allowed-packet=1G",
                 "--default-character-set=utf8mb4", "--binary-mode", str(self._manifest["database"])],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            if age.stdin is None or age.stdout is None or zstd.stdout is None or loader.stdin is None:
                raise RuntimeError("a pipe is missing")
            age.stdout.close()
            pipeline.watch()
            scanner = DumpScanner()
            try:
                with contextlib.suppress(BrokenPipeError):
                    write_all(age.stdin.fileno(), identity.strip().encode() + b"\n")
                age.stdin.close()
                for piece in pieces(zstd.stdout.fileno()):
                    write_all(loader.stdin.fileno(), piece)
                    scanner.feed(piece)
                    pipeline.alive()
                    self._lock.tell(1.0, action="database_verify", bytes=scanner.bytes, table=scanner.table)
                loader.stdin.close()
                pipeline.finish()
            except BrokenPipeError:
                pipeline.broken()
        if not scanner.complete:
            raise self._wrong(msg("the dump in {path} is cut off", path=path))
        return scanner

    def _dump_again(self, socket: str) -> DumpScanner:
        options = [str(option) for option in self._dumper.options]
        argv = [self._dumper.path, "--no-defaults", f"--socket={socket}", "--user=root", *options, "--",
                str(self._manifest["database"])]  # fmt: skip
        scanner = DumpScanner()
        with Pipeline(self._deadline, self._stall_s) as pipeline:
            process = pipeline.start(os.path.basename(argv[0]), argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            if process.stdout is None:
                raise RuntimeError("a pipe is missing")
            pipeline.watch()
            for piece in pieces(process.stdout.fileno()):
                scanner.feed(piece)
                pipeline.alive()
            pipeline.finish()
        return scanner

    def _differing(self, scanner: DumpScanner) -> str:
        """Tables whose rows or bytes are not those of the manifest, empty when there is none."""
        expected = {name: table for name, table in self._manifest["tables"].items() if table["rows"]}
        found = scanner.tables()
        differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        return ", ".join(differing[:SHOWN])

    def _compare_structure(self, socket: str) -> None:
        connection = self._connect(socket, str(self._manifest["database"]))
        try:
            found = backup_structure.read(connection, self._product.name)
        finally:
            connection.close()
        differing = backup_structure.differences(self._manifest["structure"], found)
        if differing:
            raise self._wrong(
                msg("the restored structure differs from the dumped one: {objects}", objects=", ".join(differing))
            )


def _word(value: Any) -> str:
    text = str(value)
    if not text.replace("_", "").isalnum():
        raise BackupError(msg("the manifest names an unusable character set: it was not written by a backup"))
    return text


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while True:
            block = file.read(1 << 20)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def _seconds(moment: str) -> float:
    try:
        return float(timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")))
    except ValueError:
        return time.time()
