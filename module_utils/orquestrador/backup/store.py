"""Where backups lie, what counts as one, and how nothing half-done ever looks like one.

``<dir>/<id>.sql.zst.age`` with ``<dir>/<id>.json``, its manifest; another kind than a database's has another ending and
a directory of its own. Both are written under names that begin with
``.partial-`` and synced; then the data is renamed, then the manifest. Only a file with a manifest is a backup. A run
that was killed between the two renames left a whole backup, which the next one completes; killed before, it left
partial files, which the next one removes. One run at a time per directory, by a lock that ends with its process.
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
# Of the data's file, by the manifest's kind.
SUFFIXES = {"database": ".sql.zst.age", "code": ".tar.zst.age"}
PARTIAL = ".partial-"
MAX_MANIFEST = 64 * 1024 * 1024
_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


class RefutedError(OperatorError):
    """A backup is not what its manifest says."""


def ensure_directory(path: str) -> None:
    """Have the directory, for its owner only."""
    try:
        os.makedirs(path, DIR_MODE, exist_ok=True)
        os.chmod(path, DIR_MODE)
    except OSError as error:
        reason = os_reason(error)
        raise OperatorError(
            msg("{path} can't be used for backups: {reason}: make it the application user's", path=path, reason=reason)
        ) from error


def sweep(directory: str, kind: str = "database") -> list[str]:
    """Under the lock: complete or remove what killed runs left; the names of what was removed or completed."""
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
    """A manifest without its lists of thousands of files or tables, which nobody needs twice."""
    return {key: value for key, value in manifest.items() if key not in ("files", "tables", "structure")}


def data_path(directory: str, manifest: dict[str, Any]) -> str:
    """Where a backup's data is."""
    return os.path.join(directory, str(manifest["file"]))


def write_manifest(directory: str, name: str, manifest: dict[str, Any]) -> str:
    """Write and sync a manifest as ``name``, never a part of it; its path."""
    path = os.path.join(directory, name)
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    write_whole(path, text.encode(), FILE_MODE, temporary=f"{path}.new")
    return path


def commit(directory: str, partial: str, manifest: dict[str, Any]) -> None:
    """Both files are whole and synced before either gets its name; the data's name comes first."""
    described = write_manifest(directory, f"{PARTIAL}{manifest['id']}.json", manifest)
    os.rename(partial, data_path(directory, manifest))
    os.rename(described, os.path.join(directory, f"{manifest['id']}.json"))
    sync_directory(directory)


def replace_manifest(directory: str, manifest: dict[str, Any]) -> None:
    """Replace a backup's manifest at once: readers see the old one or the new one."""
    backup_id = str(manifest["id"])
    # Its data is in place, so that a sweep after a kill completes the renaming rather than losing what was proven.
    path = write_manifest(directory, f"{PARTIAL}{backup_id}.json", manifest)
    os.rename(path, os.path.join(directory, f"{backup_id}.json"))
    sync_directory(directory)


def read_manifest(path: str, kind: str = "database") -> Optional[dict[str, Any]]:
    """A manifest of ours of this kind, ``None`` for anything else."""
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


def backups(directory: str, kind: str = "database") -> list[dict[str, Any]]:
    """Manifests of the backups of this kind that are there with their data, oldest first."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    found = []
    for name in names:
        if _ID.fullmatch(name[: -len(".json")]) and name.endswith(".json"):
            manifest = read_manifest(os.path.join(directory, name), kind)
            if manifest is not None and os.path.isfile(data_path(directory, manifest)):
                found.append(manifest)
    return found


def choose(directory: str, wanted: str, kind: str = "database", *, safety: bool = True) -> dict[str, Any]:
    """The manifest of backup ``wanted``: its id, its file's name or path, or ``latest``.

    :param safety: whether ``latest`` may be what was saved before a restore, which no routine made.
    """
    found = backups(directory, kind)
    if wanted == "latest":
        latest = [manifest for manifest in found if safety or manifest.get("purpose") != "safety"]
        if latest:
            return latest[-1]
    name = os.path.basename(wanted)
    name = name[: -len(SUFFIXES[kind])] if name.endswith(SUFFIXES[kind]) else name
    for manifest in found:
        if manifest["id"] == name:
            return manifest
    raise OperatorError(
        msg("there is no backup {wanted} in {path}: look at what is there", wanted=wanted, path=directory)
    )
