"""What is behind a database that the application does not have, asked where it can be told: clues for the diagnosis.

Two halves, by whose rights they need. :func:`collect` runs as the application's user: the service's state, the errors
that the application logged, and whether its own account is let in. :func:`complete` adds what only root can see: who
holds the connections, who waits for whom. A database that gives no cause for doubt costs the reading of one log.
"""

from __future__ import annotations

import datetime
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ...core import redact
from ...mysql import app_login, driver, service, sessions, tables
from ...system import tcp_owner

# An error that is older belongs to another trouble.
FRESH_S = 180.0
TAIL_BYTES = 64 * 1024
LOGIN_S, ADMIN_S = 1.0, 3.0
MAX_TABLES = 10
_INTERNAL = frozenset(("begun_s", "invocation"))
# What the operations account can't see says nothing of the server: as the verdict has it.
UNSEEN = frozenset(("denied", "no_credentials", "bad_credentials_file", "unreadable", "no_driver", "internal"))

# (meaning, what a line of the application's log has): names of the drivers, or the server's own words.
_MEANINGS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("denied", re.compile(r"\bER_(?:ACCESS_DENIED\w*|MUST_CHANGE_PASSWORD\w*)|Access denied for user")),
    (
        "too_many_connections",
        re.compile(
            r"\bER_(?:CON_COUNT_ERROR|TOO_MANY_USER_CONNECTIONS|USER_LIMIT_REACHED)\b"
            r"|Too many connections"
        ),
    ),
    (
        "read_only",
        re.compile(
            r"\bER_(?:OPTION_PREVENTS_STATEMENT|READ_ONLY_MODE|INNODB_READ_ONLY|OPEN_AS_READONLY)\b"
            r"|running with the --(?:super-)?read-only option|in read-only mode"
            r"|InnoDB is in read only mode|innodb_force_recovery"
        ),
    ),
    (
        "crashed_tables",
        re.compile(
            r"\bER_(?:CRASHED_ON_(?:USAGE|REPAIR)|NOT_KEYFILE|OLD_KEYFILE|TABLE_CORRUPT)"
            r"\b|marked as crashed|Incorrect key file for table|is corrupted"
        ),
    ),
    ("disk_full", re.compile(r"\bER_(?:DISK_FULL|RECORD_FILE_FULL)\b|No space left on device|table '\S+' is full")),
    ("locked", re.compile(r"\bER_LOCK_WAIT_TIMEOUT\b|Lock wait timeout exceeded")),
    ("unknown_host", re.compile(r"\b(?:ENOTFOUND|EAI_AGAIN)\b")),
    ("timeout", re.compile(r"\bETIMEDOUT\b")),
    ("refused", re.compile(r"\bECONNREFUSED\b")),
)
_LINE_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)? ?(Z|[+-]\d\d:?\d\d)?")
# './schema/table', 'schema/table', 'schema.table' or 'table', as the server names a table in its errors.
_TABLE = re.compile(
    r"(?:[Tt]able|[Kk]ey file for table|Index \S+ of table) ?:? ['`\"]?(?:\./)?(?:([\w$-]+)`?[/.]`?)?([\w$-]+?)"
    r"(?:\.MY[ID])?['`\"]"
)


def collect(params: Mapping[str, Any], snapshot: Mapping[str, Any], logs: Iterable[Optional[str]]) -> dict[str, Any]:
    """``{errors, tables, service, login, writes}``, as the application's user; empty where there is no doubt.

    :param logs: the application's error logs.
    """
    lines = recent_lines(logs)
    errors = errors_of(lines)
    clues: dict[str, Any] = {"errors": errors} if errors else {}
    tables = tables_of(lines, str(params["mysql_database"])) if "crashed_tables" in errors else []
    if tables:
        clues["tables"] = tables
    if troubled(params, snapshot):
        clues["service"] = service.state(str(params.get("mysql_service") or "mysql"))
        if clues["service"]["process"] != "T":
            clues["login"] = login(params, snapshot)
    if "read_only" in errors or troubled(params, snapshot):
        writes = refused_writes(params) if reachable(snapshot) else None
        if writes is not None:
            clues["read_only"] = writes
    return clues


def complete(params: Mapping[str, Any], snapshot: Mapping[str, Any], clues: dict[str, Any]) -> None:
    """Add ``start_error``, ``holders`` and ``waits`` as root; ``hidden`` says why the last two are missing."""
    known = clues.get("database")
    if not known:
        return
    seen = known.get("service") or {}
    if seen.get("active") in ("activating", "failed"):
        cause = service.find_cause(service.last_start_lines(seen))
        if cause is not None:
            known["start_error"] = {"cause": cause.name, "line": cause.line[:300]}
    doubted = "service" in known or "tables" in known
    if not full(snapshot, known) and not (doubted and reachable(snapshot)):
        return
    pids = ((snapshot.get("pm2") or {}).get("app") or {}).get("pids") or []
    port = int((known.get("login") or {}).get("port") or 3306)
    try:
        with sessions.connect_as_root(params.get("mysql_socket"), ADMIN_S) as root:
            found = sessions.list_sessions(root)
            known["holders"] = sessions.group_by_holder(found, tcp_owner.client_ports(pids, port))
            known["waits"] = sessions.lock_waits(root)
            if "tables" in known:  # one that was repaired meanwhile is still in the log
                known["tables"] = tables.find_damaged(root, str(params["mysql_database"]), known["tables"])
    except Exception as error:  # noqa: BLE001 - PyMySQL raises anything; the diagnosis does without
        known["hidden"] = driver.reason_of(error)


def evidence(params: Mapping[str, Any], clues: Mapping[str, Any], deadline: float) -> dict[str, Any]:
    """What of the clues a report shows, as tables and figures, and the last words of a service that does not run."""
    known = clues.get("database") or {}
    told = {name: value for name, value in (known.get("service") or {}).items() if name not in _INTERNAL}
    shown = {name: known.get(name) for name in ("login", "holders", "waits", "read_only", "start_error")}
    found = {name: value for name, value in {"service": told, **shown}.items() if value}
    if told and told.get("active") != "active" and time.monotonic() < deadline - service.JOURNAL_S:
        words = service.recent_lines(str(told.get("id") or params.get("mysql_service") or "mysql"))
        found["last_lines"] = [*(clues.get("error_tail") or []), *words]
    return found


def troubled(params: Mapping[str, Any], snapshot: Mapping[str, Any]) -> bool:
    """Whether the server, or what the application says of it, gives cause for doubt."""
    if not reachable(snapshot) and (snapshot.get("database") or {}).get("error") not in UNSEEN:
        return True
    body = (snapshot.get("http") or {}).get("body") or {}
    wanted = (params.get("expectations") or {}).get("database_expected") or "connected"
    return "database" in body and body["database"] != wanted


def reachable(snapshot: Mapping[str, Any]) -> bool:
    """Whether the operations account was let in."""
    return bool((snapshot.get("database") or {}).get("reachable"))


def full(snapshot: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether somebody was turned away because all connections are taken."""
    reasons = ((snapshot.get("database") or {}).get("error"), (known.get("login") or {}).get("result"))
    return "too_many_connections" in reasons


def login(params: Mapping[str, Any], snapshot: Mapping[str, Any]) -> Optional[dict[str, Any]]:
    """What happens when the application's account logs in now; ``None`` when its settings name no account."""
    env = params.get("app_env_file") or f"{str(params['app_dir']).rstrip('/')}/.env"
    pids = ((snapshot.get("pm2") or {}).get("app") or {}).get("pids") or []
    account = app_login.account_from(app_login.read_settings(str(env), list(pids)))
    return app_login.try_login(account, params.get("mysql_socket"), LOGIN_S) if account else None


def refused_writes(params: Mapping[str, Any]) -> Optional[str]:
    """The setting for which the server takes no changes, ``None`` when it takes them or can't be asked."""
    wanted = ("super_read_only", "read_only", "innodb_read_only", "innodb_force_recovery")
    try:
        found, _ = driver.read_defaults(str(params["mysql_defaults_file"]))
        connection = driver.connect(found, "", LOGIN_S)
    except Exception:  # noqa: BLE001 - whatever it is, the probe has said it
        return None
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SHOW GLOBAL VARIABLES WHERE Variable_name IN"
                " ('super_read_only', 'read_only', 'innodb_read_only', 'innodb_force_recovery')"
            )
            values = {str(row[0]).lower(): str(row[1]).upper() for row in cursor.fetchall()}
    except Exception:  # noqa: BLE001
        return None
    finally:
        connection.close()
    return next((name for name in wanted if values.get(name, "OFF") not in ("OFF", "0", "")), None)


# --- the application's log ------------------------------------------------------------------------------------------


def recent_lines(paths: Iterable[Optional[str]], now: Optional[float] = None) -> list[str]:
    """The lines of the last minutes at the end of some logs; lines without a time belong to the one before."""
    at = now or time.time()
    kept: list[str] = []
    for path in sorted({path for path in paths if path}):
        try:
            with open(path, "rb") as file:
                info = os.fstat(file.fileno())
                if at - info.st_mtime > FRESH_S:
                    continue
                file.seek(max(info.st_size - TAIL_BYTES, 0))
                text = file.read(TAIL_BYTES).decode("utf-8", "replace")
        except OSError:
            continue
        kept += fresh(text.splitlines(), at)
    return kept


def fresh(lines: Sequence[str], now: float) -> list[str]:
    """Of lines in the order of time, those of the last minutes."""
    kept: list[str] = []
    current = True
    for line in lines:
        at = _time_of(line)
        current = current if at is None else now - at <= FRESH_S
        if current:
            kept.append(line)
    return kept


def _time_of(line: str) -> Optional[float]:
    found = _LINE_TIME.match(line)
    if found is None:
        return None
    zone = (found.group(3) or "").replace("Z", "+00:00").replace(":", "")
    text, pattern = f"{found.group(1)} {found.group(2)}{zone}", "%Y-%m-%d %H:%M:%S" + ("%z" if zone else "")
    try:
        return datetime.datetime.strptime(text, pattern).timestamp()
    except ValueError:
        return None


def errors_of(lines: Sequence[str]) -> dict[str, Any]:
    """What the application logged of its database, by meaning: ``{count, last}``, ``last`` the newest line."""
    found: dict[str, Any] = {}
    for line in lines:
        for meaning, pattern in _MEANINGS:
            if pattern.search(line):
                entry = found.setdefault(meaning, {"count": 0, "last": ""})
                entry["count"] += 1
                entry["last"] = redact.scrub_text(_LINE_TIME.sub("", line).lstrip(": ").rstrip())[:300]
                break
    return found


def tables_of(lines: Iterable[str], schema: str) -> list[str]:
    """Tables of the schema that errors call crashed or corrupted, in the order they were named, at most ten."""
    pattern = dict(_MEANINGS)["crashed_tables"]
    found: list[str] = []
    for line in lines:
        if not pattern.search(line):
            continue
        for match in _TABLE.finditer(line):
            if match.group(1) in (None, "", schema) and match.group(2) not in found:
                found.append(match.group(2))
    return found[:MAX_TABLES]
