"""Logs into an archive without the loss of a line, whoever writes them and whenever this is killed.

Every log goes through states that its name tells (see :mod:`.rotation`), so that a run that was killed is finished
by the next one: ``x.log`` is renamed to ``.x.log.<id>.spool`` beside it; PM2 reopens its logs; when nobody has the old
file open for writing any more it goes into an archive (see :mod:`.tarball`), which is read back and compared; only
then it is removed, or, if the probe reads it, kept for a day as ``.x.log.<id>.kept``. What is in an archive and still
spooled is compared and removed, never archived again. Nothing is ever copied and truncated.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Optional
from zoneinfo import ZoneInfo

from ..core.errors import OperatorError, is_full
from ..core.messages import msg
from ..core.types import Message
from ..pm2 import daemon as pm2
from ..system.files import locked, new_id
from ..system.procfs import user_name
from ..system.whole_file import sync_directory
from . import tarball
from .reopen import Daemon, look, normal, reopen
from .rotation import FREE, HELD, KEPT, SPOOL, Rotated, held, inode, parse, rotated, rotated_name, writers
from .selection import Options, select, suits
from .tarball import ArchiveError, Measure, Stop

DIR_MODE = 0o750
KEPT_S = 25 * 3600.0  # the probe counts errors of a day
CLOSE_S = 2.0  # a script that appends a line has the file open for milliseconds
POLL_S = 0.01


def archive(options: Options, *, now: Optional[float] = None, check_mode: bool = False) -> dict[str, Any]:
    """Archive logs; one log's failure does not stop the others.

    :returns: ``{changed, archive, files, left, fresh, removed, restored, failures, notes, evidence}``; ``left`` holds
        ``{path, message}`` of logs that stay where they are.
    """
    return _Run(options, time.time() if now is None else now).run(check_mode)


class _Run:
    """One call of :func:`archive`."""

    def __init__(self, options: Options, now: float) -> None:
        self.options, self.now = options, now
        self.id = new_id(now)
        self.started = time.monotonic()
        self.stop = Stop(options.timeout_s)
        self.daemon: Daemon = look(options.pm2_home, options.app_name, options.pm2_command)
        self.result: dict[str, Any] = {
            **{"changed": False, "archive": None, "restored": 0},
            **{name: [] for name in ("files", "left", "fresh", "removed", "failures", "notes")},
        }
        self.looked: list[str] = []

    def run(self, check_mode: bool) -> dict[str, Any]:
        if self.daemon.state != pm2.ONLINE:
            self._about_daemon()
        chosen = self._choose()
        if check_mode:
            self._would(chosen)
        else:
            try:
                os.makedirs(self.options.archive_dir, DIR_MODE, exist_ok=True)
                with locked(self.options.archive_dir, "log_archive", self.now):
                    self._work(chosen)
            except OperatorError as error:
                self.result["failures"].append(error.message)
            except OSError as error:
                self._failed(self.options.archive_dir, error)
        self.result["evidence"] = self._evidence()
        return self.result

    def _work(self, chosen: list[str]) -> None:
        tarball.sweep(self.options.archive_dir)
        old = [item for item in self._rotated() if self._resume(item)]
        self._forget()
        new = self._rotate(chosen, old)
        ripe = [item for item in [*old, *new] if self._ripe(item)]
        if ripe:
            self._pack(ripe)
        if not self.result["failures"]:
            self._retain()

    def _choose(self) -> list[str]:
        """Paths of the logs that are to be archived now."""
        selection = select(self.options, self.daemon, self.now)
        self.looked, self.result["fresh"] = selection.looked, selection.fresh
        suitable = []
        for path in selection.looked:
            try:
                if suits(path):
                    suitable.append(path)
            except OperatorError as error:
                self._leave(path, error.message)
            except OSError as error:
                self._failed(path, error)
        return suitable

    def _rotated(self, state: str = SPOOL) -> list[Rotated]:
        folders = {os.path.dirname(path) for path in [*self.looked, *self.daemon.paths(self.options.app_name)]}
        folders.update(normal(os.path.dirname(pattern)) for pattern in self.options.globs)
        if self.options.flush:
            folders.update(normal(os.path.join(self.options.pm2_home, name)) for name in ("logs", "."))
        return [item for item in rotated(folders) if item.state == state]

    # --- what a killed run left --------------------------------------------------------------------------------------

    def _resume(self, item: Rotated) -> bool:
        """Finish what a run that was killed began with a log; whether it still has to be archived."""
        if inode(item.log) == inode(item.path):
            os.unlink(item.path)  # it was being put back
            return False
        name = os.path.basename(item.path)
        for path in tarball.archives(self.options.archive_dir):
            if os.stat(path).st_mtime < item.at - 1:
                continue  # from before the log was renamed
            entries = (tarball.read_manifest(path) or {}).get("files") or []
            entry = next((e for e in entries if e["spool"] == name and e["path"] == item.log), None)
            if entry is None:
                continue
            try:
                tarball.verify(path, entries, self.stop)
            except ArchiveError as error:
                self.result["failures"].append(error.message)
                continue
            if tarball.measure(item.path, self.stop, entry["bytes"]) == tarball.of_entry(entry):
                self._settle(item, entry["bytes"])
                return False
        return True

    def _forget(self) -> None:
        """Remove archived logs that the probe has no use for any more."""
        for item in self._rotated(KEPT):
            if self.now - item.at > KEPT_S:
                os.unlink(item.path)
                self.result["changed"] = True

    # --- renaming ----------------------------------------------------------------------------------------------------

    def _rotate(self, chosen: list[str], old: list[Rotated]) -> list[Rotated]:
        """Rename the logs and have PM2 reopen its own; those that were renamed."""
        owned = set(self.daemon.paths())
        ours = [path for path in chosen if path in owned]
        plain = [path for path in chosen if path not in owned]
        busy = writers(filter(None, map(inode, plain)))
        free: list[str] = []
        for path in plain:
            holder = busy.get(inode(path) or (0, 0))
            if holder is None:
                free.append(path)
            else:
                self._leave(path, _held_by(path, holder.command, holder.pid))
        moved = self._rename(free)
        self._wait_closed(moved.values())
        lacks = any(stream.holder and not os.path.exists(stream.path) for stream in self.daemon.streams)
        stuck = any(item.log in owned and held(item.path) == HELD for item in old)
        if self.daemon.state == pm2.ONLINE and (ours or lacks or stuck):
            taken: dict[str, str] = {}

            def take() -> dict[str, str]:
                taken.update(self._rename(ours))
                return taken

            done = reopen(self.daemon, take, self.options.release_s)
            moved.update(taken)
            self.result["restored"] += done.restored
            self.result["changed"] = True
            if done.problem is not None:
                self.result["failures"].append(done.problem)
            if not done.proven:
                self.result["notes"].append(
                    msg("It could not be listened to the end whether PM2 dropped lines while it reopened its logs.")
                )
        return [item for item in map(parse, moved.values()) if item is not None and self._still(item)]

    def _rename(self, paths: list[str]) -> dict[str, str]:
        moved: dict[str, str] = {}
        for path in paths:
            place = rotated_name(path, self.id)
            try:
                os.rename(path, place)
            except OSError as error:
                self._failed(path, error)
                continue
            moved[path] = place
        for folder in {os.path.dirname(path) for path in moved}:
            with contextlib.suppress(OSError):
                sync_directory(folder)
        return moved

    def _wait_closed(self, places: Iterable[str]) -> None:
        until = time.monotonic() + CLOSE_S
        waiting = list(places)
        while waiting and time.monotonic() < until:
            waiting = [path for path in waiting if held(path) == HELD]
            if waiting:
                time.sleep(POLL_S)

    def _still(self, item: Rotated) -> bool:
        """Whether a renamed log stays renamed: one that somebody keeps open gets its name back, if that is free."""
        if held(item.path) != HELD:
            return True
        try:
            os.link(item.path, item.log)
        except OSError:
            return True
        os.unlink(item.path)
        self._leave(item.log, self._who_holds(item.log))
        return False

    def _ripe(self, item: Rotated) -> bool:
        """Whether nobody can write to a renamed log any more."""
        info = os.lstat(item.path)
        state = held(item.path)
        if state == FREE:
            return True
        if state == HELD or inode(item.path) in writers([(info.st_dev, info.st_ino)]):
            self._leave(item.log, self._who_holds(item.path))
            return False
        if info.st_uid == os.geteuid():
            return True
        # Another user's: who has it open can't be seen, so it has to have been left alone for a while.
        if min(self.now - item.at, self.now - info.st_mtime) >= self.options.quiet_s:
            return True
        self.result["notes"].append(
            msg(
                "{path} belongs to {user}, so that nobody can tell whether it is being written: it was renamed and goes"
                " into the next archive",
                path=item.log,
                user=user_name(info.st_uid),
            )
        )
        return False

    def _who_holds(self, path: str) -> Message:
        at = inode(path)
        holder = writers([at]).get(at) if at is not None else None
        if holder is None:
            return msg(
                "{path} is being written by a process that this user can't see: left for the next time", path=path
            )
        return _held_by(path, holder.command, holder.pid)

    # --- the archive -------------------------------------------------------------------------------------------------

    def _pack(self, items: list[Rotated]) -> None:
        """Archive, read back, compare, and only then let go of the originals."""
        members: list[tuple[Rotated, dict[str, Any]]] = []
        names: set[str] = set()
        for item in reversed(items):  # the newest of a log has its plain name in the archive
            measured = tarball.measure(item.path, self.stop)
            if measured.bytes == 0:
                os.unlink(item.path)
                continue
            name = self._member(item.log)
            if name in names:
                name = f"{name}.{item.id}"
            names.add(name)
            members.append((item, _entry(item, name, measured)))
        members.reverse()
        if not members:
            return
        entries = [entry for _, entry in members]
        manifest = {
            "format": tarball.FORMAT,
            "kind": tarball.KIND,
            "id": self.id,
            "created": self.now,
            "looked": self.looked,
            "files": entries,
        }
        folder = self.options.archive_dir
        partial = os.path.join(folder, f"{tarball.PARTIAL}{self.id}{tarball.SUFFIX}")
        try:
            tarball.write(partial, [(item.path, entry) for item, entry in members], manifest, self.stop)
            tarball.verify(partial, entries, self.stop)
            path = tarball.publish(partial, folder, self._day())
        except (OSError, ArchiveError) as error:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            if isinstance(error, ArchiveError):
                raise
            self._failed(folder, error)
            return
        self.result.update(changed=True, archive=path, files=entries)
        for item, entry in members:
            self._settle(item, entry["bytes"])

    def _settle(self, item: Rotated, size: int) -> None:
        """Let go of a log whose first ``size`` bytes are in a verified archive; more is kept for the next one."""
        self.result["changed"] = True
        if os.lstat(item.path).st_size > size:
            self._keep_rest(item, size)
        if any(fnmatch.fnmatchcase(item.log, pattern) for pattern in self.options.watched):
            os.rename(item.path, rotated_name(item.log, item.id, KEPT))
        else:
            os.unlink(item.path)

    def _keep_rest(self, item: Rotated, size: int) -> None:
        # Under a name that follows from the old one's: when this is killed, the next run writes the same file again.
        digest = hashlib.sha256(item.id.encode()).hexdigest()[:6]
        place = rotated_name(item.log, f"{item.id[:16]}-{digest}")
        temporary = f"{place}.rest"
        with open(item.path, "rb") as source, open(temporary, "wb") as target:
            source.seek(size)
            while data := source.read(tarball.CHUNK):
                target.write(data)
            target.flush()
            os.fsync(target.fileno())
        os.rename(temporary, place)
        sync_directory(os.path.dirname(place))

    def _member(self, log: str) -> str:
        base = normal(self.options.base)
        return os.path.relpath(log, base) if log.startswith(base + "/") else log.lstrip("/")

    def _day(self) -> str:
        """The day in the operator's time zone, in the host's where it does not know that one."""
        zone = None
        if self.options.timezone:
            # A host without data on time zones, or a zone that is none: its own will do for a name.
            with contextlib.suppress(KeyError, ValueError, OSError):
                zone = ZoneInfo(self.options.timezone)
        return datetime.fromtimestamp(self.now, zone).strftime("%Y%m%d")

    def _expired(self) -> list[dict[str, Any]]:
        """Archives that are kept no longer."""
        o = self.options
        over = tarball.expired(o.archive_dir, now=self.now, days=o.retention_days, minimum=o.keep_minimum)
        return [{"path": path, "bytes": size} for path, size in over]

    def _retain(self) -> None:
        for item in self._expired():
            os.unlink(item["path"])
            self.result["changed"] = True
            self.result["removed"].append(item)

    # --- saying it ---------------------------------------------------------------------------------------------------

    def _would(self, chosen: list[str]) -> None:
        """What would be done: logs to rename, and what killed runs left."""
        for path in [*chosen, *(item.path for item in self._rotated())]:
            with contextlib.suppress(OSError):
                self.result["files"].append({"path": path, "bytes": os.stat(path).st_size})
        self.result["removed"] = self._expired()
        self.result["changed"] = bool(self.result["files"] or self.result["removed"])

    def _about_daemon(self) -> None:
        if self.daemon.state in (pm2.DEAD, pm2.MISSING):
            self.result["notes"].append(
                msg("PM2 does not run, so only what lies in the directories of the logs could be found.")
            )
            return
        why = self.daemon.message or msg("PM2 does not answer on {path}", path=self.options.pm2_home)
        self.result["left"].append({"path": self.options.pm2_home, "message": why})

    def _leave(self, path: str, message: Message) -> None:
        self.result["left"].append({"path": path, "message": message})

    def _failed(self, path: str, error: OSError) -> None:
        if is_full(error):
            message = msg(
                "no space left in {path}: no line is lost, the logs wait beside their places as .<name>.spool; free"
                " some and start again",
                path=path,
            )
        else:
            message = msg("{path}: {reason}", path=path, reason=error.strerror or str(error) or type(error).__name__)
        self.result["failures"].append(message)

    def _evidence(self) -> dict[str, Any]:
        files = self.result["files"]
        size = 0
        if self.result["archive"]:
            with contextlib.suppress(OSError):
                size = os.stat(self.result["archive"]).st_size
        return {
            "archive": self.result["archive"],
            "archive_bytes": size,
            "files": len(files),
            "lines": sum(entry.get("lines", 0) for entry in files),
            "log_bytes": sum(entry["bytes"] for entry in files),
            "lines_put_back": self.result["restored"],
            "left": [item["path"] for item in self.result["left"]],
            "archives_removed": len(self.result["removed"]),
            "removed_bytes": sum(item["bytes"] for item in self.result["removed"]),
            "duration_s": round(time.monotonic() - self.started, 3),
        }


def _held_by(path: str, command: str, pid: int) -> Message:
    return msg(
        "{path} is kept open by {command} (process {pid}), so that it can't be moved without losing lines: left for the"
        " next time",
        path=path,
        command=command,
        pid=str(pid),
    )


def _entry(item: Rotated, name: str, measured: Measure) -> dict[str, Any]:
    return {
        "path": item.log,
        "name": name,
        "spool": os.path.basename(item.path),
        "bytes": measured.bytes,
        "lines": measured.lines,
        "sha256": measured.sha256,
    }


def summary(result: dict[str, Any], *, check_mode: bool = False) -> Message:
    """A result of :func:`archive` in one message."""
    evidence = result["evidence"]
    if check_mode:
        return msg(
            "{count} logs of {log_bytes} would be archived.", count=evidence["files"], log_bytes=evidence["log_bytes"]
        )
    if result["archive"] is None:
        return msg("There was nothing to archive.")
    return msg(
        "{lines} lines of {count} logs, {log_bytes}, are in {path} ({archive_bytes}), read back and compared; lines"
        " that PM2 dropped and were put back: {restored}",
        lines=evidence["lines"],
        count=evidence["files"],
        log_bytes=evidence["log_bytes"],
        path=result["archive"],
        archive_bytes=evidence["archive_bytes"],
        restored=result["restored"],
    )
