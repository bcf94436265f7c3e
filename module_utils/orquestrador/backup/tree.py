"""A directory tree as a stream of tar and back: listed and hashed on both ways, so that the two can be compared.

A *listing* is ``{path: [type, mode, size, digest]}`` with paths relative to the tree's top and every name in it, bytes
that are no UTF-8 as lone surrogates; type ``f`` (digest: SHA-256 of the content), ``d`` (empty) or ``l`` (where the
link points to, never followed). Owners and times travel in the tar but are not compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import tarfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import IO, Any, Callable, NamedTuple

from ..core.errors import OperatorError, os_reason
from ..core.messages import msg
from ..system.pipeline import write_all
from .store import RefutedError

Listing = dict[str, list[Any]]

CHUNK = 1 << 20
SMALL = 8 * CHUNK  # read whole, so that what the tar says of it is true even when it changes meanwhile
TRIES = 3
PAUSE_S = 0.05
RACY_NS = 50_000_000  # a file written this short ago may be written again without its time of change telling
MAX_ENTRIES = 200_000  # the manifest lists them
SHOWN = 5
# What a restore works in, below the tree itself: never a part of it.
STAGE = ".restore-"
_STAGE = re.compile(re.escape(STAGE) + r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_BLOCK = 512
_END = b"\0" * 1024


class Found(NamedTuple):
    """One name of a tree as it was seen."""

    path: str
    info: os.stat_result


class Walked(NamedTuple):
    """What a tree consists of; ``special`` are sockets, FIFOs and devices, which no backup can hold."""

    found: list[Found]
    special: list[str]
    excluded: list[str]  # top-level names that were there and left out

    @property
    def bytes(self) -> int:
        """Of the contents of regular files."""
        return sum(item.info.st_size for item in self.found if stat.S_ISREG(item.info.st_mode))


def shown(path: str) -> str:
    """A name as it can be printed and stored anywhere: one line, no lone surrogates."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def some(paths: Iterable[str]) -> str:
    """The first few names, for a message."""
    names = sorted(paths)
    return ", ".join(shown(name) for name in names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def top(path: str) -> str:
    """The first component."""
    return path.split("/", 1)[0]


def left_out(name: str, exclude: Collection[str]) -> bool:
    """Whether this top-level name is no part of the tree."""
    return name in exclude or is_stage(name)


def is_stage(name: str) -> bool:
    """Whether this top-level name is a restore's working directory."""
    return _STAGE.fullmatch(name) is not None


def walk(root: str, exclude: Collection[str]) -> Walked:
    """Every name below ``root``, directories before what is in them, in one order.

    :raises OperatorError: naming what can't be read, or when there are too many names.
    """
    walked = Walked([], [], [])
    unreadable: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as items:
                names = sorted(item.name for item in items)
        except FileNotFoundError:
            if not folder:
                raise OperatorError(msg("{path} does not exist: correct its path", path=root)) from None
            continue  # gone since its parent was read: the comparison afterwards tells
        except OSError:
            unreadable.append(folder or root)
            continue
        folders: list[str] = []
        for name in names:
            if not folder and left_out(name, exclude):
                walked.excluded.append(name)
                continue
            path = f"{folder}/{name}" if folder else name
            try:
                info = os.lstat(os.path.join(root, path))
            except FileNotFoundError:
                continue
            kind = stat.S_IFMT(info.st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                walked.special.append(path)
                continue
            if kind == stat.S_IFREG and not os.access(os.path.join(root, path), os.R_OK):
                unreadable.append(path)
                continue
            walked.found.append(Found(path, info))
            if kind == stat.S_IFDIR:
                folders.append(path)
        pending.extend(reversed(folders))
        if len(walked.found) > MAX_ENTRIES:
            raise OperatorError(
                msg(
                    "{path} has more than {limit} files: leave some out with backup_code_exclude",
                    path=root,
                    limit=MAX_ENTRIES,
                )
            )
    if unreadable:
        said: dict[str, Any] = {"count": len(unreadable), "path": root, "files": some(unreadable)}
        raise OperatorError(
            msg(
                "{count} files in {path} can't be read by this user: {files}: give them to the application's user",
                **said,
            )
        )
    return walked


def signatures(walked: Walked) -> dict[str, tuple[int, ...]]:
    """What changes when a file does; of a directory and a link only what it is."""
    return {
        item.path: (item.info.st_mode, item.info.st_ino, item.info.st_size, item.info.st_mtime_ns)
        if stat.S_ISREG(item.info.st_mode)
        else (item.info.st_mode, item.info.st_ino)
        for item in walked.found
    }


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names that are on one side only, or differ."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def listing_sha256(listing: Listing) -> str:
    """One digest of a whole listing."""
    digest = hashlib.sha256()
    for path in sorted(listing):
        digest.update(json.dumps([path, *listing[path]]).encode() + b"\n")
    return digest.hexdigest()


def _entry(kind: str, mode: int, size: int = 0, digest: str = "") -> list[Any]:
    return [kind, f"{stat.S_IMODE(mode):04o}", size, digest]


class Packer:
    """Writes a tree as tar and knows afterwards what it wrote."""

    def __init__(self, root: str, write: Callable[[bytes], None]) -> None:
        self.listing: Listing = {}
        self.unstable: set[str] = set()  # vanished, or changed while they were read
        self.bytes = 0
        self._root = root
        self._put = write

    def pack(self, walked: Walked) -> None:
        """Write everything and tar's end."""
        for item in walked.found:
            place = os.path.join(self._root, item.path)
            try:
                if stat.S_ISDIR(item.info.st_mode):
                    self._header(item.path, item.info, tarfile.DIRTYPE)
                    self.listing[item.path] = _entry("d", item.info.st_mode)
                elif stat.S_ISLNK(item.info.st_mode):
                    target = os.readlink(place)
                    self._header(item.path, item.info, tarfile.SYMTYPE, target=target)
                    self.listing[item.path] = _entry("l", 0o777, 0, target)
                else:
                    self._file(item.path, place)
            except FileNotFoundError:
                self.unstable.add(item.path)
            except BrokenPipeError:
                raise  # of whom we write to
            except OSError as error:
                text = msg("{path} can't be read: {reason}", path=shown(place), reason=os_reason(error))
                raise OperatorError(text) from error
        self._write(_END)

    def _write(self, data: bytes) -> None:
        self._put(data)
        self.bytes += len(data)

    def _header(self, path: str, info: os.stat_result, kind: bytes, size: int = 0, target: str = "") -> None:
        header = tarfile.TarInfo(path)
        header.type, header.size, header.linkname = kind, size, target
        header.mode, header.mtime = stat.S_IMODE(info.st_mode), int(info.st_mtime)
        header.uid, header.gid = info.st_uid, info.st_gid
        self._write(header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _file(self, path: str, place: str) -> None:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                self.unstable.add(path)
                return
            if info.st_size <= SMALL:
                self._small(path, descriptor)
            else:
                self._large(path, descriptor, info)
        finally:
            os.close(descriptor)

    def _small(self, path: str, descriptor: int) -> None:
        data, info, still = b"", os.fstat(descriptor), False
        for _ in range(TRIES):
            before = os.fstat(descriptor)
            data, info = _content(descriptor, SMALL + CHUNK), os.fstat(descriptor)
            still = _same(before, info) and len(data) == info.st_size
            if still and abs(time.time_ns() - info.st_mtime_ns) > RACY_NS:
                break
            time.sleep(PAUSE_S)
        if not still:
            self.unstable.add(path)
        self._header(path, info, tarfile.REGTYPE, len(data))
        self._write(data + b"\0" * (-len(data) % _BLOCK))
        self.listing[path] = _entry("f", info.st_mode, len(data), hashlib.sha256(data).hexdigest())

    def _large(self, path: str, descriptor: int, info: os.stat_result) -> None:
        self._header(path, info, tarfile.REGTYPE, info.st_size)
        digest, left = hashlib.sha256(), info.st_size
        while left:
            data = os.read(descriptor, min(CHUNK, left))
            if not data:  # it was cut off meanwhile; tar wants what was promised
                self.unstable.add(path)
                data = b"\0" * min(CHUNK, left)
            digest.update(data)
            self._write(data)
            left -= len(data)
        self._write(b"\0" * (-info.st_size % _BLOCK))
        if not _same(info, os.fstat(descriptor)):
            self.unstable.add(path)
        self.listing[path] = _entry("f", info.st_mode, info.st_size, digest.hexdigest())


def _content(descriptor: int, limit: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    parts, total = [], 0
    while total < limit:
        data = os.read(descriptor, CHUNK)
        if not data:
            break
        parts.append(data)
        total += len(data)
    return b"".join(parts)


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def look(root: str, exclude: Collection[str]) -> Listing:
    """The listing of a tree on the disk."""
    packer = Packer(root, lambda data: None)
    packer.pack(walk(root, exclude))
    return packer.listing


# The way back.


class Unpacker:
    """Reads a tar and lists what is in it; with a directory, writes it there."""

    def __init__(self, target: str | None = None) -> None:
        self.listing: Listing = {}
        self._target = target

    def unpack(self, stream: IO[bytes], moved: Callable[[str], None]) -> None:
        """Read to the end.

        :param moved: told of every name, and again and again during a large file.
        :raises RefutedError: a member that must not be in a backup, or no tar at all.
        """
        try:
            with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
                for member in archive:
                    archive.members = []  # type: ignore[attr-defined]  # it would remember every one
                    self._member(archive, member, moved)
        except (tarfile.TarError, UnicodeError, ValueError) as error:
            raise RefutedError(msg("the archive can't be read: {reason}", reason=shown(str(error))[:200])) from error
        while stream.read(CHUNK):
            pass
        if self._target is not None:
            # Last, and the deepest first: one that can't be written to could not be filled.
            for path in sorted((path for path, entry in self.listing.items() if entry[0] == "d"), reverse=True):
                os.chmod(os.path.join(self._target, path), int(self.listing[path][1], 8))

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo, moved: Callable[[str], None]) -> None:
        path = member.name
        self._check(path)
        place = None if self._target is None else os.path.join(self._target, path)
        if member.isdir():
            if place is not None:
                os.mkdir(place, 0o700)
            self.listing[path] = _entry("d", member.mode)
        elif member.issym():
            if place is not None:
                os.symlink(member.linkname, place)
            self.listing[path] = _entry("l", 0o777, 0, member.linkname)
        elif member.isreg():
            content = archive.extractfile(member)
            if content is None:
                raise ValueError("a file without content")
            digest = hashlib.sha256()
            with contextlib.ExitStack() as stack:
                descriptor = -1
                if place is not None:
                    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                    stack.callback(os.close, descriptor)
                for data in _blocks(content):
                    digest.update(data)
                    if place is not None:
                        write_all(descriptor, data)
                    moved(path)
                if place is not None:
                    os.fchmod(descriptor, stat.S_IMODE(member.mode))
                    os.utime(descriptor, (member.mtime, member.mtime))
            self.listing[path] = _entry("f", member.mode, member.size, digest.hexdigest())
        else:
            name = shown(path)
            raise RefutedError(
                msg("the archive holds {path}, which is neither file, directory nor link: it is not used", path=name)
            )
        moved(path)

    def _check(self, path: str) -> None:
        """Nothing may be written anywhere but below the directory, and nothing through a link."""
        parts = path.split("/")
        parent = "/".join(parts[:-1])
        unsafe = path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts)
        if unsafe or path in self.listing or (parent and self.listing.get(parent, [""])[0] != "d"):
            raise RefutedError(
                msg("the archive holds the name {path}, which would leave its place: it is not used", path=shown(path))
            )


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while True:
        data = stream.read(CHUNK)
        if not data:
            return
        yield data


def leading_out(listing: Listing, root: str) -> list[str]:
    """Links that point out of the tree, which stood or is to stand at ``root``."""
    found = []
    for path, entry in listing.items():
        if entry[0] != "l":
            continue
        target, folder = str(entry[3]), os.path.dirname(path)
        if target.startswith("/"):
            inside = os.path.normpath(target).startswith(root.rstrip("/") + "/")
        else:
            inside = not os.path.normpath(os.path.join(folder, target)).startswith("..")
        if not inside:
            found.append(path)
    return sorted(found)
