"""Keys of age, and decryption with them: backups need the public key only, proofs and restores the private one.

The private key is held in memory and written to age's standard input; it is never in a file or an argument.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from typing import IO, Any

from ..core.errors import OperatorError
from ..core.messages import msg
from ..mysql.clients import require_program
from ..system.pipeline import Pipeline, write_all

MAGIC = b"\x28\xb5\x2f\xfd"  # begins a zstd frame
TIMEOUT_S = 30.0
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")


def check_recipient(recipient: str) -> None:
    """Raise :class:`OperatorError` for anything but a public key of age."""
    if recipient.upper().startswith("AGE-SECRET-KEY"):
        raise OperatorError(
            msg("backup_age_recipient is a private key: give the public one, age1…, and keep it secret")
        )
    if not _RECIPIENT.fullmatch(recipient):
        raise OperatorError(msg("backup_age_recipient is no public key of age: give what age-keygen -y prints, age1…"))


def check_identity(identity: str) -> None:
    """Raise :class:`OperatorError` for anything but a private key of age."""
    if not identity.strip().startswith("AGE-SECRET-KEY-1"):
        raise OperatorError(msg("backup_age_identity is no private key of age: give AGE-SECRET-KEY-1… from Vault"))


def _start(pipeline: Pipeline, name: str, argv: list[str], identity: str, *, low_priority: bool = False) -> IO[bytes]:
    """Start a program of age with the key on its standard input; return its standard output."""
    process: Any = pipeline.start(name, argv, behind=low_priority, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with contextlib.suppress(BrokenPipeError):
        write_all(process.stdin.fileno(), identity.strip().encode() + b"\n")  # fits into the pipe's buffer
    process.stdin.close()
    output: IO[bytes] = process.stdout
    return output


def decrypted(pipeline: Pipeline, path: str, identity: str, *, low_priority: bool = False) -> IO[bytes]:
    """Start age and zstd on a backup's file as the first children of a pipeline; return the plaintext stream."""
    age = _start(pipeline, "age", [require_program("age"), "-d", "-i", "-", path], identity, low_priority=low_priority)
    argv = [require_program("zstd"), "-d", "-q", "-c"]
    zstd: Any = pipeline.start("zstd", argv, behind=low_priority, stdin=age, stdout=subprocess.PIPE)
    age.close()  # only zstd keeps it open, so that age gets SIGPIPE when zstd ends
    output: IO[bytes] = zstd.stdout
    return output


def check_opens(path: str, identity: str) -> None:
    """Decrypt the beginning of a file, so that a wrong key is rejected before anything is changed."""
    with Pipeline(time.monotonic() + TIMEOUT_S, TIMEOUT_S) as pipeline:
        age = _start(pipeline, "age", [require_program("age"), "-d", "-i", "-", path], identity)
        pipeline.watch()
        if os.read(age.fileno(), len(MAGIC)) != MAGIC:
            pipeline.finish()
            raise OperatorError(msg("{path} can't be decrypted to a compressed dump: use another backup", path=path))


def check_pair(identity: str, recipient: str) -> None:
    """Raise :class:`OperatorError` unless ``identity`` decrypts what is encrypted for ``recipient``."""
    check_identity(identity)
    with Pipeline(time.monotonic() + TIMEOUT_S, TIMEOUT_S) as pipeline:
        keygen = _start(pipeline, "age-keygen", [require_program("age-keygen"), "-y"], identity)
        pipeline.watch()
        public = keygen.read(4096).decode("ascii", "replace").split()
        pipeline.finish()
    if recipient not in public:
        text = msg(
            "backup_age_recipient does not belong to backup_age_identity: the safety backup could not be"
            " read; correct one of them"
        )
        raise OperatorError(text)
