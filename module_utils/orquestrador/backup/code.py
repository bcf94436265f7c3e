"""Back up the application's directory, encrypted, and prove the backup by reading its file again.

``tar (listed and hashed here) → zstd → age → (hashed and written here)``. The tree holds secrets (``.env``), so its
plaintext exists in pipes only. Top-level names of the directory can be excluded: files that can be built or installed
again, logs, which are archived separately, and the backups themselves.
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
from ..mysql.clients import require_program
from ..system.files import Lock
from ..system.pipeline import Pipeline, write_all
from .keys import check_identity, check_recipient, decrypted
from .session import GROWTH, Limits, Session, Space, check_file, check_space, locked_for_proof, open_session, prove
from .sink import Sink
from .store import MAX_MANIFEST, RefutedError, data_path, find_backup, list_backups
from .tree import (
    SHOWN,
    Packer,
    TreeScan,
    Unpacker,
    differing,
    links_outside,
    listing_sha256,
    printable,
    sample,
    scan_tree,
    signatures,
)

KIND = "code"
ATTEMPTS = 2  # a tree that changes while it is read is read again
LISTED = 50  # names that the manifest lists of each kind: skipped, unstable …
ENTRY_BYTES = 250  # manifest size per file with an ordinary name


def check_directory(directory: str, source: str, exclude: Collection[str]) -> None:
    """Raise :class:`OperatorError` for a backup directory in the backed-up tree, or an exclusion that is no name."""
    for name in exclude:
        if not name or "/" in name or name in (".", ".."):
            text = msg(
                "backup_code_exclude contains {name}: give names of files and directories at the top of the"
                " application's directory, without a slash",
                name=repr(name)[:100],
            )
            raise OperatorError(text)
    inside = os.path.relpath(os.path.realpath(directory), os.path.realpath(source))
    first = inside.split("/", 1)[0]
    if first != ".." and first not in exclude:
        text = msg(
            "{path} is inside the directory that is backed up: add {name} to backup_code_exclude, or keep"
            " backups elsewhere",
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
    held_lock: Optional[Lock] = None,
) -> dict[str, Any]:
    """Make one backup of the tree ``source`` in ``directory``; prove it when there is an ``identity``.

    :param exclude: top-level names of ``source`` to leave out, no patterns.
    :param identity: private key of age; never written, never an argument.
    :param purpose: for the manifest: ``routine``, or ``safety`` before a restore.
    :param held_lock: the lock of the directory, when the caller holds it.
    :returns: ``{changed, backup: manifest or None, path, swept: [names], needed_bytes, free_bytes, files}``
    :raises OperatorError: no backup was made, or it was written but could not be proven, as its manifest records.
    """
    check_recipient(recipient)
    if identity is not None:
        check_identity(identity)
    check_directory(directory, source, exclude)
    require_program("zstd"), require_program("age")
    if check_mode:
        scan = scan_tree(source, exclude)
        return {**_check_space(directory, scan, limits).result(), "files": len(scan.entries)}
    with open_session(directory, KIND, limits, recipient, held_lock) as session:
        scan = scan_tree(source, exclude)
        estimate = _check_space(directory, scan, limits)
        for attempt in range(1, ATTEMPTS + 1):
            sink, packer = _write_tree(session, source, scan, level)
            after = scan_tree(source, exclude)
            unstable = {*packer.unstable, *differing(signatures(scan), signatures(after))}
            if not unstable or attempt == ATTEMPTS:
                break
            scan = after
        facts = _manifest_fields(source, scan, packer, unstable)
        manifest = session.commit(sink, purpose, source=source, exclude=sorted(exclude), **facts)
        if identity is not None:
            _prove(directory, manifest, identity, session.lock, session.deadline, limits.stall_s)
    return {**session.result(manifest, estimate), "files": len(scan.entries)}


def _check_space(directory: str, scan: TreeScan, limits: Limits) -> Space:
    before = list_backups(directory, KIND)
    share = 1.0
    if before and before[-1]["bytes_source"]:
        share = min(int(before[-1]["bytes_file"]) / int(before[-1]["bytes_source"]) * GROWTH, 1.0)
    return check_space(directory, int(scan.bytes * share) + ENTRY_BYTES * len(scan.entries), limits)


def _write_tree(session: Session, source: str, scan: TreeScan, level: int) -> tuple[Sink, Packer]:
    since_at = iso(session.started_at)

    def feed(pipeline: Pipeline, pipe: IO[bytes], _: object) -> Packer:
        def write(data: bytes) -> None:
            write_all(pipe.fileno(), data)
            pipeline.alive()
            session.lock.tell(1.0, action="code_backup", since_at=since_at, bytes=packer.bytes)

        packer = Packer(source, write)
        packer.pack(scan)
        return packer

    return session.write([f"-{level}", f"-T{min(2, os.cpu_count() or 1)}"], feed)


def _manifest_fields(source: str, scan: TreeScan, packer: Packer, unstable: set[str]) -> dict[str, Any]:
    """Return the manifest fields that only a code backup has."""
    listing = packer.listing
    if sum(len(path) for path in listing) * 6 + ENTRY_BYTES * len(listing) > MAX_MANIFEST:
        raise OperatorError(
            msg("{path} has too many files to list: exclude some with backup_code_exclude", path=source)
        )
    kinds = [entry[0] for entry in listing.values()]
    names = {
        "excluded": scan.excluded,
        "skipped": scan.special,
        "unstable": sorted(unstable),
        "outside_links": links_outside(listing, source),
    }
    return {
        "bytes_source": sum(int(entry[2]) for entry in listing.values()),
        "bytes_tar": packer.bytes,
        "counts": {"files": kinds.count("f"), "directories": kinds.count("d"), "links": kinds.count("l")},
        **{key: [printable(name) for name in paths[:LISTED]] for key, paths in names.items()},
        "listing_sha256": listing_sha256(listing),
        "files": listing,
    }


def verify(
    directory: str, *, backup: str, identity: str, timeout_s: float, stall_s: float, check_mode: bool = False
) -> dict[str, Any]:
    """Prove one stored backup and write the proof into its manifest.

    :returns: ``{changed, backup: manifest, path}``; ``backup.verified`` is ``{at, method, duration_s, age_s, files}``.
    :raises OperatorError: the backup is damaged, or could not be read; the manifest records a refuted proof.
    """
    check_identity(identity)
    require_program("age"), require_program("zstd")
    if check_mode or not os.path.isdir(directory):
        manifest = find_backup(directory, backup, KIND)
    else:
        with locked_for_proof(directory, KIND) as lock:
            manifest = find_backup(directory, backup, KIND)
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
    """Decrypt a backup's file and compare its contents with the manifest; with ``target``, unpack it there.

    :raises RefutedError: the file is damaged, or holds other files than its manifest lists.
    :raises OperatorError: it could not be read to the end, for example with another key.
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
            "{path} contains other files than its manifest, among them {files}: keep an older backup",
            path=path,
            files=sample(differs),
        )
        raise RefutedError(text)


def _unpack(path: str, unpacker: Unpacker, identity: str, lock: Lock, deadline: float, stall_s: float) -> None:
    with Pipeline(deadline, stall_s) as pipeline:
        stream = decrypted(pipeline, path, identity)
        pipeline.watch()

        def report_progress(name: str) -> None:
            pipeline.alive()
            lock.tell(1.0, action="code_verify", since_at=iso(time.time()))

        try:
            unpacker.unpack(stream, report_progress)
        except RefutedError:
            # The process that ended the stream too early, as age does for another key, gives the better reason.
            processes = [child.process for child in pipeline.children]
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
            if any(process.poll() for process in processes):
                pipeline.finish()
            raise
        pipeline.finish()


def describe(manifest: dict[str, Any], path: str) -> list[Message]:
    """Return the messages about a backup that was made."""
    figures = {
        "files": len(manifest["files"]),
        "source_bytes": manifest["bytes_source"],
        "file_bytes": manifest["bytes_file"],
        "path": path,
    }
    stored = msg("{files} files, directories and links, {source_bytes}, stored as {file_bytes} in {path}", **figures)
    messages = [stored]
    if manifest["verified"] is not None:
        messages.append(msg("read back and identical to the source"))
    else:
        messages.append(msg("not proven: it does not count until verify_backup.yml proves it"))
    if manifest["unstable"]:
        names = ", ".join(manifest["unstable"][:SHOWN])
        messages.append(
            msg("changed while they were read, twice: {files}: back up again when nothing writes them", files=names)
        )
    if manifest["skipped"]:
        names = ", ".join(manifest["skipped"][:SHOWN])
        messages.append(msg("not backed up, because they are sockets, FIFOs or devices: {files}", files=names))
    return messages
