"""What backups of every kind have in common while they are made and proven.

``what is backed up → zstd → age → (hashed and written here)``: the plaintext is in pipes only. A directory is locked
and swept first; what was begun in it and did not become a backup is gone afterwards.
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
from ..mysql.clients import need
from ..system.files import FILE_MODE, Lock, free_bytes, locked, new_id, seconds_of, sha256_of
from ..system.pipeline import Pipeline, Worker
from .sink import Sink, no_room
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

GROWTH = 1.25  # a backup may be this much larger than the one before it
LAST_WRITE_S = 60.0


class Limits(NamedTuple):
    """How much room and time there is."""

    reserve_bytes: int  # that has to be left free
    timeout_s: float
    stall_s: float  # without a byte


class Room(NamedTuple):
    """What something is expected to take, and what is free."""

    needed_bytes: int
    free_bytes: int

    def result(self, swept: Optional[list[str]] = None) -> dict[str, Any]:
        """What a backup that has not been made returns."""
        return {"changed": True, "backup": None, "path": None, "swept": swept or [], **self._asdict()}


def room(directory: str, needed: int, limits: Limits) -> Room:
    """What is free in a directory, which need not be there yet; :class:`OperatorError` when that is not enough."""
    place = directory
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    free, reserve = free_bytes(place), limits.reserve_bytes
    if free < needed + reserve:
        text = msg(
            "a backup needs about {needed_bytes} and has to leave {reserve_bytes}, but {path} has {free_bytes}"
            " left: free some",
            needed_bytes=needed,
            reserve_bytes=reserve,
            free_bytes=free,
            path=directory,
        )
        raise OperatorError(text)
    return Room(needed, free)


def no_room_to_restore(path: str, needed: int, reserve: int, free: int) -> Message:
    """What to say where a restore would not leave what has to be left."""
    return msg(
        "the restore needs about {needed_bytes} and has to leave {reserve_bytes}, but {path} has {free_bytes}"
        " left: free some",
        needed_bytes=needed,
        reserve_bytes=reserve,
        free_bytes=free,
        path=path,
    )


class Source(NamedTuple):
    """A program that gives what is backed up; without one it is written into the pipe by us."""

    name: str
    argv: list[str]


Fed = TypeVar("Fed")


class Session:
    """One backup that is being made: :meth:`write` its data, then :meth:`commit` it with its manifest."""

    def __init__(self, directory: str, kind: str, lock: Lock, limits: Limits, recipient: str) -> None:
        self.directory = directory
        self.lock = lock
        self.limits = limits
        self.began = time.time()
        self.deadline = time.monotonic() + limits.timeout_s
        self._clock = time.monotonic()
        self._kind = kind
        self._recipient = recipient
        self._id = new_id(self.began)
        self._partial = os.path.join(directory, f"{PARTIAL}{self._id}{SUFFIXES[kind]}")
        self.swept = sweep(directory, kind)

    def write(
        self, zstd_options: list[str], feed: Callable[[Pipeline, IO[bytes], Any], Fed], source: Optional[Source] = None
    ) -> tuple[Sink, Fed]:
        """Compress, encrypt and write what ``feed`` puts into the pipe, be it from what a source gives."""
        behind = source is not None  # of a database
        compress, encrypt = [need("zstd"), *zstd_options, "-q", "-c"], [need("age"), "-r", self._recipient]
        target = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            with Pipeline(self.deadline, self.limits.stall_s) as pipeline:
                given: Any = None
                if source is not None:
                    given = pipeline.start(*source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout
                pipes: dict[str, Any] = {"behind": behind, "stdout": subprocess.PIPE}
                zstd: Any = pipeline.start("zstd", compress, stdin=subprocess.PIPE, **pipes)
                age: Any = pipeline.start("age", encrypt, stdin=zstd.stdout, **pipes)
                zstd.stdout.close()  # age's alone: when it ends, zstd has to notice
                pipeline.watch()
                sink = Sink(self.directory, target, self.limits.reserve_bytes, pipeline)
                writer = Worker(lambda: sink.write(age.stdout.fileno()))
                writer.start()
                try:
                    fed = feed(pipeline, zstd.stdin, given)
                    zstd.stdin.close()
                except BrokenPipeError:
                    pipeline.broken()
                pipeline.finish()
                writer.join(LAST_WRITE_S)
                if writer.error is not None:
                    raise writer.error
                if writer.is_alive():
                    raise OperatorError(msg("the disk of {path} does not take what is written", path=self.directory))
            os.fsync(target)
        finally:
            os.close(target)
        return sink, fed

    def commit(self, sink: Sink, purpose: str, **facts: Any) -> dict[str, Any]:
        """Make what was written a backup; its manifest."""
        manifest = {
            "format": FORMAT,
            "kind": self._kind,
            "id": self._id,
            "file": self._id + SUFFIXES[self._kind],
            "host": socket.gethostname(),
            "recipient": self._recipient,
            "purpose": purpose,
            "started_at": iso(self.began),
            "ended_at": iso(time.time()),
            "duration_s": round(time.monotonic() - self._clock, 3),
            "sha256": sink.sha256,
            "bytes_file": sink.bytes,
            "verified": None,
            **facts,
        }
        commit(self.directory, self._partial, manifest)
        return manifest

    def result(self, manifest: dict[str, Any], space: Room) -> dict[str, Any]:
        """What making it returns."""
        path = data_path(self.directory, manifest)
        return {**space.result(self.swept), "backup": manifest, "path": path}

    def clear(self) -> None:
        """Remove what did not become a backup."""
        for leftover in (self._partial, os.path.join(self.directory, f"{PARTIAL}{self._id}.json")):
            with contextlib.suppress(OSError):
                os.unlink(leftover)


@contextlib.contextmanager
def session(
    directory: str, kind: str, limits: Limits, recipient: str, held: Optional[Lock] = None
) -> Iterator[Session]:
    """Back up into a directory that nobody else works in meanwhile; ``held`` is its lock, when the caller has it."""
    ensure_directory(directory)
    with contextlib.nullcontext(held) if held else locked(directory, f"{kind}_backup", time.time()) as lock:
        making = Session(directory, kind, lock, limits, recipient)
        try:
            yield making
        except OSError as error:
            raise OperatorError(no_room(directory, error)) from error
        finally:
            making.clear()


@contextlib.contextmanager
def proving(directory: str, kind: str) -> Iterator[Lock]:
    """Prove backups of a directory that nobody else works in meanwhile."""
    with locked(directory, f"{kind}_verify", time.time()) as lock:
        sweep(directory, kind)
        yield lock


def prove(directory: str, manifest: dict[str, Any], work: Callable[[], dict[str, Any]]) -> None:
    """Write what ``work`` proves into a manifest; what it refutes (:class:`RefutedError`) is proven no longer."""
    began = time.monotonic()
    try:
        proof = work()
    except RefutedError:
        # What was proven once may have been damaged since: it must not go on counting as proven.
        if manifest.get("verified") is not None:
            replace_manifest(directory, {**manifest, "verified": None})
        raise
    except OSError as error:
        text = msg("the proof can't go on in {path}: {reason}", path=directory, reason=os_reason(error))
        raise OperatorError(text) from error
    now = time.time()
    age_s = max(int(now - seconds_of(str(manifest["started_at"]))), 0)
    took = {"at": iso(now), "duration_s": round(time.monotonic() - began, 3), "age_s": age_s}
    manifest["verified"] = {**took, **proof}
    try:
        replace_manifest(directory, manifest)
    except OSError as error:
        raise OperatorError(no_room(directory, error)) from error


def check_file(directory: str, manifest: dict[str, Any]) -> str:
    """The path of a backup's file; :class:`RefutedError` when it is damaged."""
    path = data_path(directory, manifest)
    try:
        found = sha256_of(path)
    except OSError as error:
        raise OperatorError(msg("{path} can't be read: {reason}", path=path, reason=os_reason(error))) from error
    if found != manifest["sha256"]:
        raise RefutedError(
            msg("{path} is damaged: its SHA-256 is not the one in its manifest: keep an older backup", path=path)
        )
    return path
