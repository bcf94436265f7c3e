"""Which backups go, and their going: old ones, as long as enough that were proven stay.

What is decided is pure (:func:`decide`); :func:`apply` reads a directory, decides, deletes. The data goes first, then
the manifest: killed in between, what is left is a manifest without data, which the next run takes for what it is. Only
files that a manifest of ours names are ever deleted, and never through a link.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from calendar import timegm
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError, os_reason
from ..core.messages import msg
from ..core.types import Message
from ..system.files import locked
from ..system.whole_file import sync_directory
from .store import data_path, read_manifest

DAY_S = 86400.0
SHOWN = 5
AHEAD_S = 300.0  # a backup further in the future than this was made by another clock
_MANIFEST = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{6}\.json")


class Backup(NamedTuple):
    """One backup as it lies there."""

    id: str
    made_at: float  # seconds since 1970, of its id
    verified: bool
    whole: bool  # its data is there in the size that the manifest says
    safety: bool = False  # made before a restore


class Decision(NamedTuple):
    """Ids; ``reason`` says why nothing is deleted where that is worth saying, ``ahead`` are from the future."""

    delete: list[str]
    keep: list[str]
    reason: Optional[str]  # unverified | damaged | stale
    ahead: list[str]


def decide(found: Sequence[Backup], now: float, days: float, keep_minimum: int) -> Decision:
    """What goes.

    - Nothing while the newest backup is not verified or not whole, or is itself older than ``days``: backups have
      stopped, or the clock has jumped.
    - The newest ``keep_minimum`` verified and whole ones stay whatever their age, at least one.
    - Of the others those older than ``days`` go, whether they were proven or not.
    - What is from the future stays and counts for nothing; a safety backup that was not proven is never the newest.
    """
    ordered = sorted(found, key=lambda one: (one.made_at, one.id))
    ahead = [one.id for one in ordered if one.made_at > now + AHEAD_S]
    past = [one for one in ordered if one.made_at <= now + AHEAD_S]
    everything = [one.id for one in ordered]
    old = [one for one in past if now - one.made_at > days * DAY_S]
    if not old:
        return Decision([], everything, None, ahead)
    counting = [one for one in past if one.verified or not one.safety]
    newest = counting[-1] if counting else past[-1]
    if not newest.whole:
        return Decision([], everything, "damaged", ahead)
    if not newest.verified:
        return Decision([], everything, "unverified", ahead)
    if newest in old:
        return Decision([], everything, "stale", ahead)
    proven = [one.id for one in past if one.verified and one.whole]
    protected = set(proven[-max(keep_minimum, 1) :])
    delete = [one.id for one in old if one.id not in protected]
    return Decision(delete, [name for name in everything if name not in set(delete)], None, ahead)


def survey(directory: str, kind: str) -> list[tuple[Backup, dict[str, Any]]]:
    """The backups of a directory with their manifests; only what a manifest of ours names."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        text = msg("{path} can't be read: {reason}", path=directory, reason=os_reason(error))
        raise OperatorError(text) from error
    found = []
    for name in names:
        match = _MANIFEST.fullmatch(name)
        path = os.path.join(directory, name)
        if match is None or os.path.islink(path):
            continue
        manifest = read_manifest(path, kind)
        if manifest is None:
            continue
        try:
            made_at = float(timegm(time.strptime(match.group(1), "%Y%m%dT%H%M%SZ")))
        except ValueError:
            continue  # no moment: nothing that we named
        size = _size(data_path(directory, manifest))
        if size == _FOREIGN:
            continue  # a link or a directory has taken the place of the data
        verified = isinstance(manifest.get("verified"), dict)
        whole = size is not None and size == manifest.get("bytes_file")
        safety = manifest.get("purpose") == "safety"
        found.append((Backup(str(manifest["id"]), made_at, verified, whole, safety), manifest))
    return found


_FOREIGN = -1


def _size(path: str) -> Optional[int]:
    """Bytes of a regular file; ``None`` when it is missing."""
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) else _FOREIGN


def apply(
    directory: str, kind: str, *, days: float, keep_minimum: int, now: Optional[float] = None, check_mode: bool = False
) -> dict[str, Any]:
    """Delete what goes in one directory.

    :returns: ``{kind, path, deleted: [ids], kept: [ids], damaged: [ids], ahead: [ids], freed_bytes, reason}``
    :raises OperatorError: the directory is in use, or something could not be deleted.
    """
    when = time.time() if now is None else now
    result: dict[str, Any] = {"kind": kind, "path": directory, "freed_bytes": 0, "reason": None}
    result.update((name, []) for name in ("deleted", "kept", "damaged", "ahead"))
    if not os.path.isdir(directory):
        return result
    with contextlib.nullcontext() if check_mode else locked(directory, "backup_retention", when):
        found = survey(directory, kind)
        decision = decide([backup for backup, _ in found], when, days, keep_minimum)
        result.update(
            kept=decision.keep,
            ahead=decision.ahead,
            reason=decision.reason,
            damaged=[backup.id for backup, _ in found if not backup.whole],
        )
        going = set(decision.delete)
        for backup, manifest in found:
            if backup.id not in going:
                continue
            data = data_path(directory, manifest)
            described = os.path.join(directory, f"{backup.id}.json")
            result["freed_bytes"] += sum(max(_size(path) or 0, 0) for path in (data, described))
            if not check_mode:
                _delete(directory, data, described)
            result["deleted"].append(backup.id)
        if result["deleted"] and not check_mode:
            sync_directory(directory)
    return result


def _delete(directory: str, data: str, described: str) -> None:
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(data)
        # The data has to be gone on the disk, too, before what says that it is ours.
        sync_directory(directory)
        os.unlink(described)
    except OSError as error:
        text = msg("{path} can't be deleted: {reason}", path=data, reason=os_reason(error))
        raise OperatorError(text) from error


def remarks(result: dict[str, Any], days: float, check_mode: bool) -> list[Message]:
    """What there is to say of one directory."""
    path, deleted, kept = result["path"], len(result["deleted"]), len(result["kept"])
    said = _why_nothing(result["reason"], path, days)
    if deleted and not said:
        figures = {"deleted": deleted, "path": path, "freed_bytes": result["freed_bytes"], "kept": kept}
        if check_mode:
            text = msg("{deleted} backups would be deleted in {path}, {freed_bytes}; {kept} would be kept", **figures)
        else:
            text = msg("{deleted} backups deleted in {path}, {freed_bytes}; {kept} kept", **figures)
        said.append(text)
    elif kept and not said:
        said.append(msg("{kept} backups in {path}, none of which has to go", kept=kept, path=path))
    damaged, ahead = (", ".join(result[name][:SHOWN]) for name in ("damaged", "ahead"))
    if damaged:
        said.append(msg("damaged, and not counted: {ids} in {path}", ids=damaged, path=path))
    if ahead:
        said.append(msg("from the future, and kept: {ids} in {path}: look at the clock", ids=ahead, path=path))
    return said


def _why_nothing(reason: Optional[str], path: str, days: float) -> list[Message]:
    """What stands in the way of deleting anything."""
    texts = {
        "unverified": msg("Nothing is deleted in {path}: its newest backup is not proven: prove it", path=path),
        "damaged": msg(
            "Nothing is deleted in {path}: the data of its newest backup is missing or has another size: make a"
            " new one",
            path=path,
        ),
        "stale": msg(
            "Nothing is deleted in {path}: its newest backup is older than {days} days: look why there is none"
            " since, and at the clock",
            path=path,
            days=days,
        ),
    }
    return [texts[reason]] if reason in texts else []
