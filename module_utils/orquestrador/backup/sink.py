"""The end of a backup's pipe: encrypted bytes go into a file, hashed on the way, while the room for them is watched."""

from __future__ import annotations

import errno
import hashlib
import os
from typing import Any

from ..core.messages import msg
from ..core.types import Message
from ..system.files import free_bytes
from ..system.pipeline import Pipeline, pieces, write_all
from ..system.whole_file import sync_directory
from .store import PARTIAL, write_manifest

LOOK_EVERY = 8 * 1024 * 1024  # bytes written between two looks at the free space


class Sink:
    """Writes what a pipe carries into a file; run :meth:`write` in a thread of its own."""

    def __init__(self, directory: str, target: int, reserve_bytes: int, pipeline: Pipeline) -> None:
        self.bytes = 0
        self._directory = directory
        self._target = target
        self._reserve = reserve_bytes
        self._pipeline = pipeline
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of what was written."""
        return self._digest.hexdigest()

    def write(self, source: int) -> None:
        """Write until the pipe ends; without room, or when writing fails, the pipeline is ended with the reason."""
        looked = 0
        try:
            for piece in pieces(source):
                self._digest.update(piece)
                write_all(self._target, piece)
                self.bytes += len(piece)
                self._pipeline.alive()
                if self.bytes - looked >= LOOK_EVERY:
                    looked = self.bytes
                    if free_bytes(self._directory) < self._reserve:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - one place tells why
        except OSError as error:
            self._pipeline.end(no_room(self._directory, error))


def no_room(directory: str, error: OSError) -> Message:
    """Why a backup can't be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return msg("no space left for the backup in {path}: free some there", path=directory)
    reason = error.strerror or type(error).__name__
    return msg("the backup can't be written to {path}: {reason}", path=directory, reason=reason)


def commit(directory: str, partial: str, manifest: dict[str, Any]) -> None:
    """Both files are whole and synced before either gets its name; the data's name comes first."""
    described = write_manifest(directory, f"{PARTIAL}{manifest['id']}.json", manifest)
    os.rename(partial, os.path.join(directory, str(manifest["file"])))
    os.rename(described, os.path.join(directory, f"{manifest['id']}.json"))
    sync_directory(directory)
