"""Sessions that make and prove backups of every kind.

``source → zstd → age → (hashed and written here)``: the plaintext exists in pipes only. A session locks and sweeps the
directory first, and removes its partial files when it does not complete the backup.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import IO, Any, Callable, NamedTuple, Optional, TypeVar

from ..core.errors import OperatorError, os_reason
from ..core.jsonable import iso
from ..core.messages import msg
from ..core.types import Message
from ..mysql.clients import require_program
from ..system.files import FILE_MODE, Lock, free_bytes, locked, new_id, seconds_of, sha256_of
from ..system.pipeline import Pipeline, Worker
from .sink import Sink, write_failure
from .store import (
    FORMAT,
    PARTIAL,
    SUFFIXES,
    RefutedError,
    commit,
    data_path,
    ensure_directory,
    replace_manifest,
    sweep,
)

GROWTH = 1.25  # a backup may be this many times as large as the previous one
LAST_WRITE_S = 60.0


class Limits(NamedTuple):
    """Limits of space and time."""

    reserve_bytes: int  # must stay free
    timeout_s: float
    stall_s: float  # longest time without a byte


class Space(NamedTuple):
    """Expected size of a backup, and free space."""

    needed_bytes: int
    free_bytes: int

    def result(self, swept: Optional[list[str]] = None) -> dict[str, Any]:
        """Return the result of a backup that has not been made."""
        return {"changed": True, "backup": None, "path": None, "swept": swept or [], **self._asdict()}


def check_space(directory: str, needed: int, limits: Limits) -> Space:
    """Return the free space of a directory, which may not exist yet; :class:`OperatorError` when it is too little."""
    existing = directory
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    free, reserve = free_bytes(existing), limits.reserve_bytes
    if free < needed + reserve:
        text = msg(
            "a backup needs about {needed_bytes} and must leave {reserve_bytes}, but {path} has {free_bytes}"
            " free: free some space",
            needed_bytes=needed,
            reserve_bytes=reserve,
            free_bytes=free,
            path=directory,
        )
        raise OperatorError(text)
    return Space(needed, free)


def no_space_to_restore(path: str, needed: int, reserve: int, free: int) -> Message:
    """Return the message for a restore that would not leave ``reserve`` bytes free."""
    return msg(
        "the restore needs about {needed_bytes} and must leave {reserve_bytes}, but {path} has"
        " {free_bytes} free: free some space",
        needed_bytes=needed,
        reserve_bytes=reserve,
        free_bytes=free,
        path=path,
    )


class Producer(NamedTuple):
    """A program that writes the data to back up, such as the dump program."""

    name: str
    argv: list[str]


Result = TypeVar("Result")


class Session:
    """A backup being made: :meth:`write` its data, then :meth:`commit` it with its manifest."""

    def __init__(self, directory: str, kind: str, lock: Lock, limits: Limits, recipient: str) -> None:
        self.directory = directory
        self.lock = lock
        self.limits = limits
        self.started_at = time.time()
        self.deadline = time.monotonic() + limits.timeout_s
        self._started = time.monotonic()
        self._kind = kind
        self._recipient = recipient
        self._id = new_id(self.started_at)
        self._partial = os.path.join(directory, f"{PARTIAL}{self._id}{SUFFIXES[kind]}")
        self.swept = sweep(directory, kind)

    def write(
        self,
        zstd_options: list[str],
        feed: Callable[[Pipeline, IO[bytes], Any], Result],
        producer: Optional[Producer] = None,
    ) -> tuple[Sink, Result]:
        """Compress, encrypt and write the bytes that ``feed`` puts into the pipe.

        :param feed: called with the pipeline, the pipe and the producer's output, ``None`` without a producer.
        """
        low_priority = producer is not None  # spare the database server
        compress = [require_program("zstd"), *zstd_options, "-q", "-c"]
        encrypt = [require_program("age"), "-r", self._recipient]
        target = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            with Pipeline(self.deadline, self.limits.stall_s) as pipeline:
                source_output: Any = None
                if producer is not None:
                    source_output = pipeline.start(*producer, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
                pipes: dict[str, Any] = {"behind": low_priority, "stdout": subprocess.PIPE}
                zstd: Any = pipeline.start("zstd", compress, stdin=subprocess.PIPE, **pipes)
                age: Any = pipeline.start("age", encrypt, stdin=zstd.stdout, **pipes)
                zstd.stdout.close()  # only age keeps it open, so that zstd gets SIGPIPE when age ends
                pipeline.watch()
                sink = Sink(self.directory, target, self.limits.reserve_bytes, pipeline)
                writer = Worker(lambda: sink.write(age.stdout.fileno()))
                writer.start()
                try:
                    result = feed(pipeline, zstd.stdin, source_output)
                    zstd.stdin.close()
                except BrokenPipeError:
                    pipeline.broken()
                pipeline.finish()
                writer.join(LAST_WRITE_S)
                if writer.error is not None:
                    raise writer.error
                if writer.is_alive():
                    raise OperatorError(msg("writing to {path} does not finish: check its disk", path=self.directory))
            os.fsync(target)
        finally:
            os.close(target)
        return sink, result

    def commit(self, sink: Sink, purpose: str, **facts: Any) -> dict[str, Any]:
        """Write the manifest and give both files their final names; return the manifest."""
        manifest = {
            "format": FORMAT,
            "kind": self._kind,
            "id": self._id,
            "file": self._id + SUFFIXES[self._kind],
            "host": socket.gethostname(),
            "recipient": self._recipient,
            "purpose": purpose,
            "started_at": iso(self.started_at),
            "ended_at": iso(time.time()),
            "duration_s": round(time.monotonic() - self._started, 3),
            "sha256": sink.sha256,
            "bytes_file": sink.bytes,
            "verified": None,
            **facts,
        }
        commit(self.directory, self._partial, manifest)
        return manifest

    def result(self, manifest: dict[str, Any], estimate: Space) -> dict[str, Any]:
        """Return the result of the backup."""
        path = data_path(self.directory, manifest)
        return {**estimate.result(self.swept), "backup": manifest, "path": path}

    def remove_partial_files(self) -> None:
        """Remove the partial files; a no-op after :meth:`commit`."""
        for leftover in (self._partial, os.path.join(self.directory, f"{PARTIAL}{self._id}.json")):
            with contextlib.suppress(OSError):
                os.unlink(leftover)


@contextlib.contextmanager
def open_session(
    directory: str, kind: str, limits: Limits, recipient: str, held_lock: Optional[Lock] = None
) -> Iterator[Session]:
    """Lock the directory, sweep it and open a session; ``held_lock`` is its lock, when the caller holds it."""
    ensure_directory(directory)
    with contextlib.nullcontext(held_lock) if held_lock else locked(directory, f"{kind}_backup", time.time()) as lock:
        session = Session(directory, kind, lock, limits, recipient)
        try:
            yield session
        except OSError as error:
            raise OperatorError(write_failure(directory, error)) from error
        finally:
            session.remove_partial_files()


@contextlib.contextmanager
def locked_for_proof(directory: str, kind: str) -> Iterator[Lock]:
    """Lock and sweep the directory while backups in it are proven."""
    with locked(directory, f"{kind}_verify", time.time()) as lock:
        sweep(directory, kind)
        yield lock


def prove(directory: str, manifest: dict[str, Any], work: Callable[[], dict[str, Any]]) -> None:
    """Write the proof that ``work`` returns into the manifest; remove an earlier one on :class:`RefutedError`."""
    started = time.monotonic()
    try:
        proof = work()
    except RefutedError:
        # The file may have been damaged since an earlier proof: the backup must not count as proven any longer.
        if manifest.get("verified") is not None:
            replace_manifest(directory, {**manifest, "verified": None})
        raise
    except OSError as error:
        text = msg("the proof can't go on in {path}: {reason}", path=directory, reason=os_reason(error))
        raise OperatorError(text) from error
    now = time.time()
    age_s = max(int(now - seconds_of(str(manifest["started_at"]))), 0)
    timing = {"at": iso(now), "duration_s": round(time.monotonic() - started, 3), "age_s": age_s}
    manifest["verified"] = {**timing, **proof}
    try:
        replace_manifest(directory, manifest)
    except OSError as error:
        raise OperatorError(write_failure(directory, error)) from error


def check_file(directory: str, manifest: dict[str, Any]) -> str:
    """Return the path of a backup's file; :class:`RefutedError` when its SHA-256 is not the manifest's."""
    path = data_path(directory, manifest)
    try:
        sha256 = sha256_of(path)
    except OSError as error:
        raise OperatorError(msg("{path} can't be read: {reason}", path=path, reason=os_reason(error))) from error
    if sha256 != manifest["sha256"]:
        raise RefutedError(
            msg("{path} is damaged: its SHA-256 is not the one in its manifest: keep an older backup", path=path)
        )
    return path
