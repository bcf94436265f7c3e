"""Keys of age and what they open: who backs up has the public half only, who restores brings the private one.

The private key comes from memory and goes into age's standard input; it is never written, never an argument.
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
from ..mysql.clients import need
from ..system.pipeline import Pipeline, write_all

MAGIC = b"\x28\xb5\x2f\xfd"  # of a zstd frame
LOOK_S = 30.0
_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")


def check_recipient(recipient: str) -> None:
    """Refuse anything but a public key of age: a private one must not get here at all."""
    if recipient.upper().startswith("AGE-SECRET-KEY"):
        raise OperatorError(
            msg("backup_age_recipient is a private key: give the public one, age1…, and keep it secret")
        )
    if not _RECIPIENT.fullmatch(recipient):
        raise OperatorError(msg("backup_age_recipient is no public key of age: give what age-keygen -y prints, age1…"))


def check_identity(identity: str) -> None:
    """Refuse anything but a private key of age."""
    if not identity.strip().startswith("AGE-SECRET-KEY-1"):
        raise OperatorError(msg("backup_age_identity is no private key of age: give AGE-SECRET-KEY-1… from Vault"))


def _start(pipeline: Pipeline, name: str, argv: list[str], identity: str, *, behind: bool = False) -> IO[bytes]:
    """Start a program of age's with the key on its standard input; what it prints."""
    process: Any = pipeline.start(name, argv, behind=behind, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with contextlib.suppress(BrokenPipeError):
        write_all(process.stdin.fileno(), identity.strip().encode() + b"\n")  # far less than a pipe holds
    process.stdin.close()
    output: IO[bytes] = process.stdout
    return output


def decrypted(pipeline: Pipeline, path: str, identity: str, *, behind: bool = False) -> IO[bytes]:
    """Start what decrypts and decompresses a backup's file, as the first children of a pipeline; what comes out."""
    age = _start(pipeline, "age", [need("age"), "-d", "-i", "-", path], identity, behind=behind)
    argv = [need("zstd"), "-d", "-q", "-c"]
    zstd: Any = pipeline.start("zstd", argv, behind=behind, stdin=age, stdout=subprocess.PIPE)
    age.close()  # zstd's alone: when it ends, age has to notice
    output: IO[bytes] = zstd.stdout
    return output


def check_opens(path: str, identity: str) -> None:
    """Decrypt the beginning of a file: the wrong key is found out before anything is changed."""
    with Pipeline(time.monotonic() + LOOK_S, LOOK_S) as pipeline:
        age = _start(pipeline, "age", [need("age"), "-d", "-i", "-", path], identity)
        pipeline.watch()
        if os.read(age.fileno(), len(MAGIC)) != MAGIC:
            pipeline.finish()
            raise OperatorError(msg("{path} can't be decrypted to a compressed dump: use another backup", path=path))


def check_pair(identity: str, recipient: str) -> None:
    """What is encrypted now has to be readable with the key at hand, or a safety backup is no way back."""
    check_identity(identity)
    with Pipeline(time.monotonic() + LOOK_S, LOOK_S) as pipeline:
        keygen = _start(pipeline, "age-keygen", [need("age-keygen"), "-y"], identity)
        pipeline.watch()
        public = keygen.read(4096).decode("ascii", "replace").split()
        pipeline.finish()
    if recipient not in public:
        text = msg(
            "backup_age_recipient does not belong to backup_age_identity: the safety backup could not be read;"
            " correct either"
        )
        raise OperatorError(text)
