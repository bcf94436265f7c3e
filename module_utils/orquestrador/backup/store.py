"""Storage of backups: a data file with its manifest, both renamed into place only when complete.

``<dir>/<id>.sql.zst.age`` with ``<dir>/<id>.json``, its manifest; code backups have another suffix and a directory of
their own. Both files are written under names that begin with ``.partial-`` and synced; then the data is renamed, then
the manifest. Only a data file with a manifest is a backup. When a run was killed between the two renames, the next run
completes the backup; when it was killed before, the next run removes the partial files. A lock, which ends with its
process, allows one run at a time per directory.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Optional

from ..core.errors import OperatorError, os_reason
from ..core.messages import msg
from ..system.files import DIR_MODE, FILE_MODE
from ..system.whole_file import sync_directory, write_whole

FORMAT = 1
# Suffix of the data file, by the manifest's kind.
SUFFIXES = {"database": ".sql.zst.age", "code": ".tar.zst.age"}
PARTIAL = ".partial-"
MAX_MANIFEST = 64 * 1024 * 1024
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


class RefutedError(OperatorError):
    """The contents of a backup differ from its manifest."""


def ensure_directory(path: str) -> None:
    """Create the directory, accessible to its owner only."""
    try:
        os.makedirs(path, DIR_MODE, exist_ok=True)
        os.chmod(path, DIR_MODE)
    except OSError as error:
        reason = os_reason(error)
        raise OperatorError(
            msg(
                "{path} can't be used for backups: {reason}: give it to the application's user",
                path=path,
                reason=reason,
            )
        ) from error


def sweep(directory: str, kind: str = "database") -> list[str]:
    """Complete or remove the partial files of killed runs and return their names; the caller holds the lock."""
    swept: list[str] = []
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if not name.startswith(PARTIAL) or os.path.islink(path) or not os.path.isfile(path):
            continue
        backup_id, suffix = name[len(PARTIAL) :][:23], name[len(PARTIAL) + 23 :]
        if not _ID.fullmatch(backup_id):
            continue
        swept.append(name)
        if suffix == ".json" and os.path.exists(os.path.join(directory, backup_id + SUFFIXES[kind])):
            os.rename(path, os.path.join(directory, backup_id + ".json"))
        else:
            os.unlink(path)
    if swept:
        sync_directory(directory)
    return swept


def brief(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest without its long lists of files and tables."""
    return {key: value for key, value in manifest.items() if key not in ("files", "tables", "structure")}


def data_path(directory: str, manifest: dict[str, Any]) -> str:
    """Return the path of a backup's data file."""
    return os.path.join(directory, str(manifest["file"]))


def write_manifest(directory: str, name: str, manifest: dict[str, Any]) -> str:
    """Write and sync a manifest as ``name``, all or nothing; return its path."""
    path = os.path.join(directory, name)
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    write_whole(path, text.encode(), FILE_MODE, temporary=f"{path}.new")
    return path


def commit(directory: str, partial: str, manifest: dict[str, Any]) -> None:
    """Write the manifest, then rename the synced data file ``partial`` and the manifest into place."""
    manifest_path = write_manifest(directory, f"{PARTIAL}{manifest['id']}.json", manifest)
    os.rename(partial, data_path(directory, manifest))
    os.rename(manifest_path, os.path.join(directory, f"{manifest['id']}.json"))
    sync_directory(directory)


def replace_manifest(directory: str, manifest: dict[str, Any]) -> None:
    """Replace a backup's manifest atomically: readers see the old one or the new one."""
    backup_id = str(manifest["id"])
    # The data is in place, so a sweep after a kill completes the rename instead of losing the proof.
    path = write_manifest(directory, f"{PARTIAL}{backup_id}.json", manifest)
    os.rename(path, os.path.join(directory, f"{backup_id}.json"))
    sync_directory(directory)


def read_manifest(path: str, kind: str = "database") -> Optional[dict[str, Any]]:
    """Return a backup's manifest of this kind, ``None`` for any other file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, encoding="utf-8", errors="surrogateescape") as file:
            manifest = json.loads(file.read(MAX_MANIFEST))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT or manifest.get("kind") != kind:
        return None
    backup_id = manifest.get("id")
    if not isinstance(backup_id, str) or not _ID.fullmatch(backup_id):
        return None
    if manifest.get("file") != backup_id + SUFFIXES[kind]:
        return None
    return manifest if os.path.basename(path) == f"{backup_id}.json" else None


def list_backups(directory: str, kind: str = "database") -> list[dict[str, Any]]:
    """Return the manifests of this kind that have their data file, oldest first."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    manifests = []
    for name in names:
        if _ID.fullmatch(name[: -len(".json")]) and name.endswith(".json"):
            manifest = read_manifest(os.path.join(directory, name), kind)
            if manifest is not None and os.path.isfile(data_path(directory, manifest)):
                manifests.append(manifest)
    return manifests


def find_backup(directory: str, backup: str, kind: str = "database", *, safety: bool = True) -> dict[str, Any]:
    """Return the manifest of ``backup``: an id, a file's name or path, or ``latest``.

    :param safety: whether ``latest`` may be a safety backup, made before a restore.
    """
    manifests = list_backups(directory, kind)
    if backup == "latest":
        latest = [manifest for manifest in manifests if safety or manifest.get("purpose") != "safety"]
        if latest:
            return latest[-1]
    name = os.path.basename(backup)
    name = name[: -len(SUFFIXES[kind])] if name.endswith(SUFFIXES[kind]) else name
    for manifest in manifests:
        if manifest["id"] == name:
            return manifest
    raise OperatorError(
        msg("there is no backup {wanted} in {path}: choose one of that directory", wanted=backup, path=directory)
    )
