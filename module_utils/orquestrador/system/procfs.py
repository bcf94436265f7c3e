"""What /proc says of a process."""

from __future__ import annotations

import os
import pwd
import re
from typing import Optional

DAEMON_TITLE = re.compile(r"^PM2 v[^:]{0,40}: God Daemon \(([^)]{1,4000})\)")


def user_name(uid: int) -> str:
    """The name of ``uid``, or the number itself when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return str(uid)


def read_rss(pid: int, proc: str = "/proc") -> Optional[int]:
    """Resident memory of a process in bytes, ``None`` when it can't be read."""
    try:
        with open(f"{proc}/{pid}/statm", "rb") as file:
            return int(file.read(200).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
