"""Off-site copies of backups, verified by reading them back; nothing is ever deleted at the destination.

A destination is a mounted directory (``/mnt/…``), ``rsync:<destination>``, ``rclone:<remote>:<path>``, or
``controller``, which fetches (``orquestrador_ops.adapters.fetch``). A backup is stored there as
``<host>/<kind>/<file>`` with its manifest. The manifest on the host records each copy: ``copies: [{to, at, sha256}]``.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError, os_reason
from ..core.jsonable import iso
from ..core.messages import msg, plain
from ..core.redact import scrub_text
from ..core.types import Message
from ..mysql.clients import require_program
from ..system.files import FILE_MODE, locked, sha256_of
from ..system.pipeline import Pipeline, pieces
from ..system.whole_file import sync_directory
from .retention import survey
from .store import read_manifest, replace_manifest

CONTROLLER = "controller"
MAX_ANSWER = 16 * 1024 * 1024
CHUNK = 1 << 20


class StoredBackup(NamedTuple):
    """A backup that can be copied: its data file and its manifest."""

    kind: str
    directory: str
    manifest: dict[str, Any]
    newest: bool

    @property
    def file(self) -> str:
        return str(self.manifest["file"])

    @property
    def manifest_name(self) -> str:
        return f"{self.manifest['id']}.json"


def list_stored(locations: Iterable[dict[str, str]]) -> list[StoredBackup]:
    """Return every complete backup in the directories."""
    backups = []
    for location in locations:
        path, kind = location["path"], location["kind"]
        complete = [manifest for backup, manifest in survey(path, kind) if backup.whole]
        backups += [StoredBackup(kind, path, manifest, manifest is complete[-1]) for manifest in complete]
    return backups


def has_copy_record(manifest: dict[str, Any], to: str) -> bool:
    """Whether the manifest records a copy of this file at the destination."""
    copies = manifest.get("copies")
    return isinstance(copies, list) and any(
        isinstance(copy, dict) and copy.get("to") == to and copy.get("sha256") == manifest["sha256"] for copy in copies
    )


def record_copy(directory: str, kind: str, backup_id: str, to: str, sha256: str) -> None:
    """Record a copy in the current manifest on disk, under the directory's lock."""
    path = os.path.join(directory, f"{backup_id}.json")
    with locked(directory, "backup_copy", time.time()):
        manifest = read_manifest(path, kind)
        if manifest is None or manifest["sha256"] != sha256:
            raise OperatorError(msg("{path} changed while its backup was copied: copy it again", path=path))
        copies = manifest.get("copies")
        others = [copy for copy in copies if isinstance(copy, dict) and copy.get("to") != to] if copies else []
        manifest["copies"] = [*others, {"to": to, "at": iso(time.time()), "sha256": sha256}]
        replace_manifest(directory, manifest)


class Destination:
    """A destination that this host can reach itself; folder names are relative to it."""

    def __init__(self, location: str, deadline: float) -> None:
        self.location = location
        self.deadline = deadline

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the sizes of the files in a folder by name; empty when there is no such folder."""
        raise NotImplementedError

    def put(self, source: str, folder: str) -> None:
        """Copy a file into a folder."""
        raise NotImplementedError

    def sha256(self, source: str, folder: str) -> str:
        """Return the SHA-256 of the copy, read back from the destination."""
        raise NotImplementedError

    def unusable(self, reason: str) -> OperatorError:
        """Return the error for a destination that can't be used."""
        return OperatorError(msg("{destination} can't be used: {reason}", destination=self.location, reason=reason))

    def run(self, name: str, argv: list[str], empty_on: tuple[int, ...] = ()) -> str:
        """Return a command's output, within the time left; empty when it exits with a status in ``empty_on``."""
        output = b""
        with Pipeline(self.deadline, 10.0**9) as pipeline:
            process: Any = pipeline.start(name, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            pipeline.watch()
            for piece in pieces(process.stdout.fileno()):
                output = (output + piece)[:MAX_ANSWER]
            process.wait(max(self.deadline - time.monotonic(), 0) + 1)
            if process.returncode in empty_on:
                return ""
            try:
                pipeline.finish()
            except OperatorError as error:
                raise self.unusable(plain(error.message)) from error
        return output.decode("utf-8", "replace")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, FILE_MODE)


class Mounted(Destination):
    """A directory of another file system."""

    def __init__(self, location: str, deadline: float, directories: Iterable[str]) -> None:
        super().__init__(location, deadline)
        try:
            device = os.stat(location).st_dev
        except OSError as error:
            raise self.unusable(os_reason(error)) from error
        for directory in directories:
            with contextlib.suppress(OSError):
                if os.stat(directory).st_dev == device:
                    text = msg(
                        "{destination} is on the same file system as {path}: mount the disk for the copies there",
                        destination=location,
                        path=directory,
                    )
                    raise OperatorError(text)

    def sizes(self, folder: str) -> dict[str, int]:
        try:
            with os.scandir(os.path.join(self.location, folder)) as items:
                return {
                    item.name: item.stat(follow_symlinks=False).st_size
                    for item in items
                    if item.is_file(follow_symlinks=False)
                }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self.unusable(os_reason(error)) from error

    def put(self, source: str, folder: str) -> None:
        target = os.path.join(self.location, folder)
        partial = os.path.join(target, f".partial-{os.path.basename(source)}")
        try:
            os.makedirs(target, 0o700, exist_ok=True)
            with open(source, "rb", buffering=0) as file, open(partial, "wb", opener=_private) as copy:
                while data := file.read(CHUNK):
                    if time.monotonic() > self.deadline:
                        where = self.location
                        raise OperatorError(
                            msg("the time allowed is over: allow more, or look at {destination}", destination=where)
                        )
                    copy.write(data)
                copy.flush()
                os.fsync(copy.fileno())
            os.rename(partial, os.path.join(target, os.path.basename(source)))
            sync_directory(target)
        except OSError as error:
            raise self.unusable(os_reason(error)) from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(partial)

    def sha256(self, source: str, folder: str) -> str:
        path = os.path.join(self.location, folder, os.path.basename(source))
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # The page cache proves nothing about what is on disk.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
            return sha256_of(path)
        except OSError as error:
            raise self.unusable(os_reason(error)) from error


class Rclone(Destination):
    """A remote in this user's rclone configuration, which holds the credentials."""

    def __init__(self, location: str, deadline: float) -> None:
        super().__init__(location, deadline)
        self._program = require_program("rclone")
        self._bounds = ["--contimeout", "15s", "--timeout", "60s", "--retries", "2", "--low-level-retries", "3"]

    def _rclone(self, *arguments: str, empty_on: tuple[int, ...] = ()) -> str:
        command, *options = arguments
        return self.run("rclone", [self._program, command, *self._bounds, *options], empty_on)

    def sizes(self, folder: str) -> dict[str, int]:
        # Exit statuses 3 and 4 of rclone: the directory or the file does not exist.
        answer = self._rclone("lsjson", "--files-only", "--no-modtime", f"{self.location}/{folder}", empty_on=(3, 4))
        try:
            return {str(item["Name"]): int(item["Size"]) for item in json.loads(answer or "[]")}
        except (ValueError, KeyError, TypeError) as error:
            raise self.unusable("rclone lists no JSON") from error

    def put(self, source: str, folder: str) -> None:
        self._rclone("copyto", "--ignore-times", source, f"{self.location}/{folder}/{os.path.basename(source)}")

    def sha256(self, source: str, folder: str) -> str:
        name = f"{self.location}/{folder}/{os.path.basename(source)}"
        return (self._rclone("hashsum", "SHA256", "--download", name).split() or [""])[0]


class Rsync(Destination):
    """A destination of rsync, over SSH with this user's keys, or a path."""

    def __init__(self, location: str, deadline: float) -> None:
        super().__init__(location, deadline)
        self._program = require_program("rsync")

    def _rsync(self, *arguments: str, empty_on: tuple[int, ...] = ()) -> str:
        shell = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
        return self.run("rsync", [self._program, "--timeout=60", "-e", shell, *arguments], empty_on)

    def sizes(self, folder: str) -> dict[str, int]:
        # Exit status 23 of rsync: the directory does not exist. An unreachable host gives another one.
        answer = self._rsync("--list-only", "--no-human-readable", f"{self.location}/{folder}/", empty_on=(23,))
        sizes = {}
        for line in answer.splitlines():
            fields = line.split(None, 4)
            if len(fields) == 5 and fields[0].startswith("-") and fields[1].replace(",", "").isdigit():
                sizes[fields[4]] = int(fields[1].replace(",", ""))
        return sizes

    def put(self, source: str, folder: str) -> None:
        self._rsync("--times", "--ignore-times", "--mkpath", "--chmod=D700,F600", source, f"{self.location}/{folder}/")

    def sha256(self, source: str, folder: str) -> str:
        """Return the source's SHA-256 when ``rsync --checksum`` finds the copy identical, otherwise an empty text."""
        answer = self._rsync("--checksum", "--dry-run", "--out-format=%i", source, f"{self.location}/{folder}/")
        return "" if any(line[:2] in ("<f", ">f") for line in answer.splitlines()) else sha256_of(source)


def open_destination(to: str, deadline: float, directories: Iterable[str]) -> Destination:
    """Return the destination for ``backup_copy_to``; :class:`OperatorError` for an invalid one or a credential."""
    if scrub_text(to) != to:
        raise OperatorError(
            msg("backup_copy_to holds a credential: keep it in the configuration of rclone, or in an SSH key")
        )
    scheme, _, target = to.partition(":")
    if to.startswith("/"):
        return Mounted(to.rstrip("/") or "/", deadline, directories)
    if scheme == "rclone" and ":" in target:
        return Rclone(target if target.endswith(":") else target.rstrip("/"), deadline)
    if scheme == "rsync" and target and not target.startswith("-"):
        return Rsync(target.rstrip("/"), deadline)
    text = msg(
        "backup_copy_to is {value}: give controller, rclone:remote:path, rsync:user@host:path, or the path of a"
        " mounted directory",
        value=to,
    )
    raise OperatorError(text)


def copy_all(
    locations: list[dict[str, str]], to: str, host: str, *, timeout_s: float, check_mode: bool = False
) -> dict[str, Any]:
    """Copy every backup that is missing at the destination.

    Recorded copies are checked by size; the newest of each kind is read back every time.

    :returns: ``{changed, copied: [ids], present: [ids], copied_bytes, failures: [message]}``
    """
    result: dict[str, Any] = {"changed": False, "copied": [], "present": [], "copied_bytes": 0, "failures": []}
    destination = open_destination(to, time.monotonic() + timeout_s, [location["path"] for location in locations])
    sizes: dict[str, dict[str, int]] = {}
    for backup in list_stored(locations):
        folder = f"{host}/{backup.kind}"
        try:
            if folder not in sizes:
                sizes[folder] = destination.sizes(folder)
            _copy_backup(backup, to, destination, folder, sizes[folder], result, check_mode)
        except OperatorError as error:
            result["failures"].append(error.message)
            break  # the destination would fail for the others as well
    return result


def _copy_backup(
    backup: StoredBackup,
    to: str,
    destination: Destination,
    folder: str,
    sizes: dict[str, int],
    result: dict[str, Any],
    check_mode: bool,
) -> None:
    source, manifest_path = (os.path.join(backup.directory, name) for name in (backup.file, backup.manifest_name))
    backup_id, sha256 = str(backup.manifest["id"]), str(backup.manifest["sha256"])
    has_record, present = has_copy_record(backup.manifest, to), sizes.get(backup.file) == backup.manifest["bytes_file"]
    if present and (backup.newest or not has_record):
        present = destination.sha256(source, folder) == sha256
    if not present:
        result["changed"] = True
        result["copied"].append(backup_id)
        result["copied_bytes"] += int(backup.manifest["bytes_file"])
        if check_mode:
            return
        if sha256_of(source) != sha256:
            result["failures"].append(
                msg("{path} is damaged: its SHA-256 is not the one in its manifest: keep an older backup", path=source)
            )
            return
        destination.put(source, folder)
        if destination.sha256(source, folder) != sha256:
            result["failures"].append(mismatch(source, destination.location))
            return
    else:
        result["present"].append(backup_id)
    if (not present or not has_record) and not check_mode:
        record_copy(backup.directory, backup.kind, backup_id, to, sha256)
    if not has_record or sizes.get(backup.manifest_name) != os.path.getsize(manifest_path):
        result["changed"] = True
        if not check_mode:
            destination.put(manifest_path, folder)


def mismatch(source: str, location: str) -> Message:
    """Return the message for a copy that differs from its manifest."""
    return msg(
        "the copy of {path} in {destination} does not match its manifest: check whether the backup itself is damaged",
        path=source,
        destination=location,
    )


def describe(result: dict[str, Any], to: str, check_mode: bool) -> list[Message]:
    """Return the messages about a copy."""
    copied, present, copied_bytes = len(result["copied"]), len(result["present"]), result["copied_bytes"]
    if not copied:
        return [msg("{destination} has all {present} backups", destination=to, present=present)]
    figures: dict[str, Any] = {"copied": copied, "copied_bytes": copied_bytes, "destination": to}
    if check_mode:
        return [msg("{copied} backups, {copied_bytes}, would be copied to {destination}", **figures)]
    text = msg(
        "{copied} backups, {copied_bytes}, copied to {destination} and read back; {present} were already there",
        present=present,
        **figures,
    )
    return [text]


def list_for_controller(locations: list[dict[str, str]], to: str) -> list[dict[str, Any]]:
    """Return the backups with what the controller needs to fetch them."""
    return [
        {
            "kind": backup.kind,
            "directory": backup.directory,
            "id": str(backup.manifest["id"]),
            "file": backup.file,
            "described": backup.manifest_name,
            "sha256": str(backup.manifest["sha256"]),
            "bytes": int(backup.manifest["bytes_file"]),
            "described_bytes": _file_size(os.path.join(backup.directory, backup.manifest_name)),
            "newest": backup.newest,
            "recorded": has_copy_record(backup.manifest, to),
        }
        for backup in list_stored(locations)
    ]


def _file_size(path: str) -> Optional[int]:
    with contextlib.suppress(OSError):
        return os.path.getsize(path)
    return None
