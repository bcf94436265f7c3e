"""What PM2 says about its processes, and whether the PM2 that answers is the right one.

PM2 is read over its RPC socket: 2 ms where a command takes 400 ms to start Node. A command is the fallback, and only
after a connection to the socket of a living daemon succeeded: ``pm2`` starts a second daemon whenever it finds none.

Only the fields of :class:`.types.Process` are selected. The answer also carries every process's environment, which
never leaves :func:`select`.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import pwd
import re
import stat
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from ..core.jsonable import count, iso, number
from ..core.messages import finding, msg
from ..core.types import Application, Finding, Pm2State, Process
from ..system.command import run
from ..system.procfs import DAEMON_TITLE, read_rss, user_name
from . import axon

ONLINE, DEAD, MISSING, FOREIGN, UNRESPONSIVE = "online", "dead", "missing", "foreign", "unresponsive"

# PM2 sets its title to this (lib/Daemon.js).
# The RPC answers in milliseconds; what is left of the collector's time belongs to the fallback.
RPC_SHARE = 0.4
MAX_TEXT = 300


_finding = functools.partial(finding, "pm2")


# --- pure: from PM2's answer to the selected fields ---------------------------------------------------------------


def _text(value: Any) -> Optional[str]:
    return value[:MAX_TEXT] if isinstance(value, str) and value and value != "N/A" else None


def _metric(monitor: Any, names: Sequence[str], units: dict[str, float]) -> Optional[float]:
    """One of PM2's own metrics, ``{"value": "5.42", "unit": "MiB"}``, in the unit that ``units`` scales to."""
    if not isinstance(monitor, dict):
        return None
    for name in names:
        metric = monitor.get(name)
        if isinstance(metric, dict):
            value, scale = number(metric.get("value")), units.get(str(metric.get("unit", "")).lower())
            if value is not None and scale is not None:
                return value * scale
    return None


BYTES = {"b": 1.0, "kib": 1024.0, "kb": 1024.0, "mib": 1024.0**2, "mb": 1024.0**2, "gib": 1024.0**3, "gb": 1024.0**3}
MILLISECONDS = {"ms": 1.0, "us": 0.001, "s": 1000.0}


def _select_one(raw: dict[str, Any], now: float) -> Process:
    env = raw["pm2_env"] if isinstance(raw.get("pm2_env"), dict) else {}
    monit = raw["monit"] if isinstance(raw.get("monit"), dict) else {}
    status = _text(env.get("status")) or "unknown"
    running = status == "online"
    memory, cpu = count(monit.get("memory")), number(monit.get("cpu"))
    # A running process has memory: when PM2 says 0, its sampling failed, and the 0 % beside it means nothing either.
    sampled = running and memory > 0
    started = number(env.get("pm_uptime"))
    started_s = started / 1000 if started else None
    heap = _metric(env.get("axm_monitor"), ("Used Heap Size", "Heap Size"), BYTES)
    return {
        "name": _text(raw.get("name")) or _text(env.get("name")) or "",
        "pm_id": count(raw.get("pm_id", env.get("pm_id"))),
        "pid": count(raw.get("pid")),
        "status": status,
        "mode": "cluster" if "cluster" in str(env.get("exec_mode", "")) else "fork",
        "restarts": count(env.get("restart_time")),
        "unstable_restarts": count(env.get("unstable_restarts")),
        "uptime_s": round(max(now - started_s, 0.0), 3) if running and started_s else None,
        "started_at": iso(started_s) if started_s else None,
        "memory_bytes": memory if sampled else None,
        "cpu_percent": cpu if sampled else None,
        "user": _text(env.get("username")),
        "version": _text(env.get("version")),
        "node_version": _text(env.get("node_version")),
        "out_log": _text(env.get("pm_out_log_path")),
        "err_log": _text(env.get("pm_err_log_path")),
        "loop_delay_ms": _metric(env.get("axm_monitor"), ("Event Loop Latency", "Loop delay"), MILLISECONDS),
        "heap_used_bytes": int(heap) if heap is not None else None,
    }


def select(raw: Any, now: float) -> list[Process]:
    """Select the fields of interest from PM2's process list; ``now`` is epoch seconds.

    Raises :class:`.axon.AxonError` (``rubbish``) when it is no list of objects. Never raises for a field's sake.
    """
    if not isinstance(raw, list):
        raise axon.AxonError("rubbish", "not a process list")
    if any(not isinstance(item, dict) for item in raw):
        raise axon.AxonError("rubbish", "not a process")
    return [_select_one(item, now) for item in raw]


def parse_jlist(output: bytes) -> Any:
    """Find the process list in the output of ``pm2 jlist``; banners and spawn messages may precede it.

    Raises :class:`.axon.AxonError` (``not_json``) when there is none.
    """
    text = output.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    # A banner may itself contain brackets ("[PM2] Spawning…"): the list is what fills its lines and is one of objects.
    for match in re.finditer(r"(?m)^[ \t]*(\[)", text):
        try:
            value, end = decoder.raw_decode(text, match.start(1))
        except (ValueError, RecursionError):
            continue
        alone = not text[end:].partition("\n")[0].strip()
        if alone and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return value
    raise axon.AxonError("not_json", "no process list in the output")


def summarise(processes: Sequence[Process], name: str) -> Optional[Application]:
    """All processes called ``name`` as one application, ``None`` when there is none."""
    mine = [process for process in processes if process["name"] == name]
    if not mine:
        return None
    statuses: dict[str, int] = {}
    for process in mine:
        statuses[process["status"]] = statuses.get(process["status"], 0) + 1
    memories = [process["memory_bytes"] for process in mine if process["memory_bytes"] is not None]
    cpus = [process["cpu_percent"] for process in mine if process["cpu_percent"] is not None]
    uptimes = [process["uptime_s"] for process in mine if process["uptime_s"] is not None]
    return {
        "name": name,
        "instances": len(mine),
        "online": statuses.get("online", 0),
        "statuses": statuses,
        "mode": "cluster" if any(process["mode"] == "cluster" for process in mine) else "fork",
        "pids": [process["pid"] for process in mine if process["pid"] > 0],
        "restarts": sum(process["restarts"] for process in mine),
        "unstable_restarts": sum(process["unstable_restarts"] for process in mine),
        "uptime_s": min(uptimes) if uptimes else None,
        "memory_bytes": sum(memories) if memories else None,
        "memory_max_bytes": max(memories) if memories else None,
        "cpu_percent": max(cpus) if cpus else None,
    }


# --- I/O: whose daemon is it, and does it answer ------------------------------------------------------------------


def _title(pid: int, proc: str) -> Optional[str]:
    """The title of a process, ``None`` when there is no such process, empty when it may not be read."""
    try:
        with open(f"{proc}/{pid}/cmdline", "rb") as file:
            return file.read(8192).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except PermissionError:
        return ""
    except OSError:
        return None


def daemons(proc: str = "/proc") -> list[dict[str, Any]]:
    """Every PM2 daemon of this host as ``{pid, user, home}``; other users' titles are world-readable."""
    found: list[dict[str, Any]] = []
    try:
        pids = [int(name) for name in os.listdir(proc) if name.isdigit()]
    except OSError:
        return []
    for pid in sorted(pids):
        match = DAEMON_TITLE.match(_title(pid, proc) or "")
        if match is None:
            continue
        try:
            uid = os.stat(f"{proc}/{pid}").st_uid
        except OSError:
            continue  # ended meanwhile
        found.append({"pid": pid, "user": user_name(uid), "home": match.group(1)})
    return found


def daemon_pid(home: str, proc: str = "/proc") -> Optional[int]:
    """The pid of ``<home>/pm2.pid`` if it lives and can be PM2: a number left behind may be anybody's by now."""
    try:
        with open(f"{home}/pm2.pid", "rb") as file:
            pid = int(file.read(32))
    except (OSError, ValueError):
        return None
    title = _title(pid, proc) if pid > 0 else None
    if title is None or (title and "pm2" not in title.lower()):
        return None
    return pid


class Answer(NamedTuple):
    """How the daemon's socket answered: the state it speaks for, its processes, and why not when not."""

    state: str
    processes: list[Process]
    finding: Optional[Finding]


_SILENT_HINT = msg("Restart the PM2 daemon through its systemd unit; `pm2 kill` will not end a daemon that hangs.")

_START_HINT = msg("Start PM2 through its systemd unit, as the application's user.")


def _ask(home: str, timeout_s: float) -> Answer:
    """Ask the daemon over its socket."""
    path = f"{home}/rpc.sock"
    try:
        raw = axon.call(path, "getMonitorData", timeout_s=timeout_s)
        return Answer(ONLINE, select(raw, time.time()), None)
    except axon.AxonError as error:
        text = {
            "timeout": msg("PM2 accepted a connection on {path} and did not answer", path=path),
            "closed_early": msg("PM2 closed the connection on {path} before its answer was complete", path=path),
            "remote_error": msg("PM2 answered with an error on {path}", path=path),
        }.get(error.code, msg("What answers on {path} does not speak PM2's protocol", path=path))
        return Answer(UNRESPONSIVE, [], _finding(error.code, text, _SILENT_HINT))
    except PermissionError:
        return Answer(FOREIGN, [], _foreign_socket(path, None))
    except ConnectionRefusedError:
        text = msg("The socket {path} is left over from a PM2 daemon that ended", path=path)
        return Answer(DEAD, [], _finding("stale_socket", text, _START_HINT))
    except OSError as error:
        text = msg("No PM2 daemon can be reached on {path}: {reason}", path=path, reason=_reason(error))
        return Answer(DEAD, [], _finding("no_socket", text, _START_HINT))


def _reason(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _foreign_socket(path: str, uid: Optional[int]) -> Finding:
    hint = msg("Run PM2 as the application's user only; look for a `sudo pm2` or a root daemon and end it.")
    if uid is None:
        return _finding("foreign_socket", msg("The PM2 socket {path} may not be used by this user", path=path), hint)
    text = msg("The PM2 socket {path} belongs to {user}", path=path, user=user_name(uid))
    return _finding("foreign_socket", text, hint)


def _inspect_home(home: str, uid: int) -> Optional[Answer]:
    """What can be told before connecting; ``None`` when the socket is there and ours."""
    path = f"{home}/rpc.sock"
    answer: Optional[Answer] = None
    try:
        os.stat(home)
        info = os.lstat(path)
    except FileNotFoundError as error:
        if error.filename == home:
            text = msg("The PM2 home {path} does not exist", path=home)
            hint = msg("Set pm2_home to the PM2 home of the application's user, or prepare the host with bootstrap.")
            answer = Answer(MISSING, [], _finding("no_home", text, hint))
        else:
            text = msg("No PM2 daemon runs for {path}: it has no socket", path=home)
            answer = Answer(DEAD, [], _finding("no_socket", text, _START_HINT))
    except OSError:
        answer = Answer(FOREIGN, [], _foreign_socket(path, None))
    else:
        if not stat.S_ISSOCK(info.st_mode):
            text = msg("{path} is not a socket", path=path)
            hint = msg("Remove it and start PM2 through its systemd unit.")
            answer = Answer(DEAD, [], _finding("not_a_socket", text, hint))
        elif info.st_uid != uid:
            answer = Answer(FOREIGN, [], _foreign_socket(path, info.st_uid))
    return answer


def _command(home: str, command: str, timeout_s: float) -> tuple[Optional[list[Process]], Optional[Finding]]:
    """Ask with ``pm2 jlist``; its output carries the environment and is dropped here, also when it is no list."""
    done = run([*command.split(), "jlist", "--silent"], timeout_s=timeout_s, env={"PM2_HOME": home})
    if done.error or done.timed_out or done.code != 0:
        reason = done.error or ("timeout" if done.timed_out else f"exit status {done.code}")
        text = msg("The fallback `{command} jlist` failed: {reason}", command=command, reason=reason)
        return None, _finding("command_failed", text, _SILENT_HINT)
    try:
        return select(parse_jlist(done.stdout), time.time()), None
    except axon.AxonError as error:
        text = msg("The fallback `{command} jlist` did not print a process list", command=command)
        return None, _finding(error.code, text, _SILENT_HINT)


def _correct_memory(processes: Sequence[Process], proc: str) -> None:
    for process in processes:
        if process["status"] == "online" and process["memory_bytes"] is None and process["pid"] > 0:
            process["memory_bytes"] = read_rss(process["pid"], proc)


def _living(answer: Answer, home: str, pid: int) -> Answer:
    """A daemon whose pid lives but whose socket is gone is not dead: starting another would make two."""
    text = msg("The PM2 daemon {pid} of {path} lives, but its socket is gone", pid=str(pid), path=home)
    return Answer(UNRESPONSIVE, [], _finding(answer.finding["code"] if answer.finding else "", text, _SILENT_HINT))


def _foreign_daemon(others: list[dict[str, Any]], user: str) -> Finding:
    other = others[0]
    text = msg(
        "Another PM2 daemon runs on this host: process {pid} of {user}, home {home}",
        pid=str(other["pid"]),
        user=other["user"],
        home=other["home"],
    )
    hint = msg("If it runs the application, end it and start the application as its own user.")
    if other["user"] == user:
        hint = msg("If it runs the application, set pm2_home to its home; else end it.")
    return _finding("foreign_daemon", text, hint)


class Target(NamedTuple):
    """Which PM2 to observe."""

    home: str  # PM2's home, the directory of rpc.sock and pm2.pid
    app: str  # the name whose processes are summed up as the application
    command: str = "pm2"  # how pm2 is called for the fallback, split at blanks; empty: there is none
    user: Optional[str] = None  # who the daemon should belong to; by default whoever runs this


def collect(target: Target, *, timeout_s: float, proc: str = "/proc") -> tuple[Pm2State, list[Finding]]:
    """Observe a PM2 daemon and its processes, within ``timeout_s``; ``proc`` is the process file system.

    The state is ``online``; ``missing`` (no such home); ``dead`` (no daemon: no socket, or a stale one);
    ``foreign`` (the socket is another user's, or only another daemon runs); ``unresponsive`` (a daemon lives, or
    something accepts, but there is no proper answer).
    """
    deadline = time.monotonic() + timeout_s
    home = target.home.rstrip("/") or "/"
    uid, findings = os.geteuid(), []
    if target.user is not None:
        try:
            uid = pwd.getpwnam(target.user).pw_uid
        except KeyError:
            text = msg("There is no user {user} on this host", user=target.user)
            findings.append(_finding("no_user", text, msg("Set app_user to the user that runs the application.")))
    answer = _inspect_home(home, uid)
    connectable = answer is None
    if answer is None:
        answer = _ask(home, timeout_s * RPC_SHARE)
    pid = daemon_pid(home, proc)
    if pid is None and answer.state != ONLINE:
        # The file of the pid may be gone while the daemon lives.
        pid = next((int(other["pid"]) for other in daemons(proc) if other["home"].rstrip("/") == home), None)
    source = "rpc" if answer.state == ONLINE else None
    if answer.state == DEAD and pid is not None:
        answer = _living(answer, home, pid)
    elif answer.state == UNRESPONSIVE and pid is not None and connectable and target.command:
        processes, finding = _command(home, target.command, max(deadline - time.monotonic() - 0.2, 0.1))
        if processes is not None:
            answer, source = Answer(ONLINE, processes, answer.finding), "command"
        elif finding is not None:
            findings.append(finding)
    if answer.finding is not None:
        findings.insert(0, answer.finding)
    _correct_memory(answer.processes, proc)
    application = summarise(answer.processes, target.app)
    others: list[dict[str, Any]] = []
    if answer.state != ONLINE or application is None:
        others = [other for other in daemons(proc) if other["pid"] != pid and other["home"].rstrip("/") != home]
        if others:
            findings.append(_foreign_daemon(others, user_name(uid)))
    state = FOREIGN if others and answer.state == DEAD else answer.state
    return {
        "daemon": state,
        "daemon_pid": pid,
        "source": source,
        "home": home,
        "foreign": others[:10],
        "processes": answer.processes,
        "app": application,
    }, findings
