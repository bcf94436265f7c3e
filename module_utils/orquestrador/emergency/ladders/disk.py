"""The disk is full: say what fills it, then free what is expired anyway, until there is room again.

In order: log archives that are over their time, backups that retention would delete (never the newest, nothing while
the newest is not proven), npm's cache, which fills itself again. Logs that were not archived and everything that is not
known stay: those are named, with who has deleted files open, for a person to decide.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, Optional

from ...backup import retention
from ...core.errors import OperatorError, os_reason
from ...core.messages import msg
from ...core.types import CHANGED, FAILED, OK, Message
from ...health.expectations import limits_of
from ...logs import tarball
from ...system import disk_usage, resources
from ...system.files import locked
from ..context import EmergencyError, Rung, Scene

SURVEY_S = 10.0
FREE_S = 30.0


class Full(NamedTuple):
    """A file system in need, by a path on it."""

    path: str
    device: int
    percent: float


def critical(scene: Scene) -> list[Full]:
    """The disks of the probe that are critical now, each once, the fullest first."""
    limit = float(limits_of(scene.params["expectations"])["disk_critical_percent"])
    paths = scene.params.get("disk_paths") or [scene.params["app_dir"], "/"]
    found: dict[int, Full] = {}
    for path in map(os.path.expanduser, paths):
        with contextlib.suppress(OSError):
            seen, device = resources.disk(path), os.stat(path).st_dev
            percent = max(float(seen["used_percent"] or 0), float(seen["inodes_used_percent"] or 0))
            if percent >= limit and device not in found:
                found[device] = Full(path, device, percent)
    return sorted(found.values(), key=lambda one: -one.percent)


def ladder(scene: Scene) -> list[Rung]:
    """What can be freed, in order; what has nothing to free is left out."""
    made = _Frees(scene)
    return [rung for rung in (made.archives(), made.backups(), made.npm_cache()) if rung is not None]


def climb(scene: Scene, _attempt: Callable[[Rung], bool]) -> tuple[Optional[Message], bool]:
    """What is still wrong and whether anything was changed."""
    full = critical(scene)
    seen = _tell(scene, full)
    changed = False
    for rung in ladder(scene):
        if not critical(scene):
            break
        step = scene.step(rung.id, rung.planned_s)
        try:
            evidence = rung.act(min(rung.planned_s, scene.left())) or {}
        except OperatorError as error:
            step.end(FAILED, error.message)
            continue
        freed = int(evidence["freed_bytes"])
        changed = changed or freed > 0
        step.end(CHANGED if freed else OK, evidence.pop("note"), evidence)
    left = critical(scene)
    step = scene.step("freed", 1.0)
    disks = [{"path": one.path, "device": one.device, **_measured(one.path)} for one in full]
    if not left:
        step.end(OK, msg("There is room again"), {"disk": disks})
        return None, changed
    reason = msg(
        "{path} is still full, {used_percent}: nothing more is expired; {named}",
        path=left[0].path,
        used_percent=left[0].percent,
        named=_named(seen),
    )
    step.end(FAILED, reason, {"disk": disks})
    return reason, changed


def _measured(path: str) -> dict[str, Any]:
    try:
        return resources.disk(path)
    except OSError:
        return {}


def _tell(scene: Scene, full: list[Full]) -> dict[str, Any]:
    """What fills the disk, for the record and for a person to decide."""
    step = scene.step("usage", SURVEY_S)
    if not full:
        step.end(OK, msg("There is room by now"))
        return {"places": [], "deleted": []}
    seconds = min(SURVEY_S, max(scene.left() - FREE_S, 1.0))
    seen = disk_usage.survey(places(scene), full[0].device, seconds)
    step.end(OK, _named(seen), {"path": full[0].path, **seen})
    return seen


def _named(seen: dict[str, Any]) -> Message:
    if seen["deleted"]:
        top = seen["deleted"][0]
        if not seen["places"] or top["size_bytes"] > seen["places"][0]["size_bytes"]:
            return msg(
                "most is a deleted file that {command} (process {pid}) keeps open: {size_bytes}; restart it",
                command=top["command"],
                pid=str(top["pid"]),
                size_bytes=top["size_bytes"],
            )
    if seen["places"]:
        top = seen["places"][0]
        return msg("most of it is in {path}: {size_bytes}", path=top["path"], size_bytes=top["size_bytes"])
    return msg("what fills it is in none of the known places")


def places(scene: Scene) -> dict[str, str]:
    """Where to look, by what is there."""
    params, home = scene.params, scene.owner.home
    told = params["disk"]
    return {
        "logs": told["logs_dir"],
        "log archives": told["logs_archive_dir"],
        "backups": told["backup_dir"],
        "database backups": told["backup_database_dir"],
        "code backups": told["backup_code_dir"],
        "PM2": params["pm2_home"],
        "npm": os.path.join(home, ".npm"),
        "application": params["app_dir"],
        "home": home,
        "temporary files": "/tmp",  # noqa: S108 - looked at, not used
        "temporary files kept": "/var/tmp",  # noqa: S108
        "journal": "/var/log/journal",
        "system logs": "/var/log",
        "database": "/var/lib/mysql",
        "packages": "/var/cache/apt",
    }


class _Frees:
    """Each rung; ``act`` gives ``{note, freed_bytes, ...}``."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._told = scene, scene.params["disk"]
        self._devices = {one.device for one in critical(scene)}
        self._cache = os.path.join(scene.owner.home, ".npm", "_cacache")

    def archives(self) -> Optional[Rung]:
        with self._scene.owner.at_work():
            over = self._expired()
        would = msg(
            "{count} expired log archives would be deleted, {freed_bytes}",
            count=len(over),
            freed_bytes=sum(size for _, size in over),
        )
        return Rung("log_archives", FREE_S, lambda _seconds: self._delete_archives(), would) if over else None

    def backups(self) -> Optional[Rung]:
        ids, freed = 0, 0
        for one in self._places():
            with contextlib.suppress(OperatorError, OSError), self._scene.owner.at_work():
                planned = self._retain(one, check_mode=True)
                ids, freed = ids + len(planned["deleted"]), freed + int(planned["freed_bytes"])
        would = msg("{count} expired backups would be deleted, {freed_bytes}", count=ids, freed_bytes=freed)
        return Rung("backups", FREE_S, lambda _seconds: self._delete_backups(), would) if ids else None

    def npm_cache(self) -> Optional[Rung]:
        would = msg("npm's cache would be deleted: {path}", path=self._cache)
        if not self._here(self._cache):
            return None
        return Rung("npm_cache", FREE_S, lambda _seconds: self._delete_cache(), would)

    def _here(self, path: str) -> bool:
        """Whether deleting there helps a disk that is full."""
        try:
            return os.stat(path).st_dev in self._devices
        except OSError:
            return False

    def _expired(self) -> list[tuple[str, int]]:
        """Has to run as the owner."""
        directory = self._told["logs_archive_dir"]
        if not self._here(directory):
            return []
        return tarball.expired(
            directory,
            now=time.time(),
            days=float(self._told["logs_archive_retention_days"]),
            minimum=int(self._told["logs_archive_keep_minimum"]),
        )

    def _delete_archives(self) -> dict[str, Any]:
        directory = self._told["logs_archive_dir"]
        removed: list[dict[str, Any]] = []
        try:
            with self._scene.owner.at_work(), _alone(directory):
                for path, size in self._expired():
                    os.unlink(path)
                    removed.append({"path": path, "size_bytes": size})
        except OSError as error:
            raise _not_deleted(str(error.filename or directory), error) from None
        freed = sum(int(one["size_bytes"]) for one in removed)
        note = msg("{count} expired log archives deleted, {freed_bytes}", count=len(removed), freed_bytes=freed)
        return {"note": note, "freed_bytes": freed, "removed": removed}

    def _places(self) -> list[tuple[str, str]]:
        told = (("database", self._told["backup_database_dir"]), ("code", self._told["backup_code_dir"]))
        return [(kind, path) for kind, path in told if self._here(path)]

    def _retain(self, place: tuple[str, str], *, check_mode: bool) -> dict[str, Any]:
        kind, path = place
        return retention.apply(
            path,
            kind,
            days=float(self._told["backup_retention_days"]),
            keep_minimum=int(self._told["backup_keep_minimum"]),
            check_mode=check_mode,
        )

    def _delete_backups(self) -> dict[str, Any]:
        done = []
        with self._scene.owner.at_work():
            for place in self._places():
                try:
                    done.append(self._retain(place, check_mode=False))
                except OSError as error:
                    raise _not_deleted(place[1], error) from None
        count = sum(len(one["deleted"]) for one in done)
        freed = sum(int(one["freed_bytes"]) for one in done)
        days = self._told["backup_retention_days"]
        said = [note for one in done for note in retention.describe(one, days, check_mode=False)]
        return {"note": said, "freed_bytes": freed, "deleted": count, "places": done}

    def _delete_cache(self) -> dict[str, Any]:
        """npm keeps what it has fetched to fetch it less often: deleting that costs time at the next build, no more."""
        before = os.statvfs(self._cache)
        with self._scene.owner.at_work():
            shutil.rmtree(self._cache, ignore_errors=True)
        after = os.statvfs(os.path.dirname(self._cache))
        freed = max((after.f_bfree - before.f_bfree) * before.f_frsize, 0)
        note = msg("npm's cache deleted, {freed_bytes}", freed_bytes=freed)
        return {"note": note, "freed_bytes": freed, "path": self._cache}


def _not_deleted(path: str, error: OSError) -> EmergencyError:
    return EmergencyError(msg("{path} can't be deleted: {reason}", path=path, reason=os_reason(error)))


@contextlib.contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Keep who archives logs out, as far as a full disk lets a lock say who has it."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(directory, "emergency_disk", time.time()))
        except OSError:
            pass  # whoever archives could not write there either
        except OperatorError as error:
            if not isinstance(error.__cause__, OSError):
                raise  # somebody is at work
        yield
