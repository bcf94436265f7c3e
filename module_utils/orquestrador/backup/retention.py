"""Retention: delete old backups while enough proven ones remain.

:func:`decide` is pure; :func:`apply` reads a directory, decides and deletes. The data is deleted before the manifest: a
kill in between leaves a manifest without data, which the next run deletes. Only files that a backup's manifest names
are deleted, never through a link.
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
    """One stored backup."""

    id: str
    made_at: float  # seconds since 1970, from its id
    verified: bool
    whole: bool  # the data file has the size in the manifest
    safety: bool = False  # made before a restore


class Decision(NamedTuple):
    """Ids to delete and to keep; ``reason`` why nothing may be deleted, ``ahead`` the ids dated in the future."""

    delete: list[str]
    keep: list[str]
    reason: Optional[str]  # unverified | damaged | stale
    ahead: list[str]


def decide(backups: Sequence[Backup], now: float, days: float, keep_minimum: int) -> Decision:
    """Decide which backups to delete.

    - Nothing while the newest backup is not verified or not whole, or is itself older than ``days``: backups have
      stopped, or the clock has jumped.
    - The newest ``keep_minimum`` verified and whole ones stay whatever their age, at least one.
    - All others older than ``days`` are deleted, proven or not.
    - Backups dated in the future stay and do not count; an unproven safety backup never counts as the newest.
    """
    ordered = sorted(backups, key=lambda backup: (backup.made_at, backup.id))
    ahead = [backup.id for backup in ordered if backup.made_at > now + AHEAD_S]
    past = [backup for backup in ordered if backup.made_at <= now + AHEAD_S]
    everything = [backup.id for backup in ordered]
    old = [backup for backup in past if now - backup.made_at > days * DAY_S]
    if not old:
        return Decision([], everything, None, ahead)
    counting = [backup for backup in past if backup.verified or not backup.safety]
    newest = counting[-1] if counting else past[-1]
    if not newest.whole:
        return Decision([], everything, "damaged", ahead)
    if not newest.verified:
        return Decision([], everything, "unverified", ahead)
    if newest in old:
        return Decision([], everything, "stale", ahead)
    proven = [backup.id for backup in past if backup.verified and backup.whole]
    protected = set(proven[-max(keep_minimum, 1) :])
    delete = [backup.id for backup in old if backup.id not in protected]
    return Decision(delete, [name for name in everything if name not in set(delete)], None, ahead)


def survey(directory: str, kind: str) -> list[tuple[Backup, dict[str, Any]]]:
    """Return the backups of a directory with their manifests; other files are ignored."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        text = msg("{path} can't be read: {reason}", path=directory, reason=os_reason(error))
        raise OperatorError(text) from error
    backups = []
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
            continue  # no time: not a backup's name
        size = _size(data_path(directory, manifest))
        if size == _NOT_A_FILE:
            continue  # a link or a directory instead of the data file
        verified = isinstance(manifest.get("verified"), dict)
        whole = size is not None and size == manifest.get("bytes_file")
        safety = manifest.get("purpose") == "safety"
        backups.append((Backup(str(manifest["id"]), made_at, verified, whole, safety), manifest))
    return backups


_NOT_A_FILE = -1


def _size(path: str) -> Optional[int]:
    """Return the size of a regular file; ``None`` when it is missing, :data:`_NOT_A_FILE` for anything else."""
    try:
        info = os.lstat(path)
    except OSError:
        return None
    return info.st_size if stat.S_ISREG(info.st_mode) else _NOT_A_FILE


def apply(
    directory: str, kind: str, *, days: float, keep_minimum: int, now: Optional[float] = None, check_mode: bool = False
) -> dict[str, Any]:
    """Delete the backups of one directory that :func:`decide` selects.

    :returns: ``{kind, path, deleted: [ids], kept: [ids], damaged: [ids], ahead: [ids], freed_bytes, reason}``
    :raises OperatorError: the directory is in use, or something could not be deleted.
    """
    moment = time.time() if now is None else now
    result: dict[str, Any] = {"kind": kind, "path": directory, "freed_bytes": 0, "reason": None}
    result.update((name, []) for name in ("deleted", "kept", "damaged", "ahead"))
    if not os.path.isdir(directory):
        return result
    with contextlib.nullcontext() if check_mode else locked(directory, "backup_retention", moment):
        backups = survey(directory, kind)
        decision = decide([backup for backup, _ in backups], moment, days, keep_minimum)
        result.update(
            kept=decision.keep,
            ahead=decision.ahead,
            reason=decision.reason,
            damaged=[backup.id for backup, _ in backups if not backup.whole],
        )
        to_delete = set(decision.delete)
        for backup, manifest in backups:
            if backup.id not in to_delete:
                continue
            data = data_path(directory, manifest)
            manifest_path = os.path.join(directory, f"{backup.id}.json")
            result["freed_bytes"] += sum(max(_size(path) or 0, 0) for path in (data, manifest_path))
            if not check_mode:
                _delete(directory, data, manifest_path)
            result["deleted"].append(backup.id)
        if result["deleted"] and not check_mode:
            sync_directory(directory)
    return result


def _delete(directory: str, data: str, manifest_path: str) -> None:
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(data)
        # The deletion of the data must be on disk before the manifest that identifies it is deleted.
        sync_directory(directory)
        os.unlink(manifest_path)
    except OSError as error:
        text = msg("{path} can't be deleted: {reason}", path=data, reason=os_reason(error))
        raise OperatorError(text) from error


def describe(result: dict[str, Any], days: float, check_mode: bool) -> list[Message]:
    """Return the messages about one directory."""
    path, deleted, retained = result["path"], len(result["deleted"]), len(result["kept"])
    messages = _reason_to_keep_all(result["reason"], path, days)
    if deleted and not messages:
        figures = {"deleted": deleted, "path": path, "freed_bytes": result["freed_bytes"], "kept": retained}
        if check_mode:
            text = msg("{deleted} backups would be deleted in {path}, {freed_bytes}; {kept} would be kept", **figures)
        else:
            text = msg("{deleted} backups deleted in {path}, {freed_bytes}; {kept} kept", **figures)
        messages.append(text)
    elif retained and not messages:
        messages.append(msg("{kept} backups in {path}, none to delete", kept=retained, path=path))
    damaged, ahead = (", ".join(result[name][:SHOWN]) for name in ("damaged", "ahead"))
    if damaged:
        messages.append(msg("damaged, and not counted: {ids} in {path}", ids=damaged, path=path))
    if ahead:
        messages.append(msg("dated in the future, and kept: {ids} in {path}: check the clock", ids=ahead, path=path))
    return messages


def _reason_to_keep_all(reason: Optional[str], path: str, days: float) -> list[Message]:
    """Return the message why nothing may be deleted, if any."""
    texts = {
        "unverified": msg(
            "Nothing is deleted in {path}: its newest backup is not proven: prove it with verify_backup.yml", path=path
        ),
        "damaged": msg(
            "Nothing is deleted in {path}: the data of its newest backup is missing or has another size: make a"
            " new one",
            path=path,
        ),
        "stale": msg(
            "Nothing is deleted in {path}: its newest backup is older than {days} days: check why none was"
            " made since, and the clock",
            path=path,
            days=days,
        ),
    }
    return [texts[reason]] if reason in texts else []
