"""The archive of logs: a ``tar.gz`` that begins with its own manifest and is believed only after it was read back.

``logs-YYYYMMDD.tar.gz``, then ``logs-YYYYMMDD-2.tar.gz``: a name is taken with ``link``, which never replaces. Until
then it is ``.partial-<id>.tar.gz``. The manifest is the first member, so that what an archive holds can be told
without reading it all, and so that there is one file to put in place, not two.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import time
import zlib
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..system.whole_file import sync_directory

FORMAT, KIND = 1, "logs"
MANIFEST = "manifest.json"
PARTIAL = ".partial-"
SUFFIX = ".tar.gz"
CHUNK = 1 << 20
FILE_MODE = 0o640
MAX_MANIFEST = 16 * 1024 * 1024
_NAME = re.compile(r"logs-(\d{8})(?:-(\d{1,6}))?\.tar\.gz")


class ArchiveError(OperatorError):
    """Something about an archive or a log went wrong; carries the message for the operator."""


class Measure(NamedTuple):
    """What a log holds; a last line without its newline counts."""

    bytes: int
    lines: int
    sha256: str


class Stop:
    """A moment after which work is given up."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = time.monotonic() + seconds

    def look(self) -> None:
        """Raise :class:`ArchiveError` when it is over."""
        if time.monotonic() > self._at:
            raise ArchiveError(
                msg("the archive was not ready within {limit_s}: allow it more time", limit_s=self._seconds)
            )


class _Meter:
    """Bytes, lines and digest of what passes through."""

    def __init__(self) -> None:
        self._bytes = self._newlines = 0
        self._last = b"\n"
        self._digest = hashlib.sha256()

    def feed(self, data: bytes) -> None:
        self._bytes += len(data)
        self._newlines += data.count(b"\n")
        self._last = data[-1:]
        self._digest.update(data)

    def result(self) -> Measure:
        return Measure(self._bytes, self._newlines + (self._last != b"\n"), self._digest.hexdigest())


def _blocks(file: IO[bytes], limit: Optional[int], stop: Stop) -> Iterator[bytes]:
    left = limit
    while left is None or left > 0:
        stop.look()
        data = file.read(CHUNK if left is None else min(CHUNK, left))
        if not data:
            return
        if left is not None:
            left -= len(data)
        yield data


def measure(path: str, stop: Stop, limit: Optional[int] = None) -> Measure:
    """Measure the first ``limit`` bytes of a file, all of it without one."""
    meter = _Meter()
    with open(path, "rb") as file:
        for data in _blocks(file, limit, stop):
            meter.feed(data)
    return meter.result()


def write(path: str, members: list[tuple[str, dict[str, Any]]], manifest: dict[str, Any], stop: Stop) -> None:
    """Write and sync an archive: ``members`` are ``(file, its entry in the manifest)``.

    Raises:
        OSError: such as a full disk. :class:`ArchiveError`: out of time, or a file holds less than it did.
    """
    now = int(time.time())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as raw:
        os.fchmod(descriptor, FILE_MODE)  # whatever the umask is
        with (
            gzip.GzipFile("", "wb", 6, raw, mtime=now) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as tar,
        ):
            text = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
            tar.addfile(_member(MANIFEST, len(text), now), io.BytesIO(text))
            for source, entry in members:
                with open(source, "rb") as file:
                    tar.addfile(_member(entry["name"], entry["bytes"], now), _Watched(file, stop))
        raw.flush()
        os.fsync(raw.fileno())


class _Watched(io.RawIOBase):
    """A file being read, with an eye on the clock."""

    def __init__(self, file: IO[bytes], stop: Stop) -> None:
        super().__init__()
        self._file, self._stop = file, stop

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self._stop.look()
        return self._file.read(size)


def _member(name: str, size: int, when: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, FILE_MODE, when
    return info


def verify(path: str, entries: list[dict[str, Any]], stop: Stop) -> None:
    """Decompress an archive to its end and compare each member with its entry.

    Raises:
        ArchiveError: it holds anything else, or can't be read.
    """
    wrong = msg("{path} does not hold what was put into it: look at the disk", path=path)
    try:
        with gzip.open(path) as packed:
            with tarfile.open(fileobj=packed, mode="r|", bufsize=CHUNK) as tar:
                names = iter(entries)
                for number, member in enumerate(tar):
                    file = tar.extractfile(member)
                    if file is None or (number == 0) != (member.name == MANIFEST):
                        raise ArchiveError(wrong)
                    if number == 0:
                        continue
                    entry = next(names, None)
                    meter = _Meter()
                    for data in _blocks(file, None, stop):
                        meter.feed(data)
                    if entry is None or member.name != entry["name"] or meter.result() != of_entry(entry):
                        raise ArchiveError(wrong)
                if next(names, None) is not None:
                    raise ArchiveError(wrong)
            while packed.read(CHUNK):  # to the end, where gzip's own checksum stands
                stop.look()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ArchiveError(wrong) from error


def of_entry(entry: dict[str, Any]) -> Measure:
    """What an entry of a manifest says of its log."""
    return Measure(entry["bytes"], entry["lines"], entry["sha256"])


def publish(partial: str, folder: str, day: str) -> str:
    """Give a verified archive the first free name of ``day`` (``YYYYMMDD``); its path."""
    number = 1
    while True:
        path = os.path.join(folder, f"logs-{day}{'' if number == 1 else f'-{number}'}{SUFFIX}")
        try:
            os.link(partial, path)
        except FileExistsError:
            number += 1
            continue
        sync_directory(folder)
        os.unlink(partial)
        return path


def sweep(folder: str) -> None:
    """Under the lock: remove what killed runs left half-written."""
    for name in os.listdir(folder):
        if name.startswith(PARTIAL) and name.endswith(SUFFIX):
            os.unlink(os.path.join(folder, name))


def read_manifest(path: str) -> Optional[dict[str, Any]]:
    """The manifest that an archive of ours begins with, ``None`` for anything else."""
    try:
        with gzip.open(path) as packed, tarfile.open(fileobj=packed, mode="r|", bufsize=65536) as tar:
            member = tar.next()
            file = tar.extractfile(member) if member is not None and member.name == MANIFEST else None
            manifest = json.loads(file.read(MAX_MANIFEST)) if file is not None else None
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or manifest.get("kind") != KIND:
        return None
    entries = manifest.get("files")
    if not isinstance(manifest.get("created"), (int, float)) or not isinstance(entries, list):
        return None
    kinds = {"path": str, "name": str, "spool": str, "bytes": int, "lines": int, "sha256": str}
    for entry in entries:
        if not isinstance(entry, dict) or any(not isinstance(entry.get(key), kind) for key, kind in kinds.items()):
            return None
    return manifest


def archives(folder: str) -> list[str]:
    """Paths named as archives of ours are, the newest first."""
    found: list[tuple[str, int, str]] = []
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            match = _NAME.fullmatch(name)
            path = os.path.join(folder, name)
            if match is not None and os.path.isfile(path) and not os.path.islink(path):
                found.append((match[1], int(match[2] or 1), path))
    return [path for _, _, path in sorted(found, reverse=True)]


def expired(folder: str, *, now: float, days: float, minimum: int) -> list[tuple[str, int]]:
    """Archives of ours, by name and manifest, older than ``days``, with their sizes; never the ``minimum`` newest."""
    ours = 0
    over: list[tuple[str, int]] = []
    for path in archives(folder):
        manifest = read_manifest(path)
        if manifest is None:
            continue
        ours += 1
        if ours > minimum and manifest["created"] < now - days * 86400:
            with contextlib.suppress(OSError):
                over.append((path, os.stat(path).st_size))
    return over
