"""What is kept before anything is changed: how it was, for whoever has to understand it later.

Bounded in time and size, scrubbed of secrets. The snapshot itself is kept beside it, so only what it does not have is
collected here: the heaviest processes, the end of the error log, who is connected to the database, and, for code that
does not start, the last commits and the files that changed last.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, Optional

from ..app import git
from ..core import redact
from ..core.errors import os_reason
from ..core.jsonable import clean, iso
from ..core.messages import msg
from ..core.types import Message
from ..mysql import driver
from ..pm2 import orphans
from ..system.identity import Owner
from ..system.process_table import look
from .clues import database
from .context import Scene

WINDOW_S = 0.2
SESSIONS_S, GIT_S, FILES_S = 2.0, 2.0, 1.0
MAX_SESSIONS, MAX_COMMITS, MAX_CHANGED, MAX_SEEN, MAX_ERRORS = 20, 5, 12, 20_000, 5
# Not what was deployed.
PASSED_OVER = frozenset({"node_modules", ".git", "logs", "backups", "reports"})
# What only somebody who deployed can have caused.
OF_CODE = frozenset({"crash_loop", "not_listening", "failing", "errored"})
WORKER = ("pm_id", "pid", "status", "restarts", "unstable_restarts", "uptime_s", "memory_bytes", "cpu_percent")


class Record:
    """One run's file on the host, for the case that nobody is left to receive what it found."""

    def __init__(self, params: dict[str, Any], owner: Owner) -> None:
        self._directory = os.path.join(os.path.dirname(params["lease_path"]), "emergencies")
        self._keep, self._owner = int(params["evidence_keep"]), owner
        self.path = os.path.join(self._directory, f"{params['lease_run_id']}.json")

    def write(self, whole: dict[str, Any]) -> Optional[Message]:
        """Write it as the application's user, for nobody else to read; why it could not be, if so."""
        temporary = f"{self.path}.part"
        try:
            with self._owner.at_work():
                os.makedirs(self._directory, mode=0o700, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary)
                fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
                with os.fdopen(fd, "w", encoding="utf-8") as file:
                    json.dump(clean(whole), file)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temporary, self.path)
                self._sweep()
        except OSError as error:
            with contextlib.suppress(OSError), self._owner.at_work():
                os.unlink(temporary)  # half a file on a full disk helps nobody
            return msg("The evidence could not be kept on the host: {reason}", reason=os_reason(error))
        return None

    def _sweep(self) -> None:
        kept = [name for name in sorted(os.listdir(self._directory)) if name.endswith((".json", ".part"))]
        for old in kept[: -self._keep]:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._directory, old))


def collect(scene: Scene, seconds: float) -> dict[str, Any]:
    """``{pm2, workers, errors_seen, listeners, sessions, ...}``: small enough for a report."""
    deadline = time.monotonic() + seconds
    params, snapshot = scene.params, scene.snapshot
    pm2, base = snapshot.get("pm2") or {}, snapshot.get("database") or {}
    processes = [p for p in pm2.get("processes") or [] if p.get("name") == params["app_name"]]
    pids = (pm2.get("app") or {}).get("pids") or []
    evidence: dict[str, Any] = {
        "pm2": {name: pm2.get(name) for name in ("daemon", "daemon_pid")},
        "workers": [{name: process.get(name) for name in WORKER} for process in processes],
        "errors_seen": last_events((snapshot.get("logs") or {}).get("fingerprints") or []),
        "listeners": [_listener(item) for item in (snapshot.get("port") or {}).get("listeners") or []],
        "memory": (snapshot.get("resources") or {}).get("memory"),
        "disk": (snapshot.get("resources") or {}).get("disk"),
        "processes": look(min(WINDOW_S, max(deadline - time.monotonic(), 0.0)), pids)["processes"],
        "threads": base.get("threads"),
        "queries": base.get("slow"),
    }
    with scene.owner.at_work():
        secrets = redact.load_secrets(params.get("app_env_file") or f"{params['app_dir']}/.env")
        if base.get("reachable") and time.monotonic() < deadline:
            evidence["sessions"] = _sessions(params, min(SESSIONS_S, deadline - time.monotonic()))
        if scene.diagnosis["scenario"] in OF_CODE:
            evidence["changed_files"] = changed_files(params["app_dir"], min(FILES_S, deadline - time.monotonic()))
    if scene.diagnosis["scenario"] in OF_CODE and time.monotonic() < deadline:
        evidence["commits"] = _commits(scene, min(GIT_S, deadline - time.monotonic()))
    evidence["last_lines"] = scene.clues.get("error_tail") or []
    if scene.clues.get("database"):
        evidence.update(database.evidence(params, scene.clues, deadline))
    scrubbed: dict[str, Any] = redact.scrub(evidence, secrets)
    return scrubbed


def last_events(fingerprints: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest kinds of error event of the logs, newest first: ``{last_at, count, sample}``."""
    newest = sorted(fingerprints, key=lambda item: str(item.get("last_at") or ""), reverse=True)
    return [{name: item.get(name) for name in ("last_at", "count", "sample")} for item in newest[:MAX_ERRORS]]


def changed_files(directory: str, seconds: float) -> list[dict[str, Any]]:
    """What was changed last below the application's directory, newest first: ``{path, at, bytes}``."""
    deadline, seen, found = time.monotonic() + seconds, 0, []
    for folder, names, files in os.walk(directory):
        names[:] = sorted(name for name in names if folder != directory or name not in PASSED_OVER)
        for name in files:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                info = os.lstat(path)
                found.append((info.st_mtime, os.path.relpath(path, directory), info.st_size))
            seen += 1
        if seen > MAX_SEEN or time.monotonic() > deadline:
            break
    return [
        {"path": path[:200], "at": iso(changed), "file_bytes": size}
        for changed, path, size in sorted(found, reverse=True)[:MAX_CHANGED]
    ]


def _listener(item: dict[str, Any]) -> dict[str, Any]:
    pid = item.get("pid")
    return {**item, "unit": orphans.unit_of(int(pid)) if pid else None}


def _commits(scene: Scene, seconds: float) -> list[dict[str, str]]:
    layout = "--format=%h\x1f%cI\x1f%s"
    options = ("-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false")
    argv = ["git", "-C", str(scene.params["app_dir"]), *options, "log", f"-{MAX_COMMITS}", "--no-color", layout]
    done = scene.owner.run(argv, timeout_s=seconds, env={"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"})
    return git.parse_log(done.stdout) if done.code == 0 else []


def summary(rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Who is connected to the database: ``{user, command, count, longest_s}``, most first.

    A row is ``(user, command, seconds)``.
    """
    groups: dict[tuple[str, str], list[float]] = {}
    for user, command, seconds in rows:
        try:
            lasted = max(float(seconds or 0), 0.0)
        except (TypeError, ValueError):
            lasted = 0.0
        groups.setdefault((_text(user), _text(command)), []).append(lasted)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {"user": user, "command": command, "count": len(lasted), "longest_s": round(max(lasted), 1)}
        for (user, command), lasted in ordered[:MAX_SESSIONS]
    ]


def _text(value: Any) -> str:
    return (value.decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else str(value or "?"))[:80]


def _sessions(params: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
    """By the operations account, which sees everybody's sessions; empty when it can't look."""
    try:
        defaults, _ = driver.read_defaults(os.path.expanduser(params["mysql_defaults_file"]))
        connection = driver.connect(defaults, params["mysql_database"], seconds / 2)
    except Exception:  # noqa: BLE001 - the snapshot says why; the evidence goes without
        return []
    try:
        for table in driver.MYSQL.processlists:
            with contextlib.suppress(Exception), connection.cursor() as cursor:
                cursor.execute(f"SELECT USER, COMMAND, TIME FROM {table} LIMIT 5000")  # noqa: S608 - a name of ours
                return summary(cursor.fetchall())
        return []
    finally:
        with contextlib.suppress(Exception):
            connection.close()
