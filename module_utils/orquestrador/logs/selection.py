"""Which logs are archived: those of the application, by its processes and by the patterns that are given."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

from ..core.errors import OperatorError
from ..core.messages import msg
from ..pm2 import daemon as pm2
from . import tarball
from .reopen import Daemon, normal


class Options(NamedTuple):
    """What to archive, and how. Times in seconds; ``flush`` takes what PM2 keeps for itself instead of ``globs``."""

    archive_dir: str
    base: str
    globs: list[str]
    watched: list[str]
    app_name: str
    pm2_home: str
    pm2_command: str = "pm2"
    flush: bool = False
    fresh_s: float = 3600.0
    quiet_s: float = 3600.0
    release_s: float = 10.0
    timeout_s: float = 600.0
    timezone: str = ""
    retention_days: float = 90.0
    keep_minimum: int = 3


class Selection(NamedTuple):
    """Paths of logs to look at now, and of those that an archive looked at a short while ago."""

    looked: list[str]
    fresh: list[str]


def select(options: Options, daemon: Daemon, now: float) -> Selection:
    """The logs that PM2's processes have, and those that are found in their places."""
    app = daemon.paths(options.app_name)
    if options.flush:
        kept = glob.escape(os.path.join(options.pm2_home, "logs", options.app_name))
        # Not a log that a process of PM2 has: those of other applications may be called alike.
        others = set(daemon.paths()) - set(app)
        found = [path for path in _matches([f"{kept}-out*.log", f"{kept}-error*.log"]) if path not in others]
        if daemon.state == pm2.DEAD:
            found.append(normal(os.path.join(options.pm2_home, "pm2.log")))
    else:
        found = _matches(options.globs)
    wanted = list(dict.fromkeys([*app, *found]))
    fresh = _fresh(options, now) if options.flush else set()
    return Selection([path for path in wanted if path not in fresh], [path for path in wanted if path in fresh])


def suits(path: str) -> bool:
    """Whether there is something to archive in a log.

    Raises:
        OperatorError: it is none that can be renamed. OSError: it can't be looked at.
    """
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(info.st_mode):
        raise OperatorError(msg("{path} is a link: archive what it points to, or make it a file", path=path))
    if not stat.S_ISREG(info.st_mode):
        raise OperatorError(msg("{path} is no regular file", path=path))
    if info.st_size == 0:
        return False
    if info.st_nlink > 1:
        raise OperatorError(msg("{path} has {count} names: leave it one", path=path, count=info.st_nlink))
    if not os.access(path, os.R_OK) or not os.access(os.path.dirname(path), os.W_OK | os.X_OK):
        raise OperatorError(
            msg("{path} can't be read or moved by this user: give the application's user the right", path=path)
        )
    return True


def _fresh(options: Options, now: float) -> set[str]:
    """Logs that an archive looked at a short while ago: what is in them was written since."""
    fresh: set[str] = set()
    for path in tarball.archives(options.archive_dir)[:5]:
        manifest = tarball.read_manifest(path)
        if manifest is not None and abs(now - manifest["created"]) < options.fresh_s:
            fresh.update(str(name) for name in manifest.get("looked") or [])
    return fresh


def _matches(patterns: Iterable[str]) -> list[str]:
    found = [normal(path) for pattern in patterns for path in sorted(glob.glob(pattern))]
    return list(dict.fromkeys(path for path in found if not os.path.basename(path).startswith(".")))
