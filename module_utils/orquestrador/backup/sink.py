"""End of a backup's pipeline: writes the encrypted bytes to a file, hashes them and watches the free space."""

from __future__ import annotations

import errno
import hashlib
import os

from ..core.errors import is_full, os_reason
from ..core.messages import msg
from ..core.types import Message
from ..system.files import free_bytes
from ..system.pipeline import Pipeline, pieces, write_all

CHECK_EVERY = 8 * 1024 * 1024  # bytes written between two checks of the free space


class Sink:
    """Writer from a pipe into a file; run :meth:`write` in a thread of its own."""

    def __init__(self, directory: str, target: int, reserve_bytes: int, pipeline: Pipeline) -> None:
        self.bytes = 0
        self._directory = directory
        self._target = target
        self._reserve = reserve_bytes
        self._pipeline = pipeline
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes written."""
        return self._digest.hexdigest()

    def write(self, source: int) -> None:
        """Write until the pipe ends; without free space, or when writing fails, end the pipeline with the reason."""
        checked = 0
        try:
            for piece in pieces(source):
                self._digest.update(piece)
                write_all(self._target, piece)
                self.bytes += len(piece)
                self._pipeline.alive()
                if self.bytes - checked >= CHECK_EVERY:
                    checked = self.bytes
                    if free_bytes(self._directory) < self._reserve:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - handled below with other write errors
        except OSError as error:
            self._pipeline.end(write_failure(self._directory, error))


def write_failure(directory: str, error: OSError) -> Message:
    """Return the message for a backup that can't be written."""
    if is_full(error):
        return msg("no space left for the backup in {path}: free some space there", path=directory)
    return msg("the backup can't be written to {path}: {reason}", path=directory, reason=os_reason(error))
