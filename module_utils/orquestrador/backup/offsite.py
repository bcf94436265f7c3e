"""Copies of backups elsewhere, proven by what is read back from there; nothing is ever deleted there.

A destination is a mounted directory (``/mnt/…``), ``rsync:<destination>``, ``rclone:<remote>:<path>``, or
``controller``, which fetches (``orquestrador_ops.adapters.fetch``). A backup lies there as
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
from ..mysql.clients import need
from ..system.files import FILE_MODE, locked, sha256_of
from ..system.pipeline import Pipeline, pieces
from ..system.whole_file import sync_directory
from .retention import survey
from .store import read_manifest, replace_manifest

CONTROLLER = "controller"
MAX_ANSWER = 16 * 1024 * 1024
CHUNK = 1 << 20


class Set(NamedTuple):
    """One backup that can be copied."""

    kind: str
    directory: str
    manifest: dict[str, Any]
    newest: bool

    @property
    def file(self) -> str:
        return str(self.manifest["file"])

    @property
    def described(self) -> str:
        return f"{self.manifest['id']}.json"


def sets(places: Iterable[dict[str, str]]) -> list[Set]:
    """Every whole backup of some directories."""
    found = []
    for place in places:
        whole = [manifest for backup, manifest in survey(place["path"], place["kind"]) if backup.whole]
        found += [Set(place["kind"], place["path"], manifest, manifest is whole[-1]) for manifest in whole]
    return found


def recorded(manifest: dict[str, Any], to: str) -> bool:
    """Whether the manifest says that the destination has the very file."""
    copies = manifest.get("copies")
    return isinstance(copies, list) and any(
        isinstance(copy, dict) and copy.get("to") == to and copy.get("sha256") == manifest["sha256"] for copy in copies
    )


def record(directory: str, kind: str, backup_id: str, to: str, sha256: str) -> None:
    """Write into a manifest that there is a copy; one that changed meanwhile keeps its changes."""
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
    """A place for copies that this host reaches by itself. Names are relative to it."""

    def __init__(self, place: str, deadline: float) -> None:
        self.place = place
        self.deadline = deadline

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of the files in a folder; none when there is no such folder."""
        raise NotImplementedError

    def put(self, source: str, folder: str) -> None:
        """Copy a file into a folder."""
        raise NotImplementedError

    def sha256(self, source: str, folder: str) -> str:
        """Of the copy as the destination gives it back."""
        raise NotImplementedError

    def unusable(self, reason: str) -> OperatorError:
        """What to say when the destination can't be used."""
        return OperatorError(msg("{destination} can't be used: {reason}", destination=self.place, reason=reason))

    def run(self, name: str, argv: list[str], nothing: tuple[int, ...] = ()) -> str:
        """What a command prints, within the time left; empty when it ends with a status of ``nothing``."""
        said = b""
        with Pipeline(self.deadline, 10.0**9) as pipeline:
            process: Any = pipeline.start(name, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            pipeline.watch()
            for piece in pieces(process.stdout.fileno()):
                said = (said + piece)[:MAX_ANSWER]
            process.wait(max(self.deadline - time.monotonic(), 0) + 1)
            if process.returncode in nothing:
                return ""
            try:
                pipeline.finish()
            except OperatorError as error:
                raise self.unusable(plain(error.message)) from error
        return said.decode("utf-8", "replace")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, FILE_MODE)


class Mounted(Destination):
    """A directory of another file system."""

    def __init__(self, place: str, deadline: float, directories: Iterable[str]) -> None:
        super().__init__(place, deadline)
        try:
            device = os.stat(place).st_dev
        except OSError as error:
            raise self.unusable(os_reason(error)) from error
        for directory in directories:
            with contextlib.suppress(OSError):
                if os.stat(directory).st_dev == device:
                    text = msg(
                        "{destination} is on the same file system as {path}: mount what is meant to be there",
                        destination=place,
                        path=directory,
                    )
                    raise OperatorError(text)

    def sizes(self, folder: str) -> dict[str, int]:
        try:
            with os.scandir(os.path.join(self.place, folder)) as items:
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
        target = os.path.join(self.place, folder)
        partial = os.path.join(target, f".partial-{os.path.basename(source)}")
        try:
            os.makedirs(target, 0o700, exist_ok=True)
            with open(source, "rb", buffering=0) as file, open(partial, "wb", opener=_private) as copy:
                while data := file.read(CHUNK):
                    if time.monotonic() > self.deadline:
                        raise OperatorError(
                            msg(
                                "the time allowed is over: allow more, or look at {destination}", destination=self.place
                            )
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
        path = os.path.join(self.place, folder, os.path.basename(source))
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # What the kernel remembers of the writing proves nothing.
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
            return sha256_of(path)
        except OSError as error:
            raise self.unusable(os_reason(error)) from error


class Rclone(Destination):
    """A remote of rclone's configuration of this user; credentials are there."""

    def __init__(self, place: str, deadline: float) -> None:
        super().__init__(place, deadline)
        self._program = need("rclone")
        self._bounds = ["--contimeout", "15s", "--timeout", "60s", "--retries", "2", "--low-level-retries", "3"]

    def _rclone(self, *arguments: str, nothing: tuple[int, ...] = ()) -> str:
        command, *rest = arguments
        return self.run("rclone", [self._program, command, *self._bounds, *rest], nothing)

    def sizes(self, folder: str) -> dict[str, int]:
        # Statuses 3 and 4 of rclone: the directory, the file does not exist.
        answer = self._rclone("lsjson", "--files-only", "--no-modtime", f"{self.place}/{folder}", nothing=(3, 4))
        try:
            return {str(item["Name"]): int(item["Size"]) for item in json.loads(answer or "[]")}
        except (ValueError, KeyError, TypeError) as error:
            raise self.unusable("rclone lists no JSON") from error

    def put(self, source: str, folder: str) -> None:
        self._rclone("copyto", "--ignore-times", source, f"{self.place}/{folder}/{os.path.basename(source)}")

    def sha256(self, source: str, folder: str) -> str:
        name = f"{self.place}/{folder}/{os.path.basename(source)}"
        return (self._rclone("hashsum", "SHA256", "--download", name).split() or [""])[0]


class Rsync(Destination):
    """What rsync reaches, over SSH with this user's keys, or as a path."""

    def __init__(self, place: str, deadline: float) -> None:
        super().__init__(place, deadline)
        self._program = need("rsync")

    def _rsync(self, *arguments: str, nothing: tuple[int, ...] = ()) -> str:
        shell = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
        return self.run("rsync", [self._program, "--timeout=60", "-e", shell, *arguments], nothing)

    def sizes(self, folder: str) -> dict[str, int]:
        # Status 23 of rsync: the directory does not exist. One that can't be reached has another.
        answer = self._rsync("--list-only", "--no-human-readable", f"{self.place}/{folder}/", nothing=(23,))
        found = {}
        for line in answer.splitlines():
            fields = line.split(None, 4)
            if len(fields) == 5 and fields[0].startswith("-") and fields[1].replace(",", "").isdigit():
                found[fields[4]] = int(fields[1].replace(",", ""))
        return found

    def put(self, source: str, folder: str) -> None:
        self._rsync("--times", "--ignore-times", "--mkpath", "--chmod=D700,F600", source, f"{self.place}/{folder}/")

    def sha256(self, source: str, folder: str) -> str:
        """The source's, when rsync finds both sides equal by reading them; it has no SHA-256 of its own."""
        answer = self._rsync("--checksum", "--dry-run", "--out-format=%i", source, f"{self.place}/{folder}/")
        return "" if any(line[:2] in ("<f", ">f") for line in answer.splitlines()) else sha256_of(source)


def destination(to: str, deadline: float, directories: Iterable[str]) -> Destination:
    """The destination that ``to`` names; :class:`OperatorError` when it names none, or holds a secret."""
    if scrub_text(to) != to:
        raise OperatorError(
            msg("backup_copy_to holds a credential: keep it in the configuration of rclone, or in an SSH key")
        )
    scheme, _, rest = to.partition(":")
    if to.startswith("/"):
        return Mounted(to.rstrip("/") or "/", deadline, directories)
    if scheme == "rclone" and ":" in rest:
        return Rclone(rest if rest.endswith(":") else rest.rstrip("/"), deadline)
    if scheme == "rsync" and rest and not rest.startswith("-"):
        return Rsync(rest.rstrip("/"), deadline)
    text = msg(
        "backup_copy_to is {value}: give controller, rclone:remote:path, rsync:user@host:path, or the path of a"
        " mounted directory",
        value=to,
    )
    raise OperatorError(text)


def copy_all(
    places: list[dict[str, str]], to: str, host: str, *, timeout_s: float, check_mode: bool = False
) -> dict[str, Any]:
    """Copy every backup that the destination does not have.

    Those that were recorded are looked at by size, the newest of each kind is read back every time.

    :returns: ``{changed, copied: [ids], present: [ids], copied_bytes, failures: [message]}``
    """
    result: dict[str, Any] = {"changed": False, "copied": [], "present": [], "copied_bytes": 0, "failures": []}
    there = destination(to, time.monotonic() + timeout_s, [place["path"] for place in places])
    sizes: dict[str, dict[str, int]] = {}
    for one in sets(places):
        folder = f"{host}/{one.kind}"
        try:
            if folder not in sizes:
                sizes[folder] = there.sizes(folder)
            _one(one, to, there, folder, sizes[folder], result, check_mode)
        except OperatorError as error:
            result["failures"].append(error.message)
            break  # what does not take one takes no other
    return result


def _one(
    one: Set, to: str, there: Destination, folder: str, sizes: dict[str, int], result: dict[str, Any], check_mode: bool
) -> None:
    source, described = os.path.join(one.directory, one.file), os.path.join(one.directory, one.described)
    backup_id, sha256 = str(one.manifest["id"]), str(one.manifest["sha256"])
    known, present = recorded(one.manifest, to), sizes.get(one.file) == one.manifest["bytes_file"]
    if present and (one.newest or not known):
        present = there.sha256(source, folder) == sha256
    if not present:
        result["changed"] = True
        result["copied"].append(backup_id)
        result["copied_bytes"] += int(one.manifest["bytes_file"])
        if check_mode:
            return
        if sha256_of(source) != sha256:
            result["failures"].append(
                msg("{path} is damaged: its SHA-256 is not the one in its manifest: keep an older backup", path=source)
            )
            return
        there.put(source, folder)
        if there.sha256(source, folder) != sha256:
            result["failures"].append(mismatch(source, there.place))
            return
    else:
        result["present"].append(backup_id)
    if (not present or not known) and not check_mode:
        record(one.directory, one.kind, backup_id, to, sha256)
    if not known or sizes.get(one.described) != os.path.getsize(described):
        result["changed"] = True
        if not check_mode:
            there.put(described, folder)


def mismatch(source: str, place: str) -> Message:
    """What to say of a copy that is not its manifest's file."""
    return msg(
        "the copy of {path} in {destination} is not what its manifest says: look whether the backup itself is damaged",
        path=source,
        destination=place,
    )


def remarks(result: dict[str, Any], to: str, check_mode: bool) -> list[Message]:
    """What there is to say of a copy."""
    copied, present, copied_bytes = len(result["copied"]), len(result["present"]), result["copied_bytes"]
    if not copied:
        return [msg("{destination} has all {present} backups", destination=to, present=present)]
    figures: dict[str, Any] = {"copied": copied, "copied_bytes": copied_bytes, "destination": to}
    if check_mode:
        return [msg("{copied} backups, {copied_bytes}, would be copied to {destination}", **figures)]
    text = msg(
        "{copied} backups, {copied_bytes}, copied to {destination} and read back from there; {present} were there",
        present=present,
        **figures,
    )
    return [text]


def listed(places: list[dict[str, str]], to: str) -> list[dict[str, Any]]:
    """What a controller has to know to fetch."""
    return [
        {
            "kind": one.kind,
            "directory": one.directory,
            "id": str(one.manifest["id"]),
            "file": one.file,
            "described": one.described,
            "sha256": str(one.manifest["sha256"]),
            "bytes": int(one.manifest["bytes_file"]),
            "described_bytes": _bytes(os.path.join(one.directory, one.described)),
            "newest": one.newest,
            "recorded": recorded(one.manifest, to),
        }
        for one in sets(places)
    ]


def _bytes(path: str) -> Optional[int]:
    with contextlib.suppress(OSError):
        return os.path.getsize(path)
    return None
