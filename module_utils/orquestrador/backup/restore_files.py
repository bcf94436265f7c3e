"""Restore the application's directory from a backup, or critical files from their copies, with a rollback.

The current tree is backed up first. The new tree is unpacked beside it, compared with the manifest, and only then put
in place (:mod:`.switch`). Files that are not in the backup are removed; the safety backup has them. Excluded names
stay as they are.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Collection
from typing import Any, Callable, NamedTuple, Optional

from ..app import critical_files
from ..core.errors import OperatorError, os_reason
from ..core.jsonable import iso
from ..core.messages import msg
from ..core.types import Message
from ..mysql.clients import require_program
from ..system import dated_copies
from ..system.files import Lock, free_bytes, locked
from ..system.pipeline import write_all
from ..system.whole_file import sync_directory
from . import switch
from .code import KIND, back_up, check_directory, read_back
from .keys import check_identity, check_recipient
from .session import Limits, check_file, no_space_to_restore
from .sink import write_failure
from .store import data_path, find_backup
from .tree import (
    STAGE,
    Listing,
    differing,
    is_excluded,
    links_outside,
    list_tree,
    printable,
    sample,
    scan_tree,
    signatures,
    top_level,
)

SHOWN_CHANGES = 100  # names in the difference that is shown


class RestoreRequest(NamedTuple):
    """Request of the operator."""

    directory: str  # with the backups
    backup: str
    root: str  # directory to restore
    exclude: Collection[str]
    identity: str
    recipient: str
    unverified: bool
    outside_links: bool


def require_confirmation(confirmation: str, name: str) -> None:
    """Raise :class:`OperatorError` unless ``confirmation`` is the application's name."""
    if confirmation != name:
        raise OperatorError(
            msg(
                "a restore replaces the current files: confirm it with the name of the application, -e confirm={name}",
                name=name,
            )
        )


def restore_code(request: RestoreRequest, limits: Limits, *, check_mode: bool = False) -> dict[str, Any]:
    """Restore the tree of one backup.

    :returns: ``{changed, backup: manifest, path, safety: path or None, changes: {added, changed, removed: [names]},
        resumed: [names], failures: []}``
    :raises OperatorError: nothing was restored; the old tree is in place.
    """
    started = time.monotonic()
    check_recipient(request.recipient)
    check_identity(request.identity)
    check_directory(request.directory, request.root, request.exclude)
    require_program("age"), require_program("zstd")
    manifest = _choose_backup(request)
    keep = {*request.exclude, *(str(name) for name in manifest["exclude"])}
    files = manifest["files"]
    target: Listing = {path: entry for path, entry in files.items() if not is_excluded(top_level(path), keep)}
    _check_links(request, target)
    path = data_path(request.directory, manifest)
    result: dict[str, Any] = {"changed": False, "backup": manifest, "path": path, "safety": None, "resumed": []}
    if check_mode:
        current = list_tree(request.root, keep) if os.path.isdir(request.root) else {}
        result["changes"] = compute_changes(current, target)
        result["changed"] = any(result["changes"].values())
        return result
    with locked(request.directory, "files_restore", time.time()) as lock:
        os.makedirs(request.root, 0o755, exist_ok=True)
        result["resumed"] = switch.recover(request.root)
        before = signatures(scan_tree(request.root, keep))
        result["changes"] = compute_changes(list_tree(request.root, keep), target)
        if not any(result["changes"].values()):
            return result
        _check_space(request, manifest, limits.reserve_bytes)
        check_file(request.directory, manifest)
        if before:
            remaining = limits._replace(timeout_s=max(limits.timeout_s - (time.monotonic() - started), 1.0))
            result["safety"] = _back_up_current(request, remaining, lock)

        def unpack(stage: str) -> None:
            deadline = started + limits.timeout_s
            read_back(request.directory, manifest, request.identity, lock, deadline, limits.stall_s, stage)

        _replace_tree(request, manifest, target, keep, before, unpack)
        result["changed"] = True
    return result


def _back_up_current(request: RestoreRequest, limits: Limits, lock: Lock) -> Optional[str]:
    """Back up the current tree; return the path of the safety backup."""
    made = back_up(
        request.directory,
        source=request.root,
        exclude=request.exclude,
        recipient=request.recipient,
        identity=request.identity,
        limits=limits,
        purpose="safety",
        held_lock=lock,
    )
    path: Optional[str] = made["path"]
    return path


def _replace_tree(
    request: RestoreRequest,
    manifest: dict[str, Any],
    target: Listing,
    keep: Collection[str],
    before: dict[str, tuple[int, ...]],
    unpack: Callable[[str], None],
) -> None:
    """Unpack the backup beside the current tree, compare it with the manifest and put it in place."""
    root, backup_id = request.root, str(manifest["id"])
    try:
        stage = switch.prepare(root, backup_id)
        unpack(stage)
        for name in os.listdir(stage):
            if is_excluded(name, keep):  # in the backup, but excluded now
                switch.remove_tree(os.path.join(stage, name))
        _require_identical(list_tree(stage, ()), target, stage)
        changed = differing(before, signatures(scan_tree(root, keep)))
        if changed:
            names = sample(changed)
            raise OperatorError(
                msg(
                    "{files} changed since the safety backup: stop the process that writes them and try again",
                    files=names,
                )
            )
        switch.switch(root, backup_id, keep)
    except OSError as error:
        raise OperatorError(write_failure(root, error)) from error
    finally:
        if not switch.has_pending(root):
            switch.discard(root, backup_id)
    _require_identical(list_tree(root, keep), target, root)


def _choose_backup(request: RestoreRequest) -> dict[str, Any]:
    name = request.backup
    if not name:
        raise OperatorError(msg("no backup is named: give -e backup=latest, an id or a file"))
    manifest = find_backup(request.directory, name, KIND, safety=False)
    if manifest.get("verified") is None and not request.unverified:
        text = msg(
            "backup {id} is not proven: prove it with verify_backup.yml, or give -e backup_restore_unverified=true",
            id=manifest["id"],
        )
        raise OperatorError(text)
    if not isinstance(manifest.get("files"), dict) or not isinstance(manifest.get("exclude"), list):
        raise OperatorError(msg("the manifest of backup {id} lists no files: choose another one", id=manifest["id"]))
    return manifest


def _check_links(request: RestoreRequest, target: Listing) -> None:
    out = links_outside(target, request.root)
    if out and not request.outside_links:
        text = msg(
            "the backup has links that point out of {path}: {files}: if that is intended, allow them with -e"
            " backup_restore_outside_links=true",
            path=request.root,
            files=sample(out),
        )
        raise OperatorError(text)


def _check_space(request: RestoreRequest, manifest: dict[str, Any], reserve_bytes: int) -> None:
    needed, free = int(manifest["bytes_tar"]) + 2 * int(manifest["bytes_file"]), free_bytes(request.root)
    if free < needed + reserve_bytes:
        raise OperatorError(no_space_to_restore(request.root, needed, reserve_bytes, free))


def _require_identical(actual: Listing, target: Listing, directory: str) -> None:
    differs = differing(actual, target)
    if differs:
        names = sample(differs)
        raise OperatorError(
            msg(
                "{path} differs from the backup after the restore, among others {files}: check the disk",
                path=directory,
                files=names,
            )
        )


def compute_changes(now: Listing, target: Listing) -> dict[str, list[str]]:
    """Return the paths that a restore adds, changes and removes."""
    return {
        "added": sorted(target.keys() - now.keys()),
        "changed": sorted(path for path in target.keys() & now.keys() if target[path] != now[path]),
        "removed": sorted(now.keys() - target.keys()),
    }


def diff_text(changes: dict[str, list[str]]) -> dict[str, str]:
    """Return a bounded number of the paths as text for Ansible's ``--diff``."""
    removed = [f"{printable(path)}\n" for path in changes["removed"][:SHOWN_CHANGES]]
    added = [f"{printable(path)}\n" for path in changes["added"][:SHOWN_CHANGES]]
    changed = changes["changed"][:SHOWN_CHANGES]
    return {
        "before": "".join(removed + [f"{printable(path)} (as it is)\n" for path in changed]),
        "after": "".join(added + [f"{printable(path)} (as it was)\n" for path in changed]),
    }


# --- critical files ---


def restore_critical(
    files: list[dict[str, Any]], directory: str, *, names: Collection[str], copy_name: str, check_mode: bool = False
) -> dict[str, Any]:
    """Restore critical files from their copies; the current files are copied first.

    :param names: files to restore; empty for all that have copies.
    :param copy_name: ``latest``, or the name of a copy.
    :returns: ``{changed, files: [{name, path, copy, changed}], failures: [message]}``
    """
    result: dict[str, Any] = {"changed": False, "files": [], "failures": _unknown_names(files, names)}
    plan = [] if result["failures"] else _plan_copies(files, directory, names, copy_name, result["failures"])
    for item, copy in plan if not result["failures"] else ():
        report = {"name": item["name"], "path": item["path"], "copy": copy, "changed": False}
        result["files"].append(report)
        try:
            report["changed"] = _restore_file(item, copy, directory, check_mode)
            result["changed"] = result["changed"] or report["changed"]
        except OperatorError as error:
            result["failures"].append(error.message)
    return result


def _unknown_names(files: list[dict[str, Any]], names: Collection[str]) -> list[Message]:
    """Return the messages for names that are not critical files."""
    critical_names = [str(item["name"]) for item in files]
    all_names = ", ".join(dict.fromkeys(critical_names))
    return [
        msg("{name} is no critical file: use one of {names}", name=printable(name), names=all_names)
        for name in names
        if name not in critical_names
    ]


def _plan_copies(
    files: list[dict[str, Any]], directory: str, names: Collection[str], copy_name: str, failures: list[Message]
) -> list[tuple[dict[str, Any], str]]:
    """Return the files to restore, each with its copy; add the reasons for missing copies to ``failures``."""
    plan = []
    for item in files:
        name = str(item["name"])
        if names and name not in names:
            continue
        try:
            copy = _find_copy(directory, name, copy_name)
        except OperatorError as error:
            failures.append(error.message)
            continue
        if copy is not None:
            plan.append((item, copy))
        elif names:
            text = msg(
                "{name} has no copy {wanted} in {path}: choose one of that directory",
                name=name,
                wanted=printable(copy_name),
                path=os.path.join(directory, name),
            )
            failures.append(text)
    if not plan and not failures:
        text = msg(
            "no critical file has a copy {wanted} in {path}: choose one of its directories",
            wanted=printable(copy_name),
            path=directory,
        )
        failures.append(text)
    return plan


def _find_copy(directory: str, name: str, copy_name: str) -> Optional[str]:
    """Return the path of a copy that matches the digest in its name; ``None`` when there is no copy."""
    folder = os.path.join(directory, name)
    file_name = dated_copies.newest_copy(folder) if copy_name == "latest" else os.path.basename(copy_name)
    if file_name is None or dated_copies.digits(file_name) is None:
        return None
    path = os.path.join(folder, file_name)
    if not os.path.lexists(path):
        return None
    digest, _ = dated_copies.hash_file(path)
    if os.path.islink(path) or dated_copies.digits(file_name) != digest[:12]:
        raise OperatorError(
            msg("{path} is damaged: its SHA-256 is not the one in its name: choose another copy", path=path)
        )
    return path


def _restore_file(item: dict[str, Any], copy: str, directory: str, check_mode: bool) -> bool:
    """Replace one file by its copy; return whether that changes anything."""
    path = os.path.realpath(str(item["path"]))
    try:
        digest, _ = dated_copies.hash_file(copy)
        before = None
        if os.path.lexists(path):
            before, info = dated_copies.hash_file(path)[0], os.stat(path)
            mode, owner = stat.S_IMODE(info.st_mode), (info.st_uid, info.st_gid)
        else:
            mode, owner = dated_copies.FILE_MODE, (os.geteuid(), os.getegid())
        if before == digest or check_mode:
            return before != digest
        if before is not None:
            saved = critical_files.copy_all([{**item, "path": path}], directory)
            if saved["failures"]:
                raise OperatorError(saved["failures"][0])
        _replace_file(copy, path, mode, owner)
        if dated_copies.hash_file(path)[0] != digest:
            raise OperatorError(msg("{path} differs from its copy after the restore: check the disk", path=path))
    except OSError as error:
        raise OperatorError(msg("{path} can't be restored: {reason}", path=path, reason=os_reason(error))) from error
    return True


def _replace_file(copy: str, path: str, mode: int, owner: tuple[int, int]) -> None:
    temporary = os.path.join(os.path.dirname(path), f"{STAGE}{os.getpid()}-{iso(time.time())}")
    try:
        target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for block in dated_copies.blocks(copy):
                write_all(target, block)
            if (os.geteuid(), os.getegid()) != owner:
                os.fchown(target, *owner)
            os.fchmod(target, mode)
            os.fsync(target)
        finally:
            os.close(target)
        os.rename(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    sync_directory(os.path.dirname(path))


def describe(result: dict[str, Any], what: str, check_mode: bool) -> list[Message]:
    """Return the messages about a restore of code or critical files."""
    if what == "critical":
        changed = [str(report["name"]) for report in result["files"] if report["changed"]]
        if not changed:
            return [msg("The critical files are identical to their copies: nothing to do.")]
        names = ", ".join(changed)
        if check_mode:
            return [msg("{files} would be restored.", files=names)]
        return [msg("Restored: {files}. Reload the application to use them.", files=names)]
    counts = {name: len(paths) for name, paths in result["changes"].items()}
    backup_id, messages = result["backup"]["id"], []
    if result["resumed"] and not check_mode:
        messages.append(msg("A killed restore was completed or removed first."))
    if not any(counts.values()):
        return [*messages, msg("The files are identical to the backup {id}: nothing to do.", id=backup_id)]
    figures = {"id": backup_id, **counts}
    if check_mode:
        return [
            msg(
                "Backup {id} would add {added}, change {changed} and remove {removed} files and directories.", **figures
            )
        ]
    messages.append(
        msg(
            "Backup {id} is restored: {added} files and directories added, {changed} changed, {removed} removed.",
            **figures,
        )
    )
    if result["safety"]:
        messages.append(msg("The previous files are in the safety backup {path}.", path=result["safety"]))
    messages.append(msg("Next: install the packages, build and reload the application."))
    return messages
