"""The database's service as systemd and the server's own log tell it: its state, and why it does not start.

``systemctl start`` only says that it failed; the reason is the last error in the server's log, or, where it failed
before it had opened that, in the journal.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..core import redact
from ..system.command import run
from ..system.resources import process_state

# Where servers write their errors when nothing else is said: Debian and Ubuntu, Red Hat, MariaDB.
ERROR_LOGS = (
    "/var/log/mysql/error.log",
    "/var/log/mysql/mysqld.log",
    "/var/log/mysqld.log",
    "/var/log/mysql/mysql.err",
    "/var/log/mariadb/mariadb.log",
    "/var/log/mysql/mariadb.log",
)
PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "UnitFileState",
    "MainPID",
    "ExecMainStatus",
    "NRestarts",
    "InvocationID",
    "InactiveExitTimestampMonotonic",
)
ASK_S, JOURNAL_S = 3.0, 3.0
LINES, READ_BYTES = 12, 64 * 1024


class Cause(NamedTuple):
    """Why a server does not start: a word, the line that says so, whom it concerns."""

    name: str
    line: str
    level: str


# (cause, level, what the line has), the first cause that a line names. L4 is for capacity, by the escalation matrix.
_CAUSES = (
    (
        "disk_full",
        "L4",
        r"no space left on device|disk (?:is )?full|\berrno: 28\b|\berror(?: number)? 28\b"
        r"|not enough (?:free )?(?:disk )?space",
    ),
    ("out_of_memory", "L4", r"cannot allocate memory|out of memory|\berrno: 12\b"),
    (
        "bad_config",
        "L3",
        r"unknown (?:variable|option|suffix)|ambiguous option|invalid value for|requires an argument"
        r"|found option without preceding group|error while setting value",
    ),
    (
        "not_writable",
        "L3",
        r"permission denied|\berrno: 13\b|\berror(?: number)? 13\b|not writable"
        r"|read-only file system|\berrno: 30\b|error writing|can't create",
    ),
    (
        "port_taken",
        "L3",
        r"address already in use|do you already have another (?:mysqld|server)|unable to lock .*error: 11",
    ),
    ("corrupted", "L3", r"corrupt|assertion failure|innodb_force_recovery|checksum mismatch"),
)
_ERROR = re.compile(r"\[(?:ERROR|FATAL)\]|\bERROR\b|\bfatal\b|\berror:", re.I)
_START = re.compile(r"MySQL Server - start|starting as process|Starting MariaDB", re.I)
# What follows from the error before it, and says nothing of its own.
_ECHO = re.compile(
    r"\bAborting\b|Data Dictionary initialization failed|Failed with result|Main process exited"
    r"|Failed to start|Plugin initialization aborted|Failed to initialize DD Storage"
)


def parse_show(text: str) -> dict[str, str]:
    """What ``systemctl show`` prints, by property."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def state_from(shown: Mapping[str, str]) -> dict[str, Any]:
    """``{id, load, active, sub, result, enabled, pid, exit_status, restarts, invocation, begun_s}`` of its properties.

    ``begun_s`` is when it last began to start, on the clock of :func:`time.monotonic`; ``id`` is the unit's own name,
    by which its journal goes: that it was asked for may be another, as MariaDB's ``mysql`` is.
    """

    def number(name: str) -> Optional[int]:
        text = shown.get(name, "")
        return int(text) if text.isdigit() else None

    return {
        "id": shown.get("Id") or None,
        "load": shown.get("LoadState") or "unknown",
        "active": shown.get("ActiveState") or "unknown",
        "sub": shown.get("SubState") or "unknown",
        "result": shown.get("Result") or "unknown",
        "enabled": shown.get("UnitFileState") or "unknown",
        "pid": number("MainPID") or None,
        "exit_status": number("ExecMainStatus"),
        "restarts": number("NRestarts"),
        "invocation": shown.get("InvocationID") or None,
        "begun_s": (number("InactiveExitTimestampMonotonic") or 0) / 1e6 or None,
    }


def state(unit: str) -> dict[str, Any]:
    """The unit's state as :func:`state_from` has it, and ``process``, the state letter of the server's process."""
    done = run(["systemctl", "show", unit, f"--property={','.join(PROPERTIES)}"], timeout_s=ASK_S)
    found = state_from(parse_show(done.stdout.decode("utf-8", "replace")))
    found["process"] = process_state(found["pid"]) if found["pid"] else None
    return found


class Mark(NamedTuple):
    """Where the logs ended at a moment."""

    at: float
    sizes: dict[str, int]


def mark(logs: Sequence[str] = ERROR_LOGS) -> Mark:
    """Now; see :func:`since`."""
    sizes = {}
    for path in logs:
        try:
            sizes[path] = os.stat(path).st_size
        except OSError:
            sizes[path] = 0
    return Mark(time.time(), sizes)


def since(unit: str, then: Mark) -> list[str]:
    """What the server's log and the journal of its unit have said since, without secrets, oldest first."""
    said: list[str] = []
    for path, size in then.sizes.items():
        said += _read(path, size)
    said += journal(unit, since_at=then.at - 1)
    return [redact.scrub_text(line)[:400] for line in said]


def attempt(service: Mapping[str, Any], logs: Sequence[str] = ERROR_LOGS) -> list[str]:
    """What the server has said since it last began to start (``service`` as :func:`state` has it), without secrets."""
    said: list[str] = []
    begun = service.get("begun_s")
    if begun:
        began_at = time.time() - (time.monotonic() - float(begun)) - 1
        for path in logs:
            with contextlib.suppress(OSError):
                if os.stat(path).st_mtime >= began_at:
                    lines = _read(path, 0)
                    starts = [number for number, line in enumerate(lines) if _START.search(line)]
                    said += lines[starts[-1] :] if starts else lines
    if service.get("invocation"):
        argv = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={LINES * 4}"]
        done = run(
            [*argv, f"_SYSTEMD_INVOCATION_ID={service['invocation']}"], timeout_s=JOURNAL_S, max_bytes=READ_BYTES
        )
        said += done.stdout.decode("utf-8", "replace").splitlines()
    return [redact.scrub_text(line)[:400] for line in said]


def journal(unit: str, *, since_at: Optional[float] = None, lines: int = LINES * 4) -> list[str]:
    """The last lines of a unit's journal; empty when it can't be read."""
    argv = ["journalctl", "--unit", unit, "--no-pager", "--quiet", "--output=short-iso", f"--lines={lines}"]
    if since_at is not None:
        argv.append(f"--since=@{since_at:.0f}")
    done = run(argv, timeout_s=JOURNAL_S, max_bytes=READ_BYTES)
    return [redact.scrub_text(line)[:400] for line in done.stdout.decode("utf-8", "replace").splitlines()]


def last_words(unit: str, logs: Sequence[str] = ERROR_LOGS) -> list[str]:
    """The end of the server's log and of its journal, for whoever has to understand it later."""
    said = []
    for path in logs:
        said += _read(path, 0)[-LINES:]
    return [redact.scrub_text(line)[:400] for line in said] + journal(unit, lines=LINES)


def _read(path: str, start: int) -> list[str]:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            # A log that has become shorter was replaced.
            file.seek(max(start if size >= start else 0, size - READ_BYTES))
            return file.read(READ_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def cause_of(lines: Iterable[str]) -> Optional[Cause]:
    """Why it did not start, of what was said; ``None`` when no line is an error.

    The first known cause counts, since what comes after follows from it; otherwise the last error.
    """
    errors = [line.strip() for line in lines if _ERROR.search(line) and not _ECHO.search(line)]
    for line in errors:
        for name, level, pattern in _CAUSES:
            if re.search(pattern, line, re.I):
                return Cause(name, line, level)
    return Cause("unknown", errors[-1], "L3") if errors else None
