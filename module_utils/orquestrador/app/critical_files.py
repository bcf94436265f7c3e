"""Copy, with their history, the files without which the application cannot be rebuilt.

A copy is made only when the newest one differs from the file, is damaged, or can be read by others. It is written to a
temporary file beside its place, synced, renamed, and then read back and hashed: only that proves it. Where copies lie
and what they are called: :mod:`..system.dated_copies`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from calendar import timegm
from typing import Any, Optional

from ..core.errors import is_full, os_reason
from ..core.messages import msg
from ..core.types import Message
from ..system import dated_copies
from ..system.dated_copies import CopyError
from ..system.files import DIR_MODE, FILE_MODE
from ..system.whole_file import sync_directory

STALE_S = 3600.0
_TEMPORARY = ".tmp-"


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
        name, path, required = dated_copies.fields(item)
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
    digest, _ = dated_copies.hash_file(path)
    report["sha256"] = digest
    folder = os.path.join(dest_dir, name)
    newest = dated_copies.newest_copy(folder)
    old: Optional[str] = None
    if newest is not None:
        place = os.path.join(folder, newest)
        with contextlib.suppress(CopyError):  # an unreadable newest copy is one that needs to be made anew
            old, mode = dated_copies.hash_file(place)
            if dated_copies.is_good({"path": place, "sha256": old, "mode": mode}, digest):
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
            if dated_copies.hash_file(path)[0] != digest:
                continue
            place = os.path.join(folder, f"{stamp}-{digest[:12]}")
            os.rename(temporary, place)
            sync_directory(folder)
        except OSError as error:
            raise CopyError(_why(path, folder, error)) from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if dated_copies.hash_file(place) != (digest, dated_copies.octal(FILE_MODE)):
            raise CopyError(msg("{place} is not what was written to it: look at the disk", place=place))
        return digest, place
    raise CopyError(msg("{path} keeps changing while it is copied: try again when nobody writes it", path=path))


def _write(path: str, temporary: str) -> str:
    digest = hashlib.sha256()
    target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        os.fchmod(target, FILE_MODE)
        for block in dated_copies.blocks(path):
            digest.update(block)
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(target, rest) :]
        os.fsync(target)
    finally:
        os.close(target)
    return digest.hexdigest()


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
        raise CopyError(
            msg(
                "{path} cannot be used for copies: {reason}: make room for a directory there",
                path=path,
                reason=os_reason(error),
            )
        ) from error
    return True


def _sweep(folder: str, when: float) -> None:
    """Remove what a run that was killed left behind."""
    with contextlib.suppress(OSError), os.scandir(folder) as items:
        for item in items:
            if item.name.startswith(_TEMPORARY) and when - item.stat(follow_symlinks=False).st_mtime > STALE_S:
                os.unlink(item.path)


def _stamp(newest: Optional[str], when: float) -> str:
    """The name's time; after the newest copy's even when the clock went back, or that one would stay the newest."""
    moment = int(when)
    if newest is not None:
        with contextlib.suppress(ValueError, OverflowError):
            moment = max(moment, timegm(time.strptime(newest[:16], dated_copies.STAMP)) + 1)
    return time.strftime(dated_copies.STAMP, time.gmtime(moment))


def _check_item(name: str, path: str, required: bool, seen: set[str]) -> None:
    dated_copies.check_name(name)
    if name in seen:
        raise CopyError(msg("two critical files are named {name}: give each its own name", name=name))
    if required and not os.path.lexists(path):
        raise CopyError(msg("{path} does not exist: restore it or correct its path", path=path))


def _why(path: str, folder: str, error: OSError) -> Message:
    if is_full(error):
        return msg("{path} was not copied, no space left in {folder}: free some there", path=path, folder=folder)
    return msg("{path} was not copied to {folder}: {reason}", path=path, folder=folder, reason=os_reason(error))


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
