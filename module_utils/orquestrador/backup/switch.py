"""Replace a directory tree by a prepared one, so that a kill at any moment leaves the old or the new one.

``<root>/.restore-<id>/`` holds ``new/`` (complete and synced), ``old/`` and, once only renames are left to do,
``journal.json``. Each top-level name is renamed out to ``old/`` and in from ``new/`` by a separate process, which
signals to its parent do not reach, in about a millisecond. Only a crash of the host can interrupt the renames; then
:func:`recover`, which every restore calls first, reads the journal and continues. When a rename fails, it and all
earlier ones are undone.

Excluded names (``node_modules``, ``logs`` …) are never moved, and the directory itself stays, so that processes with it
as their working directory continue.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import stat
from collections.abc import Collection
from typing import Any, Callable, Optional

from ..core.errors import OperatorError, os_reason
from ..core.messages import msg
from ..system.command import fork
from ..system.whole_file import sync_directory, write_whole
from .tree import STAGE, is_excluded, is_stage

NEW, OLD, JOURNAL = "new", "old", "journal.json"
SWITCH_S = 60.0  # renames take milliseconds; a failing disk may never answer
MAX_JOURNAL = 16 * 1024 * 1024
_LIBC = ctypes.CDLL(None, use_errno=True)


def prepare(root: str, backup_id: str) -> str:
    """Create an empty stage for the tree of ``backup_id``; return the directory to fill."""
    stage = os.path.join(root, STAGE + backup_id)
    os.mkdir(stage, 0o700)
    for name in (NEW, OLD):
        os.mkdir(os.path.join(stage, name), 0o700)
    return os.path.join(stage, NEW)


def discard(root: str, backup_id: str) -> None:
    """Remove a stage, before its renames started or after they completed."""
    remove_tree(os.path.join(root, STAGE + backup_id))


def remove_tree(path: str) -> None:
    """Remove a directory, including read-only directories in it."""

    def make_writable(function: Callable[..., Any], where: str, error: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(where), 0o700)
            if os.path.isdir(where) and not os.path.islink(where):
                os.chmod(where, 0o700)
                shutil.rmtree(where, ignore_errors=True)
            else:
                os.unlink(where)

    # Its replacement, onexc, is newer than Python 3.9; onerror exists until 3.14 at least.
    shutil.rmtree(path, onerror=make_writable)
    shutil.rmtree(path, ignore_errors=True)


def switch(root: str, backup_id: str, keep: Collection[str]) -> None:
    """Replace everything in ``root``, except the names in ``keep``, by the prepared tree.

    :raises OperatorError: a rename failed; the old tree is back in place.
    """
    stage = os.path.join(root, STAGE + backup_id)
    sync_file_system(stage)
    plan = {
        "new": sorted(os.listdir(os.path.join(stage, NEW))),
        "old": sorted(name for name in os.listdir(root) if not is_excluded(name, keep)),
    }
    _write_journal(stage, plan)
    problem = _run_isolated(lambda: _rename_all(root, stage, plan))
    if problem is not None:
        raise OperatorError(
            msg("the restored files could not be put in place: {reason}: the old ones are back", reason=problem)
        )
    remove_tree(stage)


def recover(root: str) -> list[str]:
    """Complete or remove the stages of killed restores and return their names."""
    stages = []
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return []
    for name in names:
        stage = os.path.join(root, name)
        if not is_stage(name) or os.path.islink(stage) or not os.path.isdir(stage):
            continue
        stages.append(name)
        journal = _read_journal(stage)
        if journal is not None:
            problem = _run_isolated(lambda stage=stage, journal=journal: _rename_all(root, stage, journal))  # type: ignore[misc]
            if problem is not None:
                text = msg(
                    "a restore of {path} that was killed can't be finished: {reason}: the old files are back",
                    path=root,
                    reason=problem,
                )
                raise OperatorError(text)
        remove_tree(stage)
    return stages


def has_pending(root: str) -> bool:
    """Whether a killed restore left renames to complete."""
    with contextlib.suppress(OSError):
        return any(is_stage(name) and _read_journal(os.path.join(root, name)) is not None for name in os.listdir(root))
    return False


def _rename_all(root: str, stage: str, plan: dict[str, list[str]]) -> Optional[str]:
    """Rename forward, or all back on an error, and return the error; can be repeated after a crash at any point."""
    try:
        rename_forward(root, stage, plan)
    except OSError as error:
        rename_back(root, stage, plan)
        os.unlink(os.path.join(stage, JOURNAL))
        sync_directory(stage)
        return os_reason(error)
    sync_directory(root)
    os.unlink(os.path.join(stage, JOURNAL))
    sync_directory(stage)
    return None


def rename_forward(root: str, stage: str, plan: dict[str, list[str]]) -> None:
    """Rename old names out and new ones in, skipping names already done."""
    for name in sorted({*plan["new"], *plan["old"]}):
        new, old, current = (os.path.join(*parts, name) for parts in ((stage, NEW), (stage, OLD), (root,)))
        if name in plan["new"] and not os.path.lexists(new):
            continue  # already renamed
        if os.path.lexists(current):
            _rename(current, old)
        if name in plan["new"]:
            _rename(new, current)


def rename_back(root: str, stage: str, plan: dict[str, list[str]]) -> None:
    """Undo what :func:`forward` did."""
    for name in sorted({*plan["new"], *plan["old"]}, reverse=True):
        new, old, current = (os.path.join(*parts, name) for parts in ((stage, NEW), (stage, OLD), (root,)))
        if name in plan["new"] and not os.path.lexists(new):
            _rename(current, new)
        if os.path.lexists(old):
            _rename(old, current)


def _rename(source: str, target: str) -> None:
    """Rename; a directory without write permission needs it meanwhile to get another parent."""
    info = os.lstat(source)
    narrow = stat.S_ISDIR(info.st_mode) and not info.st_mode & stat.S_IWUSR
    if narrow:
        os.chmod(source, stat.S_IMODE(info.st_mode) | stat.S_IWUSR)
    os.rename(source, target)
    if narrow:
        os.chmod(target, stat.S_IMODE(info.st_mode))


def _run_isolated(work: Callable[[], Optional[str]]) -> Optional[str]:
    """Run ``work`` in a process that survives this one and return its result."""
    reader, writer = os.pipe()
    child = fork()
    if child == 0:
        reply = "!the process ended without a result"
        try:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
                signal.signal(number, signal.SIG_IGN)
            reply = "=" + (work() or "")
        except BaseException as error:  # noqa: BLE001 - Ansible's handlers must not run in this process
            reply = "!" + os_reason(error)
        finally:
            with contextlib.suppress(OSError):
                os.write(writer, reply.encode("utf-8", "replace")[:2000])
            os._exit(0)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], SWITCH_S)
        answer = os.read(reader, 4096) if ready else b""
    finally:
        os.close(reader)
    text = answer.decode("utf-8", "replace")
    if not text.startswith("="):
        message = msg(
            "the replacement of the files was interrupted: {reason}: run the restore again, it continues from there",
            reason=text[1:] or "the disk does not answer",
        )
        raise OperatorError(message)
    os.waitpid(child, 0)
    return text[1:] or None


def sync_file_system(path: str) -> None:
    """Sync the file system of a path: one call instead of one fsync for each of thousands of files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _write_journal(stage: str, plan: dict[str, list[str]]) -> None:
    write_whole(os.path.join(stage, JOURNAL), json.dumps(plan).encode(), 0o600)


def _read_journal(stage: str) -> Optional[dict[str, list[str]]]:
    try:
        descriptor = os.open(os.path.join(stage, JOURNAL), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, encoding="ascii", errors="replace") as file:
        try:
            plan = json.loads(file.read(MAX_JOURNAL))
            return {key: [_plain_name(name) for name in plan[key]] for key in ("new", "old")}
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def _plain_name(name: Any) -> str:
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise ValueError("no name")
    return name
