"""The end of a backup's pipe: encrypted bytes go into a file, hashed on the way, while the room for them is watched."""

from __future__ import annotations

import errno
import hashlib
import os

from ..core.errors import os_reason
from ..core.messages import msg
from ..core.types import Message
from ..system.files import free_bytes
from ..system.pipeline import Pipeline, pieces, write_all

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
    return msg("the backup can't be written to {path}: {reason}", path=directory, reason=os_reason(error))
