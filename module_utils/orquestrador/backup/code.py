"""Back up the application's directory, encrypted, and prove the backup by reading its file again.

``tar (listed and hashed here) → zstd → age → (hashed and written here)``. The tree holds secrets (``.env``), so that
its plaintext exists in pipes only. Left out are top-level names of the directory: what can be built or installed
again, what is archived otherwise, and the backups themselves.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Collection
from typing import IO, Any, Optional

from ..core.errors import OperatorError
from ..core.jsonable import iso
from ..core.messages import msg, plain
from ..core.types import Message
from ..mysql.clients import need
from ..system.files import Lock
from ..system.pipeline import Pipeline, write_all
from .keys import check_identity, check_recipient, decrypted
from .session import GROWTH, Limits, Room, Session, check_file, prove, proving, room, session
from .sink import Sink
from .store import MAX_MANIFEST, RefutedError, backups, choose, data_path
from .tree import (
    SHOWN,
    Packer,
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
ATTEMPTS = 2  # a tree that changes while it is read is read again
LISTED = 50  # names of a kind that the manifest keeps of what was skipped or unstable
ENTRY_BYTES = 250  # of the manifest, for a file with an ordinary name; the rest is for long ones


def check_place(directory: str, source: str, exclude: Collection[str]) -> None:
    """Refuse to put backups into what is backed up, and exclusions that mean something else than they say."""
    for name in exclude:
        if not name or "/" in name or name in (".", ".."):
            text = msg(
                "backup_code_exclude has {name}: name files and directories that lie in the application's"
                " directory itself, without a slash",
                name=repr(name)[:100],
            )
            raise OperatorError(text)
    inside = os.path.relpath(os.path.realpath(directory), os.path.realpath(source))
    first = inside.split("/", 1)[0]
    if first != ".." and first not in exclude:
        text = msg(
            "{path} lies in what is backed up: add {name} to backup_code_exclude, or keep backups elsewhere",
            path=directory,
            name=first,
        )
        raise OperatorError(text)


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
    check_recipient(recipient)
    if identity is not None:
        check_identity(identity)
    check_place(directory, source, exclude)
    need("zstd"), need("age")
    if check_mode:
        walked = walk(source, exclude)
        return {**_room(directory, walked, limits).result(), "files": len(walked.found)}
    with session(directory, KIND, limits, recipient, held) as making:
        walked = walk(source, exclude)
        space = _room(directory, walked, limits)
        for attempt in range(1, ATTEMPTS + 1):
            sink, packer = _write(making, source, walked, level)
            after = walk(source, exclude)
            unstable = {*packer.unstable, *differing(signatures(walked), signatures(after))}
            if not unstable or attempt == ATTEMPTS:
                break
            walked = after
        facts = _facts(source, walked, packer, unstable)
        manifest = making.commit(sink, purpose, source=source, exclude=sorted(exclude), **facts)
        if identity is not None:
            _prove(directory, manifest, identity, making.lock, making.deadline, limits.stall_s)
    return {**making.result(manifest, space), "files": len(walked.found)}


def _room(directory: str, walked: Walked, limits: Limits) -> Room:
    before = backups(directory, KIND)
    share = 1.0
    if before and before[-1]["bytes_source"]:
        share = min(int(before[-1]["bytes_file"]) / int(before[-1]["bytes_source"]) * GROWTH, 1.0)
    return room(directory, int(walked.bytes * share) + ENTRY_BYTES * len(walked.found), limits)


def _write(making: Session, source: str, walked: Walked, level: int) -> tuple[Sink, Packer]:
    since_at = iso(making.began)

    def feed(pipeline: Pipeline, pipe: IO[bytes], _: object) -> Packer:
        def write(data: bytes) -> None:
            write_all(pipe.fileno(), data)
            pipeline.alive()
            making.lock.tell(1.0, action="code_backup", since_at=since_at, bytes=packer.bytes)

        packer = Packer(source, write)
        packer.pack(walked)
        return packer

    return making.write([f"-{level}", f"-T{min(2, os.cpu_count() or 1)}"], feed)


def _facts(source: str, walked: Walked, packer: Packer, unstable: set[str]) -> dict[str, Any]:
    """What the manifest of a backup of code has of its own."""
    listing = packer.listing
    if sum(len(path) for path in listing) * 6 + ENTRY_BYTES * len(listing) > MAX_MANIFEST:
        raise OperatorError(
            msg("{path} has too many files to list: leave some out with backup_code_exclude", path=source)
        )
    kinds = [entry[0] for entry in listing.values()]
    names = {
        "excluded": walked.excluded,
        "skipped": walked.special,
        "unstable": sorted(unstable),
        "outside_links": leading_out(listing, source),
    }
    return {
        "bytes_source": sum(int(entry[2]) for entry in listing.values()),
        "bytes_tar": packer.bytes,
        "counts": {"files": kinds.count("f"), "directories": kinds.count("d"), "links": kinds.count("l")},
        **{key: [shown(name) for name in found[:LISTED]] for key, found in names.items()},
        "listing_sha256": listing_sha256(listing),
        "files": listing,
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
    else:
        with proving(directory, KIND) as lock:
            manifest = choose(directory, wanted, KIND)
            _prove(directory, manifest, identity, lock, time.monotonic() + timeout_s, stall_s)
    return {"changed": True, "backup": manifest, "path": data_path(directory, manifest)}


def _prove(
    directory: str, manifest: dict[str, Any], identity: str, lock: Lock, deadline: float, stall_s: float
) -> None:
    def work() -> dict[str, Any]:
        read_back(directory, manifest, identity, lock, deadline, stall_s)
        return {"method": "listing", "files": len(manifest["files"]), "bytes_source": manifest["bytes_source"]}

    prove(directory, manifest, work)


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
        text = msg(
            "{path} holds other files than its manifest says, {files} among them: keep an older backup",
            path=path,
            files=some(differs),
        )
        raise RefutedError(text)


def _unpack(path: str, unpacker: Unpacker, identity: str, lock: Lock, deadline: float, stall_s: float) -> None:
    with Pipeline(deadline, stall_s) as pipeline:
        stream = decrypted(pipeline, path, identity)
        pipeline.watch()

        def moved(name: str) -> None:
            pipeline.alive()
            lock.tell(1.0, action="code_verify", since_at=iso(time.time()))

        try:
            unpacker.unpack(stream, moved)
        except RefutedError:
            # Who ended the stream too early, as for another key, says more than that it ended.
            processes = [child.process for child in pipeline.children]
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
            if any(process.poll() for process in processes):
                pipeline.finish()
            raise
        pipeline.finish()


def remarks(manifest: dict[str, Any], path: str) -> list[Message]:
    """What there is to say of a backup that was made."""
    figures = {
        "files": len(manifest["files"]),
        "source_bytes": manifest["bytes_source"],
        "file_bytes": manifest["bytes_file"],
        "path": path,
    }
    said = [msg("{files} files, directories and links, {source_bytes}, stored as {file_bytes} in {path}", **figures)]
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
