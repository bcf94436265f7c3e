"""Restore the application's directory from a backup, or critical files from their copies, with a way back.

What is there is saved first, in the way that it is backed up. The new tree is unpacked beside, compared with the
manifest, and only then put in place (:mod:`.switch`). Files that the backup does not have go: they are in the
safety backup. Names that the backup leaves out stay as they are.
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
from ..mysql.clients import need
from ..system import dated_copies
from ..system.files import Lock, free_bytes, locked
from ..system.pipeline import write_all
from ..system.whole_file import sync_directory
from . import switch
from .code import KIND, back_up, check_place, read_back
from .keys import check_identity, check_recipient
from .session import Limits, check_file, no_room_to_restore
from .sink import no_room
from .store import choose, data_path
from .tree import STAGE, Listing, differing, leading_out, left_out, look, shown, signatures, some, top, walk

SHOWN_CHANGES = 100  # names in the difference that is shown


class Wanted(NamedTuple):
    """What to restore from where, and what may be done for it."""

    directory: str  # of the backups
    backup: str
    root: str  # of the tree
    exclude: Collection[str]
    identity: str
    recipient: str
    unverified: bool
    outside_links: bool


def confirm(given: str, name: str) -> None:
    """Refuse what was not confirmed."""
    if given != name:
        raise OperatorError(
            msg(
                "restoring replaces what is there: confirm it with the name of the application, -e confirm={name}",
                name=name,
            )
        )


def restore_code(wanted: Wanted, limits: Limits, *, check_mode: bool = False) -> dict[str, Any]:
    """Restore the tree of one backup.

    :returns: ``{changed, backup: manifest, path, safety: path or None, changes: {added, changed, removed: [names]},
        resumed: [names], failures: []}``
    :raises OperatorError: why not; the old tree is in place then.
    """
    began = time.monotonic()
    check_recipient(wanted.recipient)
    check_identity(wanted.identity)
    check_place(wanted.directory, wanted.root, wanted.exclude)
    need("age"), need("zstd")
    manifest = _chosen(wanted)
    keep = {*wanted.exclude, *(str(name) for name in manifest["exclude"])}
    target: Listing = {path: entry for path, entry in manifest["files"].items() if not left_out(top(path), keep)}
    _check_links(wanted, target)
    path = data_path(wanted.directory, manifest)
    result: dict[str, Any] = {"changed": False, "backup": manifest, "path": path, "safety": None, "resumed": []}
    if check_mode:
        result["changes"] = changes(look(wanted.root, keep) if os.path.isdir(wanted.root) else {}, target)
        result["changed"] = any(result["changes"].values())
        return result
    with locked(wanted.directory, "files_restore", time.time()) as lock:
        os.makedirs(wanted.root, 0o755, exist_ok=True)
        result["resumed"] = switch.recover(wanted.root)
        before = signatures(walk(wanted.root, keep))
        result["changes"] = changes(look(wanted.root, keep), target)
        if not any(result["changes"].values()):
            return result
        _room(wanted, manifest, limits.reserve_bytes)
        check_file(wanted.directory, manifest)
        if before:
            left = limits._replace(timeout_s=max(limits.timeout_s - (time.monotonic() - began), 1.0))
            result["safety"] = _saved(wanted, left, lock)

        def unpack(place: str) -> None:
            deadline = began + limits.timeout_s
            read_back(wanted.directory, manifest, wanted.identity, lock, deadline, limits.stall_s, place)

        _exchange(wanted, manifest, target, keep, before, unpack)
        result["changed"] = True
    return result


def _saved(wanted: Wanted, limits: Limits, lock: Lock) -> Optional[str]:
    """Save what is there; where."""
    made = back_up(
        wanted.directory,
        source=wanted.root,
        exclude=wanted.exclude,
        recipient=wanted.recipient,
        identity=wanted.identity,
        limits=limits,
        purpose="safety",
        held=lock,
    )
    path: Optional[str] = made["path"]
    return path


def _exchange(
    wanted: Wanted,
    manifest: dict[str, Any],
    target: Listing,
    keep: Collection[str],
    before: dict[str, tuple[int, ...]],
    unpack: Callable[[str], None],
) -> None:
    """Unpack the backup beside what is there, look whether all of it is as it should be, and put it in place."""
    root, backup_id = wanted.root, str(manifest["id"])
    try:
        place = switch.prepare(root, backup_id)
        unpack(place)
        for name in os.listdir(place):
            if left_out(name, keep):  # backed up once, but told to be left alone now
                switch.remove_tree(os.path.join(place, name))
        _same(look(place, ()), target, place)
        written = differing(before, signatures(walk(root, keep)))
        if written:
            raise OperatorError(
                msg("{files} changed since they were saved: stop what writes them and try again", files=some(written))
            )
        switch.switch(root, backup_id, keep)
    except OSError as error:
        raise OperatorError(no_room(root, error)) from error
    finally:
        if not switch.pending(root):
            switch.discard(root, backup_id)
    _same(look(root, keep), target, root)


def _chosen(wanted: Wanted) -> dict[str, Any]:
    name = wanted.backup
    if not name:
        raise OperatorError(msg("no backup is named: give backup=latest, or the id or the file of one"))
    manifest = choose(wanted.directory, name, KIND, safety=False)
    if manifest.get("verified") is None and not wanted.unverified:
        text = msg(
            "backup {id} was not proven: prove it, choose another one, or restore it all the same with"
            " -e backup_restore_unverified=true",
            id=manifest["id"],
        )
        raise OperatorError(text)
    if not isinstance(manifest.get("files"), dict) or not isinstance(manifest.get("exclude"), list):
        raise OperatorError(msg("the manifest of backup {id} lists no files: choose another one", id=manifest["id"]))
    return manifest


def _check_links(wanted: Wanted, target: Listing) -> None:
    out = leading_out(target, wanted.root)
    if out and not wanted.outside_links:
        text = msg(
            "the backup has links that lead out of {path}: {files}: if they are meant to, allow them with"
            " -e backup_restore_outside_links=true",
            path=wanted.root,
            files=some(out),
        )
        raise OperatorError(text)


def _room(wanted: Wanted, manifest: dict[str, Any], reserve_bytes: int) -> None:
    needed, free = int(manifest["bytes_tar"]) + 2 * int(manifest["bytes_file"]), free_bytes(wanted.root)
    if free < needed + reserve_bytes:
        raise OperatorError(no_room_to_restore(wanted.root, needed, reserve_bytes, free))


def _same(found: Listing, target: Listing, place: str) -> None:
    differs = differing(found, target)
    if differs:
        raise OperatorError(
            msg("{path} is not what was restored, {files} among it: look at the disk", path=place, files=some(differs))
        )


def changes(now: Listing, target: Listing) -> dict[str, list[str]]:
    """What a restore adds, changes and removes."""
    return {
        "added": sorted(target.keys() - now.keys()),
        "changed": sorted(path for path in target.keys() & now.keys() if target[path] != now[path]),
        "removed": sorted(now.keys() - target.keys()),
    }


def difference(found: dict[str, list[str]]) -> dict[str, str]:
    """The names for Ansible's ``--diff``, a bounded number."""
    gone = [f"{shown(path)}\n" for path in found["removed"][:SHOWN_CHANGES]]
    come = [f"{shown(path)}\n" for path in found["added"][:SHOWN_CHANGES]]
    both = found["changed"][:SHOWN_CHANGES]
    return {
        "before": "".join(gone + [f"{shown(path)} (as it is)\n" for path in both]),
        "after": "".join(come + [f"{shown(path)} (as it was)\n" for path in both]),
    }


# Critical files.


def restore_critical(
    files: list[dict[str, Any]], directory: str, *, names: Collection[str], wanted: str, check_mode: bool = False
) -> dict[str, Any]:
    """Bring critical files back from their copies; what is there is copied first.

    :param names: those to restore; empty for all that have copies.
    :param wanted: ``latest``, or the name of a copy.
    :returns: ``{changed, files: [{name, path, copy, changed}], failures: [message]}``
    """
    result: dict[str, Any] = {"changed": False, "files": [], "failures": _unknown(files, names)}
    plan = [] if result["failures"] else _planned(files, directory, names, wanted, result["failures"])
    for item, copy in plan if not result["failures"] else ():
        report = {"name": item["name"], "path": item["path"], "copy": copy, "changed": False}
        result["files"].append(report)
        try:
            report["changed"] = _bring_back(item, copy, directory, check_mode)
            result["changed"] = result["changed"] or report["changed"]
        except OperatorError as error:
            result["failures"].append(error.message)
    return result


def _unknown(files: list[dict[str, Any]], names: Collection[str]) -> list[Message]:
    """What to say of names that are no critical file's."""
    known = [str(item["name"]) for item in files]
    all_known = ", ".join(dict.fromkeys(known))
    return [
        msg("{name} is no critical file: use one of {names}", name=shown(name), names=all_known)
        for name in names
        if name not in known
    ]


def _planned(
    files: list[dict[str, Any]], directory: str, names: Collection[str], wanted: str, failures: list[Message]
) -> list[tuple[dict[str, Any], str]]:
    """The files to bring back, each with its copy; why one has none goes into ``failures``."""
    plan = []
    for item in files:
        name = str(item["name"])
        if names and name not in names:
            continue
        try:
            copy = _copy_of(directory, name, wanted)
        except OperatorError as error:
            failures.append(error.message)
            continue
        if copy is not None:
            plan.append((item, copy))
        elif names:
            text = msg(
                "{name} has no copy {wanted} in {path}: look at what is there",
                name=name,
                wanted=shown(wanted),
                path=os.path.join(directory, name),
            )
            failures.append(text)
    if not plan and not failures:
        text = msg(
            "no critical file has a copy {wanted} in {path}: look at what is there",
            wanted=shown(wanted),
            path=directory,
        )
        failures.append(text)
    return plan


def _copy_of(directory: str, name: str, wanted: str) -> Optional[str]:
    """The path of the copy, proven to be what its name says; ``None`` when there is none of that name."""
    folder = os.path.join(directory, name)
    found = dated_copies.newest_copy(folder) if wanted == "latest" else os.path.basename(wanted)
    if found is None or dated_copies.digits(found) is None:
        return None
    place = os.path.join(folder, found)
    if not os.path.lexists(place):
        return None
    digest, _ = dated_copies.hash_file(place)
    if os.path.islink(place) or dated_copies.digits(found) != digest[:12]:
        raise OperatorError(
            msg("{path} is damaged: its SHA-256 is not the one in its name: choose another copy", path=place)
        )
    return place


def _bring_back(item: dict[str, Any], copy: str, directory: str, check_mode: bool) -> bool:
    """Replace one file by its copy; whether that changes anything."""
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
        _replace(copy, path, mode, owner)
        if dated_copies.hash_file(path)[0] != digest:
            raise OperatorError(msg("{path} is not what was restored: look at the disk", path=path))
    except OSError as error:
        raise OperatorError(msg("{path} can't be restored: {reason}", path=path, reason=os_reason(error))) from error
    return True


def _replace(copy: str, path: str, mode: int, owner: tuple[int, int]) -> None:
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


def remarks(result: dict[str, Any], what: str, check_mode: bool) -> list[Message]:
    """What there is to say of a restore of code."""
    if what == "critical":
        changed = [str(report["name"]) for report in result["files"] if report["changed"]]
        if not changed:
            return [msg("The critical files are those of the copies: nothing to do.")]
        names = ", ".join(changed)
        if check_mode:
            return [msg("{files} would be restored.", files=names)]
        return [msg("Restored: {files}. The application does not know yet: reload it.", files=names)]
    counts = {name: len(paths) for name, paths in result["changes"].items()}
    backup_id, said = result["backup"]["id"], []
    if result["resumed"] and not check_mode:
        said.append(msg("A restore that was killed had left something, which was finished or removed first."))
    if not any(counts.values()):
        return [*said, msg("The files are those of the backup {id}: nothing to do.", id=backup_id)]
    figures = {"id": backup_id, **counts}
    if check_mode:
        return [
            msg(
                "Backup {id} would add {added}, change {changed} and remove {removed} files and directories.", **figures
            )
        ]
    said.append(
        msg(
            "Backup {id} is restored: {added} files and directories added, {changed} changed, {removed} removed.",
            **figures,
        )
    )
    if result["safety"]:
        said.append(msg("What was there before is in {path}.", path=result["safety"]))
    said.append(msg("Next: install its packages, build and reload the application."))
    return said
