"""What the application runs from, its ``dist``, and the way back to it.

A build writes in place. Before one, ``dist`` is copied aside, and put back exactly when the build fails or is killed.
One that succeeds leaves the copy as the way back for the reload that follows: until a reload has proven what was built,
the copy stays the one that the running application was started from, however often is built meanwhile. What a reload
has proven is copied aside as well, as what was *good* last: for the day on which what is there no longer starts,
whoever changed it.

``<state dir>/state.json`` says what the copies beside it are, and is replaced atomically: whenever a run is killed, the
next one finds either what was before or what is after. It lies outside the application, so that neither its git
repository nor a backup of its code sees copies.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from typing import Any, Optional

from ..core.errors import OperatorError, os_reason
from ..core.jsonable import iso
from ..core.messages import msg
from ..system.command import run
from ..system.files import DIR_MODE, FILE_MODE, LOCK, lock_file
from ..system.long_command import end_marked
from ..system.whole_file import write_whole

FORMAT = 1
RESERVE_BYTES = 64 * 1024 * 1024  # what copying aside leaves free, for the build to write
COPY_TIMEOUT_S = 300.0
COPY = "dist-"
STATE = "state.json"
RESTORING, DISCARDED = ".ops-restoring", ".ops-discarded"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class DeployError(OperatorError):
    """A build or a reload can't be done, or did not do; ``message`` is for the operator."""


def digest(path: str) -> Optional[str]:
    """One SHA-256 over names, kinds, modes and contents of a directory; ``None`` when there is none."""
    if not os.path.isdir(path):
        return None
    total = hashlib.sha256()
    for folder, names, files in os.walk(path):
        names.sort()
        for name in sorted([*files, *names]):
            total.update(_entry(os.path.join(folder, name), path))
    total.update(oct(stat.S_IMODE(os.stat(path).st_mode)).encode())
    return total.hexdigest()


def _entry(path: str, root: str) -> bytes:
    info = os.lstat(path)
    kind, content = stat.S_IFMT(info.st_mode), b""
    if stat.S_ISLNK(info.st_mode):
        content = os.fsencode(os.readlink(path))
    elif stat.S_ISREG(info.st_mode):
        one = hashlib.sha256()
        with open(path, "rb") as stream:
            while piece := stream.read(1 << 20):
                one.update(piece)
        content = one.hexdigest().encode()
    mode = b"" if stat.S_ISLNK(info.st_mode) else oct(stat.S_IMODE(info.st_mode)).encode()
    return b"\0".join((os.fsencode(os.path.relpath(path, root)), str(kind).encode(), mode, content, b""))


def size(path: str) -> int:
    """Bytes of the files in a directory."""
    total = 0
    for folder, _, files in os.walk(path):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


class Dist:
    """A ``dist`` and the copies of it in ``state_dir``. Use inside :meth:`locked`."""

    def __init__(self, path: str, state_dir: str) -> None:
        self.path = os.path.realpath(path)
        self.state_dir = state_dir

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """One build or reload at a time; the lock ends with its process."""
        try:
            os.makedirs(self.state_dir, DIR_MODE, exist_ok=True)
            descriptor = lock_file(os.path.join(self.state_dir, LOCK))
        except BlockingIOError as error:
            raise DeployError(
                msg("another build or reload works with {path}: wait for it to end", path=self.path)
            ) from error
        except OSError as error:
            raise self._unusable(self.state_dir, error) from error
        try:
            yield
        finally:
            os.close(descriptor)

    # ---- what is known

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.join(self.state_dir, STATE), encoding="utf-8") as stream:
                held = json.load(stream)
            if isinstance(held, dict) and held.get("format") == FORMAT and held.get("dist") == self.path:
                return held
        return {}

    def _part(self, name: str) -> dict[str, Any]:
        """What is known of the running build, or of what waits to be proven; without its copy it is worth nothing."""
        held = self._read().get(name)
        return held if isinstance(held, dict) and self._copy_of(held) is not None else {}

    def _copy_of(self, held: dict[str, Any]) -> Optional[str]:
        """Where the copy lies; the empty string when there was no dist to copy."""
        name = held.get("copy")
        if name == "":
            return ""
        if not isinstance(name, str) or not name.startswith(COPY) or "/" in name:
            return None
        path = os.path.join(self.state_dir, name)
        return path if os.path.isdir(path) else None

    def interrupted(self) -> bool:
        """Whether a build was killed half-way."""
        return bool(self._part("building"))

    def way_back(self) -> bool:
        """Whether there is a dist to go back to: the one before what was built and not yet proven."""
        return bool(self._part("pending").get("copy"))

    def _write(self, building: dict[str, Any], pending: dict[str, Any], good: Optional[dict[str, Any]] = None) -> None:
        """Without ``good``, what was good last stays."""
        good = self._part("good") if good is None else good
        parts = {"building": building, "pending": pending, "good": good}
        held = {"format": FORMAT, "dist": self.path, **{name: part or None for name, part in parts.items()}}
        place = os.path.join(self.state_dir, STATE)
        try:
            write_whole(place, json.dumps(held).encode(), FILE_MODE)
        except OSError as error:
            raise self._unusable(place, error) from error
        self._sweep({str(part.get("copy")) for part in parts.values() if part})

    def _sweep(self, keep: set[str]) -> None:
        """Remove the copies that nothing refers to, and what a restoring that was killed left."""
        for name in os.listdir(self.state_dir):
            if name.startswith(COPY) and name not in keep:
                shutil.rmtree(os.path.join(self.state_dir, name), ignore_errors=True)
        for ending in (RESTORING, DISCARDED):
            shutil.rmtree(self.path + ending, ignore_errors=True)

    # ---- what happens

    def repair(self) -> bool:
        """Put back what a build that was killed had begun to overwrite; whether there was such a build."""
        building = self._part("building")
        if not building:
            return False
        end_marked(str(building.get("mark")))
        self._restore(building)
        self._write({}, self._part("pending"))
        return True

    def begin(self) -> str:
        """Copy dist aside for a build, and give the build its mark."""
        mark = secrets.token_hex(8)
        name = self._copy(f"{COPY}{mark}") if os.path.isdir(self.path) else ""
        held = {"mark": mark, "copy": name, "digest": digest(self.path), "at": int(time.time())}
        self._write(held, self._part("pending"))
        return mark

    def give_up(self) -> bool:
        """The build failed: everything as it was. Whether the build had changed anything."""
        restored = self._restore(self._part("building"))
        self._write({}, self._part("pending"))
        return restored

    def built(self) -> None:
        """The build succeeded: keep the way back to what the application runs."""
        building, pending, now = self._part("building"), self._part("pending"), digest(self.path)
        pending = pending or building
        self._write({}, {} if not pending or pending.get("digest") == now else pending)

    def proven(self) -> None:
        """A reload has proven what dist holds: it is what was good last, and the way back is needed no more."""
        good = self._part("good")
        # Without room for it, what was good before is better than nothing.
        with contextlib.suppress(OSError, DeployError):
            now = digest(self.path)
            if now is not None and now != good.get("digest"):
                name = self._copy(f"{COPY}{secrets.token_hex(8)}")
                good = {"copy": name, "digest": now, "at": int(time.time())}
        self._write({}, {}, good)

    def go_back(self) -> Optional[dict[str, Any]]:
        """What is there does not start: put back what was before it; ``{to, good_at}``, ``None`` when there is nothing.

        That is what a build which was killed had begun to overwrite, what the application ran from before a build that
        no reload has proven, or what one has proven last: the first of these that is another than what is there.
        """
        building = self._part("building")
        if building and self.repair():
            return {"to": "before_build", "good_at": iso(building.get("at"))}
        now = digest(self.path)
        for name, to, keep in (("pending", "before_build", False), ("good", "proven", True)):
            held = self._part(name)
            if held.get("copy") and held.get("digest") != now:
                self._restore(held, keep=keep)
                self._write({}, {})
                return {"to": to, "good_at": iso(held.get("at"))}
        return None

    def roll_back(self) -> bool:
        """Put back what the application ran from before the build that did not prove itself; whether it could."""
        pending = self._part("pending")
        if not pending.get("copy"):
            return False
        self._restore(pending)
        self._write({}, {})
        return True

    def _copy(self, name: str) -> str:
        needed, free = size(self.path), shutil.disk_usage(self.state_dir).free
        if free < needed + RESERVE_BYTES:
            raise DeployError(
                msg(
                    "{path} can't be kept aside: {free_bytes} are free in {directory}, {needed_bytes} are needed:"
                    " free some",
                    path=self.path,
                    directory=self.state_dir,
                    free_bytes=free,
                    needed_bytes=needed + RESERVE_BYTES,
                )
            )
        self._duplicate(self.path, os.path.join(self.state_dir, name))
        return name

    def _duplicate(self, source: str, target: str) -> None:
        """A true copy, modes and times included: links to the same files would be overwritten with them."""
        shutil.rmtree(target, ignore_errors=True)
        argv = ["cp", "-a", "--reflink=auto", "--", source, target]
        done = run(argv, timeout_s=COPY_TIMEOUT_S)
        if done.code != 0 or digest(source) != digest(target):
            shutil.rmtree(target, ignore_errors=True)
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            reason = said[-1][:200] if said else (done.error or "timeout" if done.code != 0 else "it changes meanwhile")
            raise DeployError(
                msg("{path} could not be copied to {target}: {reason}", path=source, target=target, reason=reason)
            )

    def _restore(self, held: dict[str, Any], *, keep: bool = False) -> bool:
        """Have exactly what was copied, in one step; whether anything was different. ``keep``: the copy stays, too."""
        copy = self._copy_of(held)
        if copy is None or digest(self.path) == held.get("digest"):
            return False
        restoring, discarded = self.path + RESTORING, self.path + DISCARDED
        shutil.rmtree(discarded, ignore_errors=True)
        try:
            if not copy:
                os.rename(self.path, discarded)
            elif not keep and os.stat(self.state_dir).st_dev == os.stat(os.path.dirname(self.path)).st_dev:
                # The copy itself: a disk that the build has filled has no room for another.
                _put(copy, self.path, discarded)
            else:
                self._duplicate(copy, restoring)
                _put(restoring, self.path, discarded)
        except OSError as error:
            raise self._unusable(self.path, error) from error
        for left in (restoring, discarded):
            shutil.rmtree(left, ignore_errors=True)
        return True

    @staticmethod
    def _unusable(path: str, error: OSError) -> DeployError:
        return DeployError(
            msg(
                "{path} can't be written: {reason}: see who owns it and whether there is room",
                path=path,
                reason=os_reason(error),
            )
        )


def _put(new: str, old: str, discarded: str) -> None:
    """``new`` in the place of ``old``, at once where the file system can: the application serves files from it."""
    if not os.path.lexists(old):
        os.rename(new, old)
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.suppress(AttributeError):  # a C library without it
        if libc.renameat2(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE) == 0:
            return
    os.rename(old, discarded)
    os.rename(new, old)
