"""Copies with history of the files without which the application cannot be rebuilt.

Layout: ``<dest>/<name>/<YYYYmmddTHHMMSSZ>-<sha256[:12]>``, files 0600, directories 0700, because ``.env`` is among
them. A copy is made only when the newest one differs from the file, is damaged, or can be read by others. It is
written to a temporary file beside its place, synced, renamed, and then read back and hashed: only that proves it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import stat
import time
from calendar import timegm
from collections.abc import Iterator
from typing import Any, Optional

from ..core.errors import OperatorError
from ..core.messages import msg
from ..core.types import FileState, Finding, Message
from .whole_file import sync_directory

CHUNK = 1 << 20
MAX_BYTES = 64 * CHUNK  # a file this large is no configuration: more likely the path is wrong
FILE_MODE, DIR_MODE = 0o600, 0o700
STALE_S = 3600.0
_COPY = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-f]{12})")
_STAMP = "%Y%m%dT%H%M%SZ"
_TEMPORARY = ".tmp-"


class CopyError(OperatorError):
    """One file could not be copied, or proven to be copied; carries the message for the operator."""


def inspect(files: list[dict[str, Any]], dest_dir: str) -> tuple[FileState, list[Finding]]:
    """Whether each file's newest copy below ``dest_dir`` is identical and 0600; changes nothing.

    :param files: ``{name, path, required}`` each; ``required`` is true unless said otherwise.
    """
    findings: list[Finding] = []
    reports: list[dict[str, Any]] = []
    missing: list[str] = []
    for item in files:
        name, path, required = _fields(item)
        report: dict[str, Any] = {
            "name": name, "path": path, "exists": False, "required": required,
            "sha256": None, "mode": None, "copy": None, "current": False,
        }  # fmt: skip
        reports.append(report)
        try:
            _check_name(name)
            report["exists"] = os.path.lexists(path)
            if not report["exists"]:
                report["current"] = not required
                if required:
                    missing.append(name)
                continue
            report["sha256"], report["mode"] = hash_file(path)
            newest = newest_copy(os.path.join(dest_dir, name))
            if newest is not None:
                copy = os.path.join(dest_dir, name, newest)
                digest, mode = hash_file(copy)
                report["copy"] = {"path": copy, "sha256": digest, "mode": mode, "taken_at": _taken_at(newest)}
                report["current"] = _is_good(report["copy"], str(report["sha256"]))
        except CopyError as error:
            findings.append(
                {
                    "collector": "files",
                    "code": "unreadable",
                    "message": error.message,
                    "hint": msg("See who owns the file and what it is; the application's user must be able to read it"),
                }
            )
    current = all(report["current"] for report in reports if report["exists"])
    return {"current": current, "missing": missing, "files": reports}, findings


def copy_all(
    files: list[dict[str, Any]], dest_dir: str, *, now: Optional[float] = None, check_mode: bool = False
) -> dict[str, Any]:
    """Copy what needs a copy. One file's failure does not stop the others.

    :returns: ``{changed, files: [{name, path, sha256, copy, changed}], failures: [message], diff: {before, after}}``;
        ``copy`` is the newest good copy, ``None`` when there is none or it would only be made outside check mode.
    """
    when = time.time() if now is None else now
    result: dict[str, Any] = {"changed": False, "files": [], "failures": []}
    before: list[str] = []
    after: list[str] = []
    seen: set[str] = set()
    usable = True
    try:
        result["changed"] = _directory(dest_dir, check_mode)
    except CopyError as error:
        usable = False
        result["failures"].append(error.message)
    for item in files:
        name, path, required = _fields(item)
        report: dict[str, Any] = {"name": name, "path": path, "sha256": None, "copy": None, "changed": False}
        result["files"].append(report)
        if not usable:
            continue
        try:
            _check_item(name, path, required, seen)
            seen.add(name)
            old = _one(report, dest_dir, when, check_mode) if os.path.lexists(path) else None
        except CopyError as error:
            result["failures"].append(error.message)
            continue
        if report["changed"]:
            result["changed"] = True
            before.append(f"{name} {old or 'no copy'}")
            after.append(f"{name} {report['sha256']}")
    result["diff"] = {"before": _lines(before), "after": _lines(after)}
    return result


def _one(report: dict[str, Any], dest_dir: str, when: float, check_mode: bool) -> Optional[str]:
    """Bring one file's copies up to date and complete its report; the digest of its newest copy before."""
    name, path = report["name"], report["path"]
    digest, _ = hash_file(path)
    report["sha256"] = digest
    folder = os.path.join(dest_dir, name)
    newest = newest_copy(folder)
    old: Optional[str] = None
    if newest is not None:
        place = os.path.join(folder, newest)
        with contextlib.suppress(CopyError):  # an unreadable newest copy is one that needs to be made anew
            old, mode = hash_file(place)
            if _is_good({"path": place, "sha256": old, "mode": mode}, digest):
                report["copy"] = place
                report["changed"] = _directory(folder, check_mode)
                return old
    if check_mode:
        report["changed"] = True
        return old
    _directory(folder, check_mode=False)
    if newest is not None:
        # It stays as history, but must not stay readable by others.
        with contextlib.suppress(OSError):
            os.chmod(os.path.join(folder, newest), FILE_MODE)
    _sweep(folder, when)
    report["sha256"], report["copy"] = _copy(path, folder, _stamp(newest, when))
    report["changed"] = True
    return old


def _copy(path: str, folder: str, stamp: str) -> tuple[str, str]:
    """Copy, prove, and return the digest and the place; a file that changes meanwhile is tried twice."""
    temporary = os.path.join(folder, f"{_TEMPORARY}{os.getpid()}-{time.monotonic_ns()}")
    for _ in range(2):
        try:
            digest = _write(path, temporary)
            if hash_file(path)[0] != digest:
                continue
            place = os.path.join(folder, f"{stamp}-{digest[:12]}")
            os.rename(temporary, place)
            sync_directory(folder)
        except OSError as error:
            raise CopyError(_why(path, folder, error)) from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if hash_file(place) != (digest, _octal(FILE_MODE)):
            raise CopyError(msg("{place} is not what was written to it: look at the disk", place=place))
        return digest, place
    raise CopyError(msg("{path} keeps changing while it is copied: try again when nobody writes it", path=path))


def _write(path: str, temporary: str) -> str:
    digest = hashlib.sha256()
    target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        os.fchmod(target, FILE_MODE)
        for block in blocks(path):
            digest.update(block)
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(target, rest) :]
        os.fsync(target)
    finally:
        os.close(target)
    return digest.hexdigest()


def hash_file(path: str) -> tuple[str, str]:
    """SHA-256 and mode (``0600``) of a file, links followed."""
    digest = hashlib.sha256()
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        for block in blocks(path):
            digest.update(block)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CopyError(msg("{path} cannot be read: {reason}", path=path, reason=reason)) from error
    except ValueError as error:
        raise CopyError(msg("{path} is no path: correct it", path=repr(path)[:100])) from error
    return digest.hexdigest(), _octal(mode)


def blocks(path: str) -> Iterator[bytes]:
    """The content of a regular file; never waits for a FIFO, and gives up on what is no configuration."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise CopyError(msg("{path} is no regular file: correct its path", path=path))
        total = 0
        while True:
            block = os.read(fd, CHUNK)
            if not block:
                return
            total += len(block)
            if total > MAX_BYTES:
                raise CopyError(
                    msg("{path} is larger than {limit_bytes}: correct its path", path=path, limit_bytes=MAX_BYTES)
                )
            yield block
    finally:
        os.close(fd)


def _directory(path: str, check_mode: bool) -> bool:
    """Have a directory of ours, 0700; whether that changed, or would change, anything."""
    try:
        try:
            info = os.stat(path)
        except FileNotFoundError:
            if not check_mode:
                os.makedirs(path, DIR_MODE)
                os.chmod(path, DIR_MODE)
            return True
        if not stat.S_ISDIR(info.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if stat.S_IMODE(info.st_mode) == DIR_MODE:
            return False
        if not check_mode:
            os.chmod(path, DIR_MODE)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise CopyError(
            msg("{path} cannot be used for copies: {reason}: make room for a directory there", path=path, reason=reason)
        ) from error
    return True


def _sweep(folder: str, when: float) -> None:
    """Remove what a run that was killed left behind."""
    with contextlib.suppress(OSError), os.scandir(folder) as items:
        for item in items:
            if item.name.startswith(_TEMPORARY) and when - item.stat(follow_symlinks=False).st_mtime > STALE_S:
                os.unlink(item.path)


def newest_copy(folder: str) -> Optional[str]:
    """The name of the newest copy in a folder; ``None`` when there is none."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        raise CopyError(msg("{path} cannot be read: {reason}", path=folder, reason=reason)) from error
    return max((name for name in names if _COPY.fullmatch(name)), default=None)


def digits(name: str) -> Optional[str]:
    """The digits of the SHA-256 in a copy's name; ``None`` for another name."""
    found = _COPY.fullmatch(name)
    return found.group(2) if found else None


def _stamp(newest: Optional[str], when: float) -> str:
    """The name's time; after the newest copy's even when the clock went back, or that one would stay the newest."""
    moment = int(when)
    if newest is not None:
        with contextlib.suppress(ValueError, OverflowError):
            moment = max(moment, timegm(time.strptime(newest[:16], _STAMP)) + 1)
    return time.strftime(_STAMP, time.gmtime(moment))


def _taken_at(name: str) -> Optional[str]:
    """ISO 8601 of a copy's name."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.strptime(name[:16], _STAMP))
    except ValueError:
        return None


def _is_good(copy: dict[str, Any], digest: str) -> bool:
    named = _COPY.fullmatch(os.path.basename(str(copy["path"])))
    return (
        copy["sha256"] == digest
        and copy["mode"] == _octal(FILE_MODE)
        and named is not None
        and named.group(2) == digest[:12]
        and not os.path.islink(copy["path"])
    )


def _fields(item: Any) -> tuple[str, str, bool]:
    known = item if isinstance(item, dict) else {}
    return str(known.get("name") or ""), str(known.get("path") or ""), known.get("required") is not False


def _check_name(name: str) -> None:
    if not name or len(name) > 200 or "/" in name or "\0" in name or name in (".", ".."):
        raise CopyError(msg("{name} is no name for a critical file: use a plain file name", name=repr(name)[:100]))


def _check_item(name: str, path: str, required: bool, seen: set[str]) -> None:
    _check_name(name)
    if name in seen:
        raise CopyError(msg("two critical files are named {name}: give each its own name", name=name))
    if required and not os.path.lexists(path):
        raise CopyError(msg("{path} does not exist: restore it or correct its path", path=path))


def _why(path: str, folder: str, error: OSError) -> Message:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return msg("{path} was not copied, no space left in {folder}: free some there", path=path, folder=folder)
    reason = error.strerror or type(error).__name__
    return msg("{path} was not copied to {folder}: {reason}", path=path, folder=folder, reason=reason)


def _octal(mode: int) -> str:
    return f"{mode:04o}"


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
