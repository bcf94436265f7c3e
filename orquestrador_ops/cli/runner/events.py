"""State of a run from its events: its tasks, its hosts, and each host's run record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_RESULTS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}


@dataclass
class Task:
    """One task: start in seconds since the run's start, duration in seconds, and its result on each host."""

    name: str
    started_s: float
    seconds: float | None = None
    results: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "began_s": self.started_s, "seconds": self.seconds, "results": self.results}


@dataclass
class HostRun:
    """One host's part of a run: its record, its outcome, and the paths of its reports."""

    run: dict[str, Any] | None = None
    outcome: str | None = None
    reports: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"run_id": (self.run or {}).get("run_id"), "outcome": self.outcome, "reports": self.reports}


class RunEvents:
    """Collects ansible-runner's events, in their order."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.hosts: dict[str, HostRun] = {}

    def add(self, event: Mapping[str, Any], at_s: float) -> None:
        """Add one event, ``at_s`` seconds after the start."""
        kind, data = str(event.get("event")), event.get("event_data")
        data = data if isinstance(data, Mapping) else {}
        if kind == "playbook_on_task_start":
            self._ended(at_s)
            self.tasks.append(Task(str(data.get("task") or data.get("name") or "").strip(), round(at_s, 3)))
        elif kind in {"playbook_on_stats", "playbook_on_play_start"}:
            self._ended(at_s)
        elif kind == "runner_on_start":
            self.hosts.setdefault(str(data.get("host")), HostRun())
        elif kind in _RESULTS:
            self._result(_RESULTS[kind], data, at_s)

    def _ended(self, at_s: float) -> None:
        if self.tasks and self.tasks[-1].seconds is None:
            self.tasks[-1].seconds = round(at_s - self.tasks[-1].started_s, 3)

    def _result(self, status: str, data: Mapping[str, Any], at_s: float) -> None:
        host = self.hosts.setdefault(str(data.get("host")), HostRun())
        res = data.get("res")
        res = res if isinstance(res, Mapping) else {}
        if self.tasks:
            changed = status == "ok" and res.get("changed")
            self.tasks[-1].results[str(data.get("host"))] = "changed" if changed else status
        action = str(data.get("task_action"))
        if action == "run_open" and isinstance(res.get("run"), Mapping):
            host.run = dict(res["run"])
        elif action == "health_probe" and host.run is None and res.get("run_id"):
            host.run = {name: res.get(name) for name in ("run_id", "started_at")}
        elif action == "run_conclude" and res.get("outcome"):
            host.outcome = str(res["outcome"])
            reports = res.get("reports")
            host.reports = {str(k): str(v) for k, v in reports.items()} if isinstance(reports, Mapping) else {}
