"""The database's systemd service: its state, and why it does not start.

``systemctl start`` reports only the failure; the reason is the last error in the server's log, or in the journal when
the server failed before it opened its log.
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

# Default error logs: Debian and Ubuntu, Red Hat, MariaDB.
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


class StartFailure(NamedTuple):
    """Reason why a server does not start: its name, the line of the log, the escalation level."""

    name: str
    line: str
    level: str


# (cause, level, pattern of the line); the first match counts. L4 is for capacity, by the escalation matrix.
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
# Errors that only follow from an earlier one.
_ECHO = re.compile(
    r"\bAborting\b|Data Dictionary initialization failed|Failed with result|Main process exited"
    r"|Failed to start|Plugin initialization aborted|Failed to initialize DD Storage"
)


def parse_show(text: str) -> dict[str, str]:
    """Return the properties in the output of ``systemctl show``."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def state_from(shown: Mapping[str, str]) -> dict[str, Any]:
    """Return ``{id, load, active, sub, result, enabled, pid, exit_status, restarts, invocation, begun_s}``.

    ``begun_s`` is the time of its last start, on the clock of :func:`time.monotonic`; ``id`` is the unit's own name, as
    in its journal: the requested name may be an alias, such as MariaDB's ``mysql``.
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
    """Return the unit's state of :func:`state_from` with ``process``, the state letter of the server's process."""
    result = run(["systemctl", "show", unit, f"--property={','.join(PROPERTIES)}"], timeout_s=ASK_S)
    state = state_from(parse_show(result.stdout.decode("utf-8", "replace")))
    state["process"] = process_state(state["pid"]) if state["pid"] else None
    return state


class LogMark(NamedTuple):
    """Sizes of the logs at a time."""

    at: float
    sizes: dict[str, int]


def mark_logs(logs: Sequence[str] = ERROR_LOGS) -> LogMark:
    """Return the current sizes of the logs, for :func:`lines_since`."""
    sizes = {}
    for path in logs:
        try:
            sizes[path] = os.stat(path).st_size
        except OSError:
            sizes[path] = 0
    return LogMark(time.time(), sizes)


def lines_since(unit: str, start: LogMark) -> list[str]:
    """Return the lines of the server's logs and its unit's journal since the mark, without secrets, oldest first."""
    lines: list[str] = []
    for path, size in start.sizes.items():
        lines += _read(path, size)
    lines += journal(unit, since_at=start.at - 1)
    return [redact.scrub_text(line)[:400] for line in lines]


def last_start_lines(service: Mapping[str, Any], logs: Sequence[str] = ERROR_LOGS) -> list[str]:
    """Return the lines logged since the last start of the service (:func:`state`), without secrets."""
    lines: list[str] = []
    started = service.get("begun_s")
    if started:
        started_at = time.time() - (time.monotonic() - float(started)) - 1
        for path in logs:
            with contextlib.suppress(OSError):
                if os.stat(path).st_mtime >= started_at:
                    log_lines = _read(path, 0)
                    starts = [number for number, line in enumerate(log_lines) if _START.search(line)]
                    lines += log_lines[starts[-1] :] if starts else log_lines
    if service.get("invocation"):
        argv = ["journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={LINES * 4}"]
        result = run(
            [*argv, f"_SYSTEMD_INVOCATION_ID={service['invocation']}"], timeout_s=JOURNAL_S, max_bytes=READ_BYTES
        )
        lines += result.stdout.decode("utf-8", "replace").splitlines()
    return [redact.scrub_text(line)[:400] for line in lines]


def journal(unit: str, *, since_at: Optional[float] = None, lines: int = LINES * 4) -> list[str]:
    """Return the last lines of a unit's journal; empty when it can't be read."""
    argv = ["journalctl", "--unit", unit, "--no-pager", "--quiet", "--output=short-iso", f"--lines={lines}"]
    if since_at is not None:
        argv.append(f"--since=@{since_at:.0f}")
    result = run(argv, timeout_s=JOURNAL_S, max_bytes=READ_BYTES)
    return [redact.scrub_text(line)[:400] for line in result.stdout.decode("utf-8", "replace").splitlines()]


def recent_lines(unit: str, logs: Sequence[str] = ERROR_LOGS) -> list[str]:
    """Return the last lines of the server's logs and its journal, as evidence."""
    lines = []
    for path in logs:
        lines += _read(path, 0)[-LINES:]
    return [redact.scrub_text(line)[:400] for line in lines] + journal(unit, lines=LINES)


def _read(path: str, start: int) -> list[str]:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            # A log that is shorter than before was replaced.
            file.seek(max(start if size >= start else 0, size - READ_BYTES))
            return file.read(READ_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def find_cause(lines: Iterable[str]) -> Optional[StartFailure]:
    """Return why the server did not start, from the lines of its log; ``None`` when no line is an error.

    The first known cause counts, since later errors follow from it; otherwise the last error.
    """
    errors = [line.strip() for line in lines if _ERROR.search(line) and not _ECHO.search(line)]
    for line in errors:
        for name, level, pattern in _CAUSES:
            if re.search(pattern, line, re.I):
                return StartFailure(name, line, level)
    return StartFailure("unknown", errors[-1], "L3") if errors else None
