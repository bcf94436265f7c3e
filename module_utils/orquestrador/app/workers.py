"""The workers of the application as PM2 knows them, and when one that is reloaded has failed: pure."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from ..core.errors import OperatorError
from ..core.jsonable import count
from ..core.messages import msg
from ..core.types import Message

CLUSTER, FORK = "cluster", "fork"
ONLINE = "online"
ENDED = ("errored", "stopped", "waiting restart")
# PM2's own default where an application gives none (constants.js: GRACEFUL_LISTEN_TIMEOUT).
LISTEN_TIMEOUT_S = 3.0
# What is left of listen_timeout for the way back: the previous build has to start within it.
WAY_BACK_SHARE, WAY_BACK_MIN_S = 0.25, 1.0


class Worker(NamedTuple):
    """One worker as PM2 knows it now."""

    pm_id: int
    pid: int
    status: str
    mode: str
    restarts: int
    unstable: int
    listen_timeout_s: float
    started_ms: int = 0  # epoch, by PM2; 0 when it does not say


class NotReadyError(OperatorError):
    """A worker did not come up; ``message`` says how."""

    def __init__(self, message: Message, worker: int, pid: int = 0) -> None:
        super().__init__(message)
        self.worker = worker
        self.pid = pid


def select(raw: Any, name: str) -> tuple[list[Worker], int]:
    """The workers called ``name`` in PM2's answer, and how many of their predecessors are still on their way out.

    Nothing else leaves the answer, which carries every process's environment. Never raises.
    """
    workers, leaving = [], 0
    for item in raw if isinstance(raw, list) else []:
        env = item.get("pm2_env") if isinstance(item, dict) else None
        if not isinstance(env, dict) or item.get("name", env.get("name")) != name:
            continue
        pm_id = env.get("pm_id", item.get("pm_id"))
        if not isinstance(pm_id, int):
            leaving += 1  # PM2 calls it "_old_<id>"
            continue
        workers.append(
            Worker(
                pm_id=pm_id,
                pid=count(item.get("pid")),
                status=str(env.get("status")),
                mode=CLUSTER if "cluster" in str(env.get("exec_mode")) else FORK,
                started_ms=count(env.get("pm_uptime")),
                restarts=count(env.get("restart_time")),
                unstable=count(env.get("unstable_restarts")),
                listen_timeout_s=count(env.get("listen_timeout")) / 1000 or LISTEN_TIMEOUT_S,
            )
        )
    return sorted(workers), leaving


def limit_of(worker: Worker, ready_timeout_s: float, way_back: bool) -> float:
    """Seconds that the new process of a worker has to be ready.

    In cluster mode, where there is a way back, there must be time left for it before PM2 ends the predecessor.
    """
    if worker.mode == FORK or worker.status != ONLINE or not way_back:
        return ready_timeout_s
    left = worker.listen_timeout_s - max(WAY_BACK_MIN_S, WAY_BACK_SHARE * worker.listen_timeout_s)
    return min(ready_timeout_s, max(left, worker.listen_timeout_s / 2))


def fallen(before: Worker, first_pid: int, now: Worker) -> Optional[Message]:
    """Why a worker whose new process was ``first_pid`` has failed; ``None`` while it may still become ready."""
    if now.status in ENDED or (now.pid != first_pid and first_pid) or now.restarts > before.restarts + 1:
        return msg("worker {worker} does not stay up: its new process ended", worker=now.pm_id)
    return None


def planned(before: list[Worker], after: list[Worker], touched: set[int]) -> dict[str, int]:
    """Restarts that PM2 counts since ``before`` of the workers that were touched: ours, by worker."""
    counts = {worker.pm_id: worker.restarts for worker in before}
    return {
        str(worker.pm_id): worker.restarts - counts[worker.pm_id]
        for worker in after
        if worker.pm_id in touched and worker.restarts > counts.get(worker.pm_id, worker.restarts)
    }
