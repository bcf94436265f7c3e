"""All collectors side by side, each bounded, into one snapshot.

A collector that fails, hangs or answers rubbish leaves ``null`` and a finding; the others' results stand.

Ansible ships modules as source in an archive, compiled anew at every run. What only waits (PM2, the processor's
window) is therefore started first, and the rest is imported while it waits.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, cast
from urllib.parse import urlsplit

from ..core.jsonable import clean
from ..core.messages import finding, msg
from ..core.types import SNAPSHOT_SCHEMA, Finding, Pm2State, PortState, Snapshot
from ..pm2 import daemon as pm2
from ..system import ports as port
from ..system import resources

# In the order of the snapshot.
COLLECTORS = ("pm2", "port", "http", "database", "resources", "logs", "files")
# A collector is told a little less than it gets, so that it ends by itself rather than being abandoned.
MARGIN = 0.9
# How long the processor's window waits for PM2 to name the application's processes.
PIDS_WAIT_S = 0.5


class Options(NamedTuple):
    """What to observe; the arguments of the ``health_probe`` module, checked."""

    app_name: str
    app_user: str
    app_dir: str
    app_port: int
    app_health_url: str
    app_env_file: str
    pm2_home: str
    mysql_defaults_file: str
    mysql_database: str
    log_globs: Sequence[str]
    pm2_command: str = "pm2"
    critical_files: Sequence[dict[str, Any]] = ()
    critical_dest: Optional[str] = None
    disk_paths: Sequence[str] = ("/",)
    http_requests: int = 5
    http_timeout: float = 3.0
    collector_timeout: float = 5.0
    timeout: float = 20.0
    log_max_bytes: int = 64 * 1024 * 1024
    slow_query_s: float = 2.0
    cpu_interval: float = 0.08
    cpu_percent: float = 80.0
    port_owners: Mapping[int, int] = {}


Collector = Callable[[float], tuple[Any, list[Finding]]]  # seconds it has → state and findings


class _Slot:
    """Where one collector's thread leaves its result; written once, read after ``done``."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.state: Any = None
        self.findings: list[Finding] = []


def _internal(name: str, error: BaseException) -> Finding:
    # Its class only: an exception's text may quote whatever was being read.
    text = msg("The collector {collector} failed unexpectedly: {reason}", collector=name, reason=type(error).__name__)
    return finding(name, "internal", text, msg("Report it as a defect of the probe; the other checks are valid."))


def _guard(name: str, slot: _Slot, collector: Collector, seconds: float) -> None:
    """The body of a collector's thread."""
    try:
        slot.state, slot.findings = collector(seconds)
    except BaseException as error:  # noqa: BLE001 - nothing a collector meets may end the probe
        slot.state, slot.findings = None, [_internal(name, error)]
    finally:
        slot.done.set()


def run_side_by_side(
    phases: Iterable[Mapping[str, Collector]], *, each_s: float, whole_s: float
) -> tuple[dict[str, Any], list[Finding]]:
    """Run each collector in a thread of its own; return their states by name and all findings, in order.

    ``phases`` may work between one phase and the next: the collectors of the former run meanwhile. A collector that
    has not ended after ``each_s`` seconds, or when ``whole_s`` are over, is abandoned with the finding ``timeout`` and
    the state ``None``; its thread is a daemon and does not keep the process alive.
    """
    began = time.monotonic()
    slots: dict[str, _Slot] = {}
    ends: dict[str, float] = {}
    for phase in phases:
        for name, collector in phase.items():
            now = time.monotonic()
            ends[name] = min(now + each_s, began + whole_s)
            slots[name] = _Slot()
            told = max(ends[name] - now, 0.0) * MARGIN
            threading.Thread(
                target=_guard, args=(name, slots[name], collector, told), name=f"collect-{name}", daemon=True
            ).start()
    limit = min(each_s, whole_s)
    states: dict[str, Any] = {}
    findings: list[Finding] = []
    for name, slot in slots.items():
        if slot.done.wait(max(ends[name] - time.monotonic(), 0.0)):
            states[name] = slot.state
            findings += slot.findings
            continue
        states[name] = None
        text = msg("The collector {collector} did not end within {limit_s}", collector=name, limit_s=round(limit, 1))
        hint = msg("Look at what it reads on the host: a hanging disk, mount or server.")
        findings.append(finding(name, "timeout", text, hint))
    return states, findings


def _port_host(url: str, number: int) -> str:
    """Where to try the port: at the health URL's host if it names this very port, else on loopback."""
    host = None
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        host = parts.hostname if parts.port == number else None
    return host or "127.0.0.1"


class Probe:
    """The collectors of one host, and what they need of each other."""

    def __init__(self, options: Options, log_memory: Optional[dict[str, Any]]) -> None:
        self._options = options
        # What is remembered of the logs if reading them fails: the same as before, so that no event is lost.
        self.log_memory: dict[str, Any] = dict(log_memory or {})
        self._pids: list[int] = []
        self._pids_known = threading.Event()

    def phases(self) -> Iterator[dict[str, Collector]]:
        """The collectors by name: what waits first, then, with their code imported, the others.

        Importing takes the interpreter's lock for itself. Done before a request is timed, it does not count as the
        application's latency.
        """
        yield {"pm2": self._pm2, "resources": self._resources, "port": self._port}
        self._import()
        late: dict[str, Collector] = {"database": self._database, "http": self._http, "logs": self._logs}
        if self._options.critical_files and self._options.critical_dest:
            late["files"] = self._files
        yield late

    def _import(self) -> None:
        from ..app import health_endpoint as http_health  # noqa: F401
        from ..core import redact  # noqa: F401
        from ..logs import errors as logs  # noqa: F401
        from ..mysql import driver, state  # noqa: F401

        # http.client does without ssl, which only https needs and then imports itself.
        with driver.absent("ssl") if self._options.app_health_url.startswith("http:") else contextlib.nullcontext():
            import http.client  # noqa: F401
        # What is wrong with either is met again, and named, by the collector.
        with contextlib.suppress(driver.DatabaseError, ImportError):
            defaults, _ = driver.read_defaults(self._options.mysql_defaults_file)
            driver.import_pymysql(lean=defaults.socket is not None)

    def _pm2(self, seconds: float) -> tuple[Any, list[Finding]]:
        options = self._options
        try:
            target = pm2.Target(options.pm2_home, options.app_name, options.pm2_command, options.app_user)
            state, findings = pm2.collect(target, timeout_s=seconds)
            self._pids = list(state["app"]["pids"]) if state["app"] else []
            return state, findings
        finally:
            self._pids_known.set()

    def _wait_for_pids(self) -> Sequence[int]:
        self._pids_known.wait(PIDS_WAIT_S)
        return self._pids

    def _resources(self, seconds: float) -> tuple[Any, list[Finding]]:
        options = self._options
        limits = resources.Limits(options.cpu_interval, options.cpu_percent)
        return resources.collect(options.disk_paths, self._wait_for_pids, timeout_s=seconds, limits=limits)

    def _database(self, seconds: float) -> tuple[Any, list[Finding]]:
        from ..mysql import state

        options = self._options
        return state.collect(
            options.mysql_defaults_file, options.mysql_database, timeout_s=seconds, slow_s=options.slow_query_s
        )

    def _port(self, seconds: float) -> tuple[Any, list[Finding]]:
        options, number = self._options, self._options.app_port
        host = _port_host(options.app_health_url, number)
        return port.collect(number, timeout_s=seconds, host=host, known=options.port_owners)

    def _http(self, seconds: float) -> tuple[Any, list[Finding]]:
        from ..app import health_endpoint as http_health

        options = self._options
        return http_health.collect(
            options.app_health_url,
            requests=options.http_requests,
            timeout_s=seconds,
            request_timeout_s=min(options.http_timeout, seconds),
        )

    def _logs(self, seconds: float) -> tuple[Any, list[Finding]]:
        from ..logs import errors as logs

        options = self._options
        state, memory, findings = logs.collect(
            list(options.log_globs),
            self.log_memory or None,
            now=time.time(),
            deadline_s=seconds,
            max_bytes=options.log_max_bytes,
        )
        self.log_memory = memory
        return state, findings

    def _files(self, _seconds: float) -> tuple[Any, list[Finding]]:
        from ..system import dated_copies

        return dated_copies.inspect(list(self._options.critical_files), str(self._options.critical_dest))


def collect(options: Options, memory: Optional[Mapping[str, Any]] = None) -> tuple[Snapshot, dict[str, Any]]:
    """Observe the host once: the snapshot, scrubbed of secrets, and what to remember of the logs.

    ``memory`` is what the last run left (:class:`.types.Memory`). Bounded by ``options.timeout``; never raises for
    something observed.
    """
    began, taken = time.monotonic(), datetime.datetime.now(datetime.timezone.utc)
    # Collectors mostly wait; a thread that computes must not hold up the clock of one that measures latency.
    switch = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    try:
        remembered = memory.get("logs") if memory else None
        probe = Probe(options, remembered if isinstance(remembered, dict) else None)
        states, findings = run_side_by_side(
            probe.phases(), each_s=options.collector_timeout, whole_s=options.timeout * MARGIN
        )
        # An abandoned thread may still change it: what counts is what stands now, and only if the state does.
        logs_read = states.get("logs") is not None
        log_memory = probe.log_memory if logs_read else (remembered if isinstance(remembered, dict) else {})
    finally:
        sys.setswitchinterval(switch)
    pm2_state = cast("Optional[Pm2State]", states.get("pm2"))
    states["port"] = port.attribute(cast("Optional[PortState]", states.get("port")), pm2_state)
    order = {name: at for at, name in enumerate(COLLECTORS)}
    snapshot: dict[str, Any] = {
        "schema": SNAPSHOT_SCHEMA,
        "host": socket.gethostname() or os.uname().nodename,
        "taken_at": taken.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "duration_ms": 0.0,
        **{name: states.get(name) for name in COLLECTORS},
        "errors": sorted(findings, key=lambda item: order.get(item["collector"], len(order))),
    }
    from ..core import redact

    secrets = redact.load_secrets(options.app_env_file)
    scrubbed = redact.scrub(clean(snapshot), secrets)
    scrubbed["duration_ms"] = round((time.monotonic() - began) * 1000, 1)
    return cast("Snapshot", scrubbed), log_memory
