"""Put a prepared tree in the place of another, so that a kill at any moment leaves the old or the new one.

``<root>/.restore-<id>/`` holds ``new/`` (complete and synced), ``old/`` and, from the moment on at which nothing can
go wrong any more but a rename, ``journal.json``. Top-level names are renamed, one out and one in; the renaming is done
by a process of its own, which a signal to the one that started it does not reach, and lasts about a millisecond. Only
the host's own end can fall into it, and then the journal is there: :func:`recover`, which begins every backup and
restore, goes on where it ended. A rename that fails is undone with all before it.

Names that are kept (``node_modules``, ``logs`` …) are never moved, and the directory itself stays the same one, so that
processes that work in it go on working in it.
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
from .tree import STAGE, is_stage, left_out

NEW, OLD, JOURNAL = "new", "old", "journal.json"
SWITCH_S = 60.0  # renames take no time; a sick disk takes any
MAX_JOURNAL = 16 * 1024 * 1024
_LIBC = ctypes.CDLL(None, use_errno=True)


def prepare(root: str, backup_id: str) -> str:
    """An empty stage for the tree of ``backup_id``; the directory to fill."""
    stage = os.path.join(root, STAGE + backup_id)
    os.mkdir(stage, 0o700)
    for name in (NEW, OLD):
        os.mkdir(os.path.join(stage, name), 0o700)
    return os.path.join(stage, NEW)


def discard(root: str, backup_id: str) -> None:
    """Remove a stage whose renaming has not begun, or has ended."""
    remove_tree(os.path.join(root, STAGE + backup_id))


def remove_tree(path: str) -> None:
    """Remove a directory of ours, also when directories in it can't be written to."""

    def allow(function: Callable[..., Any], where: str, why: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(where), 0o700)
            if os.path.isdir(where) and not os.path.islink(where):
                os.chmod(where, 0o700)
                shutil.rmtree(where, ignore_errors=True)
            else:
                os.unlink(where)

    # Its second name, onexc, is younger than Python 3.9; this one is there until 3.14 at least.
    shutil.rmtree(path, onerror=allow)
    shutil.rmtree(path, ignore_errors=True)


def switch(root: str, backup_id: str, keep: Collection[str]) -> None:
    """Put what was prepared in the place of everything in ``root`` that is not kept.

    :raises OperatorError: a rename failed, and the old tree is back.
    """
    stage = os.path.join(root, STAGE + backup_id)
    sync_file_system(stage)
    plan = {
        "new": sorted(os.listdir(os.path.join(stage, NEW))),
        "old": sorted(name for name in os.listdir(root) if not left_out(name, keep)),
    }
    _write_journal(stage, plan)
    problem = _apart(lambda: _renamed(root, stage, plan))
    if problem is not None:
        raise OperatorError(
            msg("the restored files could not be put in place: {reason}: the old ones are back", reason=problem)
        )
    remove_tree(stage)


def recover(root: str) -> list[str]:
    """Finish what a killed restore left; the stages that were finished or removed."""
    found = []
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return []
    for name in names:
        stage = os.path.join(root, name)
        if not is_stage(name) or os.path.islink(stage) or not os.path.isdir(stage):
            continue
        found.append(name)
        journal = _read_journal(stage)
        if journal is not None:
            problem = _apart(lambda stage=stage, journal=journal: _renamed(root, stage, journal))  # type: ignore[misc]
            if problem is not None:
                text = msg(
                    "a restore of {path} that was killed can't be finished: {reason}: the old files are back",
                    path=root,
                    reason=problem,
                )
                raise OperatorError(text)
        remove_tree(stage)
    return found


def pending(root: str) -> bool:
    """Whether a killed restore has something left to finish."""
    with contextlib.suppress(OSError):
        return any(is_stage(name) and _read_journal(os.path.join(root, name)) is not None for name in os.listdir(root))
    return False


def _renamed(root: str, stage: str, plan: dict[str, list[str]]) -> Optional[str]:
    """Forward, or all the way back; what exists says how far it got, so that it can be begun again at any point."""
    try:
        forward(root, stage, plan)
    except OSError as error:
        backward(root, stage, plan)
        os.unlink(os.path.join(stage, JOURNAL))
        sync_directory(stage)
        return os_reason(error)
    sync_directory(root)
    os.unlink(os.path.join(stage, JOURNAL))
    sync_directory(stage)
    return None


def forward(root: str, stage: str, plan: dict[str, list[str]]) -> None:
    """Rename, skipping what is done already."""
    for name in sorted({*plan["new"], *plan["old"]}):
        new, old, place = (os.path.join(*parts, name) for parts in ((stage, NEW), (stage, OLD), (root,)))
        if name in plan["new"] and not os.path.lexists(new):
            continue  # it is in its place
        if os.path.lexists(place):
            _rename(place, old)
        if name in plan["new"]:
            _rename(new, place)


def backward(root: str, stage: str, plan: dict[str, list[str]]) -> None:
    """Undo what :func:`forward` did."""
    for name in sorted({*plan["new"], *plan["old"]}, reverse=True):
        new, old, place = (os.path.join(*parts, name) for parts in ((stage, NEW), (stage, OLD), (root,)))
        if name in plan["new"] and not os.path.lexists(new):
            _rename(place, new)
        if os.path.lexists(old):
            _rename(old, place)


def _rename(source: str, target: str) -> None:
    """Rename; a directory that its owner can't write to can't be moved to another parent."""
    info = os.lstat(source)
    narrow = stat.S_ISDIR(info.st_mode) and not info.st_mode & stat.S_IWUSR
    if narrow:
        os.chmod(source, stat.S_IMODE(info.st_mode) | stat.S_IWUSR)
    os.rename(source, target)
    if narrow:
        os.chmod(target, stat.S_IMODE(info.st_mode))


def _apart(work: Callable[[], Optional[str]]) -> Optional[str]:
    """Do it in a process that goes on when this one is killed; what it returns."""
    ours, theirs = os.pipe()
    child = fork()
    if child == 0:
        said = "!it ended without a word"
        try:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
                signal.signal(number, signal.SIG_IGN)
            said = "=" + (work() or "")
        except BaseException as error:  # noqa: BLE001 - nothing of Ansible's may run in this process
            said = "!" + str(getattr(error, "strerror", None) or type(error).__name__)
        finally:
            with contextlib.suppress(OSError):
                os.write(theirs, said.encode("utf-8", "replace")[:2000])
            os._exit(0)
    os.close(theirs)
    try:
        ready, _, _ = select.select([ours], [], [], SWITCH_S)
        answer = os.read(ours, 4096) if ready else b""
    finally:
        os.close(ours)
    text = answer.decode("utf-8", "replace")
    if not text.startswith("="):
        message = msg(
            "the exchange of old and new files stopped half-way: {reason}: run the restore again, it goes on from"
            " there",
            reason=text[1:] or "the disk does not answer",
        )
        raise OperatorError(message)
    os.waitpid(child, 0)
    return text[1:] or None


def sync_file_system(path: str) -> None:
    """Have everything of a path's file system on the disk: one call instead of one for each of thousands of files."""
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
