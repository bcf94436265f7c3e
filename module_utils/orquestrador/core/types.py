"""Shapes of the data that flows from a managed host to the controller.

Snapshot: the observed state. Check and verdict: its comparison with what the operational playbook expects. Finding: a
failed observation and its reason. Every value is JSON; units are in the names.
"""

from __future__ import annotations

from typing import Any, Optional, TypedDict

SNAPSHOT_SCHEMA = 1

# Outcomes; their meaning is in orquestrador_ops/core/outcomes.py.
OK, WARN, UNKNOWN, CRITICAL = "ok", "warn", "unknown", "critical"
HEALTHY, DEGRADED = "healthy", "degraded"
CHANGED, SKIPPED, FAILED, RECOVERED, REFUSED = "changed", "skipped", "failed", "recovered", "refused"


class Message(TypedDict):
    """An untranslated sentence: see :mod:`.messages`."""

    text: str
    args: dict[str, Any]


class Finding(TypedDict):
    """A failed or incomplete observation."""

    collector: str  # pm2 | port | http | database | resources | logs | files | runner
    code: str  # stable, e.g. "timeout", "stale_socket", "not_json"
    message: Message  # what and where
    hint: Optional[Message]  # what to do next


class Process(TypedDict):
    """One PM2 process; selected fields only, never its environment."""

    name: str
    pm_id: int
    pid: int
    status: str  # online | stopping | stopped | launching | errored | one-launch-status | waiting restart
    mode: str  # fork | cluster
    restarts: int
    unstable_restarts: int
    uptime_s: Optional[float]
    started_at: Optional[str]
    memory_bytes: Optional[int]
    cpu_percent: Optional[float]
    user: Optional[str]
    version: Optional[str]
    node_version: Optional[str]
    out_log: Optional[str]
    err_log: Optional[str]
    loop_delay_ms: Optional[float]
    heap_used_bytes: Optional[int]


class Application(TypedDict):
    """All processes of one name, evaluated as one application."""

    name: str
    instances: int
    online: int
    statuses: dict[str, int]
    mode: str  # fork | cluster
    pids: list[int]
    restarts: int
    unstable_restarts: int
    uptime_s: Optional[float]  # of the youngest instance
    memory_bytes: Optional[int]  # sum over the instances
    memory_max_bytes: Optional[int]  # the heaviest instance: the playbook's limits are per process
    cpu_percent: Optional[float]  # of the busiest instance


class Pm2State(TypedDict):
    daemon: str  # online | dead | missing | foreign | unresponsive
    daemon_pid: Optional[int]
    source: Optional[str]  # rpc | command
    home: str
    foreign: list[dict[str, Any]]  # other daemons seen: {pid, user, home}
    processes: list[Process]
    app: Optional[Application]


class Listener(TypedDict):
    address: str
    pid: Optional[int]
    command: Optional[str]  # without its arguments' secrets: the executable and its first argument at most
    user: Optional[str]
    of_app: Optional[bool]  # true when the pid is an instance of the application or the PM2 daemon (cluster mode)


class PortState(TypedDict):
    port: int
    open: bool  # a process listens and accepts
    pid: Optional[int]
    command: Optional[str]
    listeners: list[Listener]


class HttpState(TypedDict):
    url: str
    requests: int
    failures: int
    status: Optional[int]  # the worst one: an error status before 200
    latency_ms: list[float]  # one per answered request, in order
    latency_median_ms: Optional[float]
    body: Optional[dict[str, Any]]  # status, database, system, timestamp only; strings bounded
    error: Optional[str]  # code of the finding that explains failures


class DatabaseState(TypedDict):
    reachable: bool
    error: Optional[str]  # refused | denied | too_many_connections | timeout | unknown_database | no_credentials | ...
    latency_ms: Optional[float]
    product: Optional[str]  # mysql | mariadb
    version: Optional[str]
    uptime_s: Optional[int]
    threads: Optional[dict[str, int]]  # {connected, running, max_used, allowed}
    slow: list[dict[str, Any]]  # {id, user, db, command, state, seconds, query} query normalised, literals as ?


class ResourceState(TypedDict):
    memory: dict[str, Any]  # {total_bytes, available_bytes, used_percent, swap_total_bytes, swap_used_bytes}
    cpu: dict[str, Any]  # {count, percent, app_percent, interval_s}
    load: list[float]
    disk: list[dict[str, Any]]  # {path, total_bytes, free_bytes, used_percent, inodes_used_percent}


class LogState(TypedDict):
    errors: int  # events since the last run
    errors_day: int  # in the last 24 h
    window: dict[str, Any]  # {since, until, first: bool, complete: bool}
    fingerprints: list[dict[str, Any]]  # {fingerprint, sample, count, first_at, last_at, new}
    files: list[dict[str, Any]]  # {path, size_bytes, read_bytes, rotated, truncated, complete, missing}


class FileState(TypedDict):
    current: bool  # every critical file that exists has an identical, 0600, newest copy
    missing: list[str]  # required files that do not exist
    files: list[
        dict[str, Any]
    ]  # {name, path, exists, required, sha256, mode, copy: {path, sha256, mode, taken_at} | null, current}


class Snapshot(TypedDict):
    schema: int
    host: str
    taken_at: str
    duration_ms: float
    pm2: Optional[Pm2State]
    port: Optional[PortState]
    http: Optional[HttpState]
    database: Optional[DatabaseState]
    resources: Optional[ResourceState]
    logs: Optional[LogState]
    files: Optional[FileState]
    errors: list[Finding]


class Check(TypedDict):
    id: str  # one of health.checks.CHECK_IDS
    title: Message
    status: str
    observed: Message
    expected: Message
    hint: Optional[Message]
    evidence: dict[str, Any]
    source: str  # chapter of the operational playbook


class Verdict(TypedDict):
    overall: str
    checks: list[Check]
    procedure: str  # of an emergency, or none
    reasons: list[Message]


class Memory(TypedDict, total=False):
    """Data that a run leaves for the next one of the same procedure and host; stored by the controller, opaque."""

    taken_at: str
    logs: dict[str, Any]
    restarts: dict[str, Any]  # {"count": int, "pids": [...], "started_at": ...} as the verdict needs it
