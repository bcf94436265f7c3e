"""Copies of files with their history: where they lie, whether the newest is good, and their content.

Layout: ``<dest>/<name>/<YYYYmmddTHHMMSSZ>-<sha256[:12]>``, files 0600, directories 0700, because ``.env`` is among
them. They are made by :mod:`..app.critical_files`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import Any, Optional

from ..core.errors import OperatorError, os_reason
from ..core.messages import finding, msg
from ..core.types import FileState, Finding

CHUNK = 1 << 20
MAX_BYTES = 64 * CHUNK  # a file this large is no configuration: more likely the path is wrong
FILE_MODE = 0o600
_COPY = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-f]{12})")
STAMP = "%Y%m%dT%H%M%SZ"
# Ansible's argument specification of the files.
OPTION: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "options": {
        "name": {"type": "str", "required": True},
        "path": {"type": "path", "required": True},
        "required": {"type": "bool", "default": True},
    },
}


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
        name, path, required = fields(item)
        report: dict[str, Any] = {"name": name, "path": path, "exists": False, "required": required}
        report.update(sha256=None, mode=None, copy=None, current=False)
        reports.append(report)
        try:
            check_name(name)
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
                report["current"] = is_good(report["copy"], str(report["sha256"]))
        except CopyError as error:
            hint = msg("See who owns the file and what it is; the application's user must be able to read it")
            findings.append(finding("files", "unreadable", error.message, hint))
    current = all(report["current"] for report in reports if report["exists"])
    return {"current": current, "missing": missing, "files": reports}, findings


def hash_file(path: str) -> tuple[str, str]:
    """SHA-256 and mode (``0600``) of a file, links followed."""
    digest = hashlib.sha256()
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        for block in blocks(path):
            digest.update(block)
    except OSError as error:
        raise CopyError(msg("{path} cannot be read: {reason}", path=path, reason=os_reason(error))) from error
    except ValueError as error:
        raise CopyError(msg("{path} is no path: correct it", path=repr(path)[:100])) from error
    return digest.hexdigest(), octal(mode)


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


def newest_copy(folder: str) -> Optional[str]:
    """The name of the newest copy in a folder; ``None`` when there is none."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise CopyError(msg("{path} cannot be read: {reason}", path=folder, reason=os_reason(error))) from error
    return max((name for name in names if _COPY.fullmatch(name)), default=None)


def digits(name: str) -> Optional[str]:
    """The digits of the SHA-256 in a copy's name; ``None`` for another name."""
    found = _COPY.fullmatch(name)
    return found.group(2) if found else None


def _taken_at(name: str) -> Optional[str]:
    """ISO 8601 of a copy's name."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.strptime(name[:16], STAMP))
    except ValueError:
        return None


def is_good(copy: dict[str, Any], digest: str) -> bool:
    """Whether a copy, ``{path, sha256, mode}``, is what its name says, private, and the file of ``digest``."""
    return (
        copy["sha256"] == digest
        and copy["mode"] == octal(FILE_MODE)
        and digits(os.path.basename(str(copy["path"]))) == digest[:12]
        and not os.path.islink(copy["path"])
    )


def fields(item: Any) -> tuple[str, str, bool]:
    """Name and path of a file to copy, and whether it has to exist."""
    known = item if isinstance(item, dict) else {}
    return str(known.get("name") or ""), str(known.get("path") or ""), known.get("required") is not False


def check_name(name: str) -> None:
    """Raise :class:`CopyError` for what can't be the name of a file's copies."""
    if not name or len(name) > 200 or "/" in name or "\0" in name or name in (".", ".."):
        raise CopyError(msg("{name} is no name for a critical file: use a plain file name", name=repr(name)[:100]))


def octal(mode: int) -> str:
    """A mode as ``0600``."""
    return f"{mode:04o}"
