"""Pack a directory tree as a tar stream and unpack it; both list and hash every file, for comparison.

A *listing* is ``{path: [type, mode, size, digest]}`` with paths relative to the root of the tree; bytes of names that
are not UTF-8 are lone surrogates. The type is ``f`` (digest: SHA-256 of the content), ``d`` (empty) or ``l`` (target
of the link, never followed). Owners and times are in the tar but are not compared.
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
SMALL = 8 * CHUNK  # read as a whole, so that the tar header fits even when the file changes meanwhile
TRIES = 3
PAUSE_S = 0.05
RACY_NS = 50_000_000  # a file modified this recently may change again with the same mtime
MAX_ENTRIES = 200_000  # the manifest lists them
SHOWN = 5
# Prefix of a restore's working directory, which lies in the tree and is never a part of it.
STAGE = ".restore-"
_STAGE = re.compile(re.escape(STAGE) + r"\d{8}T\d{6}Z-[0-9a-f]{6}")
_BLOCK = 512
_END = b"\0" * 1024


class Entry(NamedTuple):
    """One file, directory or link of a tree, with its status."""

    path: str
    info: os.stat_result


class TreeScan(NamedTuple):
    """Entries of a tree; ``special`` are sockets, FIFOs and devices, which are not backed up."""

    entries: list[Entry]
    special: list[str]
    excluded: list[str]  # existing top-level names that were excluded

    @property
    def bytes(self) -> int:
        """Total size of the regular files."""
        return sum(item.info.st_size for item in self.entries if stat.S_ISREG(item.info.st_mode))


def printable(path: str) -> str:
    """Return a name as one line of valid UTF-8, with other bytes escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def sample(paths: Iterable[str]) -> str:
    """Return the first few names, for a message."""
    names = sorted(paths)
    return ", ".join(printable(name) for name in names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def top_level(path: str) -> str:
    """Return the first component of a path."""
    return path.split("/", 1)[0]


def is_excluded(name: str, exclude: Collection[str]) -> bool:
    """Whether this top-level name is excluded from the tree."""
    return name in exclude or is_stage(name)


def is_stage(name: str) -> bool:
    """Whether this top-level name is a restore's working directory."""
    return _STAGE.fullmatch(name) is not None


def scan_tree(root: str, exclude: Collection[str]) -> TreeScan:
    """Return all entries below ``root`` in a fixed order, directories before their contents.

    :raises OperatorError: naming what can't be read, or when there are too many names.
    """
    scan = TreeScan([], [], [])
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
            continue  # removed since its parent was read: the comparison afterwards reports it
        except OSError:
            unreadable.append(folder or root)
            continue
        folders: list[str] = []
        for name in names:
            if not folder and is_excluded(name, exclude):
                scan.excluded.append(name)
                continue
            path = f"{folder}/{name}" if folder else name
            try:
                info = os.lstat(os.path.join(root, path))
            except FileNotFoundError:
                continue
            kind = stat.S_IFMT(info.st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                scan.special.append(path)
                continue
            if kind == stat.S_IFREG and not os.access(os.path.join(root, path), os.R_OK):
                unreadable.append(path)
                continue
            scan.entries.append(Entry(path, info))
            if kind == stat.S_IFDIR:
                folders.append(path)
        pending.extend(reversed(folders))
        if len(scan.entries) > MAX_ENTRIES:
            raise OperatorError(
                msg(
                    "{path} has more than {limit} files: exclude some with backup_code_exclude",
                    path=root,
                    limit=MAX_ENTRIES,
                )
            )
    if unreadable:
        unreadable_facts: dict[str, Any] = {"count": len(unreadable), "path": root, "files": sample(unreadable)}
        raise OperatorError(
            msg(
                "{count} files in {path} can't be read by this user: {files}: give them to the application's user",
                **unreadable_facts,
            )
        )
    return scan


def signatures(scan: TreeScan) -> dict[str, tuple[int, ...]]:
    """Return the values that change when a file does; mode and inode only for directories and links."""
    return {
        item.path: (item.info.st_mode, item.info.st_ino, item.info.st_size, item.info.st_mtime_ns)
        if stat.S_ISREG(item.info.st_mode)
        else (item.info.st_mode, item.info.st_ino)
        for item in scan.entries
    }


def differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the paths that are on one side only, or differ."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def listing_sha256(listing: Listing) -> str:
    """Return one digest of a whole listing."""
    digest = hashlib.sha256()
    for path in sorted(listing):
        digest.update(json.dumps([path, *listing[path]]).encode() + b"\n")
    return digest.hexdigest()


def _listing_entry(kind: str, mode: int, size: int = 0, digest: str = "") -> list[Any]:
    return [kind, f"{stat.S_IMODE(mode):04o}", size, digest]


class Packer:
    """Writer of a tree as tar, with the listing of what it wrote."""

    def __init__(self, root: str, write: Callable[[bytes], None]) -> None:
        self.listing: Listing = {}
        self.unstable: set[str] = set()  # vanished, or changed while they were read
        self.bytes = 0
        self._root = root
        self._output = write

    def pack(self, scan: TreeScan) -> None:
        """Write all entries and the end of the tar."""
        for item in scan.entries:
            full_path = os.path.join(self._root, item.path)
            try:
                if stat.S_ISDIR(item.info.st_mode):
                    self._header(item.path, item.info, tarfile.DIRTYPE)
                    self.listing[item.path] = _listing_entry("d", item.info.st_mode)
                elif stat.S_ISLNK(item.info.st_mode):
                    target = os.readlink(full_path)
                    self._header(item.path, item.info, tarfile.SYMTYPE, target=target)
                    self.listing[item.path] = _listing_entry("l", 0o777, 0, target)
                else:
                    self._file(item.path, full_path)
            except FileNotFoundError:
                self.unstable.add(item.path)
            except BrokenPipeError:
                raise  # from the pipe, not from the file
            except OSError as error:
                text = msg("{path} can't be read: {reason}", path=printable(full_path), reason=os_reason(error))
                raise OperatorError(text) from error
        self._write(_END)

    def _write(self, data: bytes) -> None:
        self._output(data)
        self.bytes += len(data)

    def _header(self, path: str, info: os.stat_result, kind: bytes, size: int = 0, target: str = "") -> None:
        header = tarfile.TarInfo(path)
        header.type, header.size, header.linkname = kind, size, target
        header.mode, header.mtime = stat.S_IMODE(info.st_mode), int(info.st_mtime)
        header.uid, header.gid = info.st_uid, info.st_gid
        self._write(header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _file(self, path: str, full_path: str) -> None:
        descriptor = os.open(full_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
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
        data, info, stable = b"", os.fstat(descriptor), False
        for _ in range(TRIES):
            before = os.fstat(descriptor)
            data, info = _content(descriptor, SMALL + CHUNK), os.fstat(descriptor)
            stable = _unchanged(before, info) and len(data) == info.st_size
            if stable and abs(time.time_ns() - info.st_mtime_ns) > RACY_NS:
                break
            time.sleep(PAUSE_S)
        if not stable:
            self.unstable.add(path)
        self._header(path, info, tarfile.REGTYPE, len(data))
        self._write(data + b"\0" * (-len(data) % _BLOCK))
        self.listing[path] = _listing_entry("f", info.st_mode, len(data), hashlib.sha256(data).hexdigest())

    def _large(self, path: str, descriptor: int, info: os.stat_result) -> None:
        self._header(path, info, tarfile.REGTYPE, info.st_size)
        digest, left = hashlib.sha256(), info.st_size
        while left:
            data = os.read(descriptor, min(CHUNK, left))
            if not data:  # truncated meanwhile: pad to the size in the header
                self.unstable.add(path)
                data = b"\0" * min(CHUNK, left)
            digest.update(data)
            self._write(data)
            left -= len(data)
        self._write(b"\0" * (-info.st_size % _BLOCK))
        if not _unchanged(info, os.fstat(descriptor)):
            self.unstable.add(path)
        self.listing[path] = _listing_entry("f", info.st_mode, info.st_size, digest.hexdigest())


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


def _unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


def list_tree(root: str, exclude: Collection[str]) -> Listing:
    """Return the listing of a tree on disk."""
    packer = Packer(root, lambda data: None)
    packer.pack(scan_tree(root, exclude))
    return packer.listing


# --- unpacking ---


class Unpacker:
    """Reader of a tar that lists its members; with a target directory, unpacks them there."""

    def __init__(self, target: str | None = None) -> None:
        self.listing: Listing = {}
        self._target = target

    def unpack(self, stream: IO[bytes], progress: Callable[[str], None]) -> None:
        """Read to the end.

        :param progress: called with the path of every member, repeatedly during a large file.
        :raises RefutedError: a member that must not be in a backup, or an invalid tar.
        """
        try:
            with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
                for member in archive:
                    archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every member in memory
                    self._member(archive, member, progress)
        except (tarfile.TarError, UnicodeError, ValueError) as error:
            reason = printable(str(error))[:200]
            raise RefutedError(msg("the archive can't be read: {reason}", reason=reason)) from error
        while stream.read(CHUNK):
            pass
        if self._target is not None:
            # Modes come last, deepest directory first: a read-only directory could not be filled.
            for path in sorted((path for path, entry in self.listing.items() if entry[0] == "d"), reverse=True):
                os.chmod(os.path.join(self._target, path), int(self.listing[path][1], 8))

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo, progress: Callable[[str], None]) -> None:
        path = member.name
        self._check(path)
        full_path = None if self._target is None else os.path.join(self._target, path)
        if member.isdir():
            if full_path is not None:
                os.mkdir(full_path, 0o700)
            self.listing[path] = _listing_entry("d", member.mode)
        elif member.issym():
            if full_path is not None:
                os.symlink(member.linkname, full_path)
            self.listing[path] = _listing_entry("l", 0o777, 0, member.linkname)
        elif member.isreg():
            content = archive.extractfile(member)
            if content is None:
                raise ValueError("a file without content")
            digest = hashlib.sha256()
            with contextlib.ExitStack() as stack:
                descriptor = -1
                if full_path is not None:
                    descriptor = os.open(full_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                    stack.callback(os.close, descriptor)
                for data in _blocks(content):
                    digest.update(data)
                    if full_path is not None:
                        write_all(descriptor, data)
                    progress(path)
                if full_path is not None:
                    os.fchmod(descriptor, stat.S_IMODE(member.mode))
                    os.utime(descriptor, (member.mtime, member.mtime))
            self.listing[path] = _listing_entry("f", member.mode, member.size, digest.hexdigest())
        else:
            name = printable(path)
            raise RefutedError(
                msg(
                    "the archive contains {path}, which is neither file, directory nor link: it is not unpacked",
                    path=name,
                )
            )
        progress(path)

    def _check(self, path: str) -> None:
        """Raise :class:`RefutedError` for a path outside the target directory or through a link."""
        parts = path.split("/")
        parent = "/".join(parts[:-1])
        unsafe = path.startswith("/") or "\0" in path or any(part in ("", ".", "..") for part in parts)
        if unsafe or path in self.listing or (parent and self.listing.get(parent, [""])[0] != "d"):
            name = printable(path)
            text = msg(
                "the archive contains {path}, which lies outside of the target directory: it is not unpacked", path=name
            )
            raise RefutedError(text)


def _blocks(stream: IO[bytes]) -> Iterator[bytes]:
    while True:
        data = stream.read(CHUNK)
        if not data:
            return
        yield data


def links_outside(listing: Listing, root: str) -> list[str]:
    """Return the links with a target outside the tree at ``root``."""
    links = []
    for path, entry in listing.items():
        if entry[0] != "l":
            continue
        target, folder = str(entry[3]), os.path.dirname(path)
        if target.startswith("/"):
            inside = os.path.normpath(target).startswith(root.rstrip("/") + "/")
        else:
            inside = not os.path.normpath(os.path.join(folder, target)).startswith("..")
        if not inside:
            links.append(path)
    return sorted(links)
