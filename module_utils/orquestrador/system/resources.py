"""Memory, processor, load and disks of the host, and what the application takes of them."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Optional

from ..core.messages import finding, msg
from ..core.types import Finding, ResourceState
from .procfs import read_rss

# A burst must not raise an alert: what exceeds the limit in the short window is measured once more over this one.
LONG_INTERVAL_S = 1.0


_finding = functools.partial(finding, "resources")


# --- pure ----------------------------------------------------------------------------------------------------------


def parse_meminfo(lines: Iterable[str]) -> dict[str, Any]:
    """The memory part of the state from ``/proc/meminfo``; what can't be told is ``None``.

    ``MemAvailable`` is what programs can get without swapping, unlike ``MemFree`` (proc(5)).
    """
    values: dict[str, int] = {}
    for line in lines:
        name, _, rest = line.partition(":")
        amount = rest.split()
        if amount and amount[0].isdigit():
            values[name.strip()] = int(amount[0]) * 1024
    total, available = values.get("MemTotal"), values.get("MemAvailable")
    swap_total, swap_free = values.get("SwapTotal"), values.get("SwapFree")
    used = None
    if total and available is not None:
        used = round(100.0 * max(total - available, 0) / total, 1)
    swap_used = max(swap_total - swap_free, 0) if swap_total is not None and swap_free is not None else None
    return {
        "total_bytes": total,
        "available_bytes": available,
        "used_percent": used,
        "swap_total_bytes": swap_total,
        "swap_used_bytes": swap_used,
    }


class CpuTimes(NamedTuple):
    """Seconds that all processors together were busy and existed since the start of the host."""

    busy_s: float
    total_s: float


def parse_stat(text: str, ticks: float) -> Optional[CpuTimes]:
    """The first line of ``/proc/stat``; guest time is part of user time there and not counted twice (proc(5))."""
    fields = text.split("\n", 1)[0].split()
    if len(fields) < 5 or fields[0] != "cpu" or not all(field.isdigit() for field in fields[1:]):
        return None
    numbers = [int(field) for field in fields[1:9]]
    idle = numbers[3] + (numbers[4] if len(numbers) > 4 else 0)
    return CpuTimes((sum(numbers) - idle) / ticks, sum(numbers) / ticks)


def host_percent(before: Optional[CpuTimes], after: Optional[CpuTimes], own_s: float) -> Optional[float]:
    """How busy the host was between two readings with everything but us, 0 to 100.

    ``own_s``, what observing took, is left out of the whole as well: of a host whose processors are all taken, a probe
    gets a share that would otherwise pass for idle.
    """
    if before is None or after is None or after.total_s <= before.total_s:
        return None
    busy, rest = after.busy_s - before.busy_s - own_s, after.total_s - before.total_s - own_s
    return round(min(100.0 * max(busy, 0.0) / rest, 100.0), 1) if rest > 0 else 0.0


def app_percent(before: dict[int, float], after: dict[int, float], interval_s: float) -> Optional[float]:
    """The busiest process in percent of one processor, as PM2 and ``top`` count; ``None`` when none was seen twice."""
    shares = [max(after[pid] - before[pid], 0.0) / interval_s for pid in before if pid in after]
    return round(100.0 * max(shares), 1) if shares and interval_s > 0 else None


# --- I/O -----------------------------------------------------------------------------------------------------------


def _read(path: str, limit: int = 65536) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(limit).decode("ascii", "replace")
    except OSError:
        return ""


def cpu_times(proc: str = "/proc") -> Optional[CpuTimes]:
    """Read :class:`CpuTimes` of the host."""
    return parse_stat(_read(f"{proc}/stat", 4096), float(os.sysconf("SC_CLK_TCK")))


def process_cpu_s(pid: int, proc: str = "/proc") -> Optional[float]:
    """Processor seconds of all threads of a process, ``None`` when it is gone.

    ``schedstat`` counts nanoseconds, where ``stat`` has hundredths of a second, too coarse for a short window.
    """
    total, seen = 0, False
    with contextlib.suppress(OSError, ValueError, IndexError):
        for thread in os.listdir(f"{proc}/{pid}/task"):
            total += int(_read(f"{proc}/{pid}/task/{thread}/schedstat", 200).split()[0])
            seen = True
    if seen:
        return total / 1e9
    # Kernels without CONFIG_SCHED_INFO: utime and stime, the 14th and 15th field; the 2nd may contain blanks.
    fields = _read(f"{proc}/{pid}/stat", 4096).rpartition(")")[2].split()
    try:
        return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))
    except (IndexError, ValueError):
        return None


def process_state(pid: int, proc: str = "/proc") -> Optional[str]:
    """The state letter of a process (``proc(5)``), ``None`` when there is none."""
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return None


def process_parent(pid: int, proc: str = "/proc") -> Optional[int]:
    """The parent of a process, ``None`` when there is no such process."""
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def disk(path: str) -> dict[str, Any]:
    """Space and inodes of the file system that holds ``path``, as ``df`` counts them. Raises ``OSError``."""
    info = os.statvfs(path)
    used = info.f_blocks - info.f_bfree
    usable = used + info.f_bavail  # without what is reserved for root
    inodes = info.f_files  # 0 on file systems that make inodes as they need them
    return {
        "path": path,
        "total_bytes": info.f_blocks * info.f_frsize,
        "free_bytes": info.f_bavail * info.f_frsize,
        "used_percent": round(100.0 * used / usable, 1) if usable > 0 else None,
        "inodes_used_percent": round(100.0 * (inodes - info.f_ffree) / inodes, 1) if inodes > 0 else None,
    }


class _Reading(NamedTuple):
    at: float
    own_s: float
    host: Optional[CpuTimes]
    app: dict[int, float]


def _read_cpu(pids: Sequence[int], proc: str) -> _Reading:
    own = os.times()
    # The seconds of each process are taken right beside the clock that divides them.
    app = {pid: value for pid in pids if (value := process_cpu_s(pid, proc)) is not None}
    return _Reading(time.monotonic(), own.user + own.system, cpu_times(proc), app)


def _cpu(before: _Reading, after: _Reading) -> dict[str, Any]:
    interval = after.at - before.at
    return {
        "count": os.cpu_count() or 1,
        "percent": host_percent(before.host, after.host, after.own_s - before.own_s),
        "app_percent": app_percent(before.app, after.app, interval),
        "interval_s": round(interval, 3),
    }


class Limits(NamedTuple):
    """How the processor is measured."""

    interval_s: float = 0.08
    cpu_percent: float = 80.0  # above it, a longer look follows


def collect(
    disk_paths: Sequence[str],
    pids: Callable[[], Sequence[int]],
    *,
    timeout_s: float,
    limits: Limits = Limits(),  # noqa: B008 - immutable
    proc: str = "/proc",
) -> tuple[ResourceState, list[Finding]]:
    """Observe the host, and the processes that ``pids()`` names (it may wait for them, shortly).

    ``memory`` also has ``app_bytes`` (sum) and ``app_max_bytes`` (heaviest process). ``cpu.app_percent`` is that of
    the busiest process, of one processor: it can exceed 100 when its threads do.
    """
    deadline = time.monotonic() + timeout_s
    app_pids = list(pids())
    first = _read_cpu(app_pids, proc)
    findings: list[Finding] = []
    disks = []
    for path in dict.fromkeys(disk_paths):
        try:
            disks.append(disk(path))
        except OSError as error:
            text = msg("The disk of {path} can't be examined: {reason}", path=path, reason=type(error).__name__)
            findings.append(_finding("no_path", text, msg("Correct health_disk_paths, or create the directory.")))
    memory = parse_meminfo(_read(f"{proc}/meminfo").splitlines())
    if memory["used_percent"] is None:
        findings.append(_finding("no_meminfo", msg("The memory of the host can't be read from /proc/meminfo")))
    weights = [rss for pid in app_pids if (rss := read_rss(pid, proc)) is not None]
    memory["app_bytes"] = sum(weights) if weights else None
    memory["app_max_bytes"] = max(weights) if weights else None
    load: list[float] = []
    with contextlib.suppress(ValueError):
        load = [float(word) for word in _read(f"{proc}/loadavg", 200).split()[:3]]
    time.sleep(max(min(limits.interval_s - (time.monotonic() - first.at), deadline - time.monotonic()), 0.0))
    cpu = _cpu(first, _read_cpu(app_pids, proc))
    exceeds = cpu["app_percent"] is not None and cpu["app_percent"] > limits.cpu_percent
    longer = LONG_INTERVAL_S - cpu["interval_s"]
    if exceeds and longer > 0 and deadline - time.monotonic() > longer + 0.1:
        time.sleep(longer)
        cpu = _cpu(first, _read_cpu(app_pids, proc))
    return {"memory": memory, "cpu": cpu, "load": load, "disk": disks}, findings
