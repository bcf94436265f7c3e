"""Error events of the last days, archived logs included: what a report of a month has to count.

The probe counts a day from a memory of its own. This counts a longer period anew, from the logs that are there and from
the archives that were written in the period, whose error logs are unpacked into a private temporary directory.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
import tarfile
import tempfile
import time
from collections.abc import Collection, Iterable
from typing import Any, Callable, NamedTuple

from ..core.messages import finding, msg
from ..core.types import Finding
from . import tarball
from .errors import collect
from .rotation import KEPT, parse

DAY_S = 86400


class Options(NamedTuple):
    """What to count. ``max_bytes`` bounds what is read of each archive and of the logs together."""

    globs: list[str]
    archive_dir: str
    days: float = 7.0
    max_bytes: int = 256 * 1024 * 1024
    timeout_s: float = 120.0


def count(options: Options, now: float) -> dict[str, Any]:
    """Count error events since ``now - days``.

    :param now: epoch seconds.
    :returns: ``{errors, complete, since_at, until_at, archives, events: [{count, first_at, last_at, sample}],
        findings}``; ``complete`` is false when not everything could be read, then ``errors`` is the least that it was.
    """
    deadline = time.monotonic() + options.timeout_s
    findings: list[Finding] = []
    complete = True
    with tempfile.TemporaryDirectory(prefix="orquestrador-logs-") as folder:
        unpacked = 0
        for path in tarball.archives(options.archive_dir):
            if os.stat(path).st_mtime < now - options.days * DAY_S:
                continue  # whatever it holds was written before it
            try:
                unpack(path, os.path.join(folder, str(unpacked)), options.globs, options.max_bytes, deadline)
                unpacked += 1
            except (OSError, EOFError, tarfile.TarError, ValueError) as error:
                complete = False
                findings.append(unread(path, str(error) or type(error).__name__))
        current = [path for pattern in options.globs for path in sorted(glob.glob(pattern)) if not _archived(path)]
        names = [os.path.join(folder, "*", "*"), *map(glob.escape, dict.fromkeys(current))]
        state, _, found = collect(
            names,
            None,
            now=now,
            deadline_s=max(deadline - time.monotonic(), 1.0),
            max_bytes=options.max_bytes,
            day_s=int(options.days * DAY_S),
        )
    # Without any log there is nothing to count, which is not the same as no error.
    findings.extend(one for one in found if folder not in str(one))
    window = state["window"]
    return {
        "errors": state["errors"],
        "complete": complete and bool(window["complete"]),
        "since_at": window["since"],
        "until_at": window["until"],
        "archives": unpacked,
        "events": [
            {name: event[name] for name in ("count", "first_at", "last_at", "sample")}
            for event in state["fingerprints"]
        ],
        "findings": findings,
    }


def _archived(path: str) -> bool:
    """Kept for the probe, but in an archive already: it would be counted twice."""
    rotated = parse(path)
    return rotated is not None and rotated.state == KEPT


def unpack(
    path: str, into: str, globs: Iterable[str], max_bytes: int, deadline: float, without: Collection[str] = ()
) -> None:
    """The logs of an archive that ``globs`` match by name as files of their own, with the times they had.

    :param max_bytes: of each log. :param deadline: of the monotonic clock. :param without: members to leave out.

    Raises:
        OSError: out of time, or a log is longer. ``tarfile.TarError``, ``EOFError``, ``ValueError``: it is damaged.
    """
    os.mkdir(into, 0o700)
    patterns = [os.path.basename(pattern) for pattern in globs]
    with tarfile.open(path, mode="r|gz") as archive:
        for number, member in enumerate(archive):
            name = os.path.basename(member.name)
            if not member.isreg() or not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                continue
            if member.name in without:
                continue
            source = archive.extractfile(member)
            if source is None:
                continue
            # The name tells error logs from others; the number keeps two of one name apart.
            target = os.path.join(into, f"{number}-{name}")
            with source:
                copy_bounded(source.read, target, max_bytes, deadline)
            with contextlib.suppress(OSError, OverflowError):
                os.utime(target, (member.mtime, member.mtime))


def copy_bounded(read: Callable[[int], bytes], target: str, max_bytes: int, deadline: float) -> None:
    """Copy what is read into a new file. Raises :class:`OSError` when out of time, or for more than ``max_bytes``."""
    left = max_bytes
    with open(target, "xb") as file:
        while left > 0:
            if time.monotonic() > deadline:
                raise OSError("the time allowed is over")
            piece = read(min(1 << 20, left))
            if not piece:
                return
            file.write(piece)
            left -= len(piece)
        if read(1):
            raise OSError(f"more than {max_bytes} bytes of {os.path.basename(target)}")


def unread(path: str, reason: str) -> Finding:
    """The finding that an archive could not be read."""
    return finding(
        "logs",
        "archive_unreadable",
        msg("{path} cannot be read: {reason}", path=path, reason=reason),
        msg("Look at the archive and at the free space in the temporary directory"),
    )
