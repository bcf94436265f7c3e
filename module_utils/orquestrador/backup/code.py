"""Back up the application's directory, encrypted, and prove the backup by reading its file again.

``tar (listed and hashed here) → zstd → age → (hashed and written here)``. The tree holds secrets (``.env``), so that
its plaintext exists in pipes only. Left out are top-level names of the directory: what can be built or installed
again, what is archived otherwise, and the backups themselves.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Collection
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.jsonable import iso
from ..core.messages import msg, plain
from ..core.types import Message
from ..mysql.clients import need
from ..system.files import FILE_MODE, Lock, free_bytes, locked, new_id, seconds_of, sha256_of
from ..system.pipeline import Pipeline, Worker, write_all
from .database import check_recipient
from .sink import Sink, commit, no_room
from .store import FORMAT, MAX_MANIFEST, PARTIAL, SUFFIXES, backups, choose, ensure_directory, replace_manifest, sweep
from .tree import (
    SHOWN,
    Packer,
    RefutedError,
    Unpacker,
    Walked,
    differing,
    leading_out,
    listing_sha256,
    shown,
    signatures,
    some,
    walk,
)

KIND = "code"
GROWTH = 1.25  # a backup may be this much larger than the one before it
ATTEMPTS = 2  # a tree that changes while it is read is read again
LISTED = 50  # names of a kind that the manifest keeps of what was skipped or unstable
ENTRY_BYTES = 250  # of the manifest, for a file with an ordinary name; the rest is for long ones


class Limits(NamedTuple):
    """How much room and time there is."""

    reserve_bytes: int
    timeout_s: float
    stall_s: float


def check_identity(identity: str) -> None:
    """Refuse anything but a private key of age."""
    if not identity.strip().startswith("AGE-SECRET-KEY-1"):
        raise OperatorError(msg("backup_age_identity is no private key of age: give AGE-SECRET-KEY-1… from Vault"))


def check_place(directory: str, source: str, exclude: Collection[str]) -> None:
    """Refuse to put backups into what is backed up, and exclusions that mean something else than they say."""
    for name in exclude:
        if not name or "/" in name or name in (".", ".."):
            raise OperatorError(
                msg("backup_code_exclude has {name}: name files and directories that lie in the application's"
                    " directory itself, without a slash", name=repr(name)[:100])
            )  # fmt: skip
    inside = os.path.relpath(os.path.realpath(directory), os.path.realpath(source))
    first = inside.split("/", 1)[0]
    if first != ".." and first not in exclude:
        raise OperatorError(
            msg("{path} lies in what is backed up: add {name} to backup_code_exclude, or keep backups elsewhere",
                path=directory, name=first)
        )  # fmt: skip


def back_up(
    directory: str,
    *,
    source: str,
    exclude: Collection[str],
    recipient: str,
    identity: Optional[str],
    limits: Limits,
    level: int = 3,
    check_mode: bool = False,
    purpose: str = "routine",
    held: Optional[Lock] = None,
) -> dict[str, Any]:
    """Make one backup of the tree ``source`` in ``directory``, proven when there is an ``identity``.

    :param exclude: top-level names of ``source`` to leave out, compared as they are.
    :param identity: private key of age; never written, never an argument.
    :param purpose: why it is made, for its manifest: ``routine``, or ``safety`` before something is replaced.
    :param held: the lock of the directory, when the caller has it.
    :returns: ``{changed, backup: manifest or None, path, swept: [names], needed_bytes, free_bytes, files}``
    :raises OperatorError: with the one line for the operator; nothing that looks like a backup is left then, except one
        that was written but could not be proven, which its manifest says.
    """
    began, clock = time.time(), time.monotonic()
    check_recipient(recipient)
    if identity is not None:
        check_identity(identity)
    check_place(directory, source, exclude)
    zstd, age = need("zstd"), need("age")
    if check_mode:
        walked = walk(source, exclude)
        place = directory
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        needed, free = _room(directory, place, walked, limits.reserve_bytes)
        return _result(None, None, [], needed, free, len(walked.found))
    ensure_directory(directory)
    with contextlib.nullcontext(held) if held else locked(directory, "code_backup", began) as lock:
        swept = sweep(directory, KIND)
        walked = walk(source, exclude)
        needed, free = _room(directory, directory, walked, limits.reserve_bytes)
        backup_id = new_id(began)
        partial = os.path.join(directory, f"{PARTIAL}{backup_id}{SUFFIXES[KIND]}")
        stream = _Stream(directory, source, lock, clock + limits.timeout_s, limits, iso(began))
        argvs = [zstd, f"-{level}", f"-T{min(2, os.cpu_count() or 1)}", "-q", "-c"], [age, "-r", recipient]
        try:
            for attempt in range(1, ATTEMPTS + 1):
                written = stream.run(*argvs, walked, partial)
                after = walk(source, exclude)
                unstable = {*written.packer.unstable, *differing(signatures(walked), signatures(after))}
                if not unstable or attempt == ATTEMPTS:
                    break
                walked = after
            facts = {
                "id": backup_id, "source": source, "exclude": sorted(exclude), "recipient": recipient,
                "started_at": iso(began), "ended_at": iso(time.time()),
                "duration_s": round(time.monotonic() - clock, 3), "purpose": purpose,
            }  # fmt: skip
            manifest = _manifest(facts, written, walked, unstable)
            commit(directory, partial, manifest)
        except OSError as error:
            raise OperatorError(no_room(directory, error)) from error
        finally:
            for leftover in (partial, os.path.join(directory, f"{PARTIAL}{backup_id}.json")):
                with contextlib.suppress(OSError):
                    os.unlink(leftover)
        if identity is not None:
            _prove(directory, manifest, identity, lock, clock + limits.timeout_s, limits.stall_s)
    path = os.path.join(directory, str(manifest["file"]))
    return _result(manifest, path, swept, needed, free, len(walked.found))


def _result(
    manifest: Optional[dict[str, Any]], path: Optional[str], swept: list[str], needed: int, free: int, files: int
) -> dict[str, Any]:
    return {
        "changed": True, "backup": manifest, "path": path, "swept": swept, "needed_bytes": needed, "free_bytes": free,
        "files": files,
    }  # fmt: skip


def _room(directory: str, place: str, walked: Walked, reserve_bytes: int) -> tuple[int, int]:
    """What the backup is expected to take and what is free; :class:`OperatorError` when that does not go together."""
    before = backups(directory, KIND)
    share = 1.0
    if before and before[-1]["bytes_source"]:
        share = min(int(before[-1]["bytes_file"]) / int(before[-1]["bytes_source"]) * GROWTH, 1.0)
    needed, free = int(walked.bytes * share) + ENTRY_BYTES * len(walked.found), free_bytes(place)
    if free < needed + reserve_bytes:
        raise OperatorError(
            msg(
                "a backup needs about {needed_bytes} and has to leave {reserve_bytes}, but {path} has {free_bytes}"
                " left: free some",
                needed_bytes=needed, reserve_bytes=reserve_bytes, free_bytes=free, path=directory,
            )
        )  # fmt: skip
    return needed, free


class _Written(NamedTuple):
    sha256: str
    bytes_file: int
    packer: Packer


class _Stream:
    """The pipe itself."""

    def __init__(
        self, directory: str, source: str, lock: Lock, deadline: float, limits: Limits, since_at: Optional[str]
    ) -> None:
        self._directory = directory
        self._source = source
        self._lock = lock
        self._deadline = deadline
        self._limits = limits
        self._since = since_at

    def run(self, compress: list[str], encrypt: list[str], walked: Walked, partial: str) -> _Written:
        target = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            with Pipeline(self._deadline, self._limits.stall_s) as pipeline:
                zstd = pipeline.start("zstd", compress, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                age = pipeline.start("age", encrypt, stdin=zstd.stdout, stdout=subprocess.PIPE)
                if zstd.stdin is None or zstd.stdout is None or age.stdout is None:
                    raise RuntimeError("a pipe is missing")
                zstd.stdout.close()  # age's alone: when it ends, zstd has to notice
                result = age.stdout.fileno()
                pipeline.watch()
                sink = Sink(self._directory, target, self._limits.reserve_bytes, pipeline)
                writer = Worker(lambda: sink.write(result))
                writer.start()
                packer = self._pack(pipeline, zstd.stdin, walked)
                pipeline.finish()
                writer.join(60)
                if writer.error is not None:
                    raise writer.error
                if writer.is_alive():
                    raise OperatorError(msg("the disk of {path} does not take what is written", path=self._directory))
            os.fsync(target)
        finally:
            os.close(target)
        return _Written(sink.sha256, sink.bytes, packer)

    def _pack(self, pipeline: Pipeline, sink: Any, walked: Walked) -> Packer:
        def write(data: bytes) -> None:
            write_all(sink.fileno(), data)
            pipeline.alive()
            self._lock.tell(1.0, action="code_backup", since_at=self._since, bytes=packer.bytes)

        packer = Packer(self._source, write)
        try:
            packer.pack(walked)
            sink.close()
        except BrokenPipeError:
            pipeline.broken()
        return packer


def _manifest(facts: dict[str, Any], written: _Written, walked: Walked, unstable: set[str]) -> dict[str, Any]:
    listing = written.packer.listing
    kinds = [entry[0] for entry in listing.values()]
    room = sum(len(path) for path in listing) * 6 + ENTRY_BYTES * len(listing)
    if room > MAX_MANIFEST:
        raise OperatorError(
            msg("{path} has too many files to list: leave some out with backup_code_exclude", path=facts["source"])
        )
    return {
        "format": FORMAT,
        "kind": KIND,
        "file": facts["id"] + SUFFIXES[KIND],
        "host": socket.gethostname(),
        **facts,
        "sha256": written.sha256,
        "bytes_source": sum(int(entry[2]) for entry in listing.values()),
        "bytes_tar": written.packer.bytes,
        "bytes_file": written.bytes_file,
        "counts": {"files": kinds.count("f"), "directories": kinds.count("d"), "links": kinds.count("l")},
        "excluded": [shown(name) for name in walked.excluded[:LISTED]],
        "skipped": [shown(name) for name in walked.special[:LISTED]],
        "unstable": [shown(name) for name in sorted(unstable)[:LISTED]],
        "outside_links": [shown(name) for name in leading_out(listing, facts["source"])[:LISTED]],
        "listing_sha256": listing_sha256(listing),
        "files": listing,
        "verified": None,
    }


def verify(
    directory: str, *, wanted: str, identity: str, timeout_s: float, stall_s: float, check_mode: bool = False
) -> dict[str, Any]:
    """Prove one backup that is there and write the proof into its manifest.

    :returns: ``{changed, backup: manifest, path}``; ``backup.verified`` is ``{at, method, duration_s, age_s, files}``.
    :raises OperatorError: what is wrong with the backup, or why it could not be proven; the manifest says so too.
    """
    check_identity(identity)
    need("age"), need("zstd")
    if check_mode or not os.path.isdir(directory):
        manifest = choose(directory, wanted, KIND)
        return {"changed": True, "backup": manifest, "path": os.path.join(directory, str(manifest["file"]))}
    with locked(directory, "code_verify", time.time()) as lock:
        sweep(directory, KIND)
        manifest = choose(directory, wanted, KIND)
        _prove(directory, manifest, identity, lock, time.monotonic() + timeout_s, stall_s)
    return {"changed": True, "backup": manifest, "path": os.path.join(directory, str(manifest["file"]))}


def _prove(
    directory: str, manifest: dict[str, Any], identity: str, lock: Lock, deadline: float, stall_s: float
) -> None:
    began = time.monotonic()
    try:
        read_back(directory, manifest, identity, lock, deadline, stall_s)
    except RefutedError as error:
        # What was proven once may have been damaged since: it must not go on counting as proven.
        if manifest.get("verified") is not None:
            replace_manifest(directory, {**manifest, "verified": None})
        raise OperatorError(error.message) from error
    now = time.time()
    manifest["verified"] = {
        "at": iso(now),
        "method": "listing",
        "duration_s": round(time.monotonic() - began, 3),
        "age_s": max(int(now - seconds_of(str(manifest["started_at"]))), 0),
        "files": len(manifest["files"]),
        "bytes_source": manifest["bytes_source"],
    }
    try:
        replace_manifest(directory, manifest)
    except OSError as error:
        raise OperatorError(no_room(directory, error)) from error


def check_file(directory: str, manifest: dict[str, Any]) -> str:
    """The path of a backup's file; :class:`RefutedError` when it is damaged."""
    path = os.path.join(directory, str(manifest["file"]))
    try:
        found = sha256_of(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OperatorError(msg("{path} can't be read: {reason}", path=path, reason=reason)) from error
    if found != manifest["sha256"]:
        raise RefutedError(
            msg("{path} is damaged: its SHA-256 is not the one in its manifest: keep an older backup", path=path)
        )
    return path


def read_back(
    directory: str,
    manifest: dict[str, Any],
    identity: str,
    lock: Lock,
    deadline: float,
    stall_s: float,
    target: Optional[str] = None,
) -> None:
    """Decrypt a backup's file and compare all that is in it with the manifest; with ``target``, write it there.

    :raises RefutedError: the file is damaged, or holds something else.
    :raises OperatorError: it could not be read to the end, as with another key.
    """
    path = check_file(directory, manifest)
    unpacker = Unpacker(target)
    try:
        _unpack(path, unpacker, identity, lock, deadline, stall_s)
    except RefutedError:
        raise
    except OperatorError as error:
        raise OperatorError(
            msg("{path} can't be read back: {reason}", path=path, reason=plain(error.message))
        ) from error
    differs = differing(manifest["files"], unpacker.listing)
    if differs or listing_sha256(unpacker.listing) != manifest["listing_sha256"]:
        raise RefutedError(
            msg("{path} holds other files than its manifest says, {files} among them: keep an older backup",
                path=path, files=some(differs))
        )  # fmt: skip


def _unpack(path: str, unpacker: Unpacker, identity: str, lock: Lock, deadline: float, stall_s: float) -> None:
    with Pipeline(deadline, stall_s) as pipeline:
        age = pipeline.start("age", [need("age"), "-d", "-i", "-", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        zstd = pipeline.start("zstd", [need("zstd"), "-d", "-q", "-c"], stdin=age.stdout, stdout=subprocess.PIPE)
        if age.stdin is None or age.stdout is None or zstd.stdout is None:
            raise RuntimeError("a pipe is missing")
        age.stdout.close()
        pipeline.watch()
        with contextlib.suppress(BrokenPipeError):
            write_all(age.stdin.fileno(), identity.strip().encode() + b"\n")
        age.stdin.close()

        def moved(name: str) -> None:
            pipeline.alive()
            lock.tell(1.0, action="code_verify", since_at=iso(time.time()))

        try:
            unpacker.unpack(zstd.stdout, moved)
        except RefutedError:
            # Who ended the stream too early, as for another key, says more than that it ended.
            for process in (age, zstd):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
            if age.poll() or zstd.poll():
                pipeline.finish()
            raise
        pipeline.finish()


def remarks(manifest: dict[str, Any], path: str) -> list[Message]:
    """What there is to say of a backup that was made."""
    said = [
        msg(
            "{files} files, directories and links, {source_bytes}, stored as {file_bytes} in {path}",
            files=len(manifest["files"]),
            source_bytes=manifest["bytes_source"],
            file_bytes=manifest["bytes_file"],
            path=path,
        )
    ]
    if manifest["verified"] is not None:
        said.append(msg("read again and found as it was read from the source"))
    else:
        said.append(msg("not proven: it does not count until it is"))
    if manifest["unstable"]:
        names = ", ".join(manifest["unstable"][:SHOWN])
        said.append(msg("changed while it was read, twice: {files}: back up when nobody writes it", files=names))
    if manifest["skipped"]:
        names = ", ".join(manifest["skipped"][:SHOWN])
        said.append(msg("left out, being neither file, directory nor link: {files}", files=names))
    return said
