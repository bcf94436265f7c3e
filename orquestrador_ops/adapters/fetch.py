"""Backups fetched to the controller: whole files under their names, private, proven by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orquestrador.core.messages import msg
from orquestrador.core.types import Message

from ..core.files import private_dir, safe_name

CHUNK = 1 << 20
RESERVE_BYTES = 256 * 1024 * 1024

Fetch = Callable[[str, Path], None]


class FetchError(Exception):
    """A backup could not be fetched; ``message`` says why."""

    def __init__(self, message: Message) -> None:
        super().__init__(message["text"])
        self.message = message


def place(state_dir: Path, host: str, kind: str) -> Path:
    """Where the backups of a host lie on the controller."""
    return state_dir / "backups" / safe_name(host) / safe_name(kind)


def has(folder: Path, item: Mapping[str, Any]) -> bool:
    """Whether the copy is there: by its size, and by reading it when it is the newest or was not recorded."""
    path = folder / str(item["file"])
    if path.is_symlink() or not path.is_file() or path.stat().st_size != item["bytes"]:
        return False
    return (bool(item["recorded"]) and not item["newest"]) or sha256_of(path) == item["sha256"]


def fetch_backup(folder: Path, item: Mapping[str, Any], fetch: Fetch) -> None:
    """Fetch one backup's data; nothing but what its manifest says gets its name."""
    private_dir(folder)
    free = shutil.disk_usage(folder).free
    if free < int(item["bytes"]) + RESERVE_BYTES:
        raise FetchError(
            msg(
                "{path} on the controller has {free_bytes} left, too little for a copy of {size_bytes}: free some",
                path=str(folder),
                free_bytes=free,
                size_bytes=int(item["bytes"]),
            )
        )
    _into(folder, str(item["file"]), f"{item['directory']}/{item['file']}", fetch, str(item["sha256"]))


def fetch_manifest(folder: Path, item: Mapping[str, Any], fetch: Fetch) -> bool:
    """Fetch its manifest when it is missing or has another size; whether it did."""
    path = folder / str(item["described"])
    if path.is_file() and not path.is_symlink() and path.stat().st_size == item["described_bytes"]:
        return False
    _into(folder, str(item["described"]), f"{item['directory']}/{item['described']}", fetch, None)
    return True


def _into(folder: Path, name: str, source: str, fetch: Fetch, sha256: str | None) -> None:
    if "/" in name or name.startswith("."):
        raise FetchError(msg("the host names a file {name} that no backup can have: nothing is fetched", name=name))
    partial = folder / f".partial-{name}"
    try:
        # Made here, so that it is private from its first byte on.
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        fetch(source, partial)
        if sha256 is not None and sha256_of(partial) != sha256:
            raise FetchError(
                msg(
                    "the copy of {path} in {destination} is not what its manifest says: look whether the backup itself"
                    " is damaged",
                    path=source,
                    destination=str(folder),
                )
            )
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.chmod(0o600)
        partial.replace(folder / name)
    except OSError as error:
        raise FetchError(
            msg(
                "{destination} can't be used: {reason}",
                destination=str(folder),
                reason=error.strerror or type(error).__name__,
            )
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
